package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/broker"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/seal"
	"strongroom.dev/source"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func (a *app) datasetCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "dataset",
		Short: "Bring data: sealed, stated and known to your broker",
		Long: `A dataset version is a sealed file and your signed statement about it. Both go to whoever
hosts rooms; nobody can read the file there. Your broker knows the version you published
last and releases its key to no other.`,
	}, a.datasetPublish(), a.datasetRegister(), a.datasetList())
}

// publishing is one call of `dataset publish`.
type publishing struct {
	file, dataset, dir  string
	schema, schemaFile  string
	format              string
	alsoTo, admit, keys []string
	unique, force       bool
	check               bool
	// Of a database.
	table, query string
	insecure     bool
}

func (a *app) datasetPublish() *cobra.Command {
	var p publishing
	cmd := &cobra.Command{
		Use:   "publish FILE|s3://...|postgres://... --dataset ID",
		Short: "Seal a file, or rows of a database, as the next version of a dataset",
		Long: `Seals a file to your own broker, signs the statement that rooms check it by, and makes it the
current version in your broker. The columns of CSV, Parquet, NDJSON and Arrow are those that
an agreement gives your dataset, or those of a file. What containers get has none: --format file for a
secret, a key or a file, --format disk for the sealed disk of an image.

Rows of a PostgreSQL database are sealed as they come, as CSV or NDJSON, in a transaction that
can't write; the password stands in ~/.pgpass or the file that PGPASSFILE names. s3://BUCKET/KEY
is an object of S3-compatible storage, with credentials, region and endpoint from AWS_ variables.`,
		Example: `  strongroom dataset publish patients.csv --dataset patients --schema study.json -o sealed
  strongroom dataset publish visits.parquet --dataset visits --schema-file visits.yaml --unique-unit
  strongroom dataset publish patients.csv --dataset patients --schema study.json --check
  strongroom dataset publish postgres://reader@db.example.org/shop?sslmode=verify-full --table visits --dataset visits --schema study.json
  strongroom dataset publish s3://exports/visits.parquet --dataset visits --schema study.json
  strongroom dataset publish password.txt --dataset db-password --format file -o sealed`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.file = args[0]
			if f := agreement.Format(p.format); p.schema == "" && p.schemaFile == "" && f != agreement.Opaque && f != agreement.Disk {
				return verdict.Misuse("command line", "one of --schema and --schema-file", "none", "--format file and disk need neither")
			}
			return a.publish(cmd.Context(), p)
		},
	}
	f := cmd.Flags()
	f.StringVar(&p.dataset, "dataset", "", "`ID` of the dataset, the same for all its versions")
	f.StringVar(&p.schema, "schema", "", "take the columns from this `AGREEMENT` (file, id or digest)")
	f.StringVar(&p.schemaFile, "schema-file", "", "take the columns from this `FILE`: a YAML list of {name, type, scale, unit}")
	f.StringVar(&p.format, "format", "", "csv, parquet, ndjson, arrow, file or disk (default: by the file's name, or as the agreement says)")
	f.BoolVar(&p.unique, "unique-unit", false, "no two rows are about the same unit; rooms check it and then count rows")
	f.StringVarP(&p.dir, "out", "o", ".", "`DIR` for the sealed file and its statement")
	f.StringArrayVar(&p.alsoTo, "also-to", nil, "further `RECIPIENT` that can open the file: age1..., party or @FILE (repeat)")
	f.StringArrayVar(&p.admit, "admit", nil, admitUsage)
	f.StringArrayVar(&p.keys, "key", nil, "further signing key `FILE` of your party (repeat)")
	f.BoolVar(&p.force, "force", false, "replace files of that name")
	f.BoolVar(&p.check, "check", false, "report what the rows are like and what an agreement's rules would make of them; seal nothing")
	f.StringVar(&p.table, "table", "", "read this `TABLE` of the database, or SCHEMA.TABLE")
	f.StringVar(&p.query, "query", "", "read the answer of this `SQL` of the database, with the schema's columns")
	f.BoolVar(&p.insecure, "insecure-connection", false, "take a database or storage on another machine whose certificate is not checked, INSECURE")
	mustHave(cmd, "dataset")
	cmd.MarkFlagsMutuallyExclusive("schema", "schema-file")
	cmd.MarkFlagsMutuallyExclusive("table", "query")
	return cmd
}

