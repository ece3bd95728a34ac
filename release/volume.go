package release

import (
	"fmt"

	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// The document types of messages about volumes.
const (
	VolumeRequestType = "strongroom/volume-request/v1"
	VolumeAnswerType  = "strongroom/volume-answer/v1"
)

// VolumeStep is what a room does with a volume.
type VolumeStep string

// The steps, in this order. A broker gives a generation; the room writes it to the disk; only
// when the broker has recorded that may anything else be written.
const (
	VolumeOpen    VolumeStep = "open"
	VolumeMounted VolumeStep = "mounted"
	VolumeClose   VolumeStep = "close"
)

// VolumeRequest is what a room asks the broker of the party that owns a volume's key. It is a
// document of type VolumeRequestType signed by the room's signing key.
type VolumeRequest struct {
	Version   string      `json:"version"`
	Broker    wire.ID     `json:"broker"`
	Agreement wire.Digest `json:"agreement"`
	Run       wire.Digest `json:"run"`
	RunID     string      `json:"run_id"`
	ReleaseID string      `json:"release_id"`
	// Input is the one that holds the volume's key.
	Input wire.ID    `json:"input"`
	Step  VolumeStep `json:"step"`
	// Generation is the one that the broker gave this room; zero to open.
	Generation int64 `json:"generation,omitempty"`
	// Root is that of the content at the end; only to close.
	Root  *wire.Hash `json:"root,omitempty"`
	Nonce wire.Hash  `json:"nonce"`
}

// VolumeAnswer is the broker's, a document of type VolumeAnswerType signed by its release
// key. It is recorded before it leaves.
type VolumeAnswer struct {
	Version string      `json:"version"`
	Broker  wire.ID     `json:"broker"`
	Run     wire.Digest `json:"run"`
	Input   wire.ID     `json:"input"`
	Step    VolumeStep  `json:"step"`
	Nonce   wire.Hash   `json:"nonce"`
	// Generation is this room's from now on.
	Generation int64 `json:"generation"`
	// Previous is what the volume's disk must be; absent if no room has ever said that it
	// mounted this volume: then there is nothing on it yet. Only for VolumeOpen.
	Previous *VolumeState `json:"previous,omitempty"`
}

// VolumeState is what a broker knows of a volume. The generation on the disk is at least
// Generation and below that of the answer: those between were given to rooms that never said
// they mounted it, so that nothing was ever written under them.
type VolumeState struct {
	Generation int64 `json:"generation"`
	// Root is that of its content when it was closed; absent if it was not.
	Root *wire.Hash `json:"root,omitempty"`
}

// Clean tells whether the volume was closed, and so by its root.
func (s VolumeState) Clean() bool { return s.Root != nil }

// Accepts tells whether a generation found on the disk may be this volume's, for a room that
// was given one of its own.
func (s VolumeState) Accepts(found, given int64) bool { return found >= s.Generation && found < given }

func (s VolumeStep) valid() bool { return s == VolumeOpen || s == VolumeMounted || s == VolumeClose }

func (r VolumeRequest) check() error {
	switch {
	case !r.Broker.Valid() || !r.Input.Valid():
		return fmt.Errorf("broker %.70q, input %.70q", string(r.Broker), string(r.Input))
	case r.Agreement.IsZero() || r.Run.IsZero() || r.Nonce.IsZero():
		return fmt.Errorf("agreement, run or nonce is zero")
	case !r.Step.valid():
		return fmt.Errorf("step %.70q", string(r.Step))
	case (r.Step == VolumeOpen) != (r.Generation == 0) || r.Generation < 0 || r.Generation > wire.MaxInteger:
		return fmt.Errorf("generation %d to %s", r.Generation, r.Step)
	case (r.Step == VolumeClose) != (r.Root != nil) || r.Root != nil && r.Root.IsZero():
		return fmt.Errorf("a root to close, and only then")
	}
	if err := hexID("run id", r.RunID); err != nil {
		return err
	}
	return hexID("release id", r.ReleaseID)
}

// NewVolumeRequest signs a room's request.
func NewVolumeRequest(room keys.Signer, r VolumeRequest) ([]byte, error) {
	r.Version = Version
	if err := r.check(); err != nil {
		return nil, malformed("volume request", err)
	}
	return signed(room, VolumeRequestType, r, MaxSmall)
}

// SignedVolumeRequest is a volume request and the document it came in.
type SignedVolumeRequest struct {
	VolumeRequest
	Document *keys.Document
}

// SignedBy checks that the room key recorded for the release signed the request.
func (r *SignedVolumeRequest) SignedBy(room keys.PublicKey) error { return signedBy(r.Document, room) }

// ParseVolumeRequest reads a request on the broker's side: form only. The broker finds the
// release it names and then MUST call [SignedVolumeRequest.SignedBy] with the key on record.
func ParseVolumeRequest(data []byte) (*SignedVolumeRequest, error) {
	s := new(SignedVolumeRequest)
	doc, err := formed(data, VolumeRequestType, "volume request", MaxSmall, &s.VolumeRequest, &s.Version)
	if err != nil {
		return nil, err
	}
	s.Document = doc
	return s, nil
}

func (a VolumeAnswer) check() error {
	p := a.Previous
	switch {
	case a.Generation < 1 || a.Generation > wire.MaxInteger:
		return fmt.Errorf("generation %d", a.Generation)
	case p != nil && a.Step != VolumeOpen:
		return fmt.Errorf("a state before of a volume that is not being opened")
	case p != nil && (p.Generation < 1 || p.Generation >= a.Generation || p.Root != nil && p.Root.IsZero()):
		return fmt.Errorf("generation %d before %d", p.Generation, a.Generation)
	}
	return nil
}

// NewVolumeAnswer signs a broker's answer: generation and state before from a, the rest
// repeats the request.
func NewVolumeAnswer(releaseKey keys.Signer, asked VolumeRequest, a VolumeAnswer) ([]byte, error) {
	a.Version, a.Broker, a.Run, a.Input, a.Step, a.Nonce = Version, asked.Broker, asked.Run, asked.Input, asked.Step, asked.Nonce
	if err := a.check(); err != nil {
		return nil, malformed("answer about a volume", err)
	}
	return signed(releaseKey, VolumeAnswerType, a, MaxSmall)
}

// VerifyVolumeAnswer reads a broker's answer on the room's side: signed by the release key,
// and to this very request.
func VerifyVolumeAnswer(data []byte, releaseKey keys.PublicKey, asked VolumeRequest) (VolumeAnswer, error) {
	var a VolumeAnswer
	doc, err := formed(data, VolumeAnswerType, "answer about a volume", MaxSmall, &a, &a.Version)
	if err != nil {
		return VolumeAnswer{}, err
	}
	if err := signedBy(doc, releaseKey); err != nil {
		return VolumeAnswer{}, err
	}
	if asked.Nonce.IsZero() || a.Broker != asked.Broker || a.Run != asked.Run || a.Input != asked.Input || a.Step != asked.Step || a.Nonce != asked.Nonce ||
		asked.Generation != 0 && a.Generation != asked.Generation {
		return VolumeAnswer{}, verdict.NotGenuine("volume.answer", "the answer of "+string(asked.Broker)+" to this request", "an answer to another request", "ask again; somebody on the way exchanged answers")
	}
	return a, nil
}
