package agreement_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"strongroom.dev/agreement"
	"strongroom.dev/internal/testrules"
	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// now is the moment at which the fixtures are valid.
var now = time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)

func moment(text string) wire.Time {
	var t wire.Time
	if err := t.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return t
}

// key gives a signing key that is the same in every run, by its name.
func key(name string) *keys.SigningKey {
	seed := wire.SHA256("strongroom/test/key", []byte(name))
	k, err := keys.ParseSigningKey("STRONGROOM-SIGNING-KEY-1:ed25519:" + base64.StdEncoding.EncodeToString(seed[:]))
	if err != nil {
		panic(err)
	}
	return k
}

func noteKey(origin string) string {
	seed := wire.SHA256("strongroom/test/note", []byte(origin))
	_, verifier, err := note.GenerateKey(bytes.NewReader(seed[:]), origin)
	if err != nil {
		panic(err)
	}
	return verifier
}

// recipients are X25519 recipients whose identities nobody kept.
var recipients = []string{
	"age188ydsylk7lfkvssru32hu6kj23d5klnqacl7hjhejww6wksnx5aq6etsg4",
	"age1cmz2avy6d6zey9x680y9t4w6rq9lh8q4lky9f0qn7c6aphgex5aql8wpgk",
	"age18uk4akgk3sq9a4hm79x8s4j9aaq3vvujpknxjcty62vc0q9lpeaquge0v5",
	"age1fsk23suk8mw5szv8tfw35dstjhqaygphsuueskcf040nhun2595qdcq3gv",
	"age1aa5d2lm0r3mmwej3xy9ekg7sugchzu9d7n6mcvkgwruk9jkx6awqpr7d5a",
	"age1g6k9d75jk804ca8un7ymlfrpuehze7zz4c2aa0l7v5mguumqlcfscdd2hx",
}

func partyKey(name string) agreement.PartyKey {
	return agreement.PartyKey{Public: key(name).Public(), NotBefore: moment("2026-01-01T00:00:00Z"), NotAfter: moment("2028-01-01T00:00:00Z")}
}

// hospital is a descriptor with a broker, and researcher one without.
func hospital(name string, n int) agreement.Descriptor {
	return agreement.Descriptor{
		Name: wire.ID(name), Title: strings.ToUpper(name[:1]) + name[1:] + " Hospital", Domain: name + ".example", Version: 1,
		Keys: []agreement.PartyKey{partyKey(name)}, Threshold: 1,
		Broker: &agreement.BrokerInfo{
			Address: name + ".example:7100", Operator: "in house", ReleaseKey: key(name + "/release").Public(),
			LogKey: noteKey(name + ".example/log"), Data: []string{recipients[2*n]},
		},
		Results: []string{recipients[2*n+1]},
	}
}

