package measure

import (
	"bytes"
	"strings"
)

// The registers of a TPM that boot loaders fill (TCG PFP, section 3.3.4; UAPI group, Linux TPM PCR
// registry).
const (
	sectionsPCR   = 11 // the sections of a unified kernel image
	argumentsPCR  = 12 // what a boot stub takes in from beside its image: arguments, credentials
	extensionsPCR = 13 // system extensions that it takes in
)

// sections says what is in the sections of a unified kernel image (UAPI group, Unified Kernel Image
// specification).
func sections() map[string]string {
	return map[string]string{
		".linux": "the kernel image", ".osrel": "the name of the system", ".cmdline": "the kernel's command line",
		".initrd": "the initial RAM disk", ".splash": "a picture", ".dtb": "a device tree", ".uname": "the kernel's release",
		".sbat": "what may revoke the image", ".pcrpkey": "a key for signed PCRs", ".ucode": "processor microcode",
	}
}

// narrator says in words what events are. It follows the sections of a kernel image: each is
// measured by its name, then by what it holds, and only the name is in the log.
type narrator struct {
	kind    Kind
	bank    Algorithm
	section string // whose contents come next
}

// words says what an event is to somebody who doesn't know event logs, in one line. What a digest
// does not cover is told as the log tells it.
func (n *narrator) words(e Event, x Explanation) string {
	if x.Cover == Mismatch {
		return cut("something other than the log says: " + x.Text)
	}
	if n.kind == PCRs {
		switch x.Register {
		case sectionsPCR:
			return n.inSections(e, x)
		case argumentsPCR:
			return cut("added from beside the image: " + addedText(x))
		case extensionsPCR:
			return cut("a system extension from beside the image: " + addedText(x))
		}
	}
	return cut(plain(e, x))
}

// inSections tells of a register that holds a kernel image, section by section.
func (n *narrator) inSections(e Event, x Explanation) string {
	digest := e.Digest(n.bank)
	if name := n.section; name != "" {
		n.section = ""
		what := sections()[name]
		return name + " section: " + what
	}
	for name := range sections() {
		if bytes.Equal(n.bank.Sum(append([]byte(name), 0)), digest) {
			n.section = name
			return name + " section: its name"
		}
	}
	return cut("not a section's name: " + x.Text)
}

// addedText is what the log says of something that a boot stub took in.
func addedText(x Explanation) string {
	if x.Cover.Proven() {
		return "arguments " + x.Text
	}
	return x.Text
}

func plain(e Event, x Explanation) string {
	switch e.Type {
	case SCRTMVersion:
		return "the firmware's version: " + x.Text
	case EFIFirmwareBlob, EFIFirmwareBlob2:
		return "a part of the firmware: " + strings.TrimPrefix(x.Text, "firmware ")
	case EFIBootServicesApp:
		return "a program that was started, by its Authenticode digest: " + x.Text
	case EFIBootServicesDriver, EFIRuntimeServicesDriver:
		return "a driver that was loaded, by its Authenticode digest: " + x.Text
	case EFIVariableDriverConfig, EFIVariableBoot, EFIVariableBoot2:
		return "the firmware's " + x.Text
	case EFIVariableAuthority:
		return "what let a program start under Secure Boot: " + x.Text
	case EFIAction, Action:
		return "the firmware's step " + x.Text
	case IPL, EventTag:
		if text := loaded(x.Text); text != "" {
			return text
		}
		return "by a boot loader: " + x.Text
	}
	return x.Text
}

// loaded shortens what [Event.Text] says of the tags of the kernel's EFI stub.
func loaded(text string) string {
	const by = ", loaded by the kernel's EFI stub"
	what, _, found := strings.Cut(text, by)
	if !found {
		return ""
	}
	return "the " + what + " that the kernel was started with"
}
