package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/erofs"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container"
	"strongroom.dev/workload/container/oci"
)

// The files that `container prepare` writes.
const (
	diskFile    = "image.disk"
	sectionFile = "container.yaml"
	recordFile  = "image.json"
)

// slowImage is the size in bytes of layers from which people may wonder what takes so long.
const slowImage = 64 << 20

// preparing is one call of `container prepare`.
type preparing struct {
	image, out, platform, cosignKey, user, sealed, cache string
	writable                                             []string
	arguments                                            []string
	dryRun, force                                        bool
}

// prepared is what came of an image: image.json.
type prepared struct {
	Reference string     `json:"reference"`
	Resolved  string     `json:"resolved_tag,omitempty"`
	Manifest  wire.Hash  `json:"manifest"`
	Config    wire.Hash  `json:"config"`
	Platform  string     `json:"platform"`
	Signed    bool       `json:"cosign_verified"`
	Layers    int        `json:"layers"`
	Packed    int64      `json:"packed_bytes"`
	Disk      *oci.Disk  `json:"disk,omitempty"`
	Notes     []oci.Note `json:"notes"`
	Directory string     `json:"directory,omitempty"`
}

func (a *app) containerPrepare() *cobra.Command {
	var p preparing
	cmd := &cobra.Command{
		Use:   "prepare IMAGE -o DIR [-- ARGUMENT...]",
		Short: "Make a disk and an agreement's section of an image",
		Long: `Gets an image from a registry, an OCI layout (oci:DIR[:TAG]) or an archive of docker save
(docker-archive:FILE[:TAG]), checks every digest, lays its layers over each other, and writes

  DIR/image.disk      a read-only file system with the hash tree by which rooms check it
  DIR/container.yaml  the agreement's section: what runs, as whom, with which variables, places
                      to write to and ports, as the image says
  DIR/image.json      what it was, and what of it a room does not have

The same image gives the same disk everywhere. A tag may be named here; what is pinned is the
digest that it stands for today. Arguments behind -- take the place of the image's own.

To keep the image's code secret, name an input with --sealed and seal the disk as that
input's dataset: strongroom dataset publish DIR/image.disk --dataset NAME --format disk.`,
		Example: `  strongroom container prepare registry.example/shop/web:1.4 -o web
  strongroom container prepare oci:layout:latest -o web --writable /var/cache
  strongroom container prepare registry.example/shop/web:1.4 -o web --cosign-key cosign.pub
  strongroom container prepare registry.example/python@sha256:... -o job -- python3 /job/train.py`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); len(args) > 1 && dash != 1 {
				return verdict.Misuse("command line", "one image, and arguments behind --", verdict.Short(args[1]), "strongroom container prepare IMAGE -o DIR -- ARGUMENT...")
			}
			p.image, p.arguments = args[0], args[1:]
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return a.prepareContainer(ctx, p)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&p.out, "out", "o", "", "`DIR` to write to")
	f.StringVar(&p.platform, "platform", "", "linux/ARCHITECTURE of the image (default: this machine's)")
	f.StringVar(&p.cosignKey, "cosign-key", "", "public key `FILE` (PEM) by which cosign must have signed the image")
	f.StringVar(&p.user, "user", "", "`USER[:GROUP]` in place of the image's")
	f.StringArrayVar(&p.writable, "writable", nil, "`PATH` of a further directory that becomes memory to write to (repeat)")
	f.StringVar(&p.sealed, "sealed", "", "`INPUT` that will hold the disk, sealed")
	f.StringVar(&p.cache, "cache", "", "`DIR` for what is fetched (default: the user's cache)")
	f.BoolVar(&p.force, "force", false, "replace what an earlier prepare wrote into DIR, container.yaml and your changes to it included")
	f.BoolVar(&p.dryRun, "dry-run", false, "say what the image is; fetch no layer, write nothing")
	return cmd
}

