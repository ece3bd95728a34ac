package image_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/image"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var day = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// archive is suites as mirrors serve them; "signed" documents say so in their first line.
type archive map[string][]byte

func (a archive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if data, found := a[r.URL.Path]; found {
		w.Write(data)
		return
	}
	http.NotFound(w, r)
}

func stanza(name, version, source string) string {
	hash := wire.HashOf([]byte(name + version))
	return fmt.Sprintf("Package: %s\nSource: %s (1.0)\nVersion: %s\nFilename: pool/main/x/%s_%s_amd64.deb\nSize: 1000\nSHA256: %x\nDescription: any\n more of it\n\n",
		name, source, version, name, version, hash[:])
}

const stubs = "systemd-boot-efi"

// goodArchive has two kernels, an unsigned newer one, and newer things of other series.
func goodArchive(t testing.TB, change func(security, main *string)) archive {
	t.Helper()
	security := stanza("linux-image-6.12.113+deb12-cloud-amd64", "6.12.113-1~deb12u1", "linux-signed-6.12-amd64") +
		stanza("linux-image-6.12.117+deb12-cloud-amd64", "6.12.117-1~deb12u1", "linux-signed-6.12-amd64") +
		stanza("linux-image-6.12.99+deb12-cloud-amd64", "6.12.99-1~deb12u1", "linux-signed-6.12-amd64") +
		stanza("linux-image-6.12.118+deb12-cloud-amd64", "6.12.118-1~deb12u1", "linux-6.12") +
		stanza("linux-image-6.12.119+deb12-cloud-amd64-unsigned", "6.12.119-1~deb12u1", "linux-6.12") +
		stanza("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2", "linux-signed-amd64") +
		stanza(stubs, "252.38-1~deb12u1", "systemd")
	main := stanza(stubs, "252.39-1~deb12u2", "systemd") + stanza(stubs, "257.1-1~bpo12+1", "systemd") +
		strings.TrimSuffix(stanza("ovmf", "2022.11-6+deb12u2", "edk2"), "\n") // the last stanza needs no empty line
	if change != nil {
		change(&security, &main)
	}
	a := archive{}
	for suite, text := range map[string]string{
		"bookworm-security": security, "bookworm": main,
		"trixie":          stanza("ovmf", "2025.02-8+deb13u1", "edk2") + stanza(stubs, "252.99-1", "systemd"), // of another release: not wanted
		"trixie-security": stanza("ovmf", "2025.02-8+deb13u2", "edk2") + stanza("ovmf", "2025.05-1", "edk2"),
		"forky":           stanza("ovmf-amdsev", "2026.08+ds-2", "edk2") + stanza("ovmf", "2025.02-9", "edk2"),
	} {
		dists := "/debian/dists/" + suite + "/"
		if strings.HasSuffix(suite, "-security") {
			dists = "/debian-security/dists/" + suite + "/"
		}
		packed := packXZ(t, []byte(text))
		hash, other := wire.HashOf(packed), wire.HashOf(nil)
		a[dists+"main/binary-amd64/Packages.xz"] = packed
		a[dists+"InRelease"] = fmt.Appendf(nil, "signed\nCodename: %s\nValid-Until: Mon, 30 Nov 2026 11:22:37 UTC\nMD5Sum:\n 00 1 main/binary-amd64/Packages.xz\nSHA256:\n %x 1 main/binary-amd64/Packages\n %x %d main/binary-amd64/Packages.xz\n",
			suite, other[:], hash[:], len(packed))
	}
	return a
}

func updater(t testing.TB, a archive) image.Updater {
	t.Helper()
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	verify := func(_ context.Context, in []byte) ([]byte, error) {
		text, signed := bytes.CutPrefix(in, []byte("signed\n"))
		if !signed {
			return nil, verdict.NotGenuine("image.archive", "a signature", "none", "")
		}
		return text, nil
	}
	return image.Updater{Client: s.Client(), Mirrors: image.MirrorsAt(s.URL), Verify: verify, Now: day}
}

func TestNewest(t *testing.T) {
	lock, err := updater(t, goodArchive(t, nil)).Newest(t.Context(), image.Lock{})
	if err != nil {
		t.Fatal(err)
	}
	for use, want := range map[string]string{
		image.UseKernel: "linux-image-6.12.117+deb12-cloud-amd64 6.12.117-1~deb12u1", image.UseStub: stubs + " 252.39-1~deb12u2", image.UseFirmware: "ovmf 2022.11-6+deb12u2", image.UseTDX: "ovmf 2025.02-8+deb13u2",
	} {
		if got := lock.Of(use); got.String() != want || got.Size != 1000 || got.SHA256 != wire.HashOf([]byte(got.Name+got.Version)) {
			t.Errorf("%s: %+v", use, got)
		}
	}
	if k := lock.Of(image.UseKernel); k.Archive != "debian-security" || k.Suite != "bookworm-security" {
		t.Errorf("%+v", k)
	}
	if again, err := updater(t, goodArchive(t, nil)).Newest(t.Context(), lock); err != nil || !bytes.Equal(again.Text(), lock.Text()) {
		t.Errorf("again: %v", err)
	}
}