func (a *app) publish(ctx context.Context, p publishing) error {
	h, own, err := a.dataOwner()
	if err != nil {
		return err
	}
	if !wire.ID(p.dataset).Valid() {
		return verdict.Misuse("--dataset", "a name of 1 to 63 of a-z, 0-9 and -", verdict.Short(p.dataset), "choose such a name")
	}
	input, err := a.columns(p, own)
	if err != nil {
		return err
	}
	columns, format := input.Schema, input.Format
	if err := p.mayCome(input); err != nil {
		return err
	}
	if !isSource(p.file) {
		err = a.looksRight(p.file, format, columns, p.unique)
	}
	if err != nil {
		return err
	}
	if p.check {
		return a.check(ctx, p, input)
	}
	admit, err := a.admission(p.admit)
	if err != nil {
		return err
	}
	recipients, err := a.recipients(append(slices.Clone(own.Broker.Data), p.alsoTo...))
	if err != nil {
		return err
	}
	signers, err := signersOf(h, own, p.keys)
	if err != nil {
		return err
	}
	if err := mayBecomeDir(p.dir); err != nil {
		return err
	}
	unlock, err := h.LockDataset(wire.ID(p.dataset))
	if err != nil {
		return err
	}
	defer unlock()
	admin, err := a.brokerAdmin(ctx, h)
	if err != nil {
		return err
	}
	defer admin.Close()
	body := agreement.Dataset{Owner: own.Name, Dataset: wire.ID(p.dataset), Version: 1, Format: format,
		Schema: agreement.SchemaDigest(columns), UniqueUnit: p.unique, Created: wire.At(a.now())}
	if body.Version, body.Supersedes, err = nextVersion(h, body.Dataset); err != nil {
		return err
	}
	sealed, err := a.sealDataset(ctx, own, signers, body, recipients, p, input)
	if err != nil {
		return err
	}
	if err := h.SaveStatement(sealed.statement); err != nil {
		return err
	}
	return a.register(ctx, admin, sealed, admit)
}

// dataOwner gives the home of a party with a broker.
func (a *app) dataOwner() (*home.Home, *agreement.SignedParty, error) {
	h, err := a.openHome()
	if err != nil {
		return nil, nil, err
	}
	own, err := h.Descriptor()
	if err != nil {
		return nil, nil, err
	}
	if own.Broker == nil {
		return nil, nil, verdict.Misuse("party.broker", "a party with a broker", string(own.Name)+" brings no data", "give it a broker: strongroom party update --data")
	}
	return h, own, nil
}

// columns gives the dataset's columns and format, and the rules of an agreement's input.
func (a *app) columns(p publishing, own *agreement.SignedParty) (in agreement.Input, err error) {
	format := agreement.Format(p.format)
	opaque := format == agreement.Opaque || format == agreement.Disk
	if format == "" {
		format = formatOf(p.file)
		if source.IsPostgres(p.file) && p.schema == "" {
			format = agreement.CSV
		}
		if p.schema != "" && !format.Columns() {
			format = "" // as the agreement says
		}
	}
	switch {
	case opaque && (p.schemaFile != "" || p.unique):
		return in, verdict.Misuse("--format", "csv, parquet, ndjson or arrow, which have columns", string(format), "leave --schema-file and --unique-unit out")
	case opaque && p.schema == "":
		return agreement.Input{Schema: []agreement.Column{}, Format: format}, nil
	case !opaque && format != "" && !format.Columns():
		return in, verdict.Misuse("--format", "csv, parquet, ndjson, arrow, file or disk", orText(verdict.Short(string(format)), "a name without an ending"), "name it with --format")
	case p.schemaFile != "":
		columns, err := a.schemaFile(p.schemaFile)
		return agreement.Input{Schema: columns, Format: format}, err
	}
	ag, _, err := a.loadAgreement(p.schema)
	if err != nil {
		return in, err
	}
	for _, in = range ag.Inputs {
		owner, _ := ag.PartyByID(in.Owner)
		if in.Dataset != wire.ID(p.dataset) || !a.isOwn(owner.Descriptor, own) {
			continue
		}
		if format == "" && in.Format.Columns() && !source.IsPostgres(p.file) {
			return in, verdict.Misuse("--format", "csv, parquet, ndjson or arrow", "a name without such an ending", "name it with --format")
		}
		if format == "" {
			format = in.Format
		}
		if in.Format != format {
			return in, verdict.Misuse("--schema", "a "+string(in.Format)+" file, as the agreement says", string(format), "convert the file, or agree on the other format")
		}
		return in, nil
	}
	return in, verdict.Misuse("--schema", fmt.Sprintf("an agreement with dataset %s of %s", p.dataset, own.Name), "none in "+p.schema, "check --dataset, or use --schema-file")
}

