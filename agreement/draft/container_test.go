package draft_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func hash(name string) wire.Hash { return wire.SHA256("strongroom/test/hash", []byte(name)) }

// prepared is a container as `container prepare` writes it, with texts that YAML would read
// otherwise.
func prepared() agreement.Container {
	return agreement.Container{
		Image: agreement.ContainerImage{Reference: "registry.example/team/web:1.2", Manifest: hash("manifest"), Disk: agreement.VerityDisk{Blocks: 5, Salt: hash("salt"), Root: hash("root")}},
		Argv:  []string{"/usr/sbin/nginx", "-g", "daemon off;", "", "no", "it's", "a\n\"b\"\tc\\", "# x", "0x10", "~", "- a", "é"},
		User:  agreement.User{UID: 101, GID: 101, Groups: []int64{4, 101}}, Directory: "/",
		Environment: []agreement.Environment{
			{Name: "PATH", Kind: agreement.Exact, Value: "/usr/bin:/bin"}, {Name: "EMPTY", Kind: agreement.Exact},
			{Name: "MODE", Kind: agreement.Pattern, Pattern: `[a-z]+: "x"`, Required: true}, {Name: "TOKEN", Kind: agreement.FromFile, Input: "web-token"},
		},
		Mounts: []agreement.Mount{
			{Path: "/tmp", Kind: agreement.Memory, Bytes: 1 << 20, Mode: 0o1777},
			{Path: "/var/lib/web", Kind: agreement.Volume, Bytes: 1 << 30, Mode: 0o700, UID: 101, GID: 101, Input: "web-volume"},
			{Path: "/srv", Kind: agreement.Data, Disk: &agreement.VerityDisk{Blocks: 1, Salt: hash("salt"), Root: hash("data")}},
		},
		Capabilities: []string{"CAP_NET_BIND_SERVICE"}, Seccomp: agreement.Seccomp{Profile: "default", Deny: []string{}},
		Ports:  []agreement.Port{{Name: "http", Port: 80, Names: []string{}, Allow: agreement.Allow{Parties: []wire.ID{}, Authorities: []wire.Bytes{}, Issuers: []agreement.Issuer{}, Rooms: []wire.ID{}}}},
		Egress: []agreement.Egress{}, Logs: agreement.Logs{Receivers: []wire.ID{}}, Restart: agreement.Restart{Policy: "never"},
		Limits: agreement.Limits{Memory: 256 << 20, Processes: 64, Files: 1024},
	}
}

func TestContainerIsReadBack(t *testing.T) {
	c := prepared()
	c.Transit = &agreement.Transit{Port: 8200, Keys: []agreement.TransitKey{{Name: "k", Input: "web-key", Uses: []wire.ID{"sign"}}}}
	c.Ports[0].Allow.Authorities = []wire.Bytes{{1, 2, 3}}
	c.Egress = []agreement.Egress{{Name: "store", Host: "store.example", Port: 443, Authorities: []wire.Bytes{}, Keys: []wire.Hash{hash("k")}}}
	text := draft.Container(c)
	got, err := draft.ParseContainer("container.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if diff := cmp.Diff(c, got); diff != "" {
		t.Errorf("%s\n%s", diff, text)
	}
}

func TestContainerRefused(t *testing.T) {
	good := draft.Container(prepared())
	for name, c := range map[string]struct{ old, new, check string }{
		"unknown member": {"directory: /", "workdir: /", "container.draft"},
		"anchor":         {"argv:\n", "argv: &a\n", "container.draft"},
		"boolean yes":    {"mesh: false", "mesh: no", "container.draft"},
		"octal":          {"mode: 0o1777", "mode: 01777", "container.draft"},
		"no digest":      {"manifest: sha256:", "manifest: ", "container.draft"},
	} {
		text := strings.Replace(good, c.old, c.new, 1)
		if text == good {
			t.Fatalf("%s: nothing to replace in\n%s", name, good)
		}
		if _, err := draft.ParseContainer("container.yaml", []byte(text)); verdict.As(err).Check != c.check {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestServiceTemplate: a draft about a container needs nothing but words.
func TestServiceTemplate(t *testing.T) {
	s, c := start(), prepared()
	s.Container = &c
	// Of several parties none is given anything without being named.
	if a, err := draft.Parse("agreement.yaml", []byte(written(draft.Template(s)))); err == nil {
		t.Errorf("a draft that names nobody: %+v", a.Work[0])
	}
	s.Runs, s.Connects = []wire.ID{"researcher"}, []wire.ID{"researcher", "alpha"}
	a, err := draft.Parse("agreement.yaml", []byte(written(draft.Template(s))))
	if err != nil {
		t.Fatalf("%v\n%s", err, draft.Template(s))
	}
	w := a.Work[0]
	if w.Name != "web" || w.Kind != "container" || w.Output != "" || !cmp.Equal(w.MayRun, []wire.ID{"researcher"}) || !cmp.Equal(w.Keepers, []wire.ID{"alpha"}) {
		t.Errorf("%+v", w)
	}
	if !cmp.Equal(w.Container.Argv, c.Argv) || !cmp.Equal(w.Container.Ports[0].Allow.Parties, s.Connects) {
		t.Errorf("%+v", w.Container)
	}
	if len(a.Inputs) != 2 || a.Inputs[0].Name != "web-token" || a.Inputs[0].Owner != "alpha" || a.Inputs[1].Format != agreement.Opaque {
		t.Errorf("%+v", a.Inputs)
	}
	// With a result, a sealed image, and one party alone.
	c.Image.Sealed = "web-image"
	c.Mounts = append(c.Mounts, agreement.Mount{Path: "/result", Kind: agreement.Result, Bytes: 1 << 20, Mode: 0o700})
	s.Work, s.Parties, s.Runs, s.Connects = "job", s.Parties[:1], nil, nil
	if a, err = draft.Parse("agreement.yaml", []byte(written(draft.Template(s)))); err != nil {
		t.Fatal(err)
	}
	if a.Work[0].Name != "job" || a.Work[0].Output != "result" || a.Outputs[0].Format != "file" || a.Inputs[0].Format != agreement.Disk || a.Outputs[0].Receivers[0] != "alpha" {
		t.Errorf("%+v", a)
	}
	if _, err := agreement.NewAgreement(a); err != nil {
		t.Errorf("a draft that can't be signed: %v", err)
	}
}

// TestServiceNames: what anyone can name an image makes no line of its own.
func TestServiceNames(t *testing.T) {
	for reference, want := range map[string]string{
		"web": "web", "docker.io/library/nginx:1.27@sha256:00": "nginx", "a/B_c:1": "b-c", "localhost:5000/x": "x", "1": "service", "": "service", "a'\n  evil: x": "a-evil",
	} {
		s, c := start(), prepared()
		c.Image.Reference = reference
		s.Container = &c
		text := draft.Template(s)
		if !strings.Contains(text, "  - name: "+want+"\n    kind: container\n") {
			t.Errorf("%q does not give %s", reference, want)
		}
	}
}

func FuzzParseContainer(f *testing.F) {
	f.Add([]byte(draft.Container(prepared())))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := draft.ParseContainer("c.yaml", data)
		if err != nil {
			return
		}
		again, err := draft.ParseContainer("c.yaml", []byte(draft.Container(c)))
		if err != nil || !cmp.Equal(c, again) {
			t.Fatalf("%v\n%s", err, draft.Container(c))
		}
	})
}
