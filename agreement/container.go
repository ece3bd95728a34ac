package agreement

import "strongroom.dev/wire"

// Container is work of kind container: an existing image, unchanged, and how it is shut in
// (spec/container.md). Nothing of it comes from a host.
type Container struct {
	Image ContainerImage `json:"image"`
	// Argv is what is started, exactly; its first is an absolute path in the image.
	Argv []string `json:"argv"`
	User User     `json:"user"`
	// Directory is the working directory, an absolute path.
	Directory   string        `json:"directory"`
	Environment []Environment `json:"environment"`
	// Mounts are what the read-only root has besides the image, in order: a later one may lie
	// below an earlier.
	Mounts []Mount `json:"mounts"`
	// Capabilities are what the first process keeps, such as CAP_NET_BIND_SERVICE, in the
	// container's own user namespace; it can gain no other.
	Capabilities []string `json:"capabilities"`
	Seccomp      Seccomp  `json:"seccomp"`
	Ports        []Port   `json:"ports"`
	Egress       []Egress `json:"egress"`
	// Transit is the local endpoint for keys that the container uses and never sees; nil: none.
	Transit *Transit `json:"transit,omitempty"`
	Logs    Logs     `json:"logs"`
	Restart Restart  `json:"restart"`
	Limits  Limits   `json:"limits"`
	// CertifiedBy is the party whose broker's own authority certifies the room's key for the
	// names of Ports; empty: nobody. Mesh says that this certificate also names the room to the
	// other rooms of the agreement.
	CertifiedBy wire.ID `json:"certified_by,omitempty"`
	Mesh        bool    `json:"mesh"`
}

// ContainerImage is an image by what it was and by what it became: the digest that its
// registry knows, and the disk that `strongroom container prepare` made of it.
type ContainerImage struct {
	// Reference is the name it had, for people: it decides nothing.
	Reference string `json:"reference"`
	// Manifest is the SHA-256 of the OCI manifest.
	Manifest wire.Hash  `json:"manifest"`
	Disk     VerityDisk `json:"disk"`
	// Sealed is the input that holds the disk, sealed; empty: the host has it in the clear.
	Sealed wire.ID `json:"sealed,omitempty"`
}

// VerityDisk is a read-only disk: an EROFS file system of Blocks blocks of 4,096 bytes, and
// behind it its Merkle tree (package verity).
type VerityDisk struct {
	Blocks int64     `json:"blocks"`
	Salt   wire.Hash `json:"salt"`
	Root   wire.Hash `json:"root"`
}

// User is whom the first process runs as, in numbers of the container's own user namespace.
type User struct {
	UID    int64   `json:"uid"`
	GID    int64   `json:"gid"`
	Groups []int64 `json:"groups"`
}

// EnvironmentKind says where a variable's value comes from.
type EnvironmentKind string

// The kinds of environment variables.
const (
	Exact    EnvironmentKind = "exact"   // Value
	Pattern  EnvironmentKind = "pattern" // the run request's, which must match all of Pattern
	FromFile EnvironmentKind = "input"   // the plaintext of Input, without a last line feed
)

// Environment is one variable. What stands in no rule does not exist in the container.
type Environment struct {
	Name string          `json:"name"`
	Kind EnvironmentKind `json:"kind"`
	// Value is the value (Exact), or what holds where the request names none (Pattern).
	Value string `json:"value,omitempty"`
	// Pattern is an RE2 expression that all of a value must match.
	Pattern string `json:"pattern,omitempty"`
	// Required: the request must name a value (Pattern).
	Required bool    `json:"required"`
	Input    wire.ID `json:"input,omitempty"`
}

// MountKind says what a mount is.
type MountKind string

// The kinds of mounts.
const (
	Memory  MountKind = "memory"  // empty, in the room's memory, gone at its end
	Scratch MountKind = "scratch" // empty, on the host's disk under a key of this room alone
	Volume  MountKind = "volume"  // kept across runs, on the host's disk under the owner's key
	Data    MountKind = "data"    // a read-only disk, by its root
	File    MountKind = "file"    // one read-only file: the plaintext of an input
	Result  MountKind = "result"  // empty, in memory; its file "result" is the work's output
)

