package transit_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"strongroom.dev/keys"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container/transit"
)

// caller is a client of an endpoint, as Vault's own clients are: net/http over the
// container's loopback.
type caller struct {
	t    *testing.T
	http *http.Client
}

func serve(t *testing.T, e transit.Endpoint) caller {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	conns := make(chan net.Conn)
	served := make(chan struct{})
	go func() {
		defer close(served)
		e.Serve(ctx, func(ctx context.Context) (io.ReadWriteCloser, error) {
			select {
			case c := <-conns:
				return c, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
	}()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case conns <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}}
	t.Cleanup(func() { client.CloseIdleConnections(); cancel(); <-served })
	return caller{t, client}
}

func endpoint(t *testing.T) transit.Endpoint {
	t.Helper()
	made := func(fill byte) *keys.WorkloadKey {
		k, err := keys.NewWorkloadKey(bytes.Repeat([]byte{fill}, 32))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	all := []wire.ID{transit.Sign, transit.Encrypt, transit.Derive}
	return transit.Endpoint{Keys: map[wire.ID]transit.Key{"all": {Key: made(1), Uses: all}, "other": {Key: made(2), Uses: all}, "signer": {Key: made(3), Uses: all[:1]}, "none": {Key: made(4)}}}
}

// call makes a call as Vault's clients do, and gives the answer's data.
func (c caller) call(method, path string, body any) (status int, data map[string]any, text string) {
	c.t.Helper()
	var in io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			c.t.Fatal(err)
		}
		in = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(c.t.Context(), method, "http://127.0.0.1:8200/v1/"+path, in)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("X-Vault-Token", "whatever")
	r.Header.Set("X-Vault-Request", "true")
	answer, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var wrapped struct {
		Data   map[string]any `json:"data"`
		Errors []string       `json:"errors"`
	}
	if json.Unmarshal(raw, &wrapped) != nil || answer.StatusCode >= 400 && len(wrapped.Errors) != 1 {
		c.t.Errorf("%s %s: not in Vault's shape: %d %s", method, path, answer.StatusCode, raw)
	}
	return answer.StatusCode, wrapped.Data, string(raw)
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

type obj = map[string]any

// TestRoundTrips: what one operation made the other takes, with PUT as with POST.
func TestRoundTrips(t *testing.T) {
	c := serve(t, endpoint(t))
	for _, context := range []string{"", "tenant"} {
		_, sealed, _ := c.call("PUT", "transit/encrypt/all", obj{"plaintext": b64("secret"), "context": b64(context), "associated_data": b64("row 7")})
		text, _ := sealed["ciphertext"].(string)
		if !strings.HasPrefix(text, "vault:v1:") {
			t.Fatalf("ciphertext %q", text)
		}
		if _, open, _ := c.call("POST", "transit/decrypt/all", obj{"ciphertext": text, "context": b64(context), "associated_data": b64("row 7")}); open["plaintext"] != b64("secret") {
			t.Errorf("decrypted %v", open)
		}
		_, signed, _ := c.call("POST", "transit/sign/all/sha2-256", obj{"input": b64("letter"), "context": b64(context)})
		if _, checked, _ := c.call("POST", "transit/verify/all", obj{"input": b64("letter"), "signature": signed["signature"], "context": b64(context)}); checked["valid"] != true {
			t.Errorf("verified %v", checked)
		}
		if _, checked, _ := c.call("POST", "transit/verify/all", obj{"input": b64("another"), "signature": signed["signature"], "context": b64(context)}); checked["valid"] != false {
			t.Errorf("another letter verified: %v", checked)
		}
	}
	_, mac, _ := c.call("POST", "transit/hmac/all", obj{"input": b64("x")})
	if _, checked, _ := c.call("POST", "transit/verify/all", obj{"input": b64("x"), "hmac": mac["hmac"]}); checked["valid"] != true {
		t.Errorf("hmac %v", checked)
	}
	_, one, _ := c.call("POST", "transit/derive/all", obj{"context": b64("a")})
	_, same, _ := c.call("POST", "transit/derive/all", obj{"context": b64("a")})
	_, two, _ := c.call("POST", "transit/derive/all", obj{"context": b64("b")})
	if one["key"] != same["key"] || one["key"] == two["key"] {
		t.Error("derived keys don't belong to their contexts")
	}
	_, data, _ := c.call("POST", "transit/datakey/plaintext/all", obj{})
	if _, open, _ := c.call("POST", "transit/decrypt/all", obj{"ciphertext": data["ciphertext"]}); open["plaintext"] != data["plaintext"] || data["plaintext"] == nil {
		t.Errorf("data key %v, %v", data, open)
	}
	if _, wrapped, _ := c.call("POST", "transit/datakey/wrapped/all", nil); wrapped["plaintext"] != nil || wrapped["ciphertext"] == nil {
		t.Errorf("wrapped %v", wrapped)
	}
	if _, random, _ := c.call("POST", "transit/random/16", nil); random["random_bytes"] == nil {
		t.Errorf("random %v", random)
	}
}

// TestRefused: what is not agreed, or not understood, is refused, each by its status.
func TestRefused(t *testing.T) {
	c := serve(t, endpoint(t))
	_, sealed, _ := c.call("POST", "transit/encrypt/all", obj{"plaintext": b64("secret"), "context": b64("a")})
	for name, test := range map[string]struct {
		method, path string
		body         any
		status       int
	}{
		"no such key":               {"POST", "transit/encrypt/strange", obj{"plaintext": ""}, 404},
		"use not agreed":            {"POST", "transit/encrypt/signer", obj{"plaintext": ""}, 403},
		"derive not agreed":         {"POST", "transit/derive/signer", obj{"context": b64("a")}, 403},
		"data key not agreed":       {"POST", "transit/datakey/plaintext/signer", nil, 403},
		"no use at all":             {"POST", "transit/sign/none", obj{"input": ""}, 403},
		"making a key":              {"POST", "transit/keys/fresh", obj{"type": "ed25519"}, 403},
		"exporting a key":           {"GET", "transit/export/encryption-key/all", nil, 405},
		"another engine":            {"GET", "secret/data/x", nil, 404},
		"another context":           {"POST", "transit/decrypt/all", obj{"ciphertext": sealed["ciphertext"], "context": b64("b")}, 400},
		"another key's ciphertext":  {"POST", "transit/decrypt/other", obj{"ciphertext": sealed["ciphertext"], "context": b64("a")}, 400},
		"another associated data":   {"POST", "transit/decrypt/all", obj{"ciphertext": sealed["ciphertext"], "context": b64("a"), "associated_data": b64("x")}, 400},
		"no plaintext":              {"POST", "transit/encrypt/all", obj{}, 400},
		"plaintext without base64":  {"POST", "transit/encrypt/all", obj{"plaintext": "%%"}, 400},
		"an unknown parameter":      {"POST", "transit/encrypt/all", obj{"plaintext": "", "nonce": b64("123456789012")}, 400},
		"a batch":                   {"POST", "transit/encrypt/all", obj{"batch_input": []obj{{"plaintext": ""}}}, 400},
		"another version":           {"POST", "transit/encrypt/all", obj{"plaintext": "", "key_version": 2}, 400},
		"prehashed":                 {"POST", "transit/sign/all", obj{"input": "", "prehashed": true}, 400},
		"a list":                    {"POST", "transit/encrypt/all", []int{1}, 400},
		"reading what must be sent": {"GET", "transit/encrypt/all", nil, 405},
		"too much randomness":       {"POST", "transit/random/200000", nil, 400},
		"a path too long":           {"POST", "transit/encrypt/all/x", obj{"plaintext": ""}, 404},
	} {
		t.Run(name, func(t *testing.T) {
			if status, data, text := c.call(test.method, test.path, test.body); status != test.status || data != nil {
				t.Errorf("got %d %s, expected %d", status, text, test.status)
			}
		})
	}
}

// TestKeysAreShown by name and use, never by their bytes.
func TestKeysAreShown(t *testing.T) {
	c := serve(t, endpoint(t))
	if _, list, _ := c.call("LIST", "transit/keys", nil); len(list["keys"].([]any)) != 4 {
		t.Errorf("keys %v", list)
	}
	status, key, text := c.call("GET", "transit/keys/signer", nil)
	if status != 200 || key["type"] != "ed25519" || key["exportable"] != false || key["supports_encryption"] != false {
		t.Errorf("key %d %v", status, key)
	}
	if secret := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{3}, 32)); strings.Contains(text, secret) {
		t.Error("the key itself is shown")
	}
	if status, _, _ := c.call("GET", "sys/health", nil); status != 200 {
		t.Errorf("health %d", status)
	}
}

