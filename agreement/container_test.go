package agreement_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/agreement"
	"strongroom.dev/wire"
)

// fixed gives the same bytes in every run: certificates in vectors must not change.
type fixed struct{}

func (fixed) Read(p []byte) (int, error) { clear(p); p[len(p)-1] = 7; return len(p), nil }

// certificate gives an authority's certificate, or a plain one.
func certificate(name string, authority bool) wire.Bytes {
	seed := sha256.Sum256([]byte(name))
	key := must(ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:]))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: authority, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	return must(x509.CreateCertificate(fixed{}, template, template, key.Public(), key))
}

// filled makes every list that is nil an empty one, since null has no place in a document.
func filled(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			filled(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				filled(v.Field(i))
			}
		}
	case reflect.Slice:
		omitted := v.CanSet() && v.IsNil()
		if omitted {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		for i := range v.Len() {
			filled(v.Index(i))
		}
	}
}

// service is an agreement about a container that is all there can be: alpha brings secrets,
// beta keeps watch.
func service(w *world) agreement.Agreement {
	a := study(w)
	a.ID, a.Title, a.Purpose = "web-service", "A web service", "Serve pages."
	opaque := func(name wire.ID, format agreement.Format) agreement.Input {
		return agreement.Input{Name: name, Owner: "alpha", Dataset: name, Format: format, Schema: []agreement.Column{}, RunsPerDay: 100}
	}
	a.Inputs = []agreement.Input{
		opaque("web-image", agreement.Disk), opaque("db-password", agreement.Opaque), opaque("web-config", agreement.Opaque),
		opaque("state-key", agreement.Opaque), opaque("signing-key", agreement.Opaque),
	}
	a.Tables = []agreement.Table{}
	a.Outputs = []agreement.Output{{Name: "report", Receivers: []wire.ID{"researcher"}, Format: "file", MaxRows: 1, MaxBytes: 1 << 20}}
	a.Work = []agreement.Work{{
		Name: "web", Kind: "container", Description: "The web server, as it is.", Tables: []string{}, Parameters: []agreement.Parameter{},
		MayRun: []wire.ID{"researcher"}, Output: "report", Keepers: []wire.ID{"beta"}, Container: container(),
	}}
	return a
}

func container() *agreement.Container {
	return &agreement.Container{
		Image: agreement.ContainerImage{Reference: "registry.example/web:1.2", Manifest: hash("manifest"), Sealed: "web-image",
			Disk: agreement.VerityDisk{Blocks: 5000, Salt: hash("salt"), Root: hash("root")}},
		Argv: []string{"/usr/sbin/nginx", "-g", "daemon off;", ""},
		User: agreement.User{UID: 101, GID: 101, Groups: []int64{101, 4}}, Directory: "/",
		Environment: []agreement.Environment{
			{Name: "PATH", Kind: agreement.Exact, Value: "/usr/sbin:/usr/bin"},
			{Name: "WORKERS", Kind: agreement.Pattern, Pattern: "[1-9][0-9]?", Value: "4"},
			{Name: "MODE", Kind: agreement.Pattern, Pattern: "fast|slow", Required: true},
			{Name: "DB_PASSWORD", Kind: agreement.FromFile, Input: "db-password"},
		},
		Mounts: []agreement.Mount{
			{Path: "/tmp", Kind: agreement.Memory, Bytes: 64 << 20, Mode: 0o1777},
			{Path: "/var/cache", Kind: agreement.Scratch, Bytes: 1 << 30, Mode: 0o755, UID: 101, GID: 101},
			{Path: "/var/lib/web", Kind: agreement.Volume, Bytes: 1 << 30, Mode: 0o700, UID: 101, GID: 101, Input: "state-key"},
			{Path: "/srv/models", Kind: agreement.Data, Disk: &agreement.VerityDisk{Blocks: 10, Salt: hash("salt"), Root: hash("models")}},
			{Path: "/etc/web.conf", Kind: agreement.File, Mode: 0o400, UID: 101, GID: 101, Input: "web-config"},
			{Path: "/result", Kind: agreement.Result, Bytes: 2 << 20, Mode: 0o700, UID: 101, GID: 101},
		},
		Capabilities: []string{"CAP_NET_BIND_SERVICE"},
		Seccomp:      agreement.Seccomp{Profile: "default", Deny: []string{"ptrace"}},
		Ports: []agreement.Port{{Name: "web", Port: 8080, Names: []string{"web.alpha.example"}, Allow: agreement.Allow{
			Parties: []wire.ID{"researcher"}, Authorities: []wire.Bytes{}, Rooms: []wire.ID{}, Anyone: false,
			Issuers: []agreement.Issuer{{Issuer: "https://login.example", Audience: "web", Keys: []string{key("issuer").Public().String()}, Subjects: []string{"ann"}}},
		}}},
		Egress:  []agreement.Egress{{Name: "store", Host: "store.example", Port: 443, Authorities: []wire.Bytes{}, Keys: []wire.Hash{hash("store key")}}},
		Transit: &agreement.Transit{Port: 8200, Keys: []agreement.TransitKey{{Name: "orders", Input: "signing-key", Uses: []wire.ID{"sign", "derive"}}}},
		Logs:    agreement.Logs{Receivers: []wire.ID{"alpha"}, MaxBytes: 1 << 20},
		Restart: agreement.Restart{Policy: "on-failure", Most: 3},
		Limits:  agreement.Limits{Memory: 256 << 20, Processes: 64, Files: 1024}, CertifiedBy: "alpha",
	}
}

