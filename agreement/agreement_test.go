package agreement_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// agreementCase is a change to the study that makes it wrong, and where it is then wrong.
type agreementCase struct {
	name, comment string
	change        func(*agreement.Agreement)
	where         string
}

// rule is a change that is well formed and that a rule refuses.
type rule struct {
	agreementCase
	check string
}

func agreementForms() []agreementCase {
	type A = agreement.Agreement
	long := strings.Repeat("x", agreement.MaxText+1)
	return []agreementCase{
		{"title-empty", "An agreement has a title.", func(a *A) { a.Title = "" }, "title"},
		{"purpose-empty", "An agreement says what it is for.", func(a *A) { a.Purpose = "" }, "purpose"},
		{"purpose-long", "Free text has at most 4096 bytes.", func(a *A) { a.Purpose = long }, "purpose"},
		{"purpose-escape", "A terminal escape in free text.", func(a *A) { a.Purpose = "a\x1b[2Jb" }, "purpose"},
		{"legal-basis-empty", "An agreement says what allows it.", func(a *A) { a.LegalBasis = "\n" }, "legal_basis"},
		{"retention-empty", "An agreement says how long what is kept.", func(a *A) { a.Retention = "" }, "retention"},
		{"contact-empty", "An agreement says who answers.", func(a *A) { a.Contact = "" }, "contact"},
		{"version-0", "Versions start at 1.", func(a *A) { a.Version = 0 }, "version"},
		{"version-1-supersedes", "Version 1 supersedes nothing.", func(a *A) { d := digest("x"); a.Supersedes = &d }, "supersedes"},
		{"version-2-supersedes-nothing", "Later versions name the one before.", func(a *A) { a.Version = 2 }, "supersedes"},
		{"valid-backwards", "The window runs forwards.", func(a *A) { a.Valid.Until = a.Valid.From }, "valid.until"},
		{"valid-11-years", "An agreement is valid for at most 10 years.", func(a *A) { a.Valid.Until = moment("2037-11-01T00:00:00Z") }, "valid.until"},
		{"parties-none", "Somebody has to agree.", func(a *A) { a.Parties = []agreement.Party{} }, "parties"},
		{"parties-33", "At most 32 parties.", func(a *A) {
			for len(a.Parties) < 33 {
				n := wire.ID("p" + strings.Repeat("x", len(a.Parties)))
				a.Parties = append(a.Parties, agreement.Party{ID: n, Descriptor: digest(string(n))})
			}
		}, "parties"},
		{"party-id-twice", "Two parties with one name.", func(a *A) { a.Parties[1].ID = "alpha" }, "parties[1].id"},
		{"party-descriptor-twice", "One party under two names.", func(a *A) { a.Parties[1].Descriptor = a.Parties[0].Descriptor }, "parties[1].descriptor"},
		{"party-descriptor-zero", "Zero is no digest.", func(a *A) { a.Parties[1].Descriptor = wire.Digest{} }, "parties[1].descriptor"},
		{"protection-empty", "An agreement names its protection class.", func(a *A) { a.Protection = "" }, "protection"},
		{"protection-unknown", "A class that doesn't exist.", func(a *A) { a.Protection = "secret" }, "protection"},
		{"platforms-none", "Some machine has to be good enough.", func(a *A) { a.Platforms = []agreement.Platform{} }, "platforms"},
		{"platform-unknown", "A kind of machine that doesn't exist.", func(a *A) { a.Platforms[0].Kind = "cray" }, "platforms[0].kind"},
		{"platform-twice", "One kind under one root twice.", func(a *A) { a.Platforms = append(a.Platforms, a.Platforms[0]) }, "platforms[1].kind"},
		{"platform-root-zero", "Zero is no fingerprint.", func(a *A) { a.Platforms[0].Root = &wire.Hash{} }, "platforms[0].root"},
		{"machine-twice", "A machine is listed once.", func(a *A) { a.Platforms[0].Machines = []string{"m", "m"} }, "platforms[0].machines[1]"},
		{"machine-empty", "A machine has a name.", func(a *A) { a.Platforms[0].Machines = []string{""} }, "platforms[0].machines[0]"},
		{"images-none", "Some image has to be good.", func(a *A) { a.Platforms[0].Images = []agreement.Image{} }, "platforms[0].images"},
		{"image-twice", "Two images with one name.", func(a *A) { a.Platforms[0].Images = append(a.Platforms[0].Images, a.Platforms[0].Images[0]) }, "platforms[0].images[1].name"},
		{"image-no-measurements", "An image without measurements is any image.", func(a *A) { a.Platforms[0].Images[0].Measurements = map[string]string{} }, "platforms[0].images[0].measurements"},
		{"image-no-agent", "A dev image measures the agent.", func(a *A) { delete(a.Platforms[0].Images[0].Measurements, "agent") }, "platforms[0].images[0].measurements"},
		{"measurement-upper", "Measurements are in lower case.", func(a *A) { upper(a, strings.ToUpper) }, "platforms[0].images[0].measurements.agent"},
		{"measurement-short", "A dev measurement is a SHA-384.", func(a *A) { upper(a, func(s string) string { return s[:64] }) }, "platforms[0].images[0].measurements.agent"},
		{"measurement-zero", "Zero is no measurement.", func(a *A) { upper(a, func(s string) string { return strings.Repeat("0", 96) }) }, "platforms[0].images[0].measurements.agent"},
		{"measurement-other", "A dev image has no other measurements.", func(a *A) {
			m := a.Platforms[0].Images[0].Measurements
			m["kernel"] = m["agent"]
		}, "platforms[0].images[0].measurements.kernel"},
		{"measurement-name", "A measurement's name has no spaces.", func(a *A) {
			m := a.Platforms[0].Images[0].Measurements
			m["helper/a b"] = m["agent"]
		}, "platforms[0].images[0].measurements"},
		{"may-lack-unknown", "A layer that doesn't exist.", func(a *A) { a.Platforms[0].MayLack = []wire.ID{"everything"} }, "platforms[0].may_lack[0]"},
		{"may-lack-hardware", "Only dev rooms may lack a layer.", func(a *A) { hardware(a, "snp"); a.Platforms[0].MayLack = []wire.ID{"seccomp"} }, "platforms[0].may_lack"},
		{"release-line-no-keys", "A release line without keys.", func(a *A) { line(a).Keys = []string{} }, "platforms[0].releases[0].keys"},
		{"release-line-bad-key", "A release key that is none.", func(a *A) { line(a).Keys[0] = "x" }, "platforms[0].releases[0].keys[0]"},
		{"release-line-key-twice", "A key that counts twice.", func(a *A) { r := line(a); r.Keys[1] = r.Keys[0] }, "platforms[0].releases[0].keys[1]"},
		{"release-line-17-keys", "At most 16 keys.", func(a *A) { line(a).Keys = make([]string, 17) }, "platforms[0].releases[0].keys"},
		{"release-line-threshold-0", "Signed by nobody.", func(a *A) { line(a).Threshold = 0 }, "platforms[0].releases[0].threshold"},
		{"release-line-threshold-4", "More signatures than there are keys.", func(a *A) { line(a).Threshold = 4 }, "platforms[0].releases[0].threshold"},
		{"release-line-minimum-0", "Security versions begin with 1.", func(a *A) { line(a).MinimumVersion = 0 }, "platforms[0].releases[0].minimum_version"},
		{"release-line-no-log", "What no log has recorded may be made for one victim.", func(a *A) { line(a).LogKey = "" }, "platforms[0].releases[0].log_key"},
		{"release-line-twice", "One product twice.", func(a *A) { line(a); p := &a.Platforms[0]; p.Releases = append(p.Releases, p.Releases[0]) }, "platforms[0].releases[1].product"},
		{"release-lines-9", "At most 8 release lines.", func(a *A) { a.Platforms[0].Releases = slices.Repeat([]agreement.ReleaseLine{*line(a)}, 9) }, "platforms[0].releases"},
		{"inputs-none", "Without data there is nothing to agree.", func(a *A) { a.Inputs = []agreement.Input{} }, "inputs"},
		{"input-owner-unknown", "An owner that is no party.", func(a *A) { a.Inputs[1].Owner = "gamma" }, "inputs[1].owner"},
		{"input-name-twice", "Two inputs with one name.", func(a *A) { a.Inputs[1].Name = a.Inputs[0].Name }, "inputs[1].name"},
		{"input-dataset-twice", "One dataset of one owner twice.", func(a *A) { a.Inputs[1].Owner = "alpha" }, "inputs[1].dataset"},
		{"input-statement-zero", "Zero is no digest.", func(a *A) { a.Inputs[0].Statement = &wire.Digest{} }, "inputs[0].statement"},
		{"input-format", "A format that doesn't exist.", func(a *A) { a.Inputs[0].Format = "xlsx" }, "inputs[0].format"},
		{"input-no-runs", "A budget of nothing.", func(a *A) { a.Inputs[0].RunsPerDay = 0 }, "inputs[0].runs_per_day"},
		{"schema-empty", "An input has columns.", func(a *A) { a.Inputs[0].Schema = []agreement.Column{} }, "inputs[0].schema"},
		{"schema-1025", "At most 1024 columns.", func(a *A) { a.Inputs[0].Schema = make([]agreement.Column, 1025) }, "inputs[0].schema"},
		{"schema-no-unit", "Without a unit column people can't be counted.", func(a *A) { a.Inputs[0].Schema[0].Unit = false }, "inputs[0].schema"},
		{"schema-two-units", "One column says whom a row is about.", func(a *A) { a.Inputs[0].Schema[1].Unit = true }, "inputs[0].schema[1].unit"},
		{"schema-unit-decimal", "People are not told apart by a decimal.", func(a *A) { a.Inputs[0].Schema[0].Unit = false; a.Inputs[0].Schema[2].Unit = true }, "inputs[0].schema[2].unit"},
		{"column-upper", "Column names are in lower case, so that none are case variants.", func(a *A) { a.Inputs[0].Schema[1].Name = "Diagnosis" }, "inputs[0].schema[1].name"},
		{"column-underscores", "Names starting with __ are the room's own.", func(a *A) { a.Inputs[0].Schema[1].Name = "__owner" }, "inputs[0].schema[1].name"},
		{"column-twice", "Two columns with one name.", func(a *A) { a.Inputs[0].Schema[1].Name = "patient" }, "inputs[0].schema[1].name"},
		{"column-type", "A type that doesn't exist.", func(a *A) { a.Inputs[0].Schema[1].Type = "varchar" }, "inputs[0].schema[1].type"},
		{"column-scale-text", "A text has no scale.", func(a *A) { a.Inputs[0].Schema[1].Scale = 2 }, "inputs[0].schema[1].scale"},
		{"column-scale-19", "A decimal has 18 digits.", func(a *A) { a.Inputs[0].Schema[2].Scale = 19 }, "inputs[0].schema[2].scale"},
		{"tables-none", "Queries read tables.", func(a *A) { a.Tables = []agreement.Table{} }, "tables"},
		{"table-name-engine", "A name the SQL engine uses itself.", func(a *A) { a.Tables[0].Name = "duckdb_settings" }, "tables[0].name"},
		{"table-name-underscores", "Names starting with __ are the room's own.", func(a *A) { a.Tables[0].Name = "__patients" }, "tables[0].name"},
		{"table-twice", "Two tables with one name.", func(a *A) { a.Tables = append(a.Tables, a.Tables[0]) }, "tables[1].name"},
		{"table-no-inputs", "A table has rows of some input.", func(a *A) { a.Tables[0].Inputs = []wire.ID{} }, "tables[0].inputs"},
		{"table-input-unknown", "An input that doesn't exist.", func(a *A) { a.Tables[0].Inputs[1] = "gamma-patients" }, "tables[0].inputs[1]"},
		{"table-input-twice", "One input twice in a table.", func(a *A) { a.Tables[0].Inputs[1] = "alpha-patients" }, "tables[0].inputs[1]"},
		{"table-schemas-differ", "Inputs of one table have the same columns.", func(a *A) { a.Inputs[1].Schema[2].Scale = 2 }, "tables[0].inputs[1]"},
		{"input-unused", "An input that no table holds.", func(a *A) { a.Tables[0].Inputs = a.Tables[0].Inputs[:1] }, "inputs[1].name"},
		{"table-unused", "A table that no work reads.", func(a *A) { a.Tables = append(a.Tables, agreement.Table{Name: "other", Inputs: a.Tables[0].Inputs}) }, "tables[1].name"},
		{"output-unused", "An output that no work has.", func(a *A) { o := a.Outputs[0]; o.Name = "other"; a.Outputs = append(a.Outputs, o) }, "outputs[1].name"},
		{"work-none", "Something has to run.", func(a *A) { a.Work = []agreement.Work{} }, "work"},
		{"work-kind", "A kind of work that doesn't exist.", func(a *A) { a.Work[0].Kind = "python" }, "work[0].kind"},
		{"work-twice", "Two works with one name.", func(a *A) { a.Work = append(a.Work, a.Work[0]) }, "work[1].name"},
		{"work-no-description", "Work says what it does.", func(a *A) { a.Work[0].Description = "" }, "work[0].description"},
		{"work-no-query", "SQL work has a query.", func(a *A) { a.Work[0].Query = "" }, "work[0].query"},
		{"work-query-bidi", "A query that reads otherwise than it runs.", func(a *A) { a.Work[0].Query += "-- \u2067" }, "work[0].query"},
		{"work-query-long", "A query has at most 64 KiB.", func(a *A) { a.Work[0].Query += strings.Repeat(" ", agreement.MaxQuery) }, "work[0].query"},
		{"work-no-tables", "Work reads a table.", func(a *A) { a.Work[0].Tables = []string{} }, "work[0].tables"},
		{"work-table-unknown", "A table that doesn't exist.", func(a *A) { a.Work[0].Tables = []string{"people"} }, "work[0].tables[0]"},
		{"work-nobody-may-run", "Somebody may ask for it.", func(a *A) { a.Work[0].MayRun = []wire.ID{} }, "work[0].may_run"},
		{"work-stranger-may-run", "Only parties may ask.", func(a *A) { a.Work[0].MayRun = []wire.ID{"host"} }, "work[0].may_run[0]"},
		{"work-output-unknown", "An output that doesn't exist.", func(a *A) { a.Work[0].Output = "counts" }, "work[0].output"},
		{"parameter-unused", "A parameter that the query doesn't use.", func(a *A) { a.Work[0].Query = "SELECT $leastest FROM patients" }, "work[0].parameters[0].name"},
		{"parameter-twice", "Two parameters with one name.", func(a *A) { a.Work[0].Parameters = append(a.Work[0].Parameters, a.Work[0].Parameters[0]) }, "work[0].parameters[1].name"},
		{"parameter-text", "There are no free text parameters.", func(a *A) { a.Work[0].Parameters[0].Type = "text" }, "work[0].parameters[0].type"},
		{"parameter-unbounded", "A number has bounds.", func(a *A) { a.Work[0].Parameters[0].Max = "" }, "work[0].parameters[0].max"},
		{"parameter-bounds-reversed", "Bounds in the wrong order.", func(a *A) { a.Work[0].Parameters[0].Min = "31.0" }, "work[0].parameters[0].max"},
		{"parameter-bound-not-canonical", "A bound is in its one canonical text.", func(a *A) { a.Work[0].Parameters[0].Max = "30" }, "work[0].parameters[0].max"},
		{"parameter-bound-exponent", "A bound is in digits.", func(a *A) { a.Work[0].Parameters[0].Max = "3e1" }, "work[0].parameters[0].max"},
		{"parameter-bound-20-digits", "A decimal has 18 digits.", func(a *A) { a.Work[0].Parameters[0].Max = "10000000000000000000.0" }, "work[0].parameters[0].max"},
		{"parameter-decimal-no-scale", "A decimal says its scale.", func(a *A) { a.Work[0].Parameters[0].Scale = 0 }, "work[0].parameters[0].scale"},
		{"parameter-choice-none", "A choice has values.", func(a *A) { param(a, agreement.Parameter{Type: "choice", Values: []string{}}) }, "work[0].parameters[0].values"},
		{"parameter-choice-twice", "A value is listed once.", func(a *A) { param(a, agreement.Parameter{Type: "choice", Values: []string{"B", "B"}}) }, "work[0].parameters[0].values[1]"},
		{"parameter-choice-bounds", "A choice has no bounds.", func(a *A) { param(a, agreement.Parameter{Type: "choice", Min: "1", Values: []string{"B"}}) }, "work[0].parameters[0]"},
		{"parameter-boolean-values", "A boolean has no values.", func(a *A) { param(a, agreement.Parameter{Type: "boolean", Values: []string{"true"}}) }, "work[0].parameters[0].values"},
		{"parameter-integer-values", "A number has no values.", func(a *A) { param(a, agreement.Parameter{Type: "integer", Min: "0", Max: "1", Values: []string{"0"}}) }, "work[0].parameters[0].values"},
		{"parameter-integer-65-bits", "An integer has 64 bits.", func(a *A) {
			param(a, agreement.Parameter{Type: "integer", Min: "0", Max: "9223372036854775808", Values: []string{}})
		}, "work[0].parameters[0].max"},
		{"parameter-minus-zero", "Zero has no sign.", func(a *A) { param(a, agreement.Parameter{Type: "integer", Min: "-0", Max: "1", Values: []string{}}) }, "work[0].parameters[0].min"},
		{"outputs-none", "Something has to come out.", func(a *A) { a.Outputs = []agreement.Output{} }, "outputs"},
		{"output-nobody", "Somebody receives an output.", func(a *A) { a.Outputs[0].Receivers = []wire.ID{} }, "outputs[0].receivers"},
		{"output-stranger", "Only parties receive.", func(a *A) { a.Outputs[0].Receivers = []wire.ID{"press"} }, "outputs[0].receivers[0]"},
		{"output-receiver-twice", "A receiver is listed once.", func(a *A) { a.Outputs[0].Receivers = []wire.ID{"alpha", "alpha"} }, "outputs[0].receivers[1]"},
		{"output-format", "A format that doesn't exist.", func(a *A) { a.Outputs[0].Format = "pdf" }, "outputs[0].format"},
		{"output-rows-0", "An output has a bound on rows.", func(a *A) { a.Outputs[0].MaxRows = 0 }, "outputs[0].max_rows"},
		{"time-bucket-an-hour", "A time bucket is at most ten minutes.", func(a *A) { a.Outputs[0].TimeBucketMS = 3_600_000 }, "outputs[0].time_bucket_ms"},
		{"output-bytes-2-gib", "An output has at most 1 GiB.", func(a *A) { a.Outputs[0].MaxBytes = 2 << 30 }, "outputs[0].max_bytes"},
		{"witness-quorum-0", "Where there are witnesses, some have to sign.", func(a *A) { a.Ledgers.Quorum = 0 }, "ledgers.quorum"},
		{"witness-quorum-2-of-1", "A quorum nobody can meet.", func(a *A) { a.Ledgers.Quorum = 2 }, "ledgers.quorum"},
		{"witness-key", "A verifier key that is none.", func(a *A) { a.Ledgers.Witnesses[0].Key = "witness" }, "ledgers.witnesses[0].key"},
		{"witness-twice", "One witness under two names.", func(a *A) {
			a.Ledgers.Witnesses = append(a.Ledgers.Witnesses, agreement.Witness{Name: "other", Key: a.Ledgers.Witnesses[0].Key})
		}, "ledgers.witnesses[1].key"},
		{"lease-499-ms", "A lease is at least 500 ms.", func(a *A) { a.LeaseMS = 499 }, "lease_ms"},
		{"lease-over-an-hour", "A lease is at most an hour.", func(a *A) { a.LeaseMS = 3_600_001 }, "lease_ms"},
	}
}