// exchange writes bytes to an endpoint and reads all it answers.
func exchange(t testing.TB, e transit.Endpoint, request string) string {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); e.ServeConn(theirs); theirs.Close() }()
	go func() { io.WriteString(ours, request) }()
	answer := make(chan string, 1)
	go func() {
		b := make([]byte, 4096)
		n, _ := ours.Read(b)
		answer <- string(b[:n])
	}()
	got := <-answer
	ours.Close()
	<-done
	return got
}

// TestBareHTTP: requests that a strict reader refuses get one answer and no second chance.
func TestBareHTTP(t *testing.T) {
	for name, test := range map[string]struct{ request, status string }{
		"fine":                     {"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200"},
		"no host":                  {"GET /v1/sys/health HTTP/1.1\r\n\r\n", "400"},
		"two hosts":                {"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400"},
		"two lengths":              {"POST /v1/transit/random HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "400"},
		"length and chunks":        {"POST /v1/transit/random HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", "4"},
		"chunks":                   {"POST /v1/transit/random HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "4"},
		"a length below zero":      {"POST /v1/transit/random HTTP/1.1\r\nHost: x\r\nContent-Length: -2\r\n\r\n", "400"},
		"a body beyond the bound":  {"POST /v1/transit/random HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", "413"},
		"a folded line":            {"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", "400"},
		"a bare line feed":         {"GET /v1/sys/health HTTP/1.1\nHost: x\n\n", "400"},
		"a long line":              {"GET /v1/" + strings.Repeat("a", 20000) + " HTTP/1.1\r\n", "431"},
		"an absolute target":       {"GET http://x/v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		"another version":          {"GET /v1/sys/health HTTP/2.0\r\nHost: x\r\n\r\n", "505"},
		"a space before the colon": {"GET /v1/sys/health HTTP/1.1\r\nHost : x\r\n\r\n", "400"},
	} {
		t.Run(name, func(t *testing.T) {
			got := exchange(t, endpoint(t), test.request)
			if !strings.HasPrefix(got, "HTTP/1.1 "+test.status) {
				t.Errorf("got %.60q, expected %s", got, test.status)
			}
		})
	}
}

func FuzzServe(f *testing.F) {
	f.Add("GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n")
	f.Add("POST /v1/transit/encrypt/all HTTP/1.1\r\nHost: x\r\nContent-Length: 16\r\n\r\n{\"plaintext\":\"\"}")
	f.Add("POST /v1/transit/random/4 HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{}")
	k, err := keys.NewWorkloadKey(make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	e := transit.Endpoint{Keys: map[wire.ID]transit.Key{"all": {Key: k, Uses: []wire.ID{transit.Sign, transit.Encrypt, transit.Derive}}}}
	f.Fuzz(func(t *testing.T, request string) {
		var out bytes.Buffer
		e.ServeConn(struct {
			io.Reader
			io.Writer
		}{strings.NewReader(request), &out})
		if out.Len() > 0 && !strings.HasPrefix(out.String(), "HTTP/1.1 ") {
			t.Errorf("answered %.40q", out.String())
		}
	})
}
