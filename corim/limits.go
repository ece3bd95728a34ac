package corim

import "strongroom.dev/cbor"

const (
	// MaxFile is the most bytes of a CoRIM: those of vendors' whole firmware are below 200 KiB.
	MaxFile = 1 << 20
	// MaxTriples is the most reference triples: one for each group that a set may have.
	MaxTriples = 1024
	// MaxMeasurements is the most measurements, with registers in them, of a triple.
	MaxMeasurements = 256
	// maxChain is the most certificates of a signer: leaf, two intermediates and the root.
	maxChain = 4
	// maxText is the most bytes of a name: it stands on a line of a screen.
	maxText = 255
)

// envelope bounds the signature's envelope and headers: a few labels and a chain.
func envelope() cbor.Limits { return cbor.Limits{Values: 256, Depth: 6} }

// content bounds what was signed: the deepest part of a CoMID has 11 levels.
func content() cbor.Limits { return cbor.Limits{Values: 1 << 16, Depth: 16} }
