package test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the scenarios of testdata: each is a world of real processes, as the
// how-tos describe it. $A, $B, ... are free loopback addresses.
func TestScripts(t *testing.T) { scripts(t, "testdata") }

// scripts runs those of a folder, with more variables, NAME=VALUE.
func scripts(t *testing.T, dir string, more ...string) {
	bin := programs(t)
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			for _, name := range []string{"A", "B", "C", "D"} {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				e.Setenv(name, l.Addr().String())
				l.Close()
			}
			e.Vars = append(e.Vars, more...)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"waitfor": waitFor,
			"setjson": setJSON,
			"fill":    fill,
			"flip":    flip,
			// Of containers.
			"counter":    counter,
			"takeaway":   takeaway,
			"secrets":    secrets,
			"nowhere":    nowhere,
			"spoil":      spoil,
			"get":        get,
			"postgresql": postgresql,
			"keepdata":   keepdata,
			"page":       page,
		},
	})
}

// waitFor waits until somebody listens at an address: waitfor ADDRESS.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	for range 200 {
		conn, err := net.DialTimeout("tcp", args[0], time.Second)
		if err == nil {
			conn.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("nobody listens at %s", args[0])
}

// setJSON sets a variable to a member of a JSON file: setjson NAME FILE MEMBER... A number
// picks from a list.
func setJSON(ts *testscript.TestScript, _ bool, args []string) {
	var value any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &value))
	for _, member := range args[2:] {
		switch v := value.(type) {
		case map[string]any:
			value = v[member]
		case []any:
			var i int
			_, err := fmt.Sscan(member, &i)
			ts.Check(err)
			value = v[i]
		default:
			ts.Fatalf("no member %s", member)
		}
	}
	text, ok := value.(string)
	if !ok {
		ts.Fatalf("%v is no string: %v", args[2:], value)
	}
	ts.Setenv(args[0], text)
}

// fill replaces $NAMEs in a file by the script's variables: fill FILE.
func fill(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	text := os.Expand(ts.ReadFile(args[0]), func(name string) string {
		if value := ts.Getenv(name); value != "" {
			return value
		}
		return "$" + name
	})
	ts.Check(os.WriteFile(path, []byte(text), 0o644))
}

// flip changes one bit in the middle of a file: flip FILE.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	data[len(data)/2] ^= 1
	ts.Check(os.WriteFile(path, data, 0o600))
}
