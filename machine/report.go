package machine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"strongroom.dev/attest"
	"strongroom.dev/device"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

const (
	maxBlob  = 256 << 10 // of a file of configfs-tsm: quotes have 8 KiB, certificate tables 16
	attempts = 3         // at a report that nobody else disturbs
)

// report is an entry of configfs-tsm, through which the kernel asks processors for evidence.
type report string

func newReport(root string) report { return report(filepath.Join(root, reports, "strongroom")) }

// use makes the entry for as long as f runs. In a tree of files made for a test it is there.
func (r report) use(f func() error) error {
	if err := os.Mkdir(string(r), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	defer os.Remove(string(r)) // an entry that stays is in nobody's way
	return f()
}

// provider names the kernel's driver.
func (r report) provider() (name string, err error) {
	err = r.use(func() error {
		name, err = r.line("provider")
		return err
	})
	return name, err
}

func (r report) line(name string) (string, error) {
	data, err := readAll(filepath.Join(string(r), name), maxBlob)
	return strings.TrimSuffix(string(data), "\n"), err
}

// blobs gives the processor's evidence for report data, and what the host gave beside it. The
// kernel counts what is written to the entry: blobs are those of this report data only if the
// count is the same before and after reading them.
func (r report) blobs(data [64]byte) (out, aux []byte, err error) {
	err = r.use(func() error {
		for range attempts {
			var same bool
			if out, aux, same, err = r.once(data); err != nil || same {
				return err
			}
		}
		return fmt.Errorf("somebody else writes to /%s", reports)
	})
	return out, aux, err
}

func (r report) once(data [64]byte) (out, aux []byte, same bool, err error) {
	if err := os.WriteFile(filepath.Join(string(r), "inblob"), data[:], 0o200); err != nil {
		return nil, nil, false, err
	}
	before, err := r.line("generation")
	if err != nil {
		return nil, nil, false, err
	}
	if out, err = readAll(filepath.Join(string(r), "outblob"), maxBlob); err != nil {
		return nil, nil, false, err
	}
	aux, err = readAll(filepath.Join(string(r), "auxblob"), maxBlob)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // TDX has none
		return nil, nil, false, err
	}
	after, err := r.line("generation")
	return out, aux, before == after, err
}

// processor is the evidence device of SEV-SNP and TDX.
type processor struct {
	found  Found
	report report
	log    []byte // of what the firmware measured, on TDX; empty if it shows none
}

// ccel is the firmware's log on TDX, where the kernel shows it (ACPI 6.5, CCEL).
const ccel = "sys/firmware/acpi/tables/data/CCEL"

// Processor gives the evidence device of SEV-SNP or TDX, by what the kernel shows below root ("/").
func Processor(root string, found Found) (device.Device, error) { return newProcessor(root, found) }

func newProcessor(root string, found Found) (processor, error) {
	p := processor{found: found, report: newReport(root)}
	if found.Platform != TDX {
		return p, nil
	}
	var err error
	if p.log, err = readAll(filepath.Join(root, ccel), maxLog); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return p, err
}

// layout says where fields are in evidence: of a report on SEV-SNP (ABI specification,
// table 23), of a quote of version 4 or 5 on TDX (DCAP quote format).
type layout struct{ initData, size, reportData int }

func (p processor) layout(evidence []byte) (layout, error) {
	if p.found.Platform == SNP {
		return layout{initData: 0xc0, size: 32, reportData: 0x50}, nil
	}
	const header, typed = 48, 6
	if len(evidence) < header {
		return layout{}, fmt.Errorf("a quote of %d bytes", len(evidence))
	}
	body := header
	switch version := binary.LittleEndian.Uint16(evidence); version {
	case 4:
	case 5:
		body += typed
	default:
		return layout{}, fmt.Errorf("a quote of version %d", version)
	}
	return layout{initData: body + 184, size: 48, reportData: body + 520}, nil
}

// Begin implements [device.Device]: it refuses an agreement that the host did not start this
// machine for, by the field that it set then.
func (p processor) Begin(_ context.Context, long wire.Digest, short wire.Hash) (device.Introduction, error) {
	out, _, err := p.evidence([64]byte{})
	if err != nil {
		return device.Introduction{}, err
	}
	l, err := p.layout(out)
	if err != nil {
		return device.Introduction{}, err
	}
	want := long[:]
	if p.found.Platform == SNP {
		want = short[:]
	}
	if got := out[l.initData : l.initData+l.size]; !bytes.Equal(got, want) {
		return device.Introduction{}, verdict.Refuse("machine.init_data", fmt.Sprintf("init data %x of the agreement", want), fmt.Sprintf("%x", got), "start a machine for this agreement: its hash is set when the machine starts")
	}
	return device.Introduction{Platform: p.found.Platform, Why: p.found.Why}, nil
}

// evidence gets evidence, and checks that it is whole and about this report data.
func (p processor) evidence(data [64]byte) (out, aux []byte, err error) {
	if out, aux, err = p.report.blobs(data); err != nil {
		return nil, nil, fmt.Errorf("asking the processor for evidence: %w", err)
	}
	l, err := p.layout(out)
	if err != nil {
		return nil, nil, err
	}
	if len(out) < max(l.initData+l.size, l.reportData+len(data)) || !bytes.Equal(out[l.reportData:l.reportData+len(data)], data[:]) {
		return nil, nil, fmt.Errorf("evidence of %d bytes with other report data", len(out))
	}
	return out, aux, nil
}

// Attest implements [device.Device]. A report of SEV-SNP has the host's certificate table
// behind it, a quote of TDX the firmware's log beside it: a lie in them makes the evidence
// worthless, and nothing else.
func (p processor) Attest(_ context.Context, data [64]byte, record []byte) (attest.Evidence, error) {
	if len(record) > 0 {
		return attest.Evidence{}, keyless(p.found.Platform)
	}
	out, aux, err := p.evidence(data)
	if err != nil {
		return attest.Evidence{}, err
	}
	switch {
	case p.found.Platform == SNP:
		out = append(out, aux...)
	case len(p.log) > 0:
		out, err = wire.Marshal(logged{p.log, out})
	}
	return attest.Evidence{Platform: p.found.Platform, Evidence: out}, err
}

// logged is a quote with a log beside it, in the form of Confidential Containers' Trustee,
// which attest/tdx reads.
type logged struct {
	Log   wire.Bytes `json:"cc_eventlog"`
	Quote wire.Bytes `json:"quote"`
}

// Ingress implements [device.Device]: no register tells it from other evidence, its report data does.
func (p processor) Ingress(ctx context.Context, c device.Connection) (attest.Evidence, error) {
	return p.Attest(ctx, c.Binding().ReportData(), c.Record)
}

// Activate implements [device.Device].
func (p processor) Activate(context.Context, []byte, []byte) ([]byte, error) {
	return nil, keyless(p.found.Platform)
}

func keyless(platform wire.ID) error {
	return verdict.Refuse("device.key", "a device with a key that somebody vouches for", "platform "+string(platform), "a defect in the agent: report it")
}

// Separate implements [device.Device]. Neither platform has a register that this kernel lets
// a guest extend; that none follows but for ingress is kept by [device.Serve], and by this process,
// which alone reaches the device.
func (p processor) Separate(context.Context, wire.Digest) error { return nil }
