package test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"strongroom.dev/agreement"
	"strongroom.dev/wire"
)

// useSecrets is what the container does with one secret of each kind: it prints digests, and
// what its key made, and serves that it is done.
const useSecrets = `echo env $(printf %s "$TOKEN" | sha256sum)
echo file $(sha256sum < /etc/secret)
ask() { wget -q -O - --header 'Content-Type: application/json' --post-data "$2" http://127.0.0.1:8200/v1/transit/$1; }
c=$(ask encrypt/api '{"plaintext":"cGxhbnRlZC1wbGFpbnRleHQ="}' | sed 's/.*"ciphertext":"\([^"]*\)".*/\1/')
echo sealed $c
ask decrypt/api "{\"ciphertext\":\"$c\"}" | grep -q cGxhbnRlZC1wbGFpbnRleHQ= && echo opened the same
ask sign/api '{"input":"aGk="}' || echo no use to sign
echo done > /tmp/n
exec busybox httpd -f -p 8080 -h /tmp`

// secrets writes the image and the agreement's section of a container with a secret in its
// environment, one in a file and one that it only uses: secrets DIR.
func secrets(ts *testscript.TestScript, _ bool, args []string) {
	busybox(ts, ts.MkAbs(args[0]), []string{"sh", "sha256sum", "wget", "sed", "grep"}, agreement.Container{
		Image:       agreement.ContainerImage{Reference: "job"},
		Argv:        []string{"/bin/sh", "-c", useSecrets},
		Environment: []agreement.Environment{{Name: "PATH", Kind: agreement.Exact, Value: "/bin"}, {Name: "TOKEN", Kind: agreement.FromFile, Input: "token"}},
		Mounts: []agreement.Mount{{Path: "/tmp", Kind: agreement.Memory, Bytes: 1 << 20, Mode: 0o1777},
			{Path: "/etc/secret", Kind: agreement.File, Mode: 0o400, UID: 1000, GID: 100, Input: "secret"}},
		Transit: &agreement.Transit{Port: 8200, Keys: []agreement.TransitKey{{Name: "api", Input: "api-key", Uses: []wire.ID{"encrypt"}}}},
		Ports:   []agreement.Port{{Name: "web", Port: 8080, Names: []string{}, Allow: agreement.Allow{Anyone: true}}},
		Logs:    agreement.Logs{Receivers: []wire.ID{"alpha"}, MaxBytes: 1 << 16}})
}

// nowhere looks for texts where no secret may be: in every file below the script's directory,
// and in the arguments and environments of processes, but for the environment of the workload
// itself, whose first argument is /bin/sh or busybox: nowhere TEXT...
func nowhere(ts *testscript.TestScript, _ bool, args []string) {
	work := ts.MkAbs(".")
	ts.Check(filepath.WalkDir(work, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		shown(ts, path, data, args)
		return err
	}))
	processes, err := filepath.Glob("/proc/[0-9]*")
	ts.Check(err)
	for _, p := range processes {
		line, _ := os.ReadFile(p + "/cmdline") // one that ended, or is another's
		shown(ts, p+"/cmdline", line, args)
		first, _, _ := strings.Cut(string(line), "\x00")
		if first == "/bin/sh" || first == "busybox" {
			continue
		}
		environment, _ := os.ReadFile(p + "/environ")
		shown(ts, p+"/environ", environment, args)
	}
}

func shown(ts *testscript.TestScript, where string, data []byte, secrets []string) {
	for _, s := range secrets {
		if bytes.Contains(data, []byte(s)) {
			ts.Fatalf("%s shows %q", where, s)
		}
	}
}
