package container_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/erofs"
	"strongroom.dev/verdict"
	"strongroom.dev/verity"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container"
)

// simple is a container that needs nothing.
func simple(change func(*agreement.Container)) agreement.Container {
	c := agreement.Container{Image: agreement.ContainerImage{Disk: agreement.VerityDisk{Blocks: 1, Root: wire.HashOf([]byte("root"))}},
		Argv: []string{"/bin/true"}, Directory: "/", Seccomp: agreement.Seccomp{Profile: "default"}}
	if change != nil {
		change(&c)
	}
	return c
}

func plaintext(t *testing.T, data []byte) container.Plaintext {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return container.Plaintext{File: f, Size: int64(len(data))}
}

const secret = "correct horse battery staple"

// TestPlanRefuses what no agreement says, or an input does not hold; no refusal quotes one.
func TestPlanRefuses(t *testing.T) {
	inputs := map[wire.ID]container.Plaintext{
		"secret": plaintext(t, []byte(secret)), "zero": plaintext(t, []byte(secret+"\x00")),
		"long": plaintext(t, bytes.Repeat([]byte("x"), agreement.MaxValue+1)),
	}
	variable := func(e agreement.Environment) func(*agreement.Container) {
		return func(c *agreement.Container) { c.Environment = []agreement.Environment{e} }
	}
	for name, test := range map[string]struct {
		change func(*agreement.Container)
		chosen map[string]string
		check  string
	}{
		"nothing to start":     {func(c *agreement.Container) { c.Argv = nil }, nil, "container.argv"},
		"a relative program":   {func(c *agreement.Container) { c.Argv[0] = "true" }, nil, "container.argv"},
		"another profile":      {func(c *agreement.Container) { c.Seccomp.Profile = "none" }, nil, "container.seccomp"},
		"no disk":              {func(c *agreement.Container) { c.Image.Disk.Root = wire.Hash{} }, nil, "container.image"},
		"a stranger's value":   {nil, map[string]string{"PATH": "/evil"}, "container.environment"},
		"an exact one's value": {variable(agreement.Environment{Name: "A", Kind: agreement.Exact, Value: "1"}), map[string]string{"A": "2"}, "container.environment"},
		"no match":             {variable(agreement.Environment{Name: "A", Kind: agreement.Pattern, Pattern: "[a-z]+"}), map[string]string{"A": "a\n"}, "container.environment"},
		"half a match":         {variable(agreement.Environment{Name: "A", Kind: agreement.Pattern, Pattern: "a|b"}), map[string]string{"A": "ab"}, "container.environment"},
		"a parenthesis":        {variable(agreement.Environment{Name: "A", Kind: agreement.Pattern, Pattern: "a)|(.*"}), map[string]string{"A": "x"}, "container.environment"},
		"required":             {variable(agreement.Environment{Name: "A", Kind: agreement.Pattern, Pattern: ".*", Required: true}), nil, "container.environment"},
		"another kind":         {variable(agreement.Environment{Name: "A", Kind: "host"}), nil, "container.environment"},
		"an input not there":   {variable(agreement.Environment{Name: "A", Kind: agreement.FromFile, Input: "none"}), nil, "container.input"},
		"a zero byte":          {variable(agreement.Environment{Name: "A", Kind: agreement.FromFile, Input: "zero"}), nil, "container.environment"},
		"too long":             {variable(agreement.Environment{Name: "A", Kind: agreement.FromFile, Input: "long"}), nil, "container.input"},
		"a key that is none": {func(c *agreement.Container) {
			c.Transit = &agreement.Transit{Port: 8200, Keys: []agreement.TransitKey{{Name: "k", Input: "secret"}}}
		}, nil, "container.key"},
		"a volume's key that is none": {func(c *agreement.Container) {
			c.Mounts = []agreement.Mount{{Path: "/data", Kind: agreement.Volume, Input: "secret"}}
		}, nil, "container.key"},
		"another mount": {func(c *agreement.Container) { c.Mounts = []agreement.Mount{{Path: "/data", Kind: "host"}} }, nil, "container.mount"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := container.NewPlan(simple(test.change), test.chosen, inputs)
			if err == nil || verdict.As(err).Check != test.check {
				t.Fatalf("got %v, expected %s", err, test.check)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
				t.Errorf("the refusal quotes a secret: %v", err)
			}
		})
	}
}

