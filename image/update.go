package image

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Updater finds the newest packages that rooms can be built of, in indexes that Debian signs.
type Updater struct {
	Client *http.Client
	// Mirrors are base addresses by archive; see [Mirrors].
	Mirrors map[string]string
	// Verify checks the signature of a suite's InRelease and gives the text that was signed;
	// see [Gpgv]. Nil refuses.
	Verify func(ctx context.Context, inRelease []byte) ([]byte, error)
	// Now is compared with the end of an index's validity, where it has one.
	Now time.Time
	// SNP asks for firmware for SEV-SNP too, which is in the release that Debian prepares and in
	// no stable one: packages there are replaced often, and no security team sees to them.
	SNP bool
}

// Limits of a suite's indexes, in bytes: they have some 200 kB, and 10 MB packed.
const (
	maxRelease = 4 << 20
	maxIndex   = 64 << 20
)

// wish is a package to look for.
type wish struct {
	use    string
	name   *regexp.Regexp
	source string // of the source package, whose name tells a signed kernel from an unsigned one
	// version is how it must start: rules of measurement belong to a series of versions.
	version string
	suites  []suite
}

// wishes are in the order of a lock. A launch digest follows from any firmware's bytes, so that
// for SEV-SNP is of any version.
func (u Updater) wishes() []wish {
	old := []suite{{"debian", "bookworm"}, {"debian-security", "bookworm-security"}}
	stable := []suite{{"debian", "trixie"}, {"debian-security", "trixie-security"}}
	all := []wish{
		{UseKernel, regexp.MustCompile(`^linux-image-6\.12\.[0-9]+\+deb12-cloud-amd64$`), "linux-signed-6.12-amd64", "6.12.", old},
		{UseStub, regexp.MustCompile(`^systemd-boot-efi$`), "systemd", "252.", old},
		{UseFirmware, regexp.MustCompile(`^ovmf$`), "edk2", "2022.11-", old},
		{UseTDX, regexp.MustCompile(`^ovmf$`), "edk2", "2025.02-", stable},
	}
	if u.SNP {
		all = append(all, wish{UseSNP, regexp.MustCompile(`^ovmf-amdsev$`), "edk2", "", []suite{{"debian", "forky"}}})
	}
	return all
}

// mended says of an index that is needed for SEV-SNP alone that there is a way without.
func (w wish) mended(err error) error {
	var e *verdict.Error
	if w.use != UseSNP || !errors.As(err, &e) {
		return err
	}
	m := *e
	m.Fix += "; or leave --snp out (--snp=false) and name firmware of your own: --firmware, which image measure, run and host serve take"
	return &m
}

// suite is one index of an archive.
type suite struct{ archive, name string }

// Newest gives a lock of the newest packages. It never goes back behind the versions of old:
// a mirror that only has older ones is refused, since it may be kept from updating by
// somebody who likes the old ones.
func (u Updater) Newest(ctx context.Context, old Lock) (Lock, error) {
	best, searched := map[string]Package{}, map[suite]bool{}
	for _, w := range u.wishes() {
		for _, s := range w.suites {
			if searched[s] {
				continue
			}
			if err := u.search(ctx, s, best); err != nil {
				return Lock{}, w.mended(err)
			}
			searched[s] = true
		}
	}
	lock := Lock{Format: LockFormat}
	for _, w := range u.wishes() {
		p, found := best[w.use]
		if !found {
			return Lock{}, behind("a package for "+w.use+" in Debian's indexes: "+w.name.String()+", version "+w.version+"…", "none")
		}
		if was := old.Of(w.use); was.Name != "" && compareVersions(p.Version, was.Version) < 0 {
			return Lock{}, behind("a version of "+was.Name+" no older than "+was.Version, p.Version)
		}
		lock.Packages = append(lock.Packages, p)
	}
	return lock, lock.check()
}

// search looks through one suite and keeps the newest package for each use.
func (u Updater) search(ctx context.Context, s suite, best map[string]Package) error {
	base := strings.TrimRight(u.Mirrors[s.archive], "/")
	if base == "" {
		return verdict.Misuse("--mirror", "the address of a mirror of "+s.archive, "none, and none in this machine's apt sources", "--mirror URL, where URL/debian and URL/debian-security are")
	}
	dists := base + "/dists/" + s.name + "/"
	inRelease, err := u.get(ctx, dists+"InRelease", maxRelease)
	if err != nil {
		return err
	}
	if u.Verify == nil {
		return verdict.Refuse("image.archive", "a way to check Debian's signature", "none", "name one")
	}
	text, err := u.Verify(ctx, inRelease)
	if err != nil {
		return err
	}
	const index = "main/binary-amd64/Packages.xz"
	size, hash, err := releaseEntry(text, s.name, index, u.Now)
	if err != nil {
		return err
	}
	packed, err := u.get(ctx, dists+index, size)
	if err != nil {
		return err
	}
	if int64(len(packed)) != size || wire.HashOf(packed) != hash {
		return verdict.NotGenuine("image.archive", "the index that "+s.name+"'s signed InRelease names", "another one", "the mirror may be changing right now: try again, or give another with --mirror")
	}
	r, err := decompress(".xz", bytes.NewReader(packed))
	if err != nil {
		return err
	}
	var wishes []wish
	for _, w := range u.wishes() {
		if slices.Contains(w.suites, s) {
			wishes = append(wishes, w)
		}
	}
	return readIndex(r, func(fields map[string]string) error { return offer(fields, s, wishes, best) })
}