// containerWorld has the service in the study's place.
func containerWorld() *world {
	w := newWorld()
	w.study = service(w)
	return w
}

// runWeb is a request for the service, unsigned.
func (w *world) runWeb(a *agreement.SignedAgreement) agreement.Run {
	r := w.run(a)
	r.Work, r.Parameters, r.Environment = "web", map[string]string{}, map[string]string{"MODE": "fast"}
	r.Datasets = nil
	for _, in := range w.study.Inputs {
		r.Datasets = append(r.Datasets, agreement.RunDataset{Input: in.Name, Statement: digest(string(in.Name))})
	}
	return r
}

func containerForms() []agreementCase {
	type C = agreement.Container
	type A = agreement.Agreement
	var cases []agreementCase
	whole := func(name, comment string, change func(*A), where string) {
		cases = append(cases, agreementCase{"container-" + name, comment, change, where})
	}
	of := func(name, comment string, change func(*C), where string) {
		if where != "" {
			where = "." + where
		}
		whole(name, comment, func(a *A) { change(a.Work[0].Container) }, "work[0].container"+where)
	}
	env := func(name, comment string, v agreement.Environment, where string) {
		of("env-"+name, comment, func(c *C) { c.Environment[0] = v }, "environment[0]."+where)
	}
	mount := func(name, comment string, m agreement.Mount, where string) {
		of("mount-"+name, comment, func(c *C) { c.Mounts[0] = m }, "mounts[0]."+where)
	}
	path := func(name, comment, p string) {
		mount("path-"+name, comment, agreement.Mount{Path: p, Kind: agreement.Memory, Bytes: 1 << 20, Mode: 0o700}, "path")
	}
	argv := func(name, comment string, where string, argv ...string) {
		of("argv-"+name, comment, func(c *C) { c.Argv = argv }, where)
	}

	whole("none", "Work of kind container has a container.", func(a *A) { a.Work[0].Container = nil }, "work[0].container")
	whole("query", "A container has no query.", func(a *A) { a.Work[0].Query = "SELECT 1" }, "work[0].query")
	whole("tables", "A container reads no tables.", func(a *A) { a.Work[0].Tables = []string{"patients"} }, "work[0].tables")
	whole("parameters", "A container has an environment and no parameters.", func(a *A) {
		a.Work[0].Parameters = []agreement.Parameter{{Name: "x", Type: "boolean"}}
	}, "work[0].parameters")
	whole("keeper-stranger", "Only parties keep.", func(a *A) { a.Work[0].Keepers = []wire.ID{"host"} }, "work[0].keepers[0]")
	whole("keeper-twice", "A keeper is named once.", func(a *A) { a.Work[0].Keepers = []wire.ID{"beta", "beta"} }, "work[0].keepers[1]")
	whole("nobody-admits", "Without inputs somebody must keep watch.", func(a *A) { bare(a); a.Work[0].Keepers = nil }, "work[0].keepers")
	whole("output-unknown", "An output that doesn't exist.", func(a *A) { a.Work[0].Output = "other" }, "work[0].output")
	whole("output-csv", "A container's result is a file.", func(a *A) { a.Outputs[0].Format = "csv" }, "work[0].output")
	whole("output-rows", "Nobody counts rows in a file.", func(a *A) { a.Outputs[0].MaxRows = 2 }, "outputs[0].max_rows")
	whole("output-always", "An output leaves when the container ends.", func(a *A) { a.Work[0].Container.Restart.Policy = "always" }, "work[0].container.restart.policy")
	whole("output-no-mount", "An output comes from a mount.", func(a *A) { c := a.Work[0].Container; c.Mounts = c.Mounts[:5] }, "work[0].container.mounts")
	whole("result-no-output", "A result that is no output.", func(a *A) { a.Work[0].Output, a.Outputs = "", []agreement.Output{} }, "work[0].container.mounts[5].kind")
	whole("results-2", "One output, one mount for it.", func(a *A) {
		c := a.Work[0].Container
		m := c.Mounts[5]
		m.Path = "/result2"
		c.Mounts = append(c.Mounts, m)
	}, "work[0].container.mounts[6].kind")
	whole("input-unused", "An input that nothing uses.", func(a *A) { a.Work[0].Container.Image.Sealed = "" }, "inputs[0].name")
	whole("input-schema", "A file has no columns.", func(a *A) { a.Inputs[1].Schema = schema() }, "inputs[1].schema")
	whole("input-in-table", "A file stands in no table.", func(a *A) {
		a.Tables = []agreement.Table{{Name: "secrets", Inputs: []wire.ID{"db-password"}}}
	}, "tables[0].inputs[0]")

	of("reference-none", "An image has a name for people.", func(c *C) { c.Image.Reference = "" }, "image.reference")
	of("manifest-zero", "A tag names no image.", func(c *C) { c.Image.Manifest = wire.Hash{} }, "image.manifest")
	of("root-zero", "Zero is no root.", func(c *C) { c.Image.Disk.Root = wire.Hash{} }, "image.disk.root")
	of("blocks-0", "A disk has blocks.", func(c *C) { c.Image.Disk.Blocks = 0 }, "image.disk.blocks")
	of("blocks-many", "A disk has at most 1 TiB.", func(c *C) { c.Image.Disk.Blocks = agreement.MaxDiskBlocks + 1 }, "image.disk.blocks")
	of("sealed-unknown", "An input that doesn't exist.", func(c *C) { c.Image.Sealed = "other" }, "image.sealed")
	of("sealed-format", "A sealed image is a disk.", func(c *C) { c.Image.Sealed = "db-password" }, "image.sealed")

	argv("none", "Something is started.", "argv")
	argv("relative", "What is started has a whole path.", "argv[0]", "nginx")
	argv("dots", "A path has one spelling.", "argv[0]", "/usr/../bin/sh")
	argv("nul", "An argument that no program can have.", "argv[1]", "/bin/sh", "a\x00b")
	argv("escape", "A terminal escape in an argument.", "argv[1]", "/bin/sh", "a\x1b[2Jb")
	argv("bidi", "An argument that reads otherwise than it is.", "argv[1]", "/bin/sh", "a\u202eb")
	argv("many", "At most 256 arguments.", "argv", slices.Repeat([]string{"/bin/sh"}, 257)...)
	argv("long", "At most 64 KiB of arguments.", "argv", "/bin/sh", strings.Repeat("x", agreement.MaxArgv))

	of("uid-negative", "Users are 0 to 65535.", func(c *C) { c.User.UID = -1 }, "user.uid")
	of("gid-many", "Groups are 0 to 65535.", func(c *C) { c.User.GID = 65536 }, "user.gid")
	of("groups-33", "At most 32 groups.", func(c *C) { c.User.Groups = make([]int64, 33) }, "user.groups")
	of("group-twice", "A group is named once.", func(c *C) { c.User.Groups = []int64{4, 4} }, "user.groups[1]")
	of("directory", "The working directory is a whole path.", func(c *C) { c.Directory = "srv" }, "directory")

	env("name", "A name that no variable has.", agreement.Environment{Name: "A=B", Kind: agreement.Exact}, "name")
	env("digit", "A name starts with a letter.", agreement.Environment{Name: "1A", Kind: agreement.Exact}, "name")
	env("kind", "A kind that doesn't exist.", agreement.Environment{Name: "A", Kind: "any", Value: "x"}, "kind")
	env("kind-none", "A variable has a kind.", agreement.Environment{Name: "A"}, "kind")
	env("exact-pattern", "An exact value has no pattern.", agreement.Environment{Name: "A", Kind: agreement.Exact, Pattern: "x"}, "pattern")
	env("exact-required", "An exact value is nobody's choice.", agreement.Environment{Name: "A", Kind: agreement.Exact, Required: true}, "required")
	env("exact-input", "An exact value comes from no input.", agreement.Environment{Name: "A", Kind: agreement.Exact, Input: "db-password"}, "input")
	env("exact-nul", "A value that no program can have.", agreement.Environment{Name: "A", Kind: agreement.Exact, Value: "a\x00"}, "value")
	env("exact-long", "A value has at most 32 KiB.", agreement.Environment{Name: "A", Kind: agreement.Exact, Value: strings.Repeat("x", agreement.MaxValue+1)}, "value")
	env("pattern-none", "A pattern that is none admits everything.", agreement.Environment{Name: "A", Kind: agreement.Pattern}, "pattern")
	env("pattern-bad", "A pattern that is no expression.", agreement.Environment{Name: "A", Kind: agreement.Pattern, Pattern: "a("}, "pattern")
	env("pattern-unbalanced", "A pattern that ends the group around it.", agreement.Environment{Name: "A", Kind: agreement.Pattern, Pattern: "a)|(?:b"}, "pattern")
	env("pattern-lookahead", "RE2 has no look-ahead.", agreement.Environment{Name: "A", Kind: agreement.Pattern, Pattern: "(?=a)a"}, "pattern")
	env("pattern-huge", "An expression whose program is out of bounds.", agreement.Environment{Name: "A", Kind: agreement.Pattern, Pattern: "((a{100}){100}){100}"}, "pattern")
	env("pattern-long", "A pattern has at most 512 bytes.", agreement.Environment{Name: "A", Kind: agreement.Pattern, Pattern: strings.Repeat("a", 513)}, "pattern")
	env("pattern-default", "A default that the pattern refuses.", agreement.Environment{Name: "A", Kind: agreement.Pattern, Pattern: "a", Value: "ab"}, "value")
	env("pattern-required", "A required variable has no default.", agreement.Environment{Name: "A", Kind: agreement.Pattern, Pattern: "a", Value: "a", Required: true}, "value")
	env("pattern-preload", "Whoever chooses LD_PRELOAD chooses the code.", agreement.Environment{Name: "LD_PRELOAD", Kind: agreement.Pattern, Pattern: ".*"}, "kind")
	env("input-none", "A value from an input names it.", agreement.Environment{Name: "A", Kind: agreement.FromFile}, "input")
	env("input-format", "A disk is no value.", agreement.Environment{Name: "A", Kind: agreement.FromFile, Input: "web-image"}, "input")
	env("input-value", "A value from an input has no other.", agreement.Environment{Name: "A", Kind: agreement.FromFile, Input: "db-password", Value: "x"}, "value")
	of("env-twice", "A variable stands once.", func(c *C) { c.Environment[1].Name = "PATH" }, "environment[1].name")
	of("env-many", "At most 256 variables.", func(c *C) { c.Environment = make([]agreement.Environment, 257) }, "environment")

	path("relative", "A mount has a whole path.", "tmp")
	path("dots", "A path has one spelling.", "/a/../etc")
	path("slash", "A path has one spelling.", "/tmp/")
	path("slashes", "A path has one spelling.", "//tmp")
	path("root", "The root is the image's.", "/")
	path("proc", "/proc is the room's.", "/proc/self")
	path("sys", "/sys is the room's.", "/sys")
	path("dev", "/dev is the room's.", "/dev")
	path("device", "/dev is the room's but for shm.", "/dev/shmem")
	path("hosts", "Names are the room's.", "/etc/hosts")
	path("resolv", "Names are the room's.", "/etc/resolv.conf")
	path("escape", "A path with a terminal escape.", "/a\x1bb")
	mount("kind", "A kind that doesn't exist.", agreement.Mount{Path: "/a", Kind: "bind"}, "kind")
	mount("bytes-0", "A mount in memory has a bound.", agreement.Mount{Path: "/a", Kind: agreement.Memory}, "bytes")
	mount("bytes-many", "A mount has at most 16 TiB.", agreement.Mount{Path: "/a", Kind: agreement.Scratch, Bytes: agreement.MaxMount + 1}, "bytes")
	mount("mode-setuid", "No setuid bits.", agreement.Mount{Path: "/a", Kind: agreement.Memory, Bytes: 4096, Mode: 0o4755}, "mode")
	mount("owner", "Owners are 0 to 65535.", agreement.Mount{Path: "/a", Kind: agreement.Memory, Bytes: 4096, UID: 65536}, "uid")
	mount("memory-input", "Memory starts empty.", agreement.Mount{Path: "/a", Kind: agreement.Memory, Bytes: 4096, Input: "db-password"}, "input")
	mount("memory-disk", "Memory is no disk.", agreement.Mount{Path: "/a", Kind: agreement.Memory, Bytes: 4096, Disk: &agreement.VerityDisk{}}, "disk")
	mount("volume-no-key", "A volume has a key.", agreement.Mount{Path: "/a", Kind: agreement.Volume, Bytes: 1 << 20}, "input")
	mount("volume-small", "A volume has at least 1 MiB.", agreement.Mount{Path: "/a", Kind: agreement.Volume, Bytes: 4096, Input: "db-password"}, "bytes")
	mount("data-no-disk", "Data is a disk.", agreement.Mount{Path: "/a", Kind: agreement.Data}, "disk")
	mount("data-root", "Data is a disk by its root.", agreement.Mount{Path: "/a", Kind: agreement.Data, Disk: &agreement.VerityDisk{Blocks: 1}}, "disk.root")
	mount("data-mode", "Data is as its disk says.", agreement.Mount{Path: "/a", Kind: agreement.Data, Mode: 0o755, Disk: &agreement.VerityDisk{Blocks: 1, Root: hash("r")}}, "mode")
	mount("file-no-input", "A file is an input.", agreement.Mount{Path: "/a", Kind: agreement.File}, "input")
	mount("file-disk-input", "A disk is no file.", agreement.Mount{Path: "/a", Kind: agreement.File, Input: "web-image"}, "input")
	mount("file-bytes", "A file is as long as its input.", agreement.Mount{Path: "/a", Kind: agreement.File, Input: "db-password", Bytes: 1}, "bytes")
	of("mount-twice", "A path stands once.", func(c *C) { c.Mounts[1].Path = "/tmp" }, "mounts[1].path")
	of("mount-hides", "A mount hides none before it.", func(c *C) { c.Mounts[1].Path = "/var"; c.Mounts[0].Path = "/var/a" }, "mounts[1].path")
	of("mount-below-file", "No mount lies below a file.", func(c *C) { c.Mounts[5].Path = "/etc/web.conf/x" }, "mounts[5].path")
	of("mount-many", "At most 64 mounts.", func(c *C) { c.Mounts = make([]agreement.Mount, 65) }, "mounts")
	of("key-shared", "A volume's key is nothing else.", func(c *C) { c.Mounts[4].Input = "state-key" }, "mounts[4].input")
	of("key-shared-env", "A volume's key is shown to nobody.", func(c *C) { c.Mounts[2].Input = "db-password" }, "mounts[2].input")
	of("key-shared-transit", "A transit key is nothing else.", func(c *C) { c.Transit.Keys[0].Input = "web-config" }, "transit.keys[0].input")

	of("capability-admin", "What undoes the sandbox.", func(c *C) { c.Capabilities = []string{"CAP_SYS_ADMIN"} }, "capabilities[0]")
	of("capability-raw", "Raw sockets are nobody's.", func(c *C) { c.Capabilities = []string{"CAP_NET_RAW"} }, "capabilities[0]")
	of("capability-lower", "A capability has one spelling.", func(c *C) { c.Capabilities = []string{"cap_chown"} }, "capabilities[0]")
	of("capability-twice", "A capability stands once.", func(c *C) { c.Capabilities = []string{"CAP_CHOWN", "CAP_CHOWN"} }, "capabilities[1]")
	of("seccomp-unconfined", "There is no way around it.", func(c *C) { c.Seccomp.Profile = "unconfined" }, "seccomp.profile")
	of("seccomp-deny", "A system call has a name.", func(c *C) { c.Seccomp.Deny = []string{"read write"} }, "seccomp.deny[0]")

	of("port-0", "Ports are 1 to 65535.", func(c *C) { c.Ports[0].Port = 0 }, "ports[0].port")
	of("port-many", "Ports are 1 to 65535.", func(c *C) { c.Ports[0].Port = 65536 }, "ports[0].port")
	of("port-twice", "A port stands once.", func(c *C) { p := c.Ports[0]; p.Name = "other"; c.Ports = append(c.Ports, p) }, "ports[1].port")
	of("port-name-twice", "A port's name stands once.", func(c *C) { p := c.Ports[0]; p.Port = 1; c.Ports = append(c.Ports, p) }, "ports[1].name")
	of("ports-33", "At most 32 ports.", func(c *C) { c.Ports = slices.Repeat(c.Ports, 33) }, "ports")
	of("port-address", "A name is no address.", func(c *C) { c.Ports[0].Names = []string{"10.0.0.1"} }, "ports[0].names[0]")
	of("port-wildcard", "A name is one host's.", func(c *C) { c.Ports[0].Names = []string{"*.example"} }, "ports[0].names[0]")
	of("port-uncertified", "A name that nobody certifies.", func(c *C) { c.CertifiedBy = "" }, "ports[0].names")
	of("allow-nobody", "A port that admits nobody.", func(c *C) { c.Ports[0].Allow = agreement.Allow{} }, "ports[0].allow")
	of("allow-stranger", "Only parties are admitted as parties.", func(c *C) { c.Ports[0].Allow.Parties = []wire.ID{"host"} }, "ports[0].allow.parties[0]")
	of("allow-authority", "An authority that is no certificate.", func(c *C) { c.Ports[0].Allow.Authorities = []wire.Bytes{{1}} }, "ports[0].allow.authorities[0]")
	of("issuer-no-keys", "An issuer has keys.", func(c *C) { c.Ports[0].Allow.Issuers[0].Keys = nil }, "ports[0].allow.issuers[0].keys")
	of("issuer-no-audience", "A token is for somebody.", func(c *C) { c.Ports[0].Allow.Issuers[0].Audience = "" }, "ports[0].allow.issuers[0].audience")
	of("issuer-none", "An issuer has a name.", func(c *C) { c.Ports[0].Allow.Issuers[0].Issuer = "" }, "ports[0].allow.issuers[0].issuer")
	of("room-unknown", "Work that doesn't exist.", func(c *C) { c.Ports[0].Allow.Rooms = []wire.ID{"db"} }, "ports[0].allow.rooms[0]")
	of("room-no-mesh", "A room shows whose it is in the mesh only.", func(c *C) { c.Ports[0].Allow.Rooms = []wire.ID{"web"} }, "ports[0].allow.rooms[0]")

	of("egress-no-identity", "An address proves nothing.", func(c *C) { c.Egress[0].Keys = nil }, "egress[0]")
	of("egress-address", "Never by address.", func(c *C) { c.Egress[0].Host = "10.0.0.1" }, "egress[0].host")
	of("egress-localhost", "Not the container itself.", func(c *C) { c.Egress[0].Host = "a.localhost" }, "egress[0].host")
	of("egress-key-zero", "Zero is no key.", func(c *C) { c.Egress[0].Keys = []wire.Hash{{}} }, "egress[0].keys[0]")
	of("egress-host-twice", "A host stands once.", func(c *C) { e := c.Egress[0]; e.Name = "b"; e.Port = 1; c.Egress = append(c.Egress, e) }, "egress[1].host")
	of("egress-room-too", "A room shows what it is by evidence.", func(c *C) { c.Egress[0].Room = "web" }, "egress[0].room")
	of("egress-room-unknown", "Work that doesn't exist.", func(c *C) { c.Egress[0].Room, c.Egress[0].Keys = "db", nil }, "egress[0].room")

	of("transit-no-keys", "An endpoint without keys.", func(c *C) { c.Transit.Keys = nil }, "transit.keys")
	of("transit-port", "The container's own port.", func(c *C) { c.Transit.Port = 8080 }, "transit.port")
	of("transit-use", "A use that doesn't exist.", func(c *C) { c.Transit.Keys[0].Uses = []wire.ID{"show"} }, "transit.keys[0].uses[0]")
	of("transit-no-uses", "A key without uses.", func(c *C) { c.Transit.Keys[0].Uses = nil }, "transit.keys[0].uses")
	of("logs-nobody", "Logs for nobody have no size.", func(c *C) { c.Logs.Receivers = nil }, "logs.max_bytes")
	of("logs-endless", "Logs have a bound.", func(c *C) { c.Logs.MaxBytes = 0 }, "logs.max_bytes")
	of("logs-stranger", "Only parties get logs.", func(c *C) { c.Logs.Receivers = []wire.ID{"host"} }, "logs.receivers[0]")
	of("restart", "A policy that doesn't exist.", func(c *C) { c.Restart.Policy = "maybe" }, "restart.policy")
	of("restart-never", "Never is never.", func(c *C) { c.Restart.Policy = "never" }, "restart.most")
	of("restart-endless", "Restarts have a bound.", func(c *C) { c.Restart.Most = 0 }, "restart.most")
	of("limits-memory", "A container has a bound on memory.", func(c *C) { c.Limits.Memory = 0 }, "limits.memory")
	of("limits-processes", "A container has a bound on processes.", func(c *C) { c.Limits.Processes = 0 }, "limits.processes")
	of("limits-files", "A container has a bound on files.", func(c *C) { c.Limits.Files = 0 }, "limits.files")
	of("certified-stranger", "Only parties certify.", func(c *C) { c.CertifiedBy = "host" }, "certified_by")
	of("certified-bystander", "Who certifies has released to the room.", func(c *C) { c.CertifiedBy = "researcher" }, "certified_by")
	of("mesh-uncertified", "A mesh has an authority.", func(c *C) { c.Mesh, c.CertifiedBy, c.Ports[0].Names = true, "", nil }, "mesh")
	whole("mesh-2-authorities", "A mesh has one authority.", func(a *A) {
		other := container()
		other.Mesh, other.CertifiedBy, a.Work[0].Container.Mesh = true, "beta", true
		w := a.Work[0]
		w.Name, w.Container = "other", other
		a.Work = append(a.Work, w)
	}, "work[0].container.certified_by")
	return cases
}

