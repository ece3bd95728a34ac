package measure

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Cover says how an event's data and its digest hang together.
type Cover string

const (
	// Whole: the digest is the hash of the data, so a replay that matches proves the text.
	Whole Cover = "whole"
	// Part: the digest is the hash of a part of the data: a variable's contents without its
	// name, a command without the prefix in front of it. What is left out is only a hint.
	Part Cover = "part"
	// Hint: the digest is of something that isn't in the log (an image, a table, a file). The
	// digest is proven by a matching replay, the text beside it is not.
	Hint Cover = "hint"
	// Mismatch: the specification has the digest over the data, and it isn't. The text must not
	// be believed.
	Mismatch Cover = "mismatch"
	// None: the event extended nothing; it proves nothing.
	None Cover = "none"
)

// Proven reports whether a matching replay proves all that the event's text says.
func (c Cover) Proven() bool { return c == Whole }

// Cover compares the event's digest in a bank with the hash of its data, or of the parts of
// it that firmware and boot loaders are known to hash.
func (e Event) Cover(bank Algorithm) Cover {
	digest := e.Digest(bank)
	if !e.Extends() || bank.Size() == 0 || digest == nil {
		return None
	}
	if bytes.Equal(bank.Sum(e.Data), digest) {
		return Whole
	}
	for _, part := range e.parts() {
		if bytes.Equal(bank.Sum(part), digest) {
			return Part
		}
	}
	if types[e.Type].hashed {
		return Mismatch
	}
	return Hint
}

// parts gives what is hashed instead of all the data, by type.
func (e Event) parts() [][]byte {
	switch e.Type {
	case Separator:
		// An error, described by the data (PFP, section 3.3.2), which must not deny it.
		if text, _ := describeSeparator(e.Data); text != firmwareEnded {
			return [][]byte{errorSeparator()}
		}
	case EFIVariableBoot:
		// EDK II hashes the contents of boot variables only.
		if v, ok := parseVariable(e.Data); ok {
			return [][]byte{v.data}
		}
	case EFIVariableAuthority:
		// EDK II before 2020 logged one byte more than it hashed.
		if n := len(e.Data); n > 0 {
			return [][]byte{e.Data[:n-1]}
		}
	case EventTag:
		// The Linux EFI stub hashes what it loads, some loaders the tag's own data.
		if len(e.Data) > 8 {
			return [][]byte{e.Data[8:]}
		}
	case IPL, Action, EFIAction, CompactHash:
		return textParts(e.Data)
	}
	return nil
}

// textParts gives the text without its final zero byte, and what stands behind the prefix
// that GRUB puts in front of what it hashes.
func textParts(data []byte) [][]byte {
	text := bytes.TrimSuffix(data, []byte{0})
	parts := [][]byte{text}
	for _, prefix := range []string{"grub_cmd: ", "grub_cmd ", "kernel_cmdline: ", "grub_kernel_cmdline ", "module_cmdline: "} {
		if rest, ok := bytes.CutPrefix(text, []byte(prefix)); ok {
			parts = append(parts, rest)
		}
	}
	return parts
}

// Explanation is an event in words.
type Explanation struct {
	Number   int    `json:"number"` // from 1
	Register uint32 `json:"register"`
	Type     string `json:"type"`
	Digest   string `json:"digest"` // lower-case hex
	Text     string `json:"text"`
	// Words say what the event is to somebody who doesn't know event logs.
	Words string `json:"words"`
	Cover Cover  `json:"cover"`
}

// Explain describes every event in one bank. Registers are numbered as kind numbers them; an
// event that no such register holds keeps the log's number. In the register of Secure Boot it
// points out what is made to look like the firmware's own word: a separator under another
// name, which is a mismatch, and variables behind it.
func (l *Log) Explain(kind Kind, bank Algorithm) []Explanation {
	all := make([]Explanation, 0, len(l.Events))
	end := l.firmwareEnd(kind, bank)
	tell := narrator{kind: kind, bank: bank}
	for i, e := range l.Events {
		reg, err := register(kind, e.Register)
		if err != nil {
			reg = e.Register
		}
		x := Explanation{i + 1, reg, e.Type.String(), hex.EncodeToString(e.Digest(bank)), e.Text(), "", e.Cover(bank)}
		switch {
		case end < 0 || e.Register != secureBootHolder(kind) || !e.Extends():
		case i == end && e.Type != Separator:
			x.Text, x.Cover = "a separator by its digest, whatever the log calls it", Mismatch
		case i > end && e.Type == EFIVariableDriverConfig:
			x.Text = cut("not the firmware's own word: " + x.Text)
		}
		x.Words = tell.words(e, x)
		all = append(all, x)
	}
	return all
}

// Text says what the event's data holds: at most some 200 characters, printable. What it
// says is only proven as far as [Event.Cover] goes.
func (e Event) Text() string {
	text, ok := e.describe()
	if !ok {
		text = bytesText(e.Data)
	}
	return shown(text)
}