// formatOf gives the format that a file's name ends in.
func formatOf(path string) agreement.Format {
	ending := strings.TrimPrefix(strings.ToLower(filepath.Ext(path)), ".")
	switch ending {
	case "jsonl":
		return agreement.NDJSON
	case "feather", "arrows":
		return agreement.Arrow
	}
	return agreement.Format(ending)
}

func (a *app) isOwn(d wire.Digest, own *agreement.SignedParty) bool {
	if d == own.Digest() {
		return true
	}
	h, err := a.openHome()
	if err != nil {
		return false
	}
	p, _, err := h.Party(d)
	return err == nil && p.Name == own.Name
}

// schemaFile reads columns from YAML or JSON.
func (a *app) schemaFile(path string) ([]agreement.Column, error) {
	data, err := a.readDocument(path, "a list of columns")
	if err != nil {
		return nil, err
	}
	return draft.ParseColumns(path, data)
}

// looksRight catches a wrong file before it is sealed: every value of CSV, NDJSON and Arrow; of
// Parquet, whose types rooms check, that it is such a file.
func (a *app) looksRight(path string, format agreement.Format, columns []agreement.Column, unique bool) error {
	f, err := a.openFile(path, "a "+string(format)+" file")
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fileError(path, "a file", err)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return misfile(path, "a "+string(format)+" file with data", "none in it", "name the right file")
	}
	if !format.Columns() {
		return nil
	}
	if format == agreement.Parquet {
		return parquetMagic(f, path, info.Size())
	}
	if info.Size() > 64<<20 { // otherwise it is done before one has read this
		a.say("checking every row of %s", path)
	}
	return checkRows(f, path, format, columns, unique)
}

// parquetMagic checks the four bytes at both ends of a Parquet file.
func parquetMagic(f *os.File, path string, size int64) error {
	const magic = "PAR1"
	for _, at := range []int64{0, max(0, size-int64(len(magic)))} {
		b := make([]byte, len(magic))
		if _, err := f.ReadAt(b, at); err != nil || string(b) != magic {
			return misfile(path, "a Parquet file", "other bytes at its start or end", "it may be cut off, or of another format")
		}
	}
	return nil
}

const admitUsage = "only this `AGREEMENT` may have the key (repeat), or any: all that you activated and that name the dataset (default: as before, at first any)"

// admission gives the agreements named; nil if none is.
func (a *app) admission(names []string) (*broker.Admission, error) {
	switch {
	case len(names) == 0:
		return nil, nil
	case len(names) == 1 && names[0] == "any":
		return &broker.Admission{Activated: true}, nil
	}
	admit := new(broker.Admission)
	for _, name := range names {
		ag, _, err := a.loadAgreement(name)
		if err != nil {
			return nil, err
		}
		admit.Agreements = append(admit.Agreements, ag.Digest())
	}
	return admit, nil
}