// bare makes the service one without inputs, outputs and names.
func bare(a *agreement.Agreement) {
	c := a.Work[0].Container
	c.Image.Sealed, c.Transit, c.CertifiedBy, c.Ports = "", nil, "", []agreement.Port{}
	c.Environment, c.Mounts = c.Environment[:3], c.Mounts[:2]
	a.Inputs, a.Outputs, a.Work[0].Output = []agreement.Input{}, []agreement.Output{}, ""
}

func containerVectors() []vector {
	w := containerWorld()
	vs := []vector{w.vector("container-good", "A container with everything that there is.", w.signed().Document)}
	for _, c := range containerForms() {
		w := containerWorld()
		c.change(&w.study)
		filled(reflect.ValueOf(&w.study))
		vs = append(vs, w.vector(c.name, c.comment, document(agreement.AgreementType, w.study)).unread().fails("usage", "agreement.form", c.where))
	}
	w = containerWorld()
	bare(&w.study)
	vs = append(vs, w.vector("container-bare", "A container with a keeper and no inputs.", w.signed().Document))
	w = containerWorld()
	w.study.Work[0].Keepers = []wire.ID{"researcher"}
	vs = append(vs, w.vector("container-keeper-no-broker", "A keeper has a broker.", w.signed().Document).fails("refused", "agreement.parties", ""))
	w = containerWorld()
	w.study.Work[0].Container.CertifiedBy, w.study.Work[0].Keepers = "researcher", []wire.ID{"researcher"}
	vs = append(vs, w.vector("container-certifier-no-broker", "Who certifies has a broker.", w.signed().Document).fails("refused", "agreement.parties", ""))
	for _, c := range []agreementCase{
		{"work-sql-container", "A query is no container.", func(a *agreement.Agreement) { a.Work[0].Container = container() }, "work[0].container"},
		{"work-sql-keepers", "The owners of what a query reads keep it.", func(a *agreement.Agreement) { a.Work[0].Keepers = []wire.ID{"alpha"} }, "work[0].keepers"},
		{"work-sql-file", "A query's result is a table.", func(a *agreement.Agreement) { o := &a.Outputs[0]; o.Format, o.MaxRows = "file", 1 }, "work[0].output"},
	} {
		w := newWorld()
		c.change(&w.study)
		filled(reflect.ValueOf(&w.study))
		vs = append(vs, w.vector(c.name, c.comment, document(agreement.AgreementType, w.study)).unread().fails("usage", "agreement.form", c.where))
	}
	return vs
}

