package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	cardoffers "strongroom.dev/examples/card-offers"
	"strongroom.dev/internal/cards"
	"strongroom.dev/verdict"
)

func (a *app) sampleCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "sample",
		Short: "Make data of nobody's to try things on",
	}, a.sampleCards())
}

// sampled is what sample cards made.
type sampled struct {
	Dir   string        `json:"dir"`
	Seed  uint64        `json:"seed"`
	Files []sampledFile `json:"files"`
	Truth cards.Truth   `json:"truth"`
}

type sampledFile struct {
	Path       string `json:"path"`
	Owner      string `json:"owner"`
	Dataset    string `json:"dataset"`
	Rows       int    `json:"rows"`
	UniqueUnit bool   `json:"unique_unit"`
}

func (a *app) sampleCards() *cobra.Command {
	c := cards.Default()
	dir, force := "cards", false
	cmd := &cobra.Command{
		Use:   "cards",
		Short: "A bank's card payments and a grocer's loyalty scheme, for clean rooms",
		Long: `Writes the data of examples/card-offers: bank/customers.csv, payments.csv and objections.csv,
grocer/offers.csv and visits.csv, the columns of each beside it (.yaml, for dataset publish
--schema-file), agreement.yaml with its blanks, and try.yaml, the same agreement between nobody,
for sql check. The same numbers give the same bytes on every machine; everybody is made up.

On purpose there are branches and stores with one person less than the minimum group, as many and
one more; three customers who outspend all others; NULLs, rows that stand twice, and e-mail
addresses that bank and grocer write in different ways. With --output json it prints what is true
of the data, so that a test can say what must not come out.`,
		Example: `  strongroom sample cards
  strongroom sample cards -o small --customers 200 --members 150 --shared 100
  strongroom sql check --agreement cards/try.yaml --query "SELECT segment, count(*) AS n FROM customers GROUP BY segment"`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := cards.Generate(c)
			if err != nil {
				return err
			}
			if err := a.writeSample(dir, s, force); err != nil {
				return err
			}
			return a.printSample(dir, c, s)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&dir, "out", "o", dir, "`DIR` for the files; it is made")
	f.BoolVar(&force, "force", false, "replace files of these names")
	f.Uint64Var(&c.Seed, "seed", c.Seed, "`NUMBER` that picks the people and what they do")
	f.IntVar(&c.Customers, "customers", c.Customers, "`NUMBER` of the bank's customers")
	f.IntVar(&c.Members, "members", c.Members, "`NUMBER` of the grocer's members")
	f.IntVar(&c.Shared, "shared", c.Shared, "`NUMBER` of people who are both: at least four times the minimum group")
	f.IntVar(&c.MinGroup, "min-group", c.MinGroup, "minimum group `K` that small branches and stores lie around: K-1, K, K+1")
	return cmd
}

// writeSample writes every file, or nothing where one may not be written.
func (a *app) writeSample(dir string, s *cards.Sample, force bool) error {
	files := map[string][]byte{"agreement.yaml": []byte(cardoffers.Agreement), "try.yaml": []byte(cardoffers.Try())}
	for _, f := range s.Files {
		files[f.Path()], files[f.SchemaPath()] = f.Data, f.Schema()
	}
	if dir == "-" {
		return verdict.Misuse("--out", "a directory: there are several files", "-", "name one")
	}
	if err := mayBecomeDir(dir); err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		if err := free(filepath.Join(dir, name), force); err != nil {
			return err
		}
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fileError(filepath.Dir(path), "a directory to write to", err)
		}
		if err := a.saveFile(path, files[name], 0o644, force); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printSample(dir string, c cards.Config, s *cards.Sample) error {
	made := sampled{Dir: dir, Seed: c.Seed, Files: []sampledFile{}, Truth: s.Truth}
	for _, f := range s.Files {
		made.Files = append(made.Files, sampledFile{Path: filepath.Join(dir, f.Path()), Owner: f.Owner, Dataset: f.Dataset, Rows: f.Rows, UniqueUnit: f.UniqueUnit})
	}
	return a.print(made, func(w io.Writer) {
		for _, f := range made.Files {
			fmt.Fprintf(w, "%-28s %7d rows\n", f.Path, f.Rows)
		}
		fmt.Fprintf(w, "%d customers, %d members, %d are both\n", s.Truth.Customers, s.Truth.Members, s.Truth.Shared)
		fmt.Fprintf(w, "go on: strongroom sql check --agreement %s --query \"SELECT segment, count(*) AS n FROM customers GROUP BY segment\"\n", filepath.Join(dir, "try.yaml"))
	})
}
