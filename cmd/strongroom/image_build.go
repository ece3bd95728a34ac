package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/image"
	"strongroom.dev/internal/version"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// imageSources are the flags that say where packages come from.
type imageSources struct {
	lock, mirror, packages string
}

func (s *imageSources) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.mirror, "mirror", "", "`URL` below which debian and debian-security lie (default: where this machine's apt gets them)")
}

// mirrors gives the mirrors to fetch from.
func (s *imageSources) mirrors() map[string]string {
	if s.mirror != "" {
		return image.MirrorsAt(s.mirror)
	}
	return image.Mirrors(os.DirFS("/etc/apt"))
}

// readLock reads the lock file, or gives the one of this version if none is named.
func (a *app) readLock(path string) (image.Lock, error) {
	if path == "" {
		return image.BuiltinLock()
	}
	data, err := a.readWhole(path, "a lock of packages", image.MaxLock)
	if err != nil {
		return image.Lock{}, err
	}
	return image.ParseLock(data)
}

func (a *app) imageBuild() *cobra.Command {
	var src imageSources
	var out, agent, sql string
	cmd := &cobra.Command{
		Use:   "build -o DIR",
		Short: "Build the image that rooms in virtual machines boot from",
		Long: `Builds a room image: one unified kernel image with Debian's kernel, its modules and the
agent, one disk with the SQL engine, and firmware. The packages are those of image.lock, fetched once
from your mirror and checked before they are read; the programs are those beside this one.
Built twice, on any machine and in any directory, it is the same bit for bit.`,
		Example: `  strongroom image build -o room-image
  strongroom image build -o room-image --packages ./debs     # offline
  strongroom image measure room-image --platform tpm`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if err := image.Free(out); err != nil {
				return err
			}
			c := image.Config{Version: version.Version}
			var err error
			if c.Lock, err = a.readLock(src.lock); err != nil {
				return err
			}
			if c.Agent, err = a.readProgram(agentProgram, agent); err != nil {
				return err
			}
			engine, err := a.readProgram(sqlProgram, sql)
			if err != nil {
				return err
			}
			c.Engines = []image.Program{engine}
			if c.Packages, err = a.packagesFrom(ctx, &src); err != nil {
				return err
			}
			img, err := image.Build(c)
			if err != nil {
				return err
			}
			if err := img.Write(out); err != nil {
				if errors.As(err, new(*verdict.Error)) {
					return err
				}
				return fileError(out, "a place for the image", err)
			}
			return a.printBuilt(out, img.Manifest)
		},
	}
	src.flags(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&out, "out", "o", "", "`DIR` to write, new or empty")
	flags.StringVar(&src.lock, "lock", "", "`FILE` that names the packages (default: the lock this version came with)")
	flags.StringVar(&src.packages, "packages", "", "`DIR` that holds the packages: nothing is fetched")
	flags.StringVar(&agent, "agent", "", "the agent's program `FILE` (default: beside this one)")
	flags.StringVar(&sql, "sql", "", "the SQL engine's program `FILE` (default: beside this one)")
	mustHave(cmd, "out")
	return cmd
}

// packagesFrom gives what gets a package: out of a directory, or from cache and mirror.
func (a *app) packagesFrom(ctx context.Context, src *imageSources) (func(image.Package) ([]byte, error), error) {
	if src.packages != "" {
		return func(p image.Package) ([]byte, error) { return image.FromDir(src.packages, p) }, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, verdict.Misuse("cache", "a directory for packages", verdict.Short(err.Error()), "set XDG_CACHE_HOME or HOME, or give the packages with --packages")
	}
	f := image.Fetcher{Client: &http.Client{Timeout: 30 * time.Minute}, Mirrors: src.mirrors(), Cache: filepath.Join(cache, "strongroom", "packages")}
	return func(p image.Package) ([]byte, error) {
		bar := a.newProgress("fetching "+p.Name, p.Size)
		defer bar.end()
		f := f
		f.Progress = func(_ image.Package, done int64) { bar.set(done) }
		return f.Get(ctx, p)
	}, nil
}

// readProgram reads one of our programs: the file named, or the one beside this one.
func (a *app) readProgram(name, path string) (image.Program, error) {
	if path == "" {
		var err error
		if path, err = beside(name); err != nil {
			return image.Program{}, err
		}
		if _, err := os.Stat(path); err != nil {
			return image.Program{}, verdict.Misuse("program", name+" beside strongroom", "nothing at "+path, "make build puts all programs into bin/")
		}
	}
	data, err := a.readWhole(path, "the program "+name, image.MaxDisk)
	return image.Program{Name: wire.ID(name), Data: data}, err
}

func (a *app) printBuilt(dir string, m image.Manifest) error {
	uki, _ := m.File(image.FileUKI)
	value := map[string]any{"directory": dir, "kernel": m.Kernel, "room": uki, "engines": m.Engines}
	return a.print(value, func(w io.Writer) {
		fmt.Fprintf(w, "built %s: Linux %s\n", dir, m.Kernel)
		for _, f := range m.Files {
			fmt.Fprintf(w, "  %-20s %9s  %s\n", f.Name, byteSize(f.Size), f.SHA256)
		}
		fmt.Fprintf(w, "%s image show %s lists what is in it; image measure %s --platform tpm what its evidence will carry\n", a.self(), shellWord(dir), shellWord(dir))
	})
}

// readWhole reads a file that the user named, of at most so many bytes.
func (a *app) readWhole(path, what string, most int64) ([]byte, error) {
	f, err := a.openFile(path, what)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		return nil, misfile(path, what, fmt.Sprintf("more than %d bytes", most), "name the right file")
	}
	return data, err
}