// admitted gives what a dataset's current version admits, any activated agreement if it has
// none: a new version must not open what its owner had narrowed.
func admitted(ctx context.Context, admin brokerAdmin, dataset wire.ID) (*broker.Admission, error) {
	s, err := admin.Status(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range s.Datasets {
		if d.Dataset == dataset {
			return &d.Admit, nil
		}
	}
	return &broker.Admission{Activated: true}, nil
}

func nextVersion(h *home.Home, name wire.ID) (int64, *wire.Digest, error) {
	list, err := h.Statements(name)
	if err != nil || len(list) == 0 {
		return 1, nil, err
	}
	last := list[len(list)-1]
	before := last.Digest()
	return last.Version + 1, &before, nil
}

// sealedDataset is a dataset version as it lies on the disk.
type sealedDataset struct {
	file, statementFile string
	statement           *agreement.SignedDataset
	header              []byte
}

// sealDataset writes NAME.age and NAME.statement.json, or neither.
func (a *app) sealDataset(ctx context.Context, own *agreement.SignedParty, signers []*keys.SigningKey, body agreement.Dataset, recipients []seal.Recipient, p publishing, in agreement.Input) (*sealedDataset, error) {
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return nil, fileError(p.dir, "a directory to write to", err)
	}
	base := filepath.Join(p.dir, fmt.Sprintf("%s-%s-v%d", body.Owner, body.Dataset, body.Version))
	s := &sealedDataset{file: base + ".age", statementFile: base + ".statement.json"}
	if _, err := os.Lstat(s.statementFile); err == nil && !p.force {
		return nil, fileError(s.statementFile, "", os.ErrExist)
	}
	src, size, err := a.openData(ctx, p, in)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	var statement []byte
	err = a.produce(s.file, 0o644, p.force, src, func(dst io.Writer, tell func(int64) error) error {
		sum, err := seal.Seal(dst, src, recipients, seal.Options{Root: true, Progress: tell})
		if err != nil {
			return err
		}
		body.Header, body.Root, body.Size, body.Recipients = sum.HeaderHash, sum.Root, sum.Size, int64(sum.Recipients)
		s.header = sum.Header
		s.statement, statement, err = a.state(own, signers, body)
		return err
	}, a.newProgress("sealing", size))
	if err != nil {
		return nil, asSourceError(p.file, err)
	}
	if err := a.saveFile(s.statementFile, statement, 0o644, p.force); err != nil {
		os.Remove(s.file)
		return nil, err
	}
	return s, nil
}

// signersOf gives the party's own key and those in files.
func signersOf(h *home.Home, own *agreement.SignedParty, files []string) ([]*keys.SigningKey, error) {
	more, err := loadKeys(files)
	if err != nil {
		return nil, err
	}
	key, err := h.SigningKeyOf(own)
	return append(more, key), err
}

// state signs the statement about a sealed file.
func (a *app) state(own *agreement.SignedParty, signers []*keys.SigningKey, body agreement.Dataset) (*agreement.SignedDataset, []byte, error) {
	d, err := agreement.NewDataset(body)
	if err != nil {
		return nil, nil, err
	}
	for _, k := range signers {
		if err := d.Document.Sign(k); err != nil {
			return nil, nil, err
		}
	}
	if err := d.Verify(own, a.now()); err != nil {
		return nil, nil, err
	}
	data, err := d.Document.Encode()
	return d, data, err
}

// register makes a version current in the broker and reports it. A nil admit is what the
// version before admits.
func (a *app) register(ctx context.Context, admin brokerAdmin, s *sealedDataset, admit *broker.Admission) error {
	statement, err := s.statement.Document.Encode()
	if err == nil && admit == nil {
		admit, err = admitted(ctx, admin, s.statement.Dataset.Dataset)
	}
	if err != nil {
		return err
	}
	event, err := admin.Publish(ctx, broker.Publication{Statement: bytes.TrimSpace(statement), Header: s.header, Admit: *admit})
	if err != nil {
		e := *verdict.As(err)
		e.Fix = strings.TrimPrefix(e.Fix+"; then: "+a.self()+" dataset register "+shellWord(s.statementFile), "; ")
		return &e
	}
	d := s.statement
	view := map[string]any{"dataset": d.Dataset.Dataset, "version": d.Version, "digest": d.Digest(), "file": s.file, "statement": s.statementFile, "broker": event}
	return a.print(view, func(w io.Writer) {
		fmt.Fprintf(w, "Published %s version %d: %s (%s), %s\n", d.Dataset.Dataset, d.Version, s.file, byteSize(d.Size), filepath.Base(s.statementFile))
		fmt.Fprintf(w, "  statement   %s\n  %s\n\nNext: give both files to whoever hosts the room.\n", d.Digest(), verdict.Printable(event.Done))
	})
}

