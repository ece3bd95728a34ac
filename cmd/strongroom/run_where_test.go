package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
)

// TestWhere: a dry run says where the room would be, and a sealed file that is not there is looked
// for in a directory with a name.
func TestWhere(t *testing.T) {
	missing := verdict.Refuse("host.data", "a sealed file", "none", "bring it there")
	for name, c := range map[string]struct {
		r    running
		says []string
		data bool
	}{
		"dev":    {running{host: "dev", hostFlags: hostFlags{data: "sealed"}}, []string{"INSECURE", "sealed files of sealed"}, true},
		"qemu":   {running{host: "qemu", hostFlags: hostFlags{data: "."}, vm: vmFlags{platform: "tpm", image: "room", cpus: 3, memory: "1G", cpuType: "x"}}, []string{"platform tpm", "image room", "3 processors", "memory 1G"}, true},
		"a host": {running{host: "http://h:1", hostFlags: hostFlags{data: "."}}, []string{"at the host http://h:1"}, false},
	} {
		var out strings.Builder
		c.r.where().text(&out)
		for _, say := range c.says {
			if !strings.Contains(out.String(), say) {
				t.Errorf("%s: no %q in %q", name, say, out.String())
			}
		}
		if e := verdict.As(c.r.lacksData(missing)); e.Kind != verdict.Refused || strings.Contains(e.Fix, "--data") != c.data || (e.Where == c.r.data) != c.data {
			t.Errorf("%s: %v", name, e)
		}
		other := errors.New("another")
		if c.r.lacksData(other) != other || c.r.lacksData(nil) != nil {
			t.Errorf("%s: another error was changed", name)
		}
	}
	data, err := json.Marshal(wouldRun{agreement.Run{RunID: "00"}, where{Host: "dev"}})
	if err != nil || !strings.Contains(string(data), `"run_id":"00"`) || !strings.Contains(string(data), `"where":{"host":"dev"}`) {
		t.Errorf("%s: %v", data, err)
	}
}
