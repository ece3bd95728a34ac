package main

import (
	"crypto/sha512"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func (a *app) agreementInit() *cobra.Command {
	var id, title, out, container, work string
	var machines softwareFlags
	var names, ledgers, runs, connects []string
	var days int
	var software, force bool
	cmd := &cobra.Command{
		Use:   "init > agreement.yaml",
		Short: "Write a commented agreement.yaml to start from",
		Long: `Writes a draft with an input of every named party that has a broker, a table of all their
rows, and an example of a query. What stands in angle brackets is yours to write: "agreement
check" refuses it by line until you do.`,
		Example: `  strongroom agreement init --id my-study --party alpha --party beta --party carol > study.yaml
  strongroom agreement init --insecure-software > try.yaml     # for trying out, on this machine
  strongroom agreement init --insecure-software --image room > try.yaml   # in virtual machines too
  # about what "container prepare" wrote into web: alpha runs it, beta uses it
  strongroom agreement init --container web --party alpha --party beta --runs alpha --connects beta > web.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.json && (out == "" || out == "-") {
				return verdict.Misuse("--out", "a file name with --output json", "none", "give -o FILE")
			}
			if err := machines.check(software); err != nil {
				return err
			}
			s := draft.Start{ID: wire.ID(id), Title: title}
			if days != 0 {
				if days < 0 || days > 3650 {
					return verdict.Misuse("--days", "1 to 3650", fmt.Sprint(days), "a new version can follow")
				}
				s.From, s.Until = wire.At(a.now()), wire.At(a.now().Add(time.Duration(days)*24*time.Hour))
			}
			var err error
			if s.Parties, s.Owners, err = a.partiesNamed(names); err != nil {
				return err
			}
			if s.Witnesses, err = witnesses(ledgers); err != nil {
				return err
			}
			if software {
				s.Software = true
				if s.Platforms, err = a.softwarePlatforms(cmd.Context(), machines); err != nil {
					return err
				}
			}
			if container != "" {
				if s.Container, err = a.preparedContainer(container); err != nil {
					return err
				}
			}
			if err := whoServes(&s, runs, connects); err != nil {
				return err
			}
			if s.Work = wire.ID(work); work != "" && (!s.Work.Valid() || container == "") {
				return verdict.Misuse("--work", "a name of 1 to 63 of a-z, 0-9 and -, with --container", verdict.Short(work), "choose such a name")
			}
			if id != "" && !s.ID.Valid() {
				return verdict.Misuse("--id", "a name of 1 to 63 of a-z, 0-9 and -", verdict.Short(id), "choose such a name")
			}
			if out == "" {
				out = "-"
			}
			if err := a.saveFile(out, []byte(draft.Template(s)), 0o644, force); err != nil {
				return err
			}
			if a.sayWho(s); out == "-" {
				return nil
			}
			return a.print(map[string]string{"file": out}, func(w io.Writer) { fmt.Fprintln(w, "Written to", out) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&id, "id", "", "the agreement's id, the same in every version")
	f.StringVar(&title, "title", "", "what people call it")
	f.StringArrayVar(&names, "party", nil, "`PARTY` of your address book, or yourself, in order; the last one asks, unless --runs says who (repeat)")
	f.StringArrayVar(&runs, "runs", nil, "`PARTY` that may ask for runs of the container, and has its result if it gives one (repeat)")
	f.StringArrayVar(&connects, "connects", nil, "`PARTY` that may connect to ports of the container which name nobody yet (repeat)")
	f.StringArrayVar(&ledgers, "ledger", nil, "verifier `KEY` of a shared ledger that witnesses every run (repeat)")
	f.IntVar(&days, "days", 365, "how long it is valid from now; 0 leaves it open")
	f.StringVar(&container, "container", "", "make it about the container that `container prepare` wrote into `DIR`, instead of a query")
	f.StringVar(&work, "work", "", "what the container's work is called (default: as its image)")
	f.BoolVar(&software, "insecure-software", false, "accept the dev platform of this machine, which keeps nobody out: for trying out")
	machines.add(cmd)
	f.StringVarP(&out, "out", "o", "", "write to `FILE` instead of standard output")
	f.BoolVar(&force, "force", false, "replace FILE if it exists")
	return cmd
}

// preparedContainer reads what `container prepare` wrote into a directory.
func (a *app) preparedContainer(dir string) (*agreement.Container, error) {
	path := filepath.Join(dir, "container.yaml")
	data, err := a.readDocument(path, "a container, as `strongroom container prepare` writes it")
	if err != nil {
		return nil, err
	}
	c, err := draft.ParseContainer(path, data)
	return &c, err
}

// partiesNamed gives each named party with the digest of its latest descriptor, and which
// of them bring data: those with a broker.
func (a *app) partiesNamed(names []string) (out []agreement.Party, owners []wire.ID, err error) {
	if len(names) == 0 {
		return nil, nil, nil
	}
	h, err := a.openHome()
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		p, _, err := findParty(h, []string{name}, 0)
		if err != nil {
			return nil, nil, err
		}
		if slices.ContainsFunc(out, func(o agreement.Party) bool { return o.ID == p.Name }) {
			return nil, nil, verdict.Misuse("--party", "every party once", string(p.Name)+" again", "leave one of them out")
		}
		out = append(out, agreement.Party{ID: p.Name, Descriptor: p.Digest()})
		if p.Broker != nil {
			owners = append(owners, p.Name)
		}
	}
	if len(owners) == 0 {
		return nil, nil, verdict.Misuse("--party", "at least one party that brings data", "none with a broker", "name the data's owners too: strongroom party list")
	}
	return out, owners, nil
}

func witnesses(verifiers []string) ([]agreement.Witness, error) {
	var out []agreement.Witness
	for i, key := range verifiers {
		if _, err := ledger.OriginOf(key); err != nil {
			return nil, verdict.Misuse("--ledger", "a verifier key NAME+HASH+KEY", verdict.Short(key), "strongroom ledger prints it")
		}
		out = append(out, agreement.Witness{Name: wire.ID(fmt.Sprintf("ledger-%d", i+1)), Key: key})
	}
	return out, nil
}

// measure gives the SHA-384 of a program beside this one.
func measure(name string) (wire.Digest, error) {
	path, err := beside(name)
	if err != nil {
		return wire.Digest{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return wire.Digest{}, verdict.Misuse("program", name+" beside strongroom", "nothing at "+path, "make build puts all programs into bin/")
	}
	defer f.Close()
	h := sha512.New384()
	if _, err := io.Copy(h, f); err != nil {
		return wire.Digest{}, fileError(path, "a program", err)
	}
	return wire.Digest(h.Sum(nil)), nil
}

// beside gives the path of a program in the directory of this one.
func beside(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(self), name), nil
}