func upper(a *agreement.Agreement, change func(string) string) {
	m := a.Platforms[0].Images[0].Measurements
	m["agent"] = change(m["agent"])
}

// param replaces the study's parameter by another of the same name.
func param(a *agreement.Agreement, p agreement.Parameter) {
	p.Name = "least"
	a.Work[0].Parameters[0] = p
}

// hardware makes the study confidential, on one kind of machine.
func hardware(a *agreement.Agreement, kind wire.ID) {
	a.Protection = agreement.Confidential
	a.Platforms[0].Kind, a.Platforms[0].Root, a.Platforms[0].MayLack = kind, nil, []wire.ID{}
	a.Platforms[0].Images[0].Measurements = map[string]string{"measurement": strings.Repeat("ab", 48)}
}

func agreementRules() []rule {
	type A = agreement.Agreement
	addDev := func(a *A) {
		dev := a.Platforms[0]
		hardware(a, "snp")
		a.Platforms = append(a.Platforms, dev)
	}
	return []rule{
		{agreementCase{"class-dev-beside-hardware", "dev and hardware don't mix.", addDev, "platforms[1].kind"}, "agreement.protection"},
		{agreementCase{"class-hardware-beside-dev", "Hardware under class software.", func(a *A) {
			snp := a.Platforms[0]
			snp.Kind, snp.Root, snp.MayLack = "snp", nil, []wire.ID{}
			a.Platforms = append(a.Platforms, snp)
		}, "platforms[1].kind"}, "agreement.protection"},
		{agreementCase{"class-confidential-dev", "dev is not confidential.", func(a *A) { a.Protection = agreement.Confidential }, "platforms[0].kind"}, "agreement.protection"},
		{agreementCase{"class-integrity-dev", "dev is not integrity-only.", func(a *A) { a.Protection = agreement.IntegrityOnly }, "platforms[0].kind"}, "agreement.protection"},
		{agreementCase{"class-confidential-tpm", "A TPM is not confidential.", func(a *A) { hardware(a, "tpm") }, "platforms[0].kind"}, "agreement.protection"},
		{agreementCase{"class-integrity-snp", "Hardware of class confidential in an integrity-only agreement.", func(a *A) { hardware(a, "snp"); a.Protection = agreement.IntegrityOnly }, "platforms[0].kind"}, "agreement.protection"},
		{agreementCase{"dev-root-not-pinned", "Anyone can make dev evidence: its root is pinned.", func(a *A) { a.Platforms[0].Root = nil }, "platforms[0].root"}, "agreement.protection"},
		{agreementCase{"software-tpm-root-not-pinned", "Anyone can make a software TPM: its root is pinned.", func(a *A) { hardware(a, "tpm"); a.Protection = agreement.Software }, "platforms[0].root"}, "agreement.protection"},
		{agreementCase{"min-delta", "min_delta is not enforced yet.", func(a *A) { a.Inputs[0].MinDelta = 5 }, "inputs[0].min_delta"}, "agreement.enforced"},
		{agreementCase{"rules-receiver", "A receiver that an owner's rules don't name.", func(a *A) { a.Outputs[0].Receivers = []wire.ID{"alpha"} }, "work[0].output"}, "agreement.receivers"},
	}
}

