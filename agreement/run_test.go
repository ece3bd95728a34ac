package agreement_test

import (
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func datasetVectors() []vector {
	w := newWorld()
	doc := func(change func(*agreement.Dataset), signers ...string) *keys.Document {
		d := dataset()
		change(&d)
		return document(agreement.DatasetType, d, signers...)
	}
	same := func(*agreement.Dataset) {}
	good := doc(same, "alpha")
	of := func(name, comment string, d *keys.Document) vector { return w.vector(name, comment, d, w.alpha) }
	vs := []vector{
		of("good", "A statement signed by its owner.", good),
		of("version-2", "A later version names the one before.", doc(func(d *agreement.Dataset) { x := digest("v1"); d.Version, d.Supersedes = 2, &x }, "alpha")),
		of("unsigned", "Nobody signed.", doc(same)).fails("refused", "dataset.signatures", ""),
		of("signed-by-another", "Another party signed.", doc(same, "beta")).fails("refused", "dataset.signatures", ""),
		of("signed-by-another-too", "Another party signed too.", doc(same, "alpha", "beta")).fails("refused", "dataset.signatures", ""),
		of("forged", "The signature was changed.", forged(good, 0)).fails("invalid evidence", "dataset.signatures", ""),
		of("root-changed", "The root was changed after signing.", good).edit(hash("root").String(), hash("other").String()).fails("invalid evidence", "dataset.signatures", ""),
		w.vector("other-owner", "A statement of another owner.", good, w.beta).fails("refused", "dataset.owner", ""),
		of("keys-expired", "The owner's key has expired.", good).at("2028-01-01T00:00:00Z").fails("refused", "party.signatures", ""),
		of("member-unknown", "A member that statements don't have.", good).edit(`"created"`, `"comment":"x","created"`).fails("usage", "dataset.form", ""),
		of("member-missing", "A member is missing.", good).edit(`"unique_unit":true,`, ``).fails("usage", "dataset.form", ""),
		of("type-other", "A document of another type.", good).edit(agreement.DatasetType, agreement.RunType).fails("usage", "dataset.form", ""),
	}
	for _, c := range []struct {
		name, comment string
		change        func(*agreement.Dataset)
		where         string
	}{
		{"version-0", "Versions start at 1.", func(d *agreement.Dataset) { d.Version = 0 }, "version"},
		{"version-1-supersedes", "Version 1 supersedes nothing.", func(d *agreement.Dataset) { x := digest("x"); d.Supersedes = &x }, "supersedes"},
		{"version-2-supersedes-nothing", "Later versions name the one before.", func(d *agreement.Dataset) { d.Version = 2 }, "supersedes"},
		{"header-zero", "Zero is no digest.", func(d *agreement.Dataset) { d.Header = wire.Hash{} }, "header"},
		{"root-zero", "Zero is no digest.", func(d *agreement.Dataset) { d.Root = wire.Hash{} }, "root"},
		{"schema-zero", "Zero is no digest.", func(d *agreement.Dataset) { d.Schema = wire.Hash{} }, "schema"},
		{"size-0", "A sealed file has bytes.", func(d *agreement.Dataset) { d.Size = 0 }, "size"},
		{"recipients-0", "A sealed file has a recipient.", func(d *agreement.Dataset) { d.Recipients = 0 }, "recipients"},
		{"recipients-513", "A header has at most 512 stanzas.", func(d *agreement.Dataset) { d.Recipients = 513 }, "recipients"},
		{"unique-without-columns", "A file without columns has no people to count.", func(d *agreement.Dataset) { d.Format = agreement.Opaque }, "unique_unit"},
		{"format", "A format that doesn't exist.", func(d *agreement.Dataset) { d.Format = "xlsx" }, "format"},
	} {
		vs = append(vs, of(c.name, c.comment, doc(c.change, "alpha")).unread().fails("usage", "dataset.form", c.where))
	}
	return vs
}

func TestDatasetVectors(t *testing.T) { checkVectors(t, "dataset", datasetVectors(), runDataset) }

type runCase struct {
	name, comment string
	change        func(*agreement.Run)
	kind, check   string
	where         string
}

func runCases() []runCase {
	type R = agreement.Run
	least := func(text string) func(*R) { return func(r *R) { r.Parameters = map[string]string{"least": text} } }
	return []runCase{
		{"run-id-upper", "A run id is in lower case.", func(r *R) { r.RunID = "000102030405060708090A0B0C0D0E0F" }, "usage", "run.form", "run_id"},
		{"run-id-short", "A run id has 32 digits.", func(r *R) { r.RunID = "00" }, "usage", "run.form", "run_id"},
		{"agreement-zero", "Zero is no digest.", func(r *R) { r.Agreement = wire.Digest{} }, "usage", "run.form", "agreement"},
		{"datasets-none", "A run names a version of every input that its work reads.", func(r *R) { r.Datasets = []agreement.RunDataset{} }, "refused", "run.datasets", ""},
		{"environment-sql", "A query has no environment.", func(r *R) { r.Environment = map[string]string{"MODE": "fast"} }, "refused", "run.environment", ""},
		{"environment-name", "A name that no variable has.", func(r *R) { r.Environment = map[string]string{"A=B": "x"} }, "usage", "run.form", "environment"},
		{"environment-nul", "A value that no program can have.", func(r *R) { r.Environment = map[string]string{"MODE": "a\x00b"} }, "usage", "run.form", "environment.MODE"},
		{"environment-long", "A value over its limit.", func(r *R) { r.Environment = map[string]string{"MODE": strings.Repeat("x", agreement.MaxValue+1)} }, "usage", "run.form", "environment.MODE"},
		{"dataset-zero", "Zero is no digest.", func(r *R) { r.Datasets[1].Statement = wire.Digest{} }, "usage", "run.form", "datasets[1].statement"},
		{"counter-alone", "room_nonce and counter come together.", func(r *R) { r.Counter = 1 }, "usage", "run.form", "counter"},
		{"agreement-other", "A request for another agreement.", func(r *R) { r.Agreement = digest("other") }, "refused", "run.agreement", ""},
		{"requester-other", "A requester with another descriptor.", func(r *R) { r.Requester = "alpha" }, "refused", "run.requester", ""},
		{"requester-stranger", "A requester that is no party.", func(r *R) { r.Requester = "mallory" }, "refused", "run.requester", ""},
		{"work-unknown", "Work that the agreement doesn't name.", func(r *R) { r.Work = "everything" }, "refused", "run.work", ""},
		{"parameter-missing", "A parameter has no value.", func(r *R) { r.Parameters = map[string]string{} }, "usage", "run.parameters", ""},
		{"parameter-unknown", "A parameter that the work doesn't have.", func(r *R) { r.Parameters["most"] = "1" }, "usage", "run.parameters", ""},
		{"parameter-above", "A value above its bound.", least("30.1"), "usage", "run.parameters", ""},
		{"parameter-below", "A value below its bound.", least("-0.1"), "usage", "run.parameters", ""},
		{"parameter-not-canonical", "A value in another spelling.", least("12.50"), "usage", "run.parameters", ""},
		{"parameter-leading-zero", "A value in another spelling.", least("012.5"), "usage", "run.parameters", ""},
		{"parameter-integer", "A value in another spelling.", least("12"), "usage", "run.parameters", ""},
		{"parameter-sql", "A value that is no number.", least("1 OR 1=1"), "usage", "run.parameters", ""},
		{"datasets-swapped", "Dataset versions are in the agreement's order.", func(r *R) { r.Datasets[0], r.Datasets[1] = r.Datasets[1], r.Datasets[0] }, "refused", "run.datasets", ""},
		{"datasets-one-short", "Every input of the work has a version.", func(r *R) { r.Datasets = r.Datasets[:1] }, "refused", "run.datasets", ""},
		{"datasets-one-more", "No other input has a version.", func(r *R) {
			r.Datasets = append(r.Datasets, agreement.RunDataset{Input: "other", Statement: digest("o")})
		}, "refused", "run.datasets", ""},
		{"expires-too-far", "A request expires within 24 hours.", func(r *R) { r.Expires = moment("2026-11-25T09:30:01Z") }, "refused", "run.expiry", ""},
		{"expired", "A request that has expired.", func(r *R) { r.Expires = moment("2026-11-24T09:30:00Z") }, "refused", "run.expiry", ""},
		{"serving-room", "Requests to serving rooms are not accepted yet.", func(r *R) { n := hash("nonce"); r.RoomNonce, r.Counter = &n, 1 }, "refused", "run.room", ""},
	}
}

func runVectors() []vector {
	w := newWorld()
	a := w.signed()
	doc := func(change func(*agreement.Run), signers ...string) *keys.Document {
		r := w.run(a)
		change(&r)
		return document(agreement.RunType, r, signers...)
	}
	same := func(*agreement.Run) {}
	of := func(name, comment string, d *keys.Document) vector {
		v := w.vector(name, comment, d, w.researcher)
		v.Agreement = encode(a.Document)
		return v
	}
	good := doc(same, "researcher")
	vs := []vector{
		of("good", "A request signed by a party that may run the work.", good),
		of("expires-in-24-hours", "The longest expiry.", doc(func(r *agreement.Run) { r.Expires = moment("2026-11-25T09:30:00Z") }, "researcher")),
		of("least-bound", "A value on its lower bound.", doc(func(r *agreement.Run) { r.Parameters["least"] = "0.0" }, "researcher")),
		of("most-bound", "A value on its upper bound.", doc(func(r *agreement.Run) { r.Parameters["least"] = "30.0" }, "researcher")),
		of("unsigned", "Nobody signed.", doc(same)).fails("refused", "run.signatures", ""),
		of("signed-by-another", "Another party signed.", doc(same, "alpha")).fails("refused", "run.signatures", ""),
		of("signed-by-another-too", "Another party signed too.", doc(same, "researcher", "alpha")).fails("refused", "run.signatures", ""),
		of("parameter-changed", "A parameter was changed after signing.", good).edit(`"least":"12.5"`, `"least":"13.5"`).fails("invalid evidence", "run.signatures", ""),
		of("dataset-changed", "A dataset version was changed after signing.", good).edit(digest("a1").String(), digest("a0").String()).fails("invalid evidence", "run.signatures", ""),
		of("expiry-changed", "The expiry was changed after signing.", good).edit("2026-11-24T10:30:00Z", "2026-11-24T11:30:00Z").fails("invalid evidence", "run.signatures", ""),
		of("member-unknown", "A member that requests don't have.", good).edit(`"work"`, `"verbose":true,"work"`).fails("usage", "run.form", ""),
		of("counter-zero", "An absent counter is left out.", good).edit(`"datasets"`, `"counter":0,"datasets"`).fails("usage", "run.form", ""),
	}
	v := of("may-not-run", "A party that may not run the work.", doc(func(r *agreement.Run) { r.Requester = "beta" }, "beta"))
	v.Parties = encodeAll([]*agreement.SignedParty{w.beta})
	vs = append(vs, v.fails("refused", "run.may-run", ""), pinnedRun())
	for _, c := range runCases() {
		vs = append(vs, of(c.name, c.comment, doc(c.change, "researcher")).fails(c.kind, c.check, c.where))
	}
	return append(vs, containerRunVectors()...)
}

// pinnedRun names another version of an input than the agreement pins.
func pinnedRun() vector {
	w := newWorld()
	pinned := digest("a0")
	w.study.Inputs[0].Statement = &pinned
	a := w.signed()
	v := w.vector("dataset-not-pinned", "The agreement pins another version.", document(agreement.RunType, w.run(a), "researcher"), w.researcher)
	v.Agreement = encode(a.Document)
	return v.fails("refused", "run.datasets", "")
}

func TestRunVectors(t *testing.T) { checkVectors(t, "run", runVectors(), runRun) }

func TestCanonicalParameter(t *testing.T) {
	integer := agreement.Parameter{Name: "n", Type: "integer", Min: "-5", Max: "100"}
	wide := agreement.Parameter{Name: "n", Type: "integer", Min: "-9223372036854775808", Max: "9223372036854775807"}
	decimal := agreement.Parameter{Name: "d", Type: "decimal", Min: "-1.50", Max: "2.50", Scale: 2}
	choice := agreement.Parameter{Name: "c", Type: "choice", Values: []string{"B", "M"}}
	boolean := agreement.Parameter{Name: "b", Type: "boolean"}
	for _, c := range []struct {
		param     agreement.Parameter
		text      string
		canonical string // "" for an error
	}{
		{integer, "7", "7"}, {integer, "007", "7"}, {integer, "-0", "0"}, {integer, "-5", "-5"}, {integer, "100", "100"},
		{integer, "101", ""}, {integer, "-6", ""}, {integer, "+7", ""}, {integer, "7.0", ""}, {integer, "", ""}, {integer, "-", ""},
		{integer, "1e1", ""}, {integer, " 7", ""}, {integer, "0x7", ""}, {integer, "٧", ""}, {integer, "99999999999999999999", ""},
		{wide, "-9223372036854775808", "-9223372036854775808"}, {wide, "9223372036854775808", ""},
		{decimal, "1", "1.00"}, {decimal, "1.5", "1.50"}, {decimal, "01.50", "1.50"}, {decimal, "-0.00", "0.00"}, {decimal, "-1.5", "-1.50"},
		{decimal, "2.51", ""}, {decimal, "1.501", ""}, {decimal, "1.500", ""}, {decimal, ".5", ""}, {decimal, "1.", ""}, {decimal, "1.5.0", ""}, {decimal, "--1", ""}, {decimal, "1.-5", ""},
		{choice, "B", "B"}, {choice, "b", ""}, {choice, "", ""}, {choice, "BM", ""},
		{boolean, "true", "true"}, {boolean, "false", "false"}, {boolean, "True", ""}, {boolean, "1", ""},
		{agreement.Parameter{}, "x", ""}, {agreement.Parameter{Type: "integer"}, "0", ""},
	} {
		got, err := agreement.CanonicalParameter(c.param, c.text)
		if got != c.canonical || (err == nil) != (c.canonical != "") {
			t.Errorf("%s %q: %q, %v; expected %q", c.param.Type, c.text, got, err, c.canonical)
		}
		if err != nil && verdict.Exit(err) != int(verdict.Usage) {
			t.Errorf("%s %q: exit code %d", c.param.Type, c.text, verdict.Exit(err))
		}
	}
}
