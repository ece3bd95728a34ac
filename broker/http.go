package broker

// Paths of the HTTP interface that package release does not name: the first is open to
// anyone, the others stand on the admin socket only.
const (
	PathSeen     = "/v1/seen" // GET, ?origin=NAME: SeenAnswer
	PathActivate = "/admin/activate"
	PathRetire   = "/admin/retire"
	PathRevoke   = "/admin/revoke"
	PathPublish  = "/admin/publish"
	PathConfirm  = "/admin/confirm"
	PathWhy      = "/admin/why"
	PathState    = "/admin/status" // GET: Status
)

// SeenAnswer is what a broker holds of logs of one origin.
type SeenAnswer struct {
	Checkpoints []string `json:"checkpoints"`
}

// Named is the one argument of an officer's act: a digest, or an id for why.
type Named struct {
	Name string `json:"name"`
}

// WhyAnswer are the decisions about one id.
type WhyAnswer struct {
	Decisions []Decision `json:"decisions"`
}

// MaxAnswer is the most bytes of an answer on the admin socket: maxWhy explanations.
const MaxAnswer = 16 << 20
