package predict

import (
	"encoding/hex"
	"fmt"

	"strongroom.dev/measure"
)

// The parts of an image that events are of, in [measure.Expected]'s File: what reads the files puts
// their names in place of these.
const (
	PartFirmware = "firmware"
	PartImage    = "image"  // the unified kernel image
	PartKernel   = "kernel" // the kernel in it
	PartLine     = "line"   // its command line
	PartInitrd   = "initrd" // its initial RAM disk
)

// Events gives the events that [TPM.PCRs] are computed from, one by one, of the SHA-256 bank: all of
// each PCR that it names. The firmware's early code and its version, where that is not known, have
// no digest. Only a unified kernel image has them. Errors are a [verdict.Error] of kind Usage.
func (t TPM) Events() ([]measure.Expected, error) {
	v, err := t.PCRs()
	if err != nil {
		return nil, err
	}
	b, err := booting(t.Boot)
	if err != nil {
		return nil, err
	}
	w := writer{bank: measure.SHA256}
	w.known(0, v.Values["firmware.version"], "the firmware's version", PartFirmware)
	w.known(0, "", "the firmware's early code", PartFirmware)
	w.known(0, v.Values[fmt.Sprintf("firmware.%x", driversBase)], "the firmware you named: its drivers, which start everything else", PartFirmware)
	w.data(0, separator(), firmwareEnd, "")
	for _, pcr := range []uint32{2, 3, 6} {
		w.data(pcr, separator(), firmwareEnd, "")
	}
	w.digest(4, b.kernel, kernelWords(b), PartImage)
	w.data(4, []byte(callingApplication), "the firmware starts it", "")
	w.data(4, separator(), firmwareEnd, "")
	w.digest(4, b.inner, innerWords, PartKernel)
	w.data(5, separator(), firmwareEnd, "")
	w.data(5, []byte(exitInvoked), "the kernel takes over from the firmware", "")
	w.data(5, []byte(exitDone), "it has taken over", "")
	for i, name := range []string{"SecureBoot: off", "PK: no key", "KEK: no key", "db: no key", "dbx: nothing revoked"} {
		w.data(7, noSecureBoot([]byte{0})[i], "the firmware's variable "+name, "")
	}
	w.data(7, separator(), firmwareEnd, "")
	w.stub(b)
	return w.all, nil
}

// DiskEvents gives the events that [DiskPCRs] are computed from, as [TPM.Events] does.
func DiskEvents(image []byte) ([]measure.Expected, error) {
	if _, err := DiskPCRs(image); err != nil {
		return nil, err
	}
	b, err := booting(&DirectBoot{Kernel: image})
	if err != nil {
		return nil, err
	}
	w := writer{bank: measure.SHA256}
	w.data(4, []byte(callingApplication), "the firmware starts what it boots", "")
	w.data(4, separator(), firmwareEnd, "")
	w.digest(4, b.kernel, kernelWords(b), PartImage)
	w.digest(4, b.inner, innerWords, PartKernel)
	w.stub(b)
	return w.all, nil
}

// booting works out what is measured of a unified kernel image.
func booting(d *DirectBoot) (booted, error) {
	b, err := boots(d, 0, measure.SHA256)
	if err == nil && b.uki == nil {
		err = badProgram("a bare kernel, of which no single events are known")
	}
	return b, err
}

const (
	firmwareEnd = "end of the firmware's own measurements"
	innerWords  = "the kernel in it, started by its stub, by its Authenticode digest"
)

func kernelWords(b booted) string {
	return "the kernel image you built, with the boot stub of " + b.uki.stub.name + ", by its Authenticode digest"
}

// writer writes down events.
type writer struct {
	bank measure.Algorithm
	all  []measure.Expected
}

func (w *writer) known(pcr uint32, digest, words, part string) {
	w.all = append(w.all, measure.Expected{Register: pcr, Digest: digest, Words: words, File: part})
}

func (w *writer) digest(pcr uint32, digest []byte, words, part string) {
	w.known(pcr, hex.EncodeToString(digest), words, part)
}

// data is an event whose digest is the hash of data.
func (w *writer) data(pcr uint32, data []byte, words, part string) {
	w.digest(pcr, w.bank.Sum(data), words, part)
}

// stub writes what boot stub and kernel measure of the image.
func (w *writer) stub(b booted) {
	w.data(9, b.line, "the command line that the kernel was started with: that of the image you built", PartLine)
	w.data(9, b.initrd, "the initial RAM disk that it was started with: that of the image you built, and nothing beside it", PartInitrd)
	for _, name := range b.uki.stub.measured {
		data := b.uki.parts[name]
		if data == nil {
			continue
		}
		what, part := "a part of the image you built", PartImage
		switch name {
		case sectionLinux:
			what, part = "the kernel image you built", PartKernel
		case sectionCommand:
			what, part = "the command line of the image you built", PartLine
		case sectionInitrd:
			what, part = "the initial RAM disk of the image you built: the agent and its modules", PartInitrd
		case sectionOSRel:
			what = "the name of the system"
		}
		w.data(11, append([]byte(name), 0), name+" section: its name", PartImage)
		w.data(11, data, name+" section: "+what, part)
	}
}