// line gives the agreement a release line that two of three keys sign for.
func line(a *agreement.Agreement) *agreement.ReleaseLine {
	p := &a.Platforms[0]
	p.Releases = []agreement.ReleaseLine{{Product: "room", Threshold: 2, MinimumVersion: 3, LogKey: noteKey("releases.example/log")}}
	for _, holder := range []string{"release-1", "release-2", "beta"} {
		p.Releases[0].Keys = append(p.Releases[0].Keys, key(holder).Public().String())
	}
	return &p.Releases[0]
}

func (w *world) vector(name, comment string, doc *keys.Document, parties ...*agreement.SignedParty) vector {
	if parties == nil {
		parties = w.parties()
	}
	return vector{name: name, Comment: comment, Expect: "success", Now: wire.At(now), Parties: encodeAll(parties), Document: encode(doc)}
}

// fails makes a vector one that is refused.
func (v vector) fails(kind, check, where string) vector {
	v.Expect, v.Check, v.Where, v.Digest = kind, check, where, nil
	return v
}

// unread leaves out the descriptors that nobody reads, since the document already fails.
func (v vector) unread() vector { v.Parties = nil; return v }

func (v vector) at(when string) vector { v.Now = moment(when); return v }

func (v vector) edit(old, new string) vector {
	if !strings.Contains(v.Document, old) {
		panic(v.name + ": nothing to edit")
	}
	v.Document = strings.Replace(v.Document, old, new, 1)
	return v
}

