package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/image"
)

func (a *app) imageShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show DIR",
		Short: "List every file in a room image, its origin and digest, and check them all",
		Long: `Checks a room image against its own manifest, down to the members of its initrd and every
block of its engines' disks, and lists them with where they came from. What is said to be of a package
is compared with it if "image build" has fetched it here; of the rest the list repeats what the
manifest says. That an image is whole doesn't make it the agreed one: its measurements do
(strongroom image measure), and whoever builds it anew gets the same digests.`,
		Example: "  strongroom image show room-image",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			look, err := image.Inspect(args[0], packagesAtHand())
			if err != nil {
				return err
			}
			lock, err := image.BuiltinLock()
			if err != nil {
				return err
			}
			return a.print(look, func(w io.Writer) { showImage(w, args[0], look, lock) })
		},
	}
}

// packagesAtHand gives the packages that image build keeps in the cache. Nothing is fetched.
func packagesAtHand() func(image.Package) ([]byte, bool) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return func(image.Package) ([]byte, bool) { return nil, false }
	}
	return image.Fetcher{Cache: filepath.Join(cache, "strongroom", "packages")}.AtHand
}

func showImage(w io.Writer, dir string, l image.Look, lock image.Lock) {
	fmt.Fprintf(w, "%s: whole. Strongroom %s, Linux %s\n", dir, l.Version, l.Kernel)
	fmt.Fprintf(w, "command line: %s\n", l.Cmdline)
	fmt.Fprintf(w, "boot stub: %s\n", stubText(l))
	fmt.Fprintf(w, "\npackages\n")
	for _, p := range l.Packages {
		state := "not in this version's lock"
		if slices.Contains(lock.Packages, p) {
			state = "as this version's lock names it"
		}
		if slices.Contains(l.Compared, p.String()) {
			state += "; its files are compared with it"
		} else {
			state += "; not here, so the manifest only says which files are of it"
		}
		fmt.Fprintf(w, "  %-12s %s\n               %s, %s\n               %s\n               %s\n", p.Use, p, p.Suite, p.Path, p.SHA256, state)
	}
	fmt.Fprintf(w, "\nprograms (the manifest says: built from source)\n")
	for _, f := range l.Programs {
		fmt.Fprintf(w, "  %-32s %9s  %x  %s\n", f.Name, byteSize(f.Size), f.SHA256[:], "is "+l.Role(f.Name))
	}
	for _, part := range []struct {
		title string
		files []image.File
	}{{"files", l.Files}, {"sections of " + image.FileUKI, l.Parts}, {"in " + image.FileInitrd, l.Initrd}} {
		fmt.Fprintf(w, "\n%s\n", part.title)
		for _, f := range part.files {
			fmt.Fprintf(w, "  %-32s %9s  %x  %s\n", f.Name, byteSize(f.Size), f.SHA256[:], l.Origin(f.Origin))
		}
	}
	fmt.Fprintf(w, "  and the directories %s\n", strings.Join(image.Directories(), ", "))
	fmt.Fprintf(w, "\nengines\n")
	for _, e := range l.Engines {
		fmt.Fprintf(w, "  %s on %s: %d blocks, root %x\n    %s\n", e.Name, e.Disk, e.DataBlocks, e.Root[:], e.Digest)
	}
}

// stubText names the boot stub, and says by what.
func stubText(l image.Look) string {
	name := "unknown to this version, which can't predict what it measures"
	if l.Stub.Known != "" {
		name = l.Stub.Known + ", by its digest"
	}
	for _, p := range l.Packages {
		if p.Use == image.UseStub && slices.Contains(l.Compared, p.String()) {
			name += "; the one in " + p.String()
		}
	}
	return name + "\n  " + l.Stub.Digest
}
