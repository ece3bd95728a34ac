package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/container/oci"
)

// dataDisk is what `container disk` wrote.
type dataDisk struct {
	oci.Disk
	File string `json:"file"`
}

func (a *app) containerDisk() *cobra.Command {
	var out, owner string
	var force bool
	cmd := &cobra.Command{
		Use:   "disk DIR -o FILE",
		Short: "Make a read-only disk of a directory, for a mount of kind data",
		Long: `Writes the files of a directory as a disk that rooms check block by block against the root in
the agreement: models, reference data, anything large that is no secret and never changes. The
same files give the same disk everywhere: owners, times and all permissions but "may be
executed" are left out. Symbolic links stay links. It prints the mount for the agreement.

A disk of kind data is not encrypted: the host reads it. What is secret is sealed: an image
(container prepare --sealed), or a file (dataset publish --format file).`,
		Example: `  strongroom container disk models -o models.disk
  strongroom run job.json --work job --disk image=job/image.disk --disk /models=models.disk`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.makeDisk(args[0], out, owner, force) },
	}
	f := cmd.Flags()
	f.StringVarP(&out, "out", "o", "", "`FILE` to write")
	f.StringVar(&owner, "owner", "0:0", "`UID:GID` that everything belongs to, as the container sees it")
	f.BoolVar(&force, "force", false, "replace the file if it is there")
	return cmd
}

// parseOwner reads UID:GID of a room's users.
func parseOwner(text string) (uid, gid uint32, err error) {
	first, second, found := strings.Cut(text, ":")
	u, uerr := strconv.ParseUint(first, 10, 16)
	g, gerr := strconv.ParseUint(second, 10, 16)
	if !found || uerr != nil || gerr != nil || u > agreement.MaxUserID || g > agreement.MaxUserID {
		return 0, 0, verdict.Misuse("--owner", fmt.Sprintf("UID:GID, numbers up to %d", agreement.MaxUserID), verdict.Short(text), "as in --owner 1000:100")
	}
	return uint32(u), uint32(g), nil
}

func (a *app) makeDisk(dir, out, owner string, force bool) error {
	if out == "" || out == "-" {
		return verdict.Misuse("--out", "a file to write", "none", "give -o FILE")
	}
	uid, gid, err := parseOwner(owner)
	if err != nil {
		return err
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return misfile(dir, "a directory of files", "a file", "name the directory that it lies in")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fileError(dir, "a directory of files", err)
	}
	defer root.Close()
	entries, err := oci.ReadDirectory(root, uid, gid)
	if err != nil {
		return a.ofDirectory(dir, err)
	}
	// The file is made once the directory was read: it may be going to lie in it.
	f, err := createFile(out, 0o644, force)
	if err != nil {
		return err
	}
	defer f.Abort()
	disk, err := oci.WriteData(f, entries, oci.DataSalt())
	if err != nil {
		return a.ofDirectory(dir, err)
	}
	if err := commitFile(f, out, force); err != nil {
		return err
	}
	made := dataDisk{disk, out}
	return a.print(made, func(w io.Writer) { printDisk(w, made) })
}

// ofDirectory says which directory an error is about; errors of the system say what to do.
func (a *app) ofDirectory(dir string, err error) error {
	if e := verdict.As(err); e.Kind != verdict.Broken {
		return inFile(dir, err)
	}
	return fileError(dir, "files that can be read", err)
}

func printDisk(w io.Writer, d dataDisk) {
	fmt.Fprintf(w, "%s: %.1f MB, %d entries\n\nIn the agreement's container:\n\n", verdict.Printable(d.File), float64(d.Size)/1e6, d.Files)
	fmt.Fprintf(w, "mounts:\n  - path: /data\n    kind: data\n    disk:\n      blocks: %d\n      salt: %s\n      root: %s\n\n", d.Blocks, d.Salt, d.Root)
	fmt.Fprintf(w, "The host reads it: it is no secret. Run with --disk /data=%s\n", shellWord(d.File))
}