func (e Event) describe() (string, bool) {
	switch e.Type {
	case NoAction:
		return describeNoAction(e.Data), true
	case Separator:
		return describeSeparator(e.Data)
	case EFIVariableDriverConfig, EFIVariableBoot, EFIVariableBoot2, EFIVariableAuthority:
		v, ok := parseVariable(e.Data)
		return v.text(), ok
	case EFIBootServicesApp, EFIBootServicesDriver, EFIRuntimeServicesDriver:
		return describeImage(e.Data)
	case EFIFirmwareBlob:
		return describeBlob(e.Data)
	case EFIFirmwareBlob2, EFIHandoffTables2:
		return describeNamed(e.Type, e.Data)
	case EFIGPTEvent, EFIGPTEvent2:
		return describeGPT(e.Data)
	case EventTag:
		return describeTag(e.Data)
	}
	return "", false
}

func describeNoAction(data []byte) string {
	name, rest, found := bytes.Cut(data, []byte{0})
	if string(name) == "StartupLocality" && len(rest) == 1 {
		return fmt.Sprintf("the TPM was started in locality %d", rest[0])
	}
	if bytes.HasPrefix(data, []byte("SP800-155 Event")) {
		return "where reference measurements of this platform are to be found (SP800-155)"
	}
	if found && len(name) > 0 && printable(string(name)) {
		return "note " + string(name)
	}
	return "note of " + fmt.Sprint(len(data)) + " bytes"
}

const firmwareEnded = "end of the firmware's own measurements"

func describeSeparator(data []byte) (string, bool) {
	switch {
	case bytes.Equal(data, []byte{0, 0, 0, 0}), bytes.Equal(data, []byte{0xff, 0xff, 0xff, 0xff}):
		return firmwareEnded, true
	case bytes.Equal(data, []byte{1, 0, 0, 0}):
		return "the firmware reports an error", true
	}
	return "the firmware reports an error: " + bytesText(data), true
}

func describeBlob(data []byte) (string, bool) {
	r := reader{data: data}
	base, size := r.u64(), r.u64()
	return fmt.Sprintf("firmware of %d bytes at 0x%x", size, base), !r.short && r.at == len(data)
}

// describeNamed reads UEFI_PLATFORM_FIRMWARE_BLOB2 and UEFI_HANDOFF_TABLE_POINTERS2.
func describeNamed(t Type, data []byte) (string, bool) {
	r := reader{data: data}
	name := string(r.take(int(r.u8())))
	if r.short || !printable(strings.TrimRight(name, "\x00")) {
		return "", false
	}
	name = strings.TrimRight(name, "\x00")
	if t == EFIHandoffTables2 {
		n := r.u64()
		return fmt.Sprintf("%d tables, %q", n, name), !r.short
	}
	base, size := r.u64(), r.u64()
	return fmt.Sprintf("firmware %q of %d bytes at 0x%x", name, size, base), !r.short
}

// describeGPT reads UEFI_GPT_DATA: the header of the partition table, and how many entries
// were measured.
func describeGPT(data []byte) (string, bool) {
	r := reader{data: data}
	head := r.take(92)
	n := r.u64()
	if r.short || !bytes.HasPrefix(head, []byte("EFI PART")) {
		return "", false
	}
	return fmt.Sprintf("partition table of disk %s with %d partitions", guid(head[56:72]), n), true
}

func describeTag(data []byte) (string, bool) {
	r := reader{data: data}
	id, size := r.u32(), r.u32()
	body := r.rest()
	if r.short || uint64(size) != uint64(len(body)) {
		return "", false
	}
	switch id { // drivers/firmware/efi/libstub of Linux
	case 0x8f3b22ec:
		return "initial RAM disk, loaded by the kernel's EFI stub: " + bytesText(body), true
	case 0x8f3b22ed:
		return "command line, loaded by the kernel's EFI stub: " + bytesText(body), true
	}
	return fmt.Sprintf("tag 0x%08x: %s", id, bytesText(body)), true
}

// bytesText shows bytes as text if they are UTF-8 or UTF-16 text, else in hex.
func bytesText(data []byte) string {
	if text := string(bytes.TrimRight(data, "\x00")); text != "" && printable(text) {
		return fmt.Sprintf("%q", cut(text))
	}
	// Any even number of bytes is some UTF-16; text that begins in ASCII is meant to be.
	if text, ok := utf16Text(data); ok && text != "" && text[0] < 0x80 {
		return fmt.Sprintf("%q", cut(text))
	}
	if len(data) > 32 {
		return fmt.Sprintf("%x… (%d bytes)", data[:32], len(data))
	}
	if len(data) == 0 {
		return "nothing"
	}
	return hex.EncodeToString(data)
}

// utf16Text reads little-endian UTF-16 up to its zeros at the end.
func utf16Text(data []byte) (string, bool) {
	if len(data)%2 != 0 || len(data) == 0 {
		return "", false
	}
	units := make([]uint16, 0, min(len(data)/2, 4*maxShown))
	for i := 0; i < len(data) && len(units) < cap(units); i += 2 {
		units = append(units, uint16(data[i])|uint16(data[i+1])<<8)
	}
	text := strings.TrimRight(string(utf16.Decode(units)), "\x00")
	return text, printable(text)
}

func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) && r != '\n' && r != '\t' && r != '\r' {
			return false
		}
	}
	return true
}

// shown makes text fit for a screen.
func shown(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\ufffd'
		}
		return r
	}, s)
	return cut(s)
}

func cut(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "…"
}

// guid prints a GUID in its mixed byte order.
func guid(b []byte) string {
	return fmt.Sprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%x-%x", b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8:10], b[10:16])
}
