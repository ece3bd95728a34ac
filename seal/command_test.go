package seal_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"strongroom.dev/seal"
)

// TestAgeCommand has the stock age command open what we seal and seal what we open. The
// command of Debian 12 knows classic recipients only; a newer one is tried with hybrid ones.
func TestAgeCommand(t *testing.T) {
	age, err := exec.LookPath("age")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no age command: apt-get install age")
		}
		t.Skip("no age command: apt-get install age")
	}
	hybrid := exec.Command(age, "-r", identity(t, seal.Data).Recipient().String())
	knowsHybrid := hybrid.Run() == nil
	for name, id := range map[string]*seal.Identity{"classic": classic(t), "hybrid": identity(t, seal.Data)} {
		t.Run(name, func(t *testing.T) {
			if name == "hybrid" && !knowsHybrid {
				t.Skip("this age command is older than hybrid recipients")
			}
			text, err := id.MarshalSecret()
			if err != nil {
				t.Fatal(err)
			}
			key := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(key, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			plain := plaintext(5*65536 + 3)
			ours, _ := sealed(t, plain, id)
			if got := command(t, ours, age, "-d", "-i", key); !bytes.Equal(got, plain) {
				t.Error("age reads other bytes")
			}
			theirs := command(t, plain, age, "-r", id.Recipient().String())
			var back bytes.Buffer
			if _, err := seal.Open(&back, bytes.NewReader(theirs), []*seal.Identity{id}, seal.Options{}); err != nil || !bytes.Equal(back.Bytes(), plain) {
				t.Errorf("we read other bytes: %v", err)
			}
		})
	}
}

func command(t *testing.T, in []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &complaint
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, complaint.Bytes())
	}
	return out.Bytes()
}
