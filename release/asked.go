package release

import (
	"bytes"
	"fmt"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// The document types of messages about what was asked before.
const (
	AskedRequestType = "strongroom/asked-request/v1"
	AskedAnswerType  = "strongroom/asked/v1"
)

// AskedRequest is what a room asks an owner's broker whose data its answer is to be held
// against: what was asked of these dataset versions before. It is a document of type
// AskedRequestType signed by the room's signing key.
type AskedRequest struct {
	Version   string      `json:"version"`
	Broker    wire.ID     `json:"broker"`
	Agreement wire.Digest `json:"agreement"`
	Run       wire.Digest `json:"run"`
	RunID     string      `json:"run_id"`
	ReleaseID string      `json:"release_id"`
	Nonce     wire.Hash   `json:"nonce"`
}

// AskedAnswer is the broker's, a document of type AskedAnswerType signed by its release key.
// Nobody but the room can read what it says of data.
type AskedAnswer struct {
	Version string      `json:"version"`
	Broker  wire.ID     `json:"broker"`
	Run     wire.Digest `json:"run"`
	Nonce   wire.Hash   `json:"nonce"`
	// Histories are of this broker's audited inputs of the run, in the agreement's order.
	Histories []SealedHistory `json:"histories"`
	// Key receives what this run's answer shows; see [SealShown].
	Key keys.HPKEPublicKey `json:"key"`
}

// SealedHistory is a [History] sealed to the room.
type SealedHistory struct {
	Input  wire.ID    `json:"input"`
	Sealed wire.Bytes `json:"sealed"`
}

// History is what was asked of a dataset version and answered before, oldest first.
type History struct {
	Questions []AskedQuestion `json:"questions"`
}

// AskedQuestion is one earlier question.
type AskedQuestion struct {
	Question agreement.Question `json:"question"`
	// Shown are the hashes of the groups shown of the dataset version, as in [PadShown].
	Shown wire.Bytes `json:"shown"`
}

// GroupSize is that of a shown group's hash (spec/sql.md, section 4.1).
const GroupSize = 8

// PadShown gives hashes of groups at the size that does not tell how many there are: as many as
// a result has rows at most, zeros first.
func PadShown(groups []byte, rows int64) ([]byte, error) {
	size := int(rows) * GroupSize
	if len(groups) > size || len(groups)%GroupSize != 0 {
		return nil, fmt.Errorf("%d bytes of groups, %d at most", len(groups), size)
	}
	return append(make([]byte, size-len(groups), size), groups...), nil
}

// TrimShown takes the zeros off again.
func TrimShown(padded []byte) []byte {
	zero := make([]byte, GroupSize)
	for len(padded) >= GroupSize && bytes.Equal(padded[:GroupSize], zero) {
		padded = padded[GroupSize:]
	}
	return padded
}

func (r AskedRequest) check() error {
	switch {
	case !r.Broker.Valid():
		return fmt.Errorf("broker %.70q", string(r.Broker))
	case r.Agreement.IsZero() || r.Run.IsZero() || r.Nonce.IsZero():
		return fmt.Errorf("agreement, run or nonce is zero")
	}
	if err := hexID("run id", r.RunID); err != nil {
		return err
	}
	return hexID("release id", r.ReleaseID)
}

// NewAskedRequest signs a room's request.
func NewAskedRequest(room keys.Signer, r AskedRequest) ([]byte, error) {
	r.Version = Version
	if err := r.check(); err != nil {
		return nil, malformed("request for earlier questions", err)
	}
	return signed(room, AskedRequestType, r, MaxSmall)
}

// SignedAskedRequest is a request and the document it came in.
type SignedAskedRequest struct {
	AskedRequest
	Document *keys.Document
}

// SignedBy checks that the room key recorded for the release signed the request.
func (r *SignedAskedRequest) SignedBy(room keys.PublicKey) error { return signedBy(r.Document, room) }

// ParseAskedRequest reads a request on the broker's side: form only. The broker finds the
// release it names and then MUST call [SignedAskedRequest.SignedBy] with the key on record.
func ParseAskedRequest(data []byte) (*SignedAskedRequest, error) {
	s := new(SignedAskedRequest)
	doc, err := formed(data, AskedRequestType, "request for earlier questions", MaxSmall, &s.AskedRequest, &s.Version)
	if err != nil {
		return nil, err
	}
	s.Document = doc
	return s, nil
}

// NewAskedAnswer signs a broker's answer: histories and key from a, the rest repeats the request.
func NewAskedAnswer(releaseKey keys.Signer, asked AskedRequest, a AskedAnswer) ([]byte, error) {
	a.Version, a.Broker, a.Run, a.Nonce = Version, asked.Broker, asked.Run, asked.Nonce
	a.Histories = orEmpty(a.Histories)
	if err := a.check(); err != nil {
		return nil, malformed("answer about earlier questions", err)
	}
	return signed(releaseKey, AskedAnswerType, a, MaxAsked)
}

func (a AskedAnswer) check() error {
	if len(a.Histories) > agreement.MaxAudited {
		return fmt.Errorf("%d histories", len(a.Histories))
	}
	for _, h := range a.Histories {
		if !h.Input.Valid() || len(h.Sealed) == 0 {
			return fmt.Errorf("a history of input %.70q with %d bytes", string(h.Input), len(h.Sealed))
		}
	}
	return nil
}

// VerifyAskedAnswer reads a broker's answer on the room's side: signed by the release key, to
// this very request, about exactly these inputs in this order.
func VerifyAskedAnswer(data []byte, releaseKey keys.PublicKey, asked AskedRequest, inputs []wire.ID) (AskedAnswer, error) {
	var a AskedAnswer
	doc, err := formed(data, AskedAnswerType, "answer about earlier questions", MaxAsked, &a, &a.Version)
	if err != nil {
		return AskedAnswer{}, err
	}
	if err := signedBy(doc, releaseKey); err != nil {
		return AskedAnswer{}, err
	}
	same := len(a.Histories) == len(inputs) && !a.Key.IsZero()
	for i := 0; same && i < len(inputs); i++ {
		same = a.Histories[i].Input == inputs[i]
	}
	if asked.Nonce.IsZero() || a.Broker != asked.Broker || a.Run != asked.Run || a.Nonce != asked.Nonce || !same {
		return AskedAnswer{}, verdict.NotGenuine("asked.answer", "the answer of "+string(asked.Broker)+" to this request", "an answer to another request", "ask again; somebody on the way exchanged answers")
	}
	return a, nil
}

// historyInfo is the info of HPKE: a history opens only for the room that asked, and as that of
// this input and dataset version.
func historyInfo(asked AskedRequest, input wire.ID, statement wire.Digest) []byte {
	return wire.Tuple("strongroom/asked-info/v1", []byte(Version), []byte(keys.Suite), []byte(asked.Broker), asked.Nonce[:],
		asked.Agreement[:], asked.Run[:], []byte(input), statement[:], []byte(asked.ReleaseID))
}

// SealHistory seals what was asked of an input's dataset version to the room.
func SealHistory(room keys.HPKEPublicKey, asked AskedRequest, input wire.ID, statement wire.Digest, h History) (SealedHistory, error) {
	h.Questions = orEmpty(h.Questions)
	plain, err := wire.Marshal(h)
	if err != nil {
		return SealedHistory{}, err
	}
	defer clear(plain)
	sealed, err := room.Seal(historyInfo(asked, input, statement), plain)
	return SealedHistory{input, sealed}, err
}

// OpenHistory opens what [SealHistory] sealed, with the room's HPKE key.
func OpenHistory(room *keys.HPKEPrivateKey, asked AskedRequest, statement wire.Digest, s SealedHistory) (History, error) {
	plain, err := room.Open(historyInfo(asked, s.Input, statement), s.Sealed)
	if err != nil {
		return History{}, verdict.NotGenuine("asked.history", "earlier questions sealed for this room, run and dataset version", "some that do not open", "ask the broker again")
	}
	defer clear(plain)
	var h History
	if err := wire.Unmarshal(plain, &h); err != nil {
		return History{}, malformed("list of earlier questions", err)
	}
	if len(h.Questions) > agreement.MaxQuestions {
		return History{}, malformed("list of earlier questions", fmt.Errorf("%d questions", len(h.Questions)))
	}
	return h, nil
}

// ShownKey gives the key that receives what the answer of one run shows: always the same for a
// release, so that the broker need not keep it.
func ShownKey(broker *keys.Secret, releaseID string) (*keys.HPKEPrivateKey, error) {
	seed := broker.Derive("strongroom/shown-key/v1", []byte(releaseID))
	defer clear(seed[:])
	return keys.NewHPKEKey(seed[:])
}

func shownInfo(r LiveRequest) []byte {
	commitment := wire.Digest{}
	if r.Commitment != nil {
		commitment = *r.Commitment
	}
	return wire.Tuple("strongroom/shown-info/v1", []byte(Version), []byte(keys.Suite), []byte(r.Broker), r.Agreement[:], r.Run[:], []byte(r.ReleaseID), commitment[:])
}

// SealShown seals what is shown of the broker's audited inputs, one behind the other in the
// agreement's order and each padded, into a live request that has its commitment.
func SealShown(key keys.HPKEPublicKey, r *LiveRequest, shown []byte) (err error) {
	r.Shown, err = key.Seal(shownInfo(*r), shown)
	return err
}

// OpenShown opens it on the broker's side; size is what it must have.
func OpenShown(key *keys.HPKEPrivateKey, r LiveRequest, size int) ([]byte, error) {
	plain, err := key.Open(shownInfo(r), r.Shown)
	if err != nil || len(plain) != size {
		return nil, verdict.Refuse("live.shown", fmt.Sprintf("%d bytes of what is shown, sealed to this broker", size), fmt.Sprintf("%d sealed", len(r.Shown)),
			"a room says with its commitment what its answer shows: run a room of this version")
	}
	return plain, nil
}
