package main

import (
	"encoding/json"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/azure"
	"strongroom.dev/attest/dev"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/proof"
	"strongroom.dev/reference"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// inspectJSON recognises an object by its type, or by its members where it has none.
func (a *app) inspectJSON(i *inspection, data []byte) error {
	var shape struct {
		Type       *string         `json:"type"`
		Platform   *string         `json:"platform"`
		Checkpoint *string         `json:"checkpoint"`
		Entry      *string         `json:"entry"`
		Kind       *string         `json:"kind"`
		TimeMS     *int64          `json:"time_ms"`
		Descriptor json.RawMessage `json:"descriptor"`
		Document   json.RawMessage `json:"document"`
		Platforms  json.RawMessage `json:"platforms"`
	}
	if err := json.Unmarshal(data, &shape); err != nil {
		return verdict.Misuse("inspect", "JSON of ours", verdict.Short(err.Error()), "take the file as it was written")
	}
	switch {
	case shape.Document != nil && reference.Is(data):
		return a.inspectReference(i, data)
	case shape.Type != nil:
		return a.inspectTyped(i, *shape.Type, data)
	case shape.Entry != nil && shape.Checkpoint != nil:
		return a.inspectReceipt(i, data)
	case shape.Platform != nil:
		return a.inspectEvidence(i, data)
	case shape.Kind != nil && shape.TimeMS != nil:
		return inspectEntry(i, data)
	case shape.Platforms != nil:
		return inspectPolicy(i, data)
	case shape.Descriptor != nil:
		i.fact("note", "an entry of an address book")
		return a.inspectParty(i, shape.Descriptor)
	}
	return verdict.Misuse("inspect", "an object of ours", "JSON without a type", "strongroom inspect --help lists what it knows")
}

func (a *app) inspectTyped(i *inspection, docType string, data []byte) error {
	switch docType {
	case agreement.PartyType:
		return a.inspectParty(i, data)
	case agreement.AgreementType:
		ag, err := agreement.ParseAgreement(data)
		if err == nil {
			a.inspectAgreement(i, ag, "an agreement")
		}
		return err
	case agreement.DatasetType:
		return a.inspectDataset(i, data)
	case agreement.RunType:
		return a.inspectRun(i, data)
	case proof.BundleType:
		return a.inspectProof(i, data)
	case reference.Type:
		return a.inspectReference(i, data)
	case endorse.Type:
		return a.inspectEndorsements(i, data)
	case tpm.Type:
		return a.inspectFound(i, attest.Evidence{Platform: tpm.Name, Evidence: data})
	case azure.Type:
		return a.inspectFound(i, attest.Evidence{Platform: azure.Name, Evidence: data})
	}
	kind, found := map[string]string{
		release.RequestType:     "a room's request for keys",
		release.GrantType:       "a broker's grant of keys",
		release.LiveRequestType: "a room's question whether it may go on",
		release.LiveType:        "a broker's word that a room may go on",
		proof.ResultType:        "a room's statement about a result",
		proof.RecordType:        "a run's record",
		dev.Type:                "evidence of the dev platform (" + dev.Insecure + ")",
	}[docType]
	if !found {
		return verdict.Misuse("inspect", "a type that this version knows", verdict.Short(docType), "it may be of a newer strongroom")
	}
	doc, err := keys.ParseDocument(data, docType, nil)
	if err != nil {
		return verdict.Misuse("inspect", "a document of type "+docType, err.Error(), "take the file as it was written")
	}
	i.Kind = kind
	a.document(i, doc)
	i.notVerified("what it says: it belongs to a run, and is verified as part of a proof")
	return nil
}

func (a *app) inspectReference(i *inspection, data []byte) error {
	p, err := reference.Parse(data)
	if err != nil {
		return unjudged(err)
	}
	i.Kind = "reference values"
	i.fact("product", "%s, version %d, security version %d", p.Values.Product, p.Values.Version, p.Values.SecurityVersion)
	i.fact("dates", "%s to %s", p.Values.Created, p.Values.Expires)
	a.document(i, p.Document)
	if p.Receipt == nil {
		i.fact("log", "no proof that a log has recorded them")
	}
	i.notVerified("signatures, log and dates: strongroom reference check does it")
	return nil
}

// document shows a signed document and what the home knows of its signatures.
func (a *app) document(i *inspection, doc *keys.Document, more ...acquaintance) {
	i.Digest, i.Body = doc.Digest().String(), doc.Body
	known := append(a.acquaintances(), more...)
	for _, s := range doc.Signatures {
		i.Signatures = append(i.Signatures, judge(doc, s, known))
	}
	if len(doc.Signatures) == 0 {
		i.notVerified("anything: nobody has signed it")
	}
}

func judge(doc *keys.Document, s keys.Signature, known []acquaintance) signatureFact {
	f := signatureFact{Key: s.Key, Algorithm: s.Algorithm, State: "unknown key"}
	for _, k := range known {
		public := append([]agreement.PartyKey(nil), k.party.Keys...)
		if b := k.party.Broker; b != nil {
			public = append(public, agreement.PartyKey{Public: b.ReleaseKey})
		}
		for _, p := range public {
			if p.Public.ID() != s.Key {
				continue
			}
			f.By, f.State = k.label, "genuine"
			if p.Public.Verify(doc.Type, doc.Digest(), s) != nil {
				f.State = "NOT GENUINE"
			}
			return f
		}
	}
	return f
}

func (a *app) inspectParty(i *inspection, data []byte) error {
	p, err := agreement.ParseParty(data)
	if err != nil {
		return err
	}
	i.Kind = "a party descriptor"
	i.fact("party", "%s, version %d: %s", p.Name, p.Version, p.Title)
	i.fact("fingerprint", "%s", grouped(p.Digest()))
	a.document(i, p.Document, acquaintance{p, "the party itself"})
	if err := p.VerifyOwn(a.now()); err != nil {
		i.notVerified("its own signatures: %s", err)
	} else {
		i.verified("it is signed as it says it must be, by its own keys")
	}
	if _, label, err := a.pinned(p.Digest()); err == nil {
		i.verified("it is in your address book as %s", label)
	} else {
		i.notVerified("whose keys these are: compare the fingerprint with the party, then strongroom party add")
	}
	return nil
}

func (a *app) pinned(d wire.Digest) (*agreement.SignedParty, string, error) {
	h, err := a.openHome()
	if err != nil {
		return nil, "", err
	}
	return h.Party(d)
}

func (a *app) inspectAgreement(i *inspection, ag *agreement.SignedAgreement, kind string) {
	i.Kind = kind
	i.fact("agreement", "%s, version %d: %s", ag.ID, ag.Version, ag.Title)
	i.fact("valid", "%s to %s", ag.Valid.From, ag.Valid.Until)
	i.fact("protection", "%s", ag.Protection)
	a.document(i, ag.Document)
	parties, _, unknown := a.known(ag)
	if missing := ag.MissingSignatures(parties); len(missing) > 0 && unknown == nil {
		i.fact("missing", "signatures of %s", joined(missing))
	}
	if unknown != nil {
		i.notVerified("the signatures of parties that you have not pinned: %s", unknown)
	} else if err := ag.Verify(parties, a.now()); err != nil {
		i.notVerified("that it binds: %s", err)
	} else {
		i.verified("every party that it names has signed it, and it is valid now")
	}
	i.notVerified("that it is activated: ask each owner's broker (strongroom broker status)")
}

func (a *app) inspectDataset(i *inspection, data []byte) error {
	d, err := agreement.ParseDataset(data)
	if err != nil {
		return err
	}
	i.Kind = "a dataset statement"
	i.fact("dataset", "%s of %s, version %d", d.Dataset.Dataset, d.Owner, d.Version)
	a.document(i, d.Document)
	state := error(verdict.Refuse("party.pinned", "its owner in your address book", string(d.Owner), "strongroom party add"))
	for _, k := range a.acquaintances() {
		if k.party.Name == d.Owner {
			if state = d.Verify(k.party, a.now()); state == nil {
				i.verified("%s signed it", k.label)
				break
			}
		}
	}
	if state != nil {
		i.notVerified("that its owner signed it: %s", state)
	}
	i.notVerified("the sealed file it is about, and that it is the current version")
	return nil
}

func (a *app) inspectRun(i *inspection, data []byte) error {
	r, err := agreement.ParseRun(data)
	if err != nil {
		return err
	}
	i.Kind = "a run request"
	i.fact("run", "%s: %s asks for %s", r.RunID, r.Requester, r.Work)
	i.fact("expires", "%s", r.Expires)
	a.document(i, r.Document)
	h, err := a.openHome()
	if err == nil {
		var ag *agreement.SignedAgreement
		if ag, err = h.Agreement(r.Agreement); err == nil {
			err = a.verifyRun(r, ag)
		}
	}
	if err != nil {
		i.notVerified("that it may run: %s", err)
		return nil
	}
	i.verified("it is signed by a party that may run it, with the parameters the agreement allows, and has not expired")
	return nil
}

func (a *app) verifyRun(r *agreement.SignedRun, ag *agreement.SignedAgreement) error {
	p, found := ag.PartyByID(r.Requester)
	if !found {
		return verdict.Refuse("run.requester", "a party of the agreement", string(r.Requester), "ask who made it")
	}
	requester, _, err := a.pinned(p.Descriptor)
	if err != nil {
		return err
	}
	return r.Verify(ag, requester, a.now())
}

func (a *app) inspectProof(i *inspection, data []byte) error {
	b, err := proof.ParseBundle(data)
	if err != nil {
		return err
	}
	i.Kind = "a proof of a result"
	if doc, err := keys.ParseDocument(b.Result, proof.ResultType, nil); err == nil {
		var r proof.Result
		if wire.Unmarshal(doc.Body, &r) == nil {
			i.fact("result", "%s for %s, run %s", r.Output, r.Receiver, r.RunID)
			i.fact("agreement", "%s", r.Agreement)
			i.fact("file", "%s, %d bytes", r.File, r.Size)
		}
		i.Body = doc.Body
	}
	if doc, err := keys.ParseDocument(b.Result, proof.LogsType, nil); err == nil {
		var l proof.Logs
		if wire.Unmarshal(doc.Body, &l) == nil {
			i.Kind = "a proof of a piece of a container's logs"
			i.fact("logs", "piece %d for %s, run %s", l.Number, l.Receiver, l.RunID)
			i.fact("agreement", "%s", l.Agreement)
			i.fact("file", "%s, %d bytes", l.File, l.Size)
		}
		i.Body = doc.Body
	}
	i.fact("owners", "%d release(s), %d record(s) in shared ledgers", len(b.Releases), len(b.Records))
	i.notVerified("all of it: strongroom receipt verify does it, with your own roots")
	return nil
}

func inspectEntry(i *inspection, data []byte) error {
	e, err := ledger.ParseEntry(data)
	if err != nil {
		return err
	}
	i.Kind = "an entry of a log"
	entryFacts(i, e)
	i.notVerified("that it stands in any log: its receipt shows that")
	return nil
}

func entryFacts(i *inspection, e ledger.Entry) {
	i.fact("event", "%s at %s", e.Kind, time.UnixMilli(e.TimeMS).UTC().Format(time.RFC3339))
	if e.RunID != "" {
		i.fact("run", "%s", e.RunID)
	}
	if e.Agreement != nil {
		i.fact("agreement", "%s", e.Agreement)
	}
	for _, s := range e.Sealed {
		i.fact("sealed", "a part of %d bytes only %s can read", len(s.Sealed), s.Party)
	}
	i.Body = e.Public
}

func (a *app) inspectReceipt(i *inspection, data []byte) error {
	var r ledger.Receipt
	if err := json.Unmarshal(data, &r); err != nil {
		return verdict.Misuse("inspect", "a receipt", verdict.Short(err.Error()), "take the file as it was written")
	}
	c, err := ledger.ReadCheckpoint(r.Checkpoint)
	if err != nil {
		return err
	}
	e, err := ledger.ParseEntry(r.Entry)
	if err != nil {
		return err
	}
	i.Kind = "a receipt"
	i.fact("log", "%s", c.Origin)
	i.fact("index", "%d of %d", r.Index, c.Size)
	entryFacts(i, e)
	for _, key := range a.logKeys() {
		if origin, err := ledger.OriginOf(key.verifier); err != nil || origin != c.Origin {
			continue
		}
		if _, _, err := r.Verify(key.verifier, nil, 0); err != nil {
			i.notVerified("that the entry stands in the log: %s", err)
		} else {
			i.verified("the entry stands in the log of %s", key.owner)
			i.notVerified("witnesses' cosignatures")
		}
		return nil
	}
	i.notVerified("that the entry stands in the log: nobody you know has a log of that name")
	return nil
}