func researcher() agreement.Descriptor {
	return agreement.Descriptor{
		Name: "researcher", Title: "Researcher", Domain: "", Version: 1,
		Keys: []agreement.PartyKey{partyKey("researcher")}, Threshold: 1, Results: []string{recipients[4]},
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type signable interface{ Sign(keys.Signer) error }

// sign adds signatures by the named keys.
func sign(d signable, names ...string) {
	for _, name := range names {
		if err := d.Sign(key(name)); err != nil {
			panic(err)
		}
	}
}

func signedParty(d agreement.Descriptor, signers ...string) *agreement.SignedParty {
	p := must(agreement.NewParty(d))
	sign(p.Document, signers...)
	return p
}

func digest(name string) wire.Digest { return wire.SHA384("strongroom/test/digest", []byte(name)) }
func hash(name string) wire.Hash     { return wire.SHA256("strongroom/test/hash", []byte(name)) }

// world is two hospitals and a researcher with an agreement, unsigned.
type world struct {
	alpha, beta, researcher *agreement.SignedParty
	study                   agreement.Agreement
}

func newWorld() *world {
	w := &world{
		alpha:      signedParty(hospital("alpha", 0), "alpha"),
		beta:       signedParty(hospital("beta", 1), "beta"),
		researcher: signedParty(researcher(), "researcher"),
	}
	w.study = study(w)
	return w
}

func (w *world) parties() []*agreement.SignedParty {
	return []*agreement.SignedParty{w.alpha, w.beta, w.researcher}
}

// signed gives the study signed by all three.
func (w *world) signed() *agreement.SignedAgreement {
	a := must(agreement.NewAgreement(w.study))
	sign(a.Document, "alpha", "beta", "researcher")
	return a
}

func schema() []agreement.Column {
	return []agreement.Column{
		{Name: "patient", Type: "integer", Unit: true},
		{Name: "diagnosis", Type: "text"},
		{Name: "mean_radius", Type: "decimal", Scale: 4},
	}
}

func study(w *world) agreement.Agreement {
	input := func(owner wire.ID) agreement.Input {
		return agreement.Input{Name: owner + "-patients", Owner: owner, Dataset: "wdbc", Format: agreement.CSV, Schema: schema(), RunsPerDay: 20, Rules: testrules.Groups(10, "researcher")}
	}
	root := hash("dev root")
	return agreement.Agreement{
		ID: "tumour-study", Version: 1, Title: "Tumour size across two hospitals", Purpose: "Compare tumour sizes.",
		LegalBasis: "Consent of the patients.", Retention: "Results: ten years.", Contact: "study@alpha.example",
		Valid: agreement.Validity{From: moment("2026-11-01T00:00:00Z"), Until: moment("2027-11-01T00:00:00Z")},
		Parties: []agreement.Party{
			{ID: "alpha", Descriptor: w.alpha.Digest()}, {ID: "beta", Descriptor: w.beta.Digest()}, {ID: "researcher", Descriptor: w.researcher.Digest()},
		},
		Protection: agreement.Software,
		Platforms: []agreement.Platform{{
			Kind: "dev", Root: &root, Machines: []string{}, Releases: []agreement.ReleaseLine{}, MayLack: []wire.ID{"landlock"},
			Images: []agreement.Image{{Name: "dev-room", Measurements: map[string]string{
				"agent": strings.TrimPrefix(digest("agent").String(), "sha384:"), "helper/strongroom-sql": strings.TrimPrefix(digest("sql").String(), "sha384:"),
			}}},
		}},
		Inputs: []agreement.Input{input("alpha"), input("beta")},
		Tables: []agreement.Table{{Name: "patients", Inputs: []wire.ID{"alpha-patients", "beta-patients"}}},
		Work: []agreement.Work{{
			Name: "mean-radius", Kind: "sql", Description: "Mean radius by diagnosis, over a smallest radius",
			Query:  "SELECT diagnosis, avg(mean_radius) AS radius\nFROM patients\nWHERE mean_radius >= $least\nGROUP BY diagnosis\n",
			Tables: []string{"patients"}, MayRun: []wire.ID{"researcher"}, Output: "means",
			Parameters: []agreement.Parameter{{Name: "least", Type: "decimal", Min: "0.0", Max: "30.0", Scale: 1, Values: []string{}}},
		}},
		Outputs: []agreement.Output{{Name: "means", Receivers: []wire.ID{"researcher"}, Format: "csv", MaxRows: 100, MaxBytes: 65536}},
		Ledgers: agreement.Ledgers{Witnesses: []agreement.Witness{{Name: "witness", Key: noteKey("witness.example/ledger")}}, Quorum: 1},
		LeaseMS: 3000,
	}
}

// run is a request for the study's work, unsigned.
func (w *world) run(a *agreement.SignedAgreement) agreement.Run {
	return agreement.Run{
		Agreement: a.Digest(), RunID: "000102030405060708090a0b0c0d0e0f", Requester: "researcher", Work: "mean-radius",
		Parameters: map[string]string{"least": "12.5"},
		Datasets:   []agreement.RunDataset{{Input: "alpha-patients", Statement: digest("a1")}, {Input: "beta-patients", Statement: digest("b1")}},
		Expires:    moment("2026-11-24T10:30:00Z"),
	}
}

func dataset() agreement.Dataset {
	return agreement.Dataset{
		Owner: "alpha", Dataset: "wdbc", Version: 1, Header: hash("header"), Root: hash("root"), Size: 123456, Recipients: 2,
		Format: agreement.CSV, Schema: agreement.SchemaDigest(schema()), UniqueUnit: true, Created: moment("2026-11-20T12:00:00Z"),
	}
}