func TestNewestRefuses(t *testing.T) {
	const release, index = "/debian-security/dists/bookworm-security/InRelease", "/debian-security/dists/bookworm-security/main/binary-amd64/Packages.xz"
	replace := func(path, old, new string) func(a archive) {
		return func(a archive) { a[path] = bytes.Replace(a[path], []byte(old), []byte(new), 1) }
	}
	for name, c := range map[string]struct {
		spoil func(a archive)
		kind  verdict.Kind
	}{
		"no release":       {func(a archive) { delete(a, release) }, verdict.Broken},
		"no index":         {func(a archive) { delete(a, index) }, verdict.Broken},
		"unsigned":         {replace(release, "signed\n", ""), verdict.Invalid},
		"another suite":    {replace(release, "Codename: bookworm-security", "Codename: bookworm"), verdict.Invalid},
		"no longer valid":  {replace(release, "30 Nov", "23 Nov"), verdict.Invalid},
		"until nonsense":   {replace(release, "Mon, 30 Nov 2026 11:22:37 UTC", "for ever"), verdict.Invalid},
		"index not listed": {replace(release, "\nSHA256:", "\nSHA1:"), verdict.Invalid},
		"a broken index":   {func(a archive) { a[index][20] ^= 1 }, verdict.Invalid},
		"another index": {func(a archive) {
			hash, other := wire.HashOf(a[index]), wire.HashOf(nil)
			a[release] = bytes.Replace(a[release], fmt.Appendf(nil, "%x", hash[:]), fmt.Appendf(nil, "%x", other[:]), 1)
		}, verdict.Invalid},
		"a longer index": {func(a archive) { a[index] = append(a[index], 0) }, verdict.Broken},
		"a huge index": {func(a archive) {
			a[release] = bytes.Replace(a[release], fmt.Appendf(nil, " %d main/binary-amd64/Packages.xz", len(a[index])), []byte(" 99999999999 main/binary-amd64/Packages.xz"), 1)
		}, verdict.Invalid},
		"no kernel": {func(a archive) {
			maps := goodArchive(t, func(security, _ *string) { *security = stanza(stubs, "252.38-1", "systemd") })
			for k, v := range maps {
				a[k] = v
			}
		}, verdict.Refused},
		"a kernel out of its pool": {func(a archive) {
			for k, v := range goodArchive(t, func(security, _ *string) { *security = strings.ReplaceAll(*security, "pool/main", "pool/../../main") }) {
				a[k] = v
			}
		}, verdict.Usage},
		"no digest": {func(a archive) {
			for k, v := range goodArchive(t, func(security, _ *string) { *security = strings.ReplaceAll(*security, "SHA256", "SHA512") }) {
				a[k] = v
			}
		}, verdict.Invalid},
	} {
		a := goodArchive(t, nil)
		c.spoil(a)
		if lock, err := updater(t, a).Newest(t.Context(), image.Lock{}); err == nil || verdict.As(err).Kind != c.kind {
			t.Errorf("%s: %v, %v", name, lock, err)
		}
	}
}

// TestNewestForSNP: firmware for SEV-SNP comes where it is asked for, under the same rules.
func TestNewestForSNP(t *testing.T) {
	const release, index = "/debian/dists/forky/InRelease", "/debian/dists/forky/main/binary-amd64/Packages.xz"
	a := goodArchive(t, nil)
	u := updater(t, a)
	plain, err := u.Newest(t.Context(), image.Lock{})
	if err != nil || plain.Has(image.UseSNP) {
		t.Fatalf("not asked for: %v, %v", plain.Of(image.UseSNP), err)
	}
	u.SNP = true
	lock, err := u.Newest(t.Context(), plain)
	if err != nil {
		t.Fatal(err)
	}
	if p := lock.Of(image.UseSNP); p.String() != "ovmf-amdsev 2026.08+ds-2" || p.Suite != "forky" || lock.Of(image.UseTDX) != plain.Of(image.UseTDX) {
		t.Errorf("%+v, %+v", p, lock.Of(image.UseTDX))
	}
	if again, err := image.ParseLock(lock.Text()); err != nil || again.Of(image.UseSNP) != lock.Of(image.UseSNP) {
		t.Errorf("read again: %v", err)
	}
	for name, c := range map[string]struct {
		spoil func()
		kind  verdict.Kind
	}{
		"no longer valid": {func() { a[release] = bytes.Replace(a[release], []byte("30 Nov"), []byte("06 Nov"), 1) }, verdict.Invalid},
		"unsigned":        {func() { a[release] = bytes.TrimPrefix(a[release], []byte("signed\n")) }, verdict.Invalid},
		"another index":   {func() { a[index] = bytes.Clone(a[index]); a[index][20] ^= 1 }, verdict.Invalid},
		"not there":       {func() { delete(a, release) }, verdict.Broken},
	} {
		was := [][]byte{a[release], a[index]}
		c.spoil()
		if _, err := u.Newest(t.Context(), lock); err == nil || verdict.As(err).Kind != c.kind {
			t.Errorf("%s: %v", name, err)
		}
		u.SNP = false // whoever does without it is not kept from newer kernels
		if _, err := u.Newest(t.Context(), lock); err != nil {
			t.Errorf("%s: without it: %v", name, err)
		}
		u.SNP, a[release], a[index] = true, was[0], was[1]
	}
	old := lock
	old.Packages = slices.Clone(lock.Packages)
	old.Packages[4].Version = "2026.11+ds-1"
	if _, err := u.Newest(t.Context(), old); err == nil || verdict.As(err).Kind != verdict.Refused {
		t.Errorf("goes back: %v", err)
	}
}