func agreementVectors() []vector {
	w := newWorld()
	good := w.signed().Document
	all := []string{"alpha", "beta", "researcher"}
	vs := slices.Concat(signatureVectors(w), shapeVectors(w), containerVectors())
	for _, c := range slices.Concat(agreementForms(), ruleForms()) {
		w := newWorld()
		c.change(&w.study)
		vs = append(vs, w.vector(c.name, c.comment, document(agreement.AgreementType, w.study, all...)).unread().fails("usage", "agreement.form", c.where))
	}
	for _, c := range agreementRules() {
		w := newWorld()
		c.change(&w.study)
		vs = append(vs, w.vector(c.name, c.comment, document(agreement.AgreementType, w.study, all...)).unread().fails("refused", c.check, c.where))
	}
	return append(vs,
		w.vector("first-moment", "from is inclusive.", good).at("2026-11-01T00:00:00Z"),
		w.vector("too-early", "The agreement is not in force yet.", good).at("2026-10-31T23:59:59Z").fails("refused", "agreement.validity", ""),
		w.vector("last-moment", "The last second before until.", good).at("2027-10-31T23:59:59Z"),
		w.vector("expired", "until is exclusive.", good).at("2027-11-01T00:00:00Z").fails("refused", "agreement.validity", ""),
		w.vector("keys-expired", "The parties' keys have expired before the agreement: they count no more.", good).at("2028-01-01T00:00:00Z").fails("refused", "party.signatures", ""),
	)
}