// TestPlan holds what it is to hold, shows what the request chose, and prints no secret.
func TestPlan(t *testing.T) {
	c := simple(func(c *agreement.Container) {
		c.Environment = []agreement.Environment{
			{Name: "EXACT", Kind: agreement.Exact, Value: "1"}, {Name: "CHOSEN", Kind: agreement.Pattern, Pattern: "[0-9]+"},
			{Name: "STANDARD", Kind: agreement.Pattern, Pattern: ".*", Value: "standard"}, {Name: "ABSENT", Kind: agreement.Pattern, Pattern: ".*"},
			{Name: "SECRET", Kind: agreement.FromFile, Input: "secret"},
		}
		c.Transit = &agreement.Transit{Port: 8200, Keys: []agreement.TransitKey{{Name: "k", Input: "key", Uses: []wire.ID{"sign"}}}}
		c.Egress = []agreement.Egress{{Name: "a", Host: "a.example", Port: 443}, {Name: "b", Host: "b.example", Port: 443}}
	})
	p, err := container.NewPlan(c, map[string]string{"CHOSEN": "42"}, map[wire.ID]container.Plaintext{
		"secret": plaintext(t, []byte(secret+"\n")), "key": plaintext(t, bytes.Repeat([]byte{7}, 32))})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"EXACT=1", "CHOSEN=42", "STANDARD=standard", "SECRET=" + secret}
	if got := container.Variables(p); !slices.Equal(got, want) {
		t.Errorf("environment %q", got)
	}
	if got := p.Overrides(); !slices.Equal(got, []string{"CHOSEN=42"}) {
		t.Errorf("overrides %q", got)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", p, p, p, p); strings.Contains(text, secret) || strings.Contains(text, "7, 7") {
		t.Errorf("the plan prints a secret: %s", text)
	}
	if got := container.Places(p); !slices.Equal(got, []string{"127.1.0.1:443", "127.1.0.2:443"}) {
		t.Errorf("places %q", got)
	}
}

// TestCheckDisk finds every altered block before anything is paid for.
func TestCheckDisk(t *testing.T) {
	var fs bytes.Buffer
	big := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	entries := []erofs.Entry{{Path: ".", Mode: erofs.Directory | 0o755}, {Path: "big", Mode: erofs.Regular | 0o644, Size: int64(len(big)),
		Open: func() (io.Reader, error) { return bytes.NewReader(big), nil }}}
	if _, err := erofs.Write(&fs, entries); err != nil {
		t.Fatal(err)
	}
	salt := make([]byte, 32)
	disk, root, blocks, err := verity.Disk(fs.Bytes(), salt)
	if err != nil {
		t.Fatal(err)
	}
	agreed := agreement.VerityDisk{Blocks: blocks, Root: root}
	if err := container.CheckDisk(t.Context(), plaintext(t, disk).File, agreed); err != nil {
		t.Error(err)
	}
	for _, at := range []int{0, 5000, int(blocks)*verity.BlockSize - 1, int(blocks) * verity.BlockSize, len(disk) - 1} {
		bad := bytes.Clone(disk)
		bad[at] ^= 1
		if err := container.CheckDisk(t.Context(), plaintext(t, bad).File, agreed); err == nil || !strings.HasPrefix(verdict.As(err).Check, "verity.") {
			t.Errorf("byte %d altered: %v", at, err)
		}
	}
	if err := container.CheckDisk(t.Context(), plaintext(t, disk[:len(disk)-4096]).File, agreed); err == nil {
		t.Error("a disk that was cut passed")
	}
}