func (a *app) prepareContainer(ctx context.Context, p preparing) error {
	if p.out == "" && !p.dryRun {
		return verdict.Misuse("--out", "a directory to write to", "none", "give -o DIR")
	}
	if !p.dryRun {
		if err := mayWrite(p.out, p.force); err != nil {
			return err
		}
	}
	src, err := a.imageSource(p)
	if err != nil {
		return err
	}
	img, err := oci.Open(ctx, src)
	if err != nil {
		return err
	}
	defer img.Close()
	found := prepared{Reference: img.Reference, Resolved: img.Resolved, Manifest: img.Manifest, Config: img.ConfigDigest, Platform: src.Platform.String(), Signed: img.Signed,
		Layers: img.Layers(), Packed: img.Packed(), Notes: []oci.Note{}}
	if p.dryRun {
		return a.print(found, func(w io.Writer) { printPrepared(w, found) })
	}
	if err := a.writePrepared(ctx, p, img, &found); err != nil {
		return err
	}
	return a.print(found, func(w io.Writer) { printPrepared(w, found) })
}

// imageSource reads the flags.
func (a *app) imageSource(p preparing) (src oci.Source, err error) {
	src = oci.Source{Name: p.image, Limits: oci.Ordinary(), Cache: p.cache}
	if src.Platform, err = oci.ParsePlatform(p.platform); err != nil {
		return src, err
	}
	if p.sealed != "" && !wire.ID(p.sealed).Valid() {
		return src, verdict.Misuse("--sealed", "an input's name: a-z, 0-9 and -", verdict.Short(p.sealed), "choose such a name")
	}
	if p.cosignKey != "" {
		if src.CosignKey, err = os.ReadFile(p.cosignKey); err != nil {
			return src, verdict.Misuse("--cosign-key", "a file with a public key", err.Error(), "name cosign.pub")
		}
	}
	if src.Cache == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return src, verdict.Misuse("--cache", "a directory for what is fetched", err.Error(), "give --cache DIR")
		}
		src.Cache = filepath.Join(cache, "strongroom", "oci")
	}
	src.Progress = a.fetching()
	return src, nil
}

// fetching tells of an image's parts as they come: a bar for each on a terminal, and a line for
// each that is whole.
func (a *app) fetching() func(part string, done, total int64) {
	var bar *progress
	last := ""
	return func(part string, done, total int64) {
		if part != last {
			last, bar = part, a.newProgress("fetching "+verdict.Short(part), total)
		}
		bar.set(done)
		if done == total {
			bar.end()
			a.say("  fetched %s, %s", verdict.Short(part), byteSize(total))
		}
	}
}

// writePrepared writes the three files, all of them or none.
func (a *app) writePrepared(ctx context.Context, p preparing, img *oci.Image, found *prepared) error {
	dir, err := os.MkdirTemp(filepath.Dir(filepath.Clean(p.out)), ".strongroom-*")
	if err != nil {
		return verdict.Misuse("--out", "a directory to write to", err.Error(), "choose another")
	}
	defer os.RemoveAll(dir)
	if img.Packed() > slowImage {
		a.say("laying %d layers over each other", img.Layers())
	}
	tree, err := img.Flatten(ctx, dir)
	if err != nil {
		return err
	}
	defer tree.Close()
	section, notes, err := tree.Section(img, oci.Choice{Arguments: p.arguments, User: p.user, Writable: p.writable, Sealed: wire.ID(p.sealed)})
	if err != nil {
		return err
	}
	found.Notes = append(append(found.Notes, tree.Notes...), notes...)
	if err := mayUnpack(found, tree.Entries(), p.sealed != ""); err != nil {
		return err
	}
	disk, err := writeDisk(filepath.Join(dir, diskFile), tree, img.Manifest)
	if err != nil {
		return err
	}
	section.Image.Disk = disk.VerityDisk
	found.Disk, found.Directory = &disk, p.out
	record, err := json.MarshalIndent(found, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, recordFile), append(record, '\n'), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, sectionFile), []byte(sectionText(section)), 0o644); err != nil {
		return err
	}
	return movePrepared(dir, p.out)
}

