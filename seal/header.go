package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
	"strongroom.dev/verdict"
)

const (
	intro      = "age-encryption.org/v1\n"
	armorIntro = "-----BEGIN AGE"
)

// ReadHeader reads a sealed file's header, at most [MaxHeader] bytes, from the file's
// start, and checks its form. It may read past the header, up to MaxHeader+1 bytes in all.
// Text armor and passphrase stanzas are refused.
func ReadHeader(src io.Reader) ([]byte, error) {
	header, _, _, err := splitHeader(src)
	return header, err
}

// splitHeader reads the header, and gives the types of its stanzas and what it read past it.
func splitHeader(src io.Reader) (header []byte, types []string, rest []byte, err error) {
	start := make([]byte, MaxHeader+1)
	n, err := io.ReadFull(src, start)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, nil, nil, readError(err)
	}
	start = start[:n]
	if header, err = cutHeader(start); err != nil {
		return nil, nil, nil, err
	}
	types, err = CheckHeader(header)
	return slices.Clip(header), types, start[len(header):], err
}

// cutHeader finds the header at the start of a file. No line of a stanza starts with "---":
// "-" is not a digit of base64.
func cutHeader(start []byte) ([]byte, error) {
	if bytes.HasPrefix(start, []byte(armorIntro)) {
		return nil, verdict.Refuse("sealed.armor", "a binary age file", "text armor", "decode it first: age -d, then seal again, or age without --armor")
	}
	if !bytes.HasPrefix(start, []byte(intro)) {
		return nil, badHeader("another kind of file", "is it an age file? its first line is age-encryption.org/v1")
	}
	footer := bytes.Index(start, []byte("\n---"))
	if footer < 0 && len(start) > MaxHeader {
		return nil, tooLong()
	}
	end := -1
	if footer >= 0 {
		end = bytes.IndexByte(start[footer+1:], '\n')
	}
	switch {
	case end < 0 && len(start) > MaxHeader, footer+1+end+1 > MaxHeader:
		return nil, tooLong()
	case end < 0:
		return nil, verdict.NotGenuine("sealed.truncated", "a whole header", "a file that ends inside it", "fetch the file again")
	}
	return start[:footer+1+end+1], nil
}

func tooLong() error {
	return verdict.Refuse("sealed.header", fmt.Sprintf("a header of at most %d bytes", MaxHeader), "a longer one", "seal to fewer recipients")
}

func badHeader(got, fix string) error {
	return verdict.NotGenuine("sealed.header", "the header of an age file", got, fix)
}

// CheckHeader checks the form of a header, alone and whole, and gives the type of each of
// its stanzas, one for every recipient the sealer chose (age itself adds none).
func CheckHeader(header []byte) (types []string, err error) {
	if err := refuseFIPS(); err != nil {
		return nil, err
	}
	whole, err := cutHeader(header)
	if err != nil {
		return nil, err
	}
	if len(whole) != len(header) {
		return nil, badHeader("bytes after it", "send the header alone")
	}
	back, err := age.ExtractHeader(bytes.NewReader(header))
	if err != nil || !bytes.Equal(back, header) {
		return nil, badHeader("one that is damaged", "fetch the file again")
	}
	for line := range strings.Lines(string(header)) {
		arguments, found := strings.CutPrefix(line, "-> ")
		if !found {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimSuffix(arguments, "\n"), " ")
		if name == "scrypt" {
			// The work factor is the sender's choice: it would spend our time, not his.
			return nil, verdict.Refuse("sealed.passphrase", "a file sealed to recipients", "one sealed with a passphrase", "seal it to a recipient age1pq1...")
		}
		types = append(types, name)
	}
	return types, nil
}

// CountStanzas gives the number of stanzas of a header: how many recipients can open the
// file, as far as anyone can tell who is none of them.
func CountStanzas(header []byte) (int, error) {
	types, err := CheckHeader(header)
	return len(types), err
}

// UnwrapHeader gets the file key out of a header, alone and whole, and checks the header's
// MAC. Whether the header is one that id ought to unwrap at all is the caller's to decide
// before (R8): this is the private-key step.
func UnwrapHeader(header []byte, id *Identity) (*FileKey, error) {
	if _, err := CheckHeader(header); err != nil {
		return nil, err
	}
	return unwrap(header, []*Identity{id})
}

// unwrap unwraps a header that was checked.
func unwrap(header []byte, ids []*Identity) (*FileKey, error) {
	var list []age.Identity
	for _, id := range ids {
		if id.age() == nil {
			return nil, noIdentity()
		}
		list = append(list, id.age())
	}
	if len(list) == 0 {
		return nil, noIdentity()
	}
	key, err := age.DecryptHeader(header, list...)
	if err != nil {
		return nil, headerError(err)
	}
	defer clear(key)
	return NewFileKey(key)
}

// checkMAC checks that key is the key of header's file.
func checkMAC(header []byte, key *FileKey) error {
	if err := key.check(); err != nil {
		return err
	}
	raw := bytes.Clone(key.secret.bytes[:])
	defer clear(raw)
	if _, err := age.DecryptHeader(header, age.NewInjectedFileKeyIdentity(raw)); err != nil {
		return headerError(err)
	}
	return nil
}

// headerError tells age's errors apart. That of a bad MAC has no type.
func headerError(err error) error {
	var nobody *age.NoIdentityMatchError
	if errors.As(err, &nobody) {
		return verdict.Refuse("sealed.recipient", "a file sealed to this identity", "one sealed to others only", "use the identity whose recipient it was sealed to")
	}
	if strings.HasSuffix(err.Error(), "bad header MAC") {
		return verdict.NotGenuine("sealed.mac", "a header that its file key authenticates", "one that was altered, or the key of another file", "fetch the file again")
	}
	return badHeader("a stanza that is malformed", "fetch the file again")
}

func readError(err error) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "sealed.read", Expected: "to read the input", Got: err.Error(), Fix: "see that it can be read to its end", Err: err}
}

func writeError(err error) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "sealed.write", Expected: "to write the output", Got: err.Error(), Fix: "see that there is space left", Err: err}
}