func signatureVectors(w *world) []vector {
	good := w.signed().Document
	by := func(names ...string) *keys.Document { return document(agreement.AgreementType, w.study, names...) }
	shared := *newWorld()
	d := hospital("beta", 1)
	d.Keys = append(d.Keys, partyKey("alpha"))
	shared.beta = signedParty(d, "beta")
	shared.study = study(&shared)
	ownerless := *newWorld()
	d = hospital("beta", 1)
	d.Broker = nil
	ownerless.beta = signedParty(d, "beta")
	ownerless.study = study(&ownerless)
	deaf := *newWorld()
	r := researcher()
	r.Results = []string{}
	deaf.researcher = signedParty(r, "researcher")
	deaf.study = study(&deaf)
	ownLog := *newWorld()
	ownLog.study.Ledgers.Witnesses[0].Key = ownLog.alpha.Broker.LogKey
	newer := hospital("beta", 1)
	newer.Broker.Operator = "cloud"
	all := []string{"alpha", "beta", "researcher"}
	return []vector{
		w.vector("good", "Signed by all three parties.", good),
		w.vector("good-other-descriptors", "Descriptors of others change nothing.", good, append(w.parties(), signedParty(newer, "beta"))...),
		w.vector("signature-missing", "One party did not sign.", by("alpha", "researcher")).fails("refused", "agreement.signatures", ""),
		w.vector("signature-none", "Nobody signed.", by()).fails("refused", "agreement.signatures", ""),
		w.vector("signature-of-stranger", "Somebody who is no party signed too.", by("alpha", "beta", "researcher", "mallory")).fails("refused", "agreement.signatures", ""),
		w.vector("signature-forged", "A signature was changed.", forged(good, 1)).fails("invalid evidence", "agreement.signatures", ""),
		w.vector("signature-of-other-document", "Signatures over another agreement.", transplanted(w)).fails("invalid evidence", "agreement.signatures", ""),
		w.vector("query-changed", "The query was changed after signing.", good).edit("avg(mean_radius)", "max(mean_radius)").fails("invalid evidence", "agreement.signatures", ""),
		w.vector("descriptor-missing", "A party's descriptor is missing.", good, w.alpha, w.researcher).fails("refused", "agreement.parties", ""),
		w.vector("descriptor-other", "Another descriptor of the same name.", good, w.alpha, w.researcher, signedParty(newer, "beta")).fails("refused", "agreement.parties", ""),
		w.vector("descriptor-unsigned", "A descriptor that its party did not sign.", good, w.alpha, w.researcher, signedParty(hospital("beta", 1))).fails("refused", "party.signatures", ""),
		shared.vector("key-of-two-parties", "One key signs for two parties.", document(agreement.AgreementType, shared.study, all...)).fails("refused", "agreement.parties", ""),
		ownerless.vector("owner-without-broker", "An owner without a broker.", document(agreement.AgreementType, ownerless.study, all...)).fails("refused", "agreement.parties", ""),
		deaf.vector("receiver-without-recipient", "A receiver to whom nothing can be sealed.", document(agreement.AgreementType, deaf.study, all...)).fails("refused", "agreement.parties", ""),
		ownLog.vector("witness-is-own-log", "An owner's own log is no witness.", document(agreement.AgreementType, ownLog.study, all...)).fails("refused", "agreement.parties", ""),
	}
}

