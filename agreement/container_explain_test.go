package agreement_test

import (
	"reflect"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
)

func TestExplainContainer(t *testing.T) {
	w := containerWorld()
	golden(t, "explain-container.txt", agreement.Explain(w.signed(), w.parties(), labels))
}

// TestExplainContainerSays names what must stand in an explanation, and what must not.
func TestExplainContainerSays(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*world)
		says   []string
		never  []string
	}{
		{"as it is", func(*world) {}, []string{
			`It runs the container image "registry.example/web:1.2", unchanged: manifest ` + hash("manifest").String(),
			"NOBODY CHECKS WHAT THIS CODE DOES", "NOBODY ELSE CAN SEE WHAT THIS CODE IS", `| "daemon off;"`, "as user 101 and group 101",
			"CHOSEN BY WHOEVER ASKS FOR A RUN: MODE", `"4" if they choose none`, `DB_PASSWORD holds a secret: "db-password" of Alpha`,
			`port "web" (8080 in the container): Dr. Rho with a signature of the party's keys; or holders of a token that "https://login.example" issued`,
			"A certificate proves a name and not the room", `"store", as "store.example" port 443: the key ` + hash("store key").String(),
			"IN A dev ROOM A VOLUME'S CONTENT IS ENCRYPTED AND NOT AUTHENTICATED", "What it prints, up to 1 MiB, goes sealed to Alpha",
			"the code is opaque, and can put anything it reads into what leaves the room", `its result "report", up to 1 MiB, to Dr. Rho`, `port "web", as much as it likes`, `egress "store", as much as it likes`,
			`Port "web" of "web" is a way out too: without any bound`, "until Alpha or Beta (Ann) ends it", "admits runs and may end them", "can also certify any other key",
		}, []string{"ANYONE", "CAN CHANGE WHICH CODE RUNS", "minimum group", "MINIMUM GROUP"}},
		{"anyone", func(w *world) { w.study.Work[0].Container.Ports[0].Allow = agreement.Allow{Anyone: true} }, []string{
			`ANYONE CAN CONNECT TO "web": WHOEVER REACHES IT IS SERVED, AND NOBODY ASKS WHO THEY ARE`, `port "web", as much as it likes, to ANYONE`,
		}, nil},
		{"a variable that steers", func(w *world) {
			w.study.Work[0].Container.Environment[1].Name = "PYTHONPATH"
		}, []string{"PYTHONPATH CAN CHANGE WHICH CODE RUNS"}, nil},
		{"shut in", func(w *world) {
			bare(&w.study)
			c := w.study.Work[0].Container
			c.Egress, c.Mounts, c.Logs = nil, nil, agreement.Logs{}
		}, []string{"Nobody can connect to it.", "It can reach nothing outside the room.", "What it prints is dropped.", "it can write nothing"}, []string{"the code is opaque"}},
		{"an owner alone gets it", func(w *world) {
			c := w.study.Work[0].Container
			c.Ports[0].Allow, c.Egress = agreement.Allow{Parties: []wire.ID{"alpha"}}, nil
			w.study.Outputs[0].Receivers = []wire.ID{"alpha"}
		}, []string{"no result from its data goes to any of them"}, []string{"the code is opaque"}},
		{"free text can't forge lines", func(w *world) {
			c := w.study.Work[0].Container
			c.Argv[2] = "x\n- Nobody can connect to it."
			c.Environment[0].Value = "a\nb"
			c.Image.Reference = `web". You trust nobody`
		}, []string{`| "x\n- Nobody can connect to it."`, `PATH="a b"`, `"web\". You trust nobody"`}, nil},
		{"an authority", func(w *world) {
			w.study.Work[0].Container.Ports[0].Allow.Authorities = []wire.Bytes{certificate("My root", true)}
		}, []string{`which calls itself "CN=My root"`}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := containerWorld()
			c.change(w)
			filled(reflect.ValueOf(&w.study))
			text := words(agreement.Explain(w.signed(), w.parties(), labels))
			for _, s := range c.says {
				if !strings.Contains(text, s) {
					t.Errorf("does not say %q\n%s", s, text)
				}
			}
			for _, s := range c.never {
				if strings.Contains(text, s) {
					t.Errorf("says %q", s)
				}
			}
		})
	}
}