// Certificates are no vectors, since a signature by ECDSA is never the same twice.
func TestAuthorities(t *testing.T) {
	for _, c := range []struct {
		name  string
		list  []wire.Bytes
		wrong bool
	}{
		{"one", []wire.Bytes{certificate("root", true)}, false},
		{"not an authority", []wire.Bytes{certificate("leaf", false)}, true},
		{"bytes behind it", []wire.Bytes{append(certificate("root", true), 0)}, true},
		{"17", slices.Repeat([]wire.Bytes{certificate("root", true)}, 17), true},
		{"too long", []wire.Bytes{make([]byte, agreement.MaxCertificate+1)}, true},
	} {
		w := containerWorld()
		w.study.Work[0].Container.Ports[0].Allow.Authorities = c.list
		if err := w.study.Validate(); (err != nil) != c.wrong {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	w := containerWorld()
	same := certificate("root", true)
	w.study.Work[0].Container.Egress[0].Authorities = []wire.Bytes{same, same}
	if w.study.Validate() == nil {
		t.Error("an authority stands twice")
	}
}

func containerRunVectors() []vector {
	type R = agreement.Run
	w := containerWorld()
	a := w.signed()
	make := func(w *world, a *agreement.SignedAgreement, name, comment string, change func(*R)) vector {
		r := w.runWeb(a)
		change(&r)
		v := w.vector("container-"+name, comment, document(agreement.RunType, r, "researcher"), w.researcher)
		v.Agreement = encode(a.Document)
		return v
	}
	env := func(name, comment string, values map[string]string) vector {
		return make(w, a, name, comment, func(r *R) { r.Environment = values })
	}
	vs := []vector{
		env("good", "A request for a container.", map[string]string{"MODE": "slow"}),
		env("good-override", "A request that sets what it may.", map[string]string{"MODE": "slow", "WORKERS": "12"}),
		env("environment-missing", "What is required is missing.", map[string]string{"WORKERS": "12"}).fails("refused", "run.environment", ""),
		env("environment-mismatch", "A value that the pattern refuses.", map[string]string{"MODE": "fastest"}).fails("refused", "run.environment", ""),
		env("environment-line", "A value that matches but for a line after it.", map[string]string{"MODE": "fast\n"}).fails("refused", "run.environment", ""),
		env("environment-empty", "No value is a value.", map[string]string{"MODE": ""}).fails("refused", "run.environment", ""),
		env("environment-exact", "What the agreement fixes is nobody's choice.", map[string]string{"MODE": "fast", "PATH": "/tmp"}).fails("refused", "run.environment", ""),
		env("environment-secret", "What an input gives is nobody's choice.", map[string]string{"MODE": "fast", "DB_PASSWORD": "x"}).fails("refused", "run.environment", ""),
		env("environment-unknown", "A variable of no rule.", map[string]string{"MODE": "fast", "LD_PRELOAD": "/tmp/x.so"}).fails("refused", "run.environment", ""),
		make(w, a, "datasets-none", "Every secret has a version.", func(r *R) { r.Datasets = []agreement.RunDataset{} }).fails("refused", "run.datasets", ""),
		make(w, a, "parameters", "A container has no parameters.", func(r *R) { r.Parameters["x"] = "1" }).fails("usage", "run.parameters", ""),
	}
	w2 := containerWorld()
	bare(&w2.study)
	a2 := w2.signed()
	vs = append(vs, make(w2, a2, "no-inputs", "A container without inputs has no versions.", func(r *R) { r.Datasets = []agreement.RunDataset{} }))
	return append(vs, make(w2, a2, "no-inputs-dataset", "A version of what is no input.", func(r *R) {
		r.Datasets = []agreement.RunDataset{{Input: "x", Statement: digest("x")}}
	}).fails("refused", "run.datasets", ""))
}

func TestContainerLookups(t *testing.T) {
	w := containerWorld()
	names := func(w *world) (list []string) {
		for _, in := range w.study.InputsOf(w.study.Work[0]) {
			list = append(list, string(in.Name))
		}
		return list
	}
	if got, want := names(w), []string{"web-image", "db-password", "web-config", "state-key", "signing-key"}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
	if got, want := w.study.OwnersOf(w.study.Work[0]), []wire.ID{"alpha", "beta"}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
	w.study.Work[0].Keepers = []wire.ID{"beta", "alpha"}
	if got, want := w.study.OwnersOf(w.study.Work[0]), []wire.ID{"alpha", "beta"}; !cmp.Equal(got, want) {
		t.Errorf("an owner that keeps too: %v", got)
	}
	bare(&w.study)
	if got := names(w); got != nil {
		t.Errorf("a bare container reads %v", got)
	}
	if got, want := w.study.OwnersOf(w.study.Work[0]), []wire.ID{"beta", "alpha"}; !cmp.Equal(got, want) {
		t.Errorf("keepers alone: %v", fmt.Sprint(got))
	}
}