// transplanted is the study with the signatures of another version of it.
func transplanted(w *world) *keys.Document {
	d := w.signed().Document
	other := w.study
	other.Title = "Another title"
	d.Signatures = document(agreement.AgreementType, other, "alpha", "beta", "researcher").Signatures
	return d
}

// shapeVectors are well-formed agreements of other shapes, and documents that are not.
func shapeVectors(w *world) []vector {
	good := w.signed().Document
	shape := func(name, comment string, change func(*agreement.Agreement)) vector {
		w := newWorld()
		change(&w.study)
		return w.vector(name, comment, document(agreement.AgreementType, w.study, "alpha", "beta", "researcher"))
	}
	bad := func(name, comment, old, new string) vector {
		return w.vector(name, comment, good).edit(old, new).unread().fails("usage", "agreement.form", "")
	}
	spaced := w.vector("spaced", "White space around members changes nothing: the body's canonical form is hashed.", good)
	return []vector{
		spaced.edit(`{"body":{`, "{\n  \"body\": {\n").edit(`},"signatures":`, "} ,\n \"signatures\" : "),
		shape("version-2", "A later version names the one before.", func(a *agreement.Agreement) { d := digest("v1"); a.Version, a.Supersedes = 2, &d }),
		shape("confidential", "Hardware of class confidential.", func(a *agreement.Agreement) { hardware(a, "tdx") }),
		shape("integrity-only", "A TPM of class integrity-only.", func(a *agreement.Agreement) { hardware(a, "tpm"); a.Protection = agreement.IntegrityOnly }),
		shape("software-tpm", "A software TPM with its root pinned.", func(a *agreement.Agreement) {
			root := hash("swtpm")
			hardware(a, "tpm")
			a.Protection, a.Platforms[0].Root = agreement.Software, &root
		}),
		shape("dev-and-tpm", "Two kinds of machines of class software, each with its root and its image.", func(a *agreement.Agreement) {
			root := hash("swtpm")
			machine := a.Platforms[0]
			machine.Kind, machine.Root, machine.MayLack = "tpm", &root, []wire.ID{}
			machine.Images = []agreement.Image{{Name: "vm", Measurements: map[string]string{"firmware.version": strings.Repeat("ab", 32), "firmware.900000": strings.Repeat("cd", 32), "pcr11": strings.Repeat("ef", 32)}}}
			a.Platforms = append(a.Platforms, machine)
		}),
		shape("release-line", "A release line beside an image.", func(a *agreement.Agreement) { line(a) }),
		shape("release-line-alone", "A release line instead of images, with one key.", func(a *agreement.Agreement) {
			r := line(a)
			r.Keys, r.Threshold = r.Keys[:1], 1
			a.Platforms[0].Images = []agreement.Image{}
		}),
		shape("pinned-statement", "An input pinned to one version.", func(a *agreement.Agreement) { d := digest("a1"); a.Inputs[0].Statement = &d }),
		shape("no-witness", "No shared ledger.", func(a *agreement.Agreement) { a.Ledgers = agreement.Ledgers{Witnesses: []agreement.Witness{}} }),
		shape("choice", "A choice parameter.", func(a *agreement.Agreement) {
			param(a, agreement.Parameter{Type: "choice", Values: []string{"B", "M"}})
		}),
		shape("boolean", "A boolean parameter.", func(a *agreement.Agreement) { param(a, agreement.Parameter{Type: "boolean", Values: []string{}}) }),
		bad("member-unknown", "A member that agreements don't have.", `"contact":`, `"comment":"","contact":`),
		bad("member-missing", "A member is missing.", `"lease_ms":3000,`, ``),
		bad("member-twice", "A member stands twice.", `"lease_ms":3000`, `"lease_ms":3000,"lease_ms":3000`),
		bad("member-misspelt", "A member's name in another case.", `"lease_ms"`, `"Lease_ms"`),
		bad("number-float", "A number that is no integer.", `"lease_ms":3000`, `"lease_ms":3000.0`),
		bad("number-exponent", "A number with an exponent.", `"lease_ms":3000`, `"lease_ms":3e3`),
		bad("number-2-53", "A number of 2^53.", `"lease_ms":3000`, `"lease_ms":9007199254740992`),
		bad("number-as-text", "A number in quotes.", `"lease_ms":3000`, `"lease_ms":"3000"`),
		bad("null", "null is no list.", `"machines":[]`, `"machines":null`),
		bad("not-nfc", "Text that is not in normal form C.", `"contact":"`, "\"contact\":\"e\u0301 "),
		bad("lone-surrogate", "Half a character.", `"contact":"`, `"contact":"\ud800 `),
		bad("invalid-id", "An identifier in upper case.", `"id":"tumour-study"`, `"id":"Tumour-study"`),
		bad("time-zone", "A time that is not UTC.", `"from":"2026-11-01T00:00:00Z"`, `"from":"2026-11-01T00:00:00+00:00"`),
		bad("digest-upper", "A digest in upper case.", `"sha384:`, `"SHA384:`),
		bad("type-other", "A document of another type.", agreement.AgreementType, agreement.PartyType),
		bad("trailing", "Bytes after the document.", `"type":"strongroom/agreement/v1"}`, `"type":"strongroom/agreement/v1"}{}`),
	}
}