func (u Updater) get(ctx context.Context, url string, most int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, verdict.Misuse("--mirror", "the address of a mirror", verdict.Short(err.Error()), "http://HOST/…")
	}
	unreachable := func(got string, err error) error {
		return &verdict.Error{Kind: verdict.Broken, Check: "image.fetch", Expected: url, Got: got, Fix: "try again, or give another mirror with --mirror", Err: err}
	}
	resp, err := u.Client.Do(req)
	if err != nil {
		return nil, unreachable(verdict.Short(err.Error()), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, unreachable(resp.Status, nil)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err == nil && int64(len(data)) > most {
		return nil, unreachable(fmt.Sprintf("more than %d bytes", most), nil)
	}
	if err != nil {
		return nil, unreachable(verdict.Short(err.Error()), err)
	}
	return data, nil
}

// releaseEntry reads what a signed Release file says of one index: its size and digest. The
// file must be of this suite and still valid, or an old one could be replayed for ever.
func releaseEntry(text []byte, suite, index string, now time.Time) (size int64, hash wire.Hash, err error) {
	bad := func(expected, got string) (int64, wire.Hash, error) {
		return 0, hash, verdict.NotGenuine("image.archive", expected, got, "give another mirror with --mirror")
	}
	fields := fieldsOf(string(text))
	if fields["codename"] != suite {
		return bad("the index of "+suite, verdict.Short(fields["codename"]))
	}
	if until := fields["valid-until"]; until != "" {
		end, err := time.Parse("Mon, 2 Jan 2006 15:04:05 MST", until)
		if err != nil || now.After(end) {
			return bad("an index of "+suite+" that is still valid", "one valid until "+verdict.Short(until))
		}
	}
	for line := range strings.Lines(fields["sha256"]) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != index {
			continue
		}
		size, err := strconv.ParseInt(f[1], 10, 64)
		hash, herr := wire.ParseHash("sha256:" + f[0])
		if err != nil || herr != nil || size < 1 || size > maxIndex {
			return bad("size and SHA-256 of "+index, verdict.Short(line))
		}
		return size, hash, nil
	}
	return bad("the index "+index+" in "+suite, "none")
}

// readIndex calls each for every package of an index: stanzas of fields between empty lines.
func readIndex(r io.Reader, each func(map[string]string) error) error {
	lines := bufio.NewScanner(io.LimitReader(r, maxUnpacked))
	lines.Buffer(nil, 1<<20)
	var stanza strings.Builder
	flush := func() error {
		defer stanza.Reset()
		if stanza.Len() == 0 {
			return nil
		}
		return each(fieldsOf(stanza.String()))
	}
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			if err := flush(); err != nil {
				return err
			}
			continue
		}
		stanza.Write(lines.Bytes())
		stanza.WriteByte('\n')
	}
	if err := lines.Err(); err != nil {
		return verdict.NotGenuine("image.archive", "an index of packages", verdict.Short(err.Error()), "give another mirror with --mirror")
	}
	return flush()
}

// offer takes a package of an index if it is wished for and newer than the best so far.
func offer(fields map[string]string, s suite, wishes []wish, best map[string]Package) error {
	for _, w := range wishes {
		source, _, _ := strings.Cut(fields["source"], " ")
		if source == "" {
			source = fields["package"]
		}
		if !w.name.MatchString(fields["package"]) || source != w.source || !strings.HasPrefix(fields["version"], w.version) {
			continue
		}
		size, err := strconv.ParseInt(fields["size"], 10, 64)
		hash, herr := wire.ParseHash("sha256:" + fields["sha256"])
		if err != nil || herr != nil {
			return verdict.NotGenuine("image.archive", "size and SHA-256 of "+fields["package"], "none", "give another mirror with --mirror")
		}
		p := Package{Use: w.use, Name: fields["package"], Version: fields["version"], Archive: s.archive, Suite: s.name, Path: fields["filename"], Size: size, SHA256: hash}
		if was, found := best[w.use]; !found || compareVersions(p.Version, was.Version) > 0 {
			best[w.use] = p
		}
	}
	return nil
}

func behind(expected, got string) error {
	return verdict.Refuse("image.archive", expected, got, "this mirror is behind: give another with --mirror")
}
