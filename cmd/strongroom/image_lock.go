package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/image"
	"strongroom.dev/internal/durable"
	"strongroom.dev/verdict"
)

// lockChange is one package that a new lock has and the old one hasn't.
type lockChange struct {
	Use  string `json:"use"`
	From string `json:"from"`
	To   string `json:"to"`
}

func (a *app) imageLock() *cobra.Command {
	var src imageSources
	var update, dry, snp bool
	var keyring string
	cmd := &cobra.Command{
		Use:   "lock [--update]",
		Short: "Show or move the exact packages that room images are built of",
		Long: `Shows the lock: kernel, stub and firmware by version and digest. --update finds the newest
of each in the indexes of Debian 12 and 13 and their security archives, whose signatures gpgv
checks, and writes the lock: to image.lock, or to the file that --lock names. It takes no index
past its validity, and never goes back to older versions. An image built with a new lock measures
differently: agreements list it anew.

Firmware for SEV-SNP that measures a kernel is in no stable release of Debian. --snp takes it
from the one that is being prepared (forky: ovmf-amdsev), where no security team sees to it. A lock
that has it keeps it up to date; --snp=false leaves it out again.`,
		Example: `  strongroom image lock
  strongroom image lock --update --dry-run
  strongroom image lock --update --lock my.lock && strongroom image build --lock my.lock -o room-image
  strongroom image lock --update --snp --lock snp.lock && strongroom image build --lock snp.lock -o room-image`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !update {
				if dry || src.mirror != "" || cmd.Flags().Changed("keyring") || cmd.Flags().Changed("snp") {
					return verdict.Misuse("--update", "--update with --dry-run, --mirror, --keyring and --snp", "none", "add --update, or leave them away")
				}
				lock, err := a.readLock(src.lock)
				if err != nil {
					return err
				}
				return a.print(lock, func(w io.Writer) { showLock(w, lock) })
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			path, old, err := a.oldLock(src.lock)
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("snp") {
				snp = old.Has(image.UseSNP)
			}
			u := image.Updater{Client: &http.Client{Timeout: 10 * time.Minute}, Mirrors: src.mirrors(), Verify: image.Gpgv{Keyring: keyring}.Verify, Now: a.now(), SNP: snp}
			lock, err := u.Newest(ctx, old)
			if err != nil {
				return err
			}
			written := ""
			if !dry && !bytes.Equal(lock.Text(), old.Text()) {
				if err := durable.WriteFile(path, lock.Text(), 0o644); err != nil {
					return err
				}
				written = path
			}
			return a.printLock(lock, changes(old, lock), written, keyring)
		},
	}
	src.flags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&src.lock, "lock", "", "lock `FILE` (default: the lock this version came with; with --update, image.lock)")
	flags.BoolVar(&update, "update", false, "find the newest packages and write the lock")
	flags.BoolVar(&snp, "snp", false, "with --update: firmware for SEV-SNP too, of the release that Debian prepares (default: as in the lock)")
	flags.BoolVar(&dry, "dry-run", false, "with --update: write nothing")
	flags.StringVar(&keyring, "keyring", image.DebianKeyring, "with --update: `FILE` of the keys of Debian's archive")
	return cmd
}

// oldLock gives the file to update and what it says now; a new file starts from the lock of
// this version.
func (a *app) oldLock(path string) (string, image.Lock, error) {
	if path == "" {
		path = "image.lock"
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // write the file, not over the link to it
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		old, err := image.BuiltinLock()
		return path, old, err
	}
	data, err := a.readWhole(path, "a lock of packages", image.MaxLock)
	if err != nil {
		return path, image.Lock{}, err
	}
	old, err := image.ParseOldLock(data)
	return path, old, err
}

func changes(old, lock image.Lock) []lockChange {
	out := []lockChange{}
	name := func(p image.Package) string {
		if p.Name == "" {
			return "none"
		}
		return p.String()
	}
	for _, use := range image.Uses() {
		if was, is := old.Of(use), lock.Of(use); was != is {
			out = append(out, lockChange{use, name(was), name(is)})
		}
	}
	return out
}

func (a *app) printLock(lock image.Lock, changed []lockChange, written, keyring string) error {
	value := map[string]any{"lock": lock, "changes": changed, "written": written, "checked": "gpgv, keys of " + keyring}
	return a.print(value, func(w io.Writer) {
		fmt.Fprintf(w, "signatures of Debian's indexes: checked with gpgv against %s\n", keyring)
		for _, c := range changed {
			fmt.Fprintf(w, "%-12s %s -> %s\n", c.Use, c.From, c.To)
		}
		switch {
		case len(changed) == 0:
			fmt.Fprintln(w, "nothing newer: the lock stays as it is")
		case written == "":
			fmt.Fprintln(w, "nothing written")
		default:
			fmt.Fprintf(w, "wrote %s; %s image build --lock %s builds with it\n", written, a.self(), shellWord(written))
		}
	})
}

func showLock(w io.Writer, lock image.Lock) {
	for _, p := range lock.Packages {
		fmt.Fprintf(w, "%-12s %s (%s, %s)\n             %s, %s\n", p.Use, p, p.Archive, byteSize(p.Size), p.Path, p.SHA256)
	}
}