func TestNewestNeverGoesBack(t *testing.T) {
	u := updater(t, goodArchive(t, nil))
	old, err := u.Newest(t.Context(), image.Lock{})
	if err != nil {
		t.Fatal(err)
	}
	old.Packages[0].Version = "6.12.120-1~deb12u1"
	if _, err := u.Newest(t.Context(), old); err == nil || verdict.As(err).Kind != verdict.Refused || !strings.Contains(err.Error(), "6.12.117") {
		t.Error(err)
	}
}

func TestNewestNeedsItsMeans(t *testing.T) {
	u := updater(t, goodArchive(t, nil))
	u.Verify = nil
	if _, err := u.Newest(t.Context(), image.Lock{}); err == nil || verdict.As(err).Kind != verdict.Refused {
		t.Errorf("without a check of signatures: %v", err)
	}
	u = updater(t, goodArchive(t, nil))
	u.Mirrors = nil
	if _, err := u.Newest(t.Context(), image.Lock{}); err == nil || verdict.As(err).Kind != verdict.Usage {
		t.Errorf("without a mirror: %v", err)
	}
}

// TestGpgv has a document signed with a key of these tests.
func TestGpgv(t *testing.T) {
	if _, err := exec.LookPath("gpgv"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no gpgv here: scripts/setup test installs it")
		}
		t.Skip("no gpgv here: scripts/setup test installs it")
	}
	signed, err := os.ReadFile("testdata/InRelease")
	if err != nil {
		t.Fatal(err)
	}
	good := image.Gpgv{Keyring: "testdata/archive.gpg"}
	got, err := good.Verify(t.Context(), append([]byte("Codename: sid\n\n"), signed...))
	if err != nil || !strings.HasPrefix(string(got), "Codename: bookworm\n") || strings.Contains(string(got), "sid") {
		t.Errorf("%q, %v", got, err)
	}
	for name, c := range map[string]struct {
		g    image.Gpgv
		in   []byte
		kind verdict.Kind
	}{
		"changed":     {good, bytes.Replace(signed, []byte("bookworm"), []byte("trixie"), 1), verdict.Invalid},
		"unsigned":    {good, []byte("Codename: bookworm\n"), verdict.Invalid},
		"nothing":     {good, nil, verdict.Invalid},
		"no keys":     {image.Gpgv{}, signed, verdict.Usage},
		"lost keys":   {image.Gpgv{Keyring: "testdata/lost.gpg"}, signed, verdict.Usage},
		"other bytes": {image.Gpgv{Keyring: "testdata/InRelease"}, signed, verdict.Invalid},
	} {
		if got, err := c.g.Verify(t.Context(), c.in); err == nil || verdict.As(err).Kind != c.kind {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestNewestWithoutSNP: who can't have an index that is for SEV-SNP alone is told the way without,
// and nobody else is.
func TestNewestWithoutSNP(t *testing.T) {
	for suite, says := range map[string]bool{"forky": true, "bookworm": false} {
		a := goodArchive(t, nil)
		release := "/debian/dists/" + suite + "/InRelease"
		a[release] = bytes.Replace(a[release], []byte("30 Nov 2026"), []byte("20 Nov 2026"), 1)
		u := updater(t, a)
		u.SNP = true
		_, err := u.Newest(t.Context(), image.Lock{})
		if e := verdict.As(err); e.Check != "image.archive" || e.Kind != verdict.Invalid || strings.Contains(e.Fix, "--firmware") != says || !strings.Contains(e.Fix, "--mirror") {
			t.Errorf("%s: %v", suite, err)
		}
	}
}