func (a *app) datasetRegister() *cobra.Command {
	var admit []string
	cmd := &cobra.Command{
		Use:   "register NAME.statement.json",
		Short: "Make a published version current in your broker, again",
		Long: `For when "dataset publish" was interrupted before your broker knew the version, and to
change which agreements may have its key. NAME.age must lie beside the statement.`,
		Example: `  strongroom dataset register sealed/patients-v2.statement.json`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, own, err := a.dataOwner()
			if err != nil {
				return err
			}
			s, err := a.readSealed(args[0])
			if err != nil {
				return err
			}
			if err := s.statement.Verify(own, a.now()); err != nil {
				return inFile(args[0], err)
			}
			admitted, err := a.admission(admit)
			if err != nil {
				return err
			}
			admin, err := a.brokerAdmin(cmd.Context(), h)
			if err != nil {
				return err
			}
			defer admin.Close()
			if err := remember(h, s.statement); err != nil {
				return err
			}
			return a.register(cmd.Context(), admin, s, admitted)
		},
	}
	cmd.Flags().StringArrayVar(&admit, "admit", nil, admitUsage)
	return cmd
}

// readSealed reads a statement and the header of the sealed file beside it.
func (a *app) readSealed(path string) (*sealedDataset, error) {
	data, err := a.readDocument(path, "a dataset statement")
	if err != nil {
		return nil, err
	}
	d, err := agreement.ParseDataset(data)
	if err != nil {
		return nil, inFile(path, err)
	}
	base, found := strings.CutSuffix(path, ".statement.json")
	if !found {
		return nil, misfile(path, "a name that ends in .statement.json", "another", "name it as dataset publish did, with NAME.age beside it")
	}
	f, err := a.openFile(base+".age", "the sealed file of the statement")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	header, err := seal.ReadHeader(f)
	if err != nil {
		return nil, inFile(base+".age", err)
	}
	if wire.HashOf(header) != d.Header {
		return nil, &verdict.Error{Kind: verdict.Invalid, Check: "dataset.header", Where: base + ".age", Expected: d.Header.String(), Got: wire.HashOf(header).String(), Fix: "put the statement's own file beside it"}
	}
	return &sealedDataset{file: base + ".age", statementFile: path, statement: d, header: header}, nil
}

// remember keeps a statement that follows what is kept, or is kept already.
func remember(h *home.Home, d *agreement.SignedDataset) error {
	list, err := h.Statements(d.Dataset.Dataset)
	if err != nil {
		return err
	}
	for _, kept := range list {
		if kept.Digest() == d.Digest() {
			return nil
		}
	}
	version, supersedes, err := nextVersion(h, d.Dataset.Dataset)
	if err != nil {
		return err
	}
	if d.Version != version || (supersedes == nil) != (d.Supersedes == nil) || supersedes != nil && *supersedes != *d.Supersedes {
		return verdict.Refuse("dataset.version", fmt.Sprintf("version %d, following what you published last", version), fmt.Sprintf("version %d", d.Version), "an older version never becomes current again: publish the old file anew, as the next version: strongroom dataset publish")
	}
	return h.SaveStatement(d)
}

func (a *app) datasetList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List your datasets and their versions",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			h, err := a.openHome()
			if err != nil {
				return err
			}
			names, err := h.Datasets()
			if err != nil {
				return err
			}
			views := []datasetView{}
			for _, name := range names {
				list, err := h.Statements(name)
				if err != nil {
					return err
				}
				for _, d := range list {
					views = append(views, datasetView{d.Dataset, d.Digest()})
				}
			}
			return a.print(map[string]any{"datasets": views}, func(w io.Writer) {
				if len(views) == 0 {
					fmt.Fprintln(w, "None yet: strongroom dataset publish FILE --dataset ID --schema AGREEMENT")
					return
				}
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				fmt.Fprintln(t, "DATASET\tVERSION\tSTATEMENT\tFORMAT\tSIZE\tCREATED")
				for _, v := range views {
					fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\n", v.Dataset.Dataset, v.Version, v.Digest.Short(), v.Format, byteSize(v.Size), v.Created)
				}
				t.Flush()
			})
		},
	}
}

// datasetView is a dataset version in JSON.
type datasetView struct {
	agreement.Dataset
	Digest wire.Digest `json:"digest"`
}