func TestAgreementVectors(t *testing.T) {
	checkVectors(t, "agreement", agreementVectors(), runAgreement)
}

func TestMissingSignatures(t *testing.T) {
	w := newWorld()
	a := must(agreement.NewAgreement(w.study))
	sign(a.Document, "beta")
	if got, want := a.MissingSignatures(w.parties()), []wire.ID{"alpha", "researcher"}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
	if got := a.MissingSignatures(nil); len(got) != 3 {
		t.Errorf("without descriptors %v are missing", got)
	}
	sign(a.Document, "alpha", "researcher")
	if got := a.MissingSignatures(w.parties()); got != nil {
		t.Errorf("signed by all, missing %v", got)
	}
}

func TestLookups(t *testing.T) {
	w := newWorld()
	a := w.study
	work, found := a.WorkByName("mean-radius")
	if !found {
		t.Fatal("work not found")
	}
	var names []wire.ID
	for _, in := range a.InputsOf(work) {
		names = append(names, in.Name)
	}
	if want := []wire.ID{"alpha-patients", "beta-patients"}; !cmp.Equal(names, want) {
		t.Error(cmp.Diff(want, names))
	}
	if got, want := a.OwnersOf(work), []wire.ID{"alpha", "beta"}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
	if _, found := a.PartyByID("gamma"); found {
		t.Error("found a party that isn't there")
	}
	if _, found := a.InputByName(""); found {
		t.Error("found an input without a name")
	}
	if _, found := a.TableByName("people"); found {
		t.Error("found a table that isn't there")
	}
	if _, found := a.PartyByDescriptor(wire.Digest{}); found {
		t.Error("found a party by the zero digest")
	}
}