// TestDiffContainers: every member of a container that changes is said in words.
func TestDiffContainers(t *testing.T) {
	type C = agreement.Container
	if got := agreement.DiffContainers(*container(), *container()); len(got) != 0 {
		t.Errorf("a container differs from itself: %v", got)
	}
	for name, c := range map[string]struct {
		change func(*C)
		says   string
	}{
		"image":     {func(c *C) { c.Image.Manifest = hash("other") }, "ANOTHER IMAGE"},
		"disk":      {func(c *C) { c.Image.Disk.Root = hash("other") }, "ANOTHER IMAGE"},
		"sealed":    {func(c *C) { c.Image.Sealed = "" }, "the machine's operator can read it, was sealed as web-image"},
		"argv":      {func(c *C) { c.Argv = []string{"/bin/sh"} }, `it starts "/bin/sh", was "/usr/sbin/nginx" "-g"`},
		"user":      {func(c *C) { c.User.UID = 0 }, "as user 0 and group 101, was 101 and 101"},
		"groups":    {func(c *C) { c.User.Groups = nil }, "further groups"},
		"directory": {func(c *C) { c.Directory = "/srv" }, `"/srv", was "/"`},
		"variable":  {func(c *C) { c.Environment[0].Value = "/tmp" }, `variable PATH is "/tmp", was`},
		"variable chosen": {func(c *C) {
			c.Environment[0] = agreement.Environment{Name: "PATH", Kind: agreement.Pattern, Pattern: ".*"}
		}, "variable PATH is CHOSEN BY WHOEVER ASKS"},
		"default":       {func(c *C) { c.Environment[1].Value = "5" }, "variable WORKERS changed in detail"},
		"variable gone": {func(c *C) { c.Environment = c.Environment[:3] }, "variable DB_PASSWORD is gone"},
		"mount":         {func(c *C) { c.Mounts[0].Bytes = 1 << 20 }, "place /tmp is memory, 1 MiB"},
		"mount new": {func(c *C) {
			c.Mounts = append(c.Mounts, agreement.Mount{Path: "/x", Kind: agreement.Memory, Bytes: 4096})
		}, "place /x is new"},
		"data":            {func(c *C) { c.Mounts[3].Disk = &agreement.VerityDisk{Blocks: 1, Root: hash("x")} }, "place /srv/models is data with root"},
		"capability":      {func(c *C) { c.Capabilities = append(c.Capabilities, "CAP_CHOWN") }, "it MAY now what CAP_CHOWN allows"},
		"capability gone": {func(c *C) { c.Capabilities = nil }, "no longer what CAP_NET_BIND_SERVICE"},
		"seccomp":         {func(c *C) { c.Seccomp.Deny = nil }, "it MAY now call ptrace"},
		"profile":         {func(c *C) { c.Seccomp.Profile = "other" }, `profile "other"`},
		"port":            {func(c *C) { c.Ports[0].Allow.Anyone = true }, "port web is 8080, open to ANYONE"},
		"port gone":       {func(c *C) { c.Ports = nil }, "port web is gone"},
		"names":           {func(c *C) { c.Ports[0].Names = nil }, "port web changed in detail"},
		"egress":          {func(c *C) { c.Egress[0].Host = "evil.example" }, `egress store is to "evil.example"`},
		"egress gone":     {func(c *C) { c.Egress = nil }, "egress store is gone"},
		"transit":         {func(c *C) { c.Transit = nil }, "the keys that it can use without seeing them changed: none"},
		"logs":            {func(c *C) { c.Logs.Receivers = []wire.ID{"researcher"} }, "what it prints goes to researcher"},
		"restart":         {func(c *C) { c.Restart.Most = 9 }, "at most 9 times"},
		"limits":          {func(c *C) { c.Limits.Memory = 1 << 30 }, "1024 MiB of memory"},
		"certified":       {func(c *C) { c.CertifiedBy = "beta" }, "certified by beta, was alpha"},
		"mesh":            {func(c *C) { c.Mesh = true }, "mesh: true"},
	} {
		next := container()
		c.change(next)
		got := agreement.DiffContainers(*container(), *next)
		if len(got) != 1 || !strings.Contains(got[0], c.says) {
			t.Errorf("%s: %q, expected %q", name, got, c.says)
		}
	}
	w, next := containerWorld(), containerWorld()
	c := next.study.Work[0].Container
	c.Ports[0].Allow.Anyone, c.Argv[1] = true, "-x\n! web: nothing changed"
	golden(t, "diff-container.txt", agreement.Diff(w.signed(), next.signed()))
}
