package endorse

// Limits, checked before anything is parsed.
const (
	// MaxFile is the most bytes of one file handed to [Parse]: a vendor's whole collateral for
	// one platform is below 200 KiB, a bundle of ours at most 4 MiB (wire.MaxDocument).
	MaxFile = 8 << 20
	// MaxItem is the most bytes of one endorsement: CRLs, TCB infos and RIMs are below 100 KiB.
	MaxItem = 1 << 20
	// MaxItems is the most endorsements in a set: certificates of a thousand machines, four
	// each, with all collateral beside them.
	MaxItems = 8192
	// MaxTotal is the most bytes of a set.
	MaxTotal = 64 << 20
	// MaxName is the most bytes of an item's name.
	MaxName = 255
	// maxNesting bounds text inside text: the deepest seen is PEM in base64 in JSON in JSON.
	maxNesting = 5
	// maxDepth bounds nesting of JSON: vendors' documents have 8 levels.
	maxDepth = 32
	// maxTable is the most entries of a GUID table of certificates: firmware writes up to 5.
	maxTable = 64
	// minEncoded is the fewest characters of hex or base64 worth decoding: no endorsement is
	// shorter than 64 bytes.
	minEncoded = 88
)