// Mount is something at a path of the container.
type Mount struct {
	Path string    `json:"path"` // absolute and clean
	Kind MountKind `json:"kind"`
	// Bytes bounds memory, scratch and result, and is a volume's size.
	Bytes int64 `json:"bytes"`
	// Mode is the permission bits of the directory or file, 0 to 01777 (octal); User its owner.
	Mode int64 `json:"mode"`
	UID  int64 `json:"uid"`
	GID  int64 `json:"gid"`
	// Input is the file's, or the one that holds a volume's key.
	Input wire.ID     `json:"input,omitempty"`
	Disk  *VerityDisk `json:"disk,omitempty"`
}

// Seccomp is which system calls there are: those of a profile that the agent knows, without
// those denied.
type Seccomp struct {
	Profile wire.ID  `json:"profile"` // "default"
	Deny    []string `json:"deny"`
}

// Port is something that the container listens on, at its own loopback, and who may reach it
// (R20).
type Port struct {
	Name wire.ID `json:"name"`
	Port int64   `json:"port"`
	// Names are DNS names that certificates are asked for.
	Names []string `json:"names"`
	Allow Allow    `json:"allow"`
}

// Allow says who may connect: whoever one of its members admits. An Allow without any
// admits nobody.
type Allow struct {
	// Parties may connect with a signature of the party's keys.
	Parties []wire.ID `json:"parties"`
	// Authorities are certificates (DER) that clients' certificates must lead to.
	Authorities []wire.Bytes `json:"authorities"`
	Issuers     []Issuer     `json:"issuers"`
	// Rooms are works of this agreement whose rooms may connect (the mesh).
	Rooms []wire.ID `json:"rooms"`
	// Anyone admits whoever reaches the port: explain shouts it.
	Anyone bool `json:"anyone"`
}

// Issuer is whose tokens (JWT) are taken: they must name the audience, and be signed by one
// of the keys.
type Issuer struct {
	Issuer   string   `json:"issuer"`
	Audience string   `json:"audience"`
	Keys     []string `json:"keys"` // public keys in their text form
	// Subjects are the accepted values of sub; empty: any.
	Subjects []string `json:"subjects"`
}

// Egress is a place that the container may reach, by its TLS identity, which the agent
// checks; the address is the host's to find. In the container it is Host at Port, in the
// clear on its own loopback.
type Egress struct {
	Name wire.ID `json:"name"`
	Host string  `json:"host"`
	Port int64   `json:"port"`
	// Authorities are certificates (DER) that the far end's must lead to, for Host. Keys are
	// SHA-256 of public keys (SPKI), one of which the far end's own must be. At least one of the
	// two; both must hold where both are given.
	Authorities []wire.Bytes `json:"authorities"`
	Keys        []wire.Hash  `json:"keys"`
	// Room is a work of this agreement whose room is the far end (the mesh), instead of both.
	Room wire.ID `json:"room,omitempty"`
}

// Transit is an endpoint in the container, shaped like HashiCorp Vault's transit engine.
type Transit struct {
	Port int64        `json:"port"` // on the container's loopback
	Keys []TransitKey `json:"keys"`
}

// TransitKey is a key that the container may use and never sees.
type TransitKey struct {
	Name wire.ID `json:"name"`
	// Input holds the key's 32 bytes, from which what each use needs is derived.
	Input wire.ID `json:"input"`
	// Uses are of: sign, encrypt, derive.
	Uses []wire.ID `json:"uses"`
}

// Logs says what becomes of what the container prints: nothing, or sealed to parties.
type Logs struct {
	Receivers []wire.ID `json:"receivers"`
	// MaxBytes bounds what is kept of one run; what comes after is dropped, and counted.
	MaxBytes int64 `json:"max_bytes"`
}

// Restart says what becomes of a container that ends: "never", "on-failure" or "always",
// at most Most times.
type Restart struct {
	Policy wire.ID `json:"policy"`
	Most   int64   `json:"most"`
}

// Limits bound what a container uses.
type Limits struct {
	Memory    int64 `json:"memory"` // bytes, mounts of kind memory included
	Processes int64 `json:"processes"`
	Files     int64 `json:"files"` // open descriptors of a process
}
