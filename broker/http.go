package broker

// Paths of the admin socket; what is open to anyone is named in package release.
const (
	PathActivate  = "/admin/activate"
	PathRetire    = "/admin/retire"
	PathRevoke    = "/admin/revoke"
	PathDeny      = "/admin/deny"
	PathLift      = "/admin/lift"
	PathReference = "/admin/reference"
	PathVolume    = "/admin/volume"
	PathBudget    = "/admin/budget"
	PathPublish   = "/admin/publish"
	PathConfirm   = "/admin/confirm"
	PathWhy       = "/admin/why"
	PathState     = "/admin/status"    // GET: Status
	PathAuthority = "/admin/authority" // GET: AuthorityAnswer
)

// Named is the one argument of an officer's act: a digest, or an id for why.
type Named struct {
	Name string `json:"name"`
}

// WhyAnswer are the decisions about one id.
type WhyAnswer struct {
	Decisions []Decision `json:"decisions"`
}

// AuthorityAnswer is the certificate of the party's authority for rooms' names, PEM.
type AuthorityAnswer struct {
	Certificate string `json:"certificate"`
}

// MaxAnswer is the most bytes of an answer on the admin socket: maxWhy explanations.
const MaxAnswer = 16 << 20