// mayUnpack refuses an image that no room could run sealed, and notes one that runs only where
// the kernel mounts its disk.
func mayUnpack(found *prepared, entries []erofs.Entry, sealed bool) error {
	var size int64
	for _, e := range entries {
		if e.Link == "" {
			size += e.Size
		}
	}
	if size <= container.MaxUnpacked {
		return nil
	}
	got := fmt.Sprintf("%.1f GiB of files", float64(size)/(1<<30))
	if sealed {
		return verdict.Refuse("container.size", fmt.Sprintf("at most %d GiB in a sealed image, which rooms unpack into memory", container.MaxUnpacked>>30), got,
			"put what is large and no secret into a disk of its own: strongroom container disk")
	}
	found.Notes = append(found.Notes, oci.Note{Path: "/", Text: got + ": it runs in virtual machines alone; elsewhere (dev) rooms unpack images into memory, at most " + fmt.Sprintf("%d GiB", container.MaxUnpacked>>30)})
	return nil
}

func sectionText(c agreement.Container) string {
	return "# What runs, word for word. Read it, say who may connect (ports), and put it into an agreement:\n# strongroom agreement init --container DIR\n" + draft.Container(c)
}

func writeDisk(path string, tree *oci.Tree, manifest wire.Hash) (d oci.Disk, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return d, err
	}
	if d, err = oci.WriteDisk(f, tree.Entries(), manifest); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return d, err
}

// mayWrite refuses a directory with other files in it, and one that was prepared before: people
// write into container.yaml.
func mayWrite(dir string, force bool) error {
	list, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return verdict.Misuse("--out", "a directory to write to", err.Error(), "choose another")
	}
	for _, e := range list {
		if name := e.Name(); name != diskFile && name != sectionFile && name != recordFile {
			return verdict.Misuse("--out", "a new directory, or one that container prepare wrote", verdict.Short(filepath.Join(dir, name)), "choose another")
		}
		if !force {
			return verdict.Misuse("--out", "a new directory", verdict.Short(filepath.Join(dir, e.Name()))+", of an earlier prepare", "choose another, or add --force to replace its files")
		}
	}
	return nil
}

func movePrepared(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return verdict.Misuse("--out", "a directory to write to", err.Error(), "choose another")
	}
	for _, name := range []string{diskFile, recordFile, sectionFile} {
		if err := os.Rename(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}

func printPrepared(w io.Writer, p prepared) {
	fmt.Fprintf(w, "%s\n", verdict.Printable(p.Reference))
	if p.Resolved != "" {
		fmt.Fprintf(w, "  found by the tag %s, which may stand for another image tomorrow\n", verdict.Printable(p.Resolved))
	}
	signed := "not asked for (--cosign-key)"
	if p.Signed {
		signed = "good, by the key given"
	}
	fmt.Fprintf(w, "  platform   %s\n  manifest   %s\n  signature  %s\n  layers     %d, %.1f MB packed\n", verdict.Printable(p.Platform), p.Manifest, signed, p.Layers, float64(p.Packed)/1e6)
	if p.Disk == nil {
		return
	}
	fmt.Fprintf(w, "  disk       %.1f MB, %d entries, root %s\n", float64(p.Disk.Size)/1e6, p.Disk.Files, p.Disk.Root)
	const most = 20
	for i, n := range p.Notes {
		if i == most {
			fmt.Fprintf(w, "  and %d more, in %s\n", len(p.Notes)-most, recordFile)
			break
		}
		fmt.Fprintf(w, "  note       %s %s\n", verdict.Printable(verdict.Short(n.Path)), verdict.Printable(n.Text))
	}
	fmt.Fprintf(w, "\nNext: read %s, then strongroom agreement init --container %s\n", filepath.Join(p.Directory, sectionFile), shellWord(p.Directory))
}
