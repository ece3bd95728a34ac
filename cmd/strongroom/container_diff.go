package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/container/oci"
)

// containerChanges are what changed between two prepared images.
type containerChanges struct {
	Section []string     `json:"section"`
	Files   []oci.Change `json:"files"`
}

func (a *app) containerDiff() *cobra.Command {
	return &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Say what changed between two prepared images, in words",
		Long: `Compares two directories that "container prepare" wrote: what runs and what it may reach, and
every file of the disks, whose blocks are checked as they are read. Times of files are not
compared.`,
		Example: "  strongroom container diff web-1.4 web-1.5",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			changes, err := diffPrepared(args[0], args[1])
			if err != nil {
				return err
			}
			return a.print(changes, func(w io.Writer) { printChanges(w, changes) })
		},
	}
}

// readPrepared reads a directory that `container prepare` wrote.
func readPrepared(dir string) (section agreement.Container, disk *os.File, err error) {
	file := filepath.Join(dir, sectionFile)
	text, err := os.ReadFile(file)
	if err != nil {
		return section, nil, verdict.Misuse("container", "a directory that container prepare wrote", err.Error(), "strongroom container prepare IMAGE -o "+shellWord(dir))
	}
	if section, err = draft.ParseContainer(file, text); err != nil {
		return section, nil, err
	}
	if disk, err = os.Open(filepath.Join(dir, diskFile)); err != nil {
		return section, nil, verdict.Misuse("container", "a directory that container prepare wrote", err.Error(), "strongroom container prepare IMAGE -o "+shellWord(dir))
	}
	return section, disk, nil
}

func diffPrepared(before, after string) (c containerChanges, err error) {
	was, old, err := readPrepared(before)
	if err != nil {
		return c, err
	}
	defer old.Close()
	is, fresh, err := readPrepared(after)
	if err != nil {
		return c, err
	}
	defer fresh.Close()
	if c.Files, err = oci.Diff(old, fresh, was.Image.Disk, is.Image.Disk); err != nil {
		return c, err
	}
	c.Section = agreement.DiffContainers(was, is)
	if c.Section == nil {
		c.Section = []string{}
	}
	if c.Files == nil {
		c.Files = []oci.Change{}
	}
	return c, nil
}

func printChanges(w io.Writer, c containerChanges) {
	if len(c.Section)+len(c.Files) == 0 {
		fmt.Fprintln(w, "Nothing changed")
		return
	}
	for _, line := range c.Section {
		fmt.Fprintf(w, "%s\n", verdict.Printable(line))
	}
	for _, f := range c.Files {
		fmt.Fprintf(w, "  %-8s %s: %s\n", f.Kind, verdict.Printable(f.Path), verdict.Printable(f.Words))
	}
}
