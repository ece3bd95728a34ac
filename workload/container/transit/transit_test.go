package transit_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"strongroom.dev/keys"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container/transit"
)

func endpoint(t testing.TB) transit.Endpoint {
	t.Helper()
	key := func(b byte) *keys.WorkloadKey {
		k, err := keys.NewWorkloadKey(bytes.Repeat([]byte{b}, 32))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	return transit.Endpoint{Keys: map[wire.ID]transit.Key{
		"all":     {key(1), []wire.ID{transit.Sign, transit.Encrypt, transit.Derive}},
		"signer":  {key(2), []wire.ID{transit.Sign}},
		"crypter": {key(3), []wire.ID{transit.Encrypt}},
		"nothing": {key(4), nil},
		"zero":    {},
	}}
}

// serve answers one connection's bytes.
func serve(e transit.Endpoint, in string) string {
	var out bytes.Buffer
	e.ServeConn(struct {
		io.Reader
		io.Writer
	}{strings.NewReader(in), &out})
	return out.String()
}

func post(path, body string) string {
	return fmt.Sprintf("POST /v1/transit/%s HTTP/1.1\r\nHost: x\r\nX-Vault-Token: any\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

// ask makes one request with the standard library's own reading of the answer.
func ask(t testing.TB, e transit.Endpoint, path, body string) (status int, data map[string]any, errs []string) {
	t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(serve(e, post(path, body)))), nil)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Data   map[string]any `json:"data"`
		Errors []string       `json:"errors"`
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, answer.Data, answer.Errors
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestRefusals(t *testing.T) {
	e := endpoint(t)
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{"encrypt/signer", `{"plaintext":"AA=="}`, 403},
		{"decrypt/signer", `{"ciphertext":"vault:v1:AA=="}`, 403},
		{"sign/crypter", `{"input":"AA=="}`, 403},
		{"verify/crypter", `{"input":"AA=="}`, 403},
		{"hmac/crypter", `{"input":"AA=="}`, 403},
		{"derive/crypter", `{"context":"AA=="}`, 403},
		{"datakey/plaintext/crypter", `{}`, 403},
		{"datakey/wrapped/signer", `{}`, 403},
		{"sign/nothing", `{"input":"AA=="}`, 403},
		{"sign/zero", `{"input":"AA=="}`, 403},
		{"encrypt/all", `{"plaintext":"AA==","name":"crypter"}`, 400},
		{"encrypt/none", `{"plaintext":"AA=="}`, 404},
		{"rewrap/all", `{}`, 400}, {"export/encryption-key/all", `{}`, 404}, {"backup/all", `{}`, 404}, {"", `{}`, 404},
		{"keys/all", `{"type":"aes256-gcm96"}`, 403}, {"keys/all/config", `{"exportable":true}`, 403}, {"keys/all/rotate", ``, 403},
		{"encrypt/all", `{}`, 400}, {"encrypt/all", `{"plaintext":"!"}`, 400}, {"encrypt/all", `{"plaintext":5}`, 400}, {"encrypt/all", `[]`, 400}, {"encrypt/all", `{"plaintext":"AA=="}x`, 400},
		{"encrypt/all", `{"plaintext":"AA==","plaintext":"AQ=="}`, 400},
		{"encrypt/all", `{"plaintext":"AA==","key_version":2}`, 400},
		{"encrypt/all", `{"plaintext":"AA==","nonce":"AA=="}`, 400},
		{"encrypt/all", `{"plaintext":"AA==","convergent_encryption":true}`, 400},
		{"derive/all", `{"batch_input":[{"context":"AA=="}]}`, 400}, {"datakey/plaintext/all", `{"batch_input":[{}]}`, 400},
		{"encrypt/all", `{"batch_input":{}}`, 400}, {"encrypt/all", `{"batch_input":[1]}`, 400}, {"encrypt/all", `{"batch_input":[[]]}`, 400},
		{"encrypt/all", `{"batch_input":[{"plaintext":"AA==","plaintext":"AA=="}]}`, 400}, {"encrypt/all", `{"batch_input":[]}`, 400},
		{"encrypt/all", `{"batch_input":[` + strings.Repeat("{},", 4096) + `{}]}`, 400},
		{"encrypt/signer", `{"batch_input":[{"plaintext":"AA=="}]}`, 403},
		{"rewrap/signer", `{"ciphertext":"vault:v1:AA=="}`, 403}, {"rewrap/all", `{"ciphertext":"vault:v1:AA=="}`, 400},
		{"sign/all", `{"input":"AA==","marshaling_algorithm":"jws"}`, 400}, {"sign/all", `{"input":"AA==","hash_algorithm":"sha2-1"}`, 400},
		{"hash/md5", `{"input":"AA=="}`, 400}, {"hash", `{}`, 400}, {"hash", `{"input":"AA==","format":"octal"}`, 400},
		{"encrypt/all/more", `{"plaintext":"AA=="}`, 404},
		{"decrypt/all", `{"ciphertext":"vault:v2:AA=="}`, 400}, {"decrypt/all", `{"ciphertext":"vault:v1:AA=="}`, 400},
		{"sign/all", `{"input":"AA==","prehashed":true}`, 400},
		{"sign/all", `{"input":"AA==","hash_algorithm":"md5"}`, 400},
		{"hmac/all", `{"input":"AA==","algorithm":"md5"}`, 400}, {"hmac/all/sha1", `{"input":"AA=="}`, 400},
		{"verify/all", `{"input":"AA=="}`, 400},
		{"derive/all", `{}`, 400},
		{"datakey/other/all", `{}`, 400}, {"datakey/plaintext/all", `{"bits":192}`, 400},
		{"random/999999", `{}`, 400}, {"random", `{"format":"octal"}`, 400}, {`random/"1"x`, `{}`, 400},
	} {
		status, data, errs := ask(t, e, c.path, c.body)
		if status != c.status || data != nil || len(errs) != 1 || errs[0] == "" {
			t.Errorf("%s %s: %d %v %q, expected %d", c.path, c.body, status, data, errs, c.status)
		}
	}
}

func TestEncrypt(t *testing.T) {
	e := endpoint(t)
	_, data, errs := ask(t, e, "encrypt/all", `{"plaintext":"`+b64("secret")+`","context":"Yw==","associated_data":"YQ==","key_version":0,"type":""}`)
	sealed, _ := data["ciphertext"].(string)
	if !strings.HasPrefix(sealed, "vault:v1:") {
		t.Fatalf("got %v %q", data, errs)
	}
	for _, c := range []struct {
		path, context, associated string
		ok                        bool
	}{{"all", "Yw==", "YQ==", true}, {"all", "", "YQ==", false}, {"all", "Yw==", "", false}, {"crypter", "Yw==", "YQ==", false}} {
		status, data, _ := ask(t, e, "decrypt/"+c.path, fmt.Sprintf(`{"ciphertext":%q,"context":%q,"associated_data":%q}`, sealed, c.context, c.associated))
		if ok := status == 200 && data["plaintext"] == b64("secret"); ok != c.ok {
			t.Errorf("%+v: %d %v", c, status, data)
		}
	}
	_, again, _ := ask(t, e, "encrypt/all", `{"plaintext":"`+b64("secret")+`","context":"Yw==","associated_data":"YQ=="}`)
	if again["ciphertext"] == sealed {
		t.Error("one plaintext gives one ciphertext twice")
	}
}

func TestSign(t *testing.T) {
	e := endpoint(t)
	_, data, _ := ask(t, e, "sign/all", `{"input":"`+b64("message")+`","signature_algorithm":"","prehashed":false}`)
	text, _ := data["signature"].(string)
	signature, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "vault:v1:"))
	if err != nil {
		t.Fatal(err)
	}
	read := serve(e, "GET /v1/transit/keys/all HTTP/1.1\r\nHost: x\r\n\r\n")
	_, after, _ := strings.Cut(read, `"public_key":"`)
	key, _, _ := strings.Cut(after, `"`)
	public, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(public) != ed25519.PublicKeySize || !ed25519.Verify(public, []byte("message"), signature) {
		t.Errorf("the signature is not of the key shown: %v %q", err, read)
	}
	for input, want := range map[string]bool{"message": true, "other": false} {
		if _, data, _ := ask(t, e, "verify/all", fmt.Sprintf(`{"name":"all","input":%q,"signature":%q}`, b64(input), text)); data["valid"] != want {
			t.Errorf("%s: %v", input, data)
		}
	}
	if _, data, _ := ask(t, e, "verify/signer", fmt.Sprintf(`{"input":%q,"signature":%q}`, b64("message"), text)); data["valid"] != false {
		t.Errorf("another key: %v", data)
	}
	_, data, _ = ask(t, e, "hmac/all/sha2-512", `{"input":"`+b64("message")+`"}`)
	for path, want := range map[string]bool{"verify/all/sha2-512": true, "verify/all": false, "verify/signer/sha2-512": false} {
		if _, valid, _ := ask(t, e, path, fmt.Sprintf(`{"input":%q,"hmac":%q}`, b64("message"), data["hmac"])); valid["valid"] != want {
			t.Errorf("%s: %v", path, valid)
		}
	}
}

func TestDerive(t *testing.T) {
	e := endpoint(t)
	_, one, _ := ask(t, e, "derive/all", `{"context":"AA=="}`)
	_, same, _ := ask(t, e, "derive/all", `{"context":"AA=="}`)
	_, other, _ := ask(t, e, "derive/all", `{"context":"AQ=="}`)
	if one["key"] == nil || one["key"] != same["key"] || one["key"] == other["key"] {
		t.Errorf("%v, %v, %v", one, same, other)
	}
	_, key, _ := ask(t, e, "datakey/plaintext/all", `{"bits":512}`)
	if _, open, _ := ask(t, e, "decrypt/all", fmt.Sprintf(`{"ciphertext":%q}`, key["ciphertext"])); open["plaintext"] != key["plaintext"] || key["plaintext"] == nil {
		t.Errorf("%v, %v", key, open)
	}
	if _, wrapped, _ := ask(t, e, "datakey/wrapped/all", `{}`); wrapped["plaintext"] != nil || wrapped["ciphertext"] == nil {
		t.Errorf("%v", wrapped)
	}
}

// TestVector holds what is derived still: see spec/container.md, section 4.3.
func TestVector(t *testing.T) {
	k, err := keys.NewWorkloadKey(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	mac, err := k.MAC("sha2-256", []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"public", k.Public(nil), "bb059b9dffb13a1bfcf145e073c941ad9ce5f10de16436fb4123f137e124f51c"},
		{"public of a context", k.Public([]byte("c")), "881ba3632d17c2cfb150af7d4d7cdf562467f7715c218816ef54690b798e406f"},
		{"derived", k.Derive([]byte("c")), "6b837ea0b8f87416c50435efb283f8c4be56a9615ca9cda68f6fdd3720e1af4c"},
		{"mac", mac, "b7d71b6fbebd5fee5301ae8886f3541b5b7111928c20fe542c5075ca8470b728"},
	} {
		if got := fmt.Sprintf("%x", c.got); got != c.want {
			t.Errorf("%s: %s, expected %s", c.name, got, c.want)
		}
	}
	opened, err := k.Decrypt([]byte("c"), []byte("a"), unhex(t, "c8f0dd01ed1a86789fecbe9b5d6c6d7b6eb97e99c0aff8935643afc55ae0fa27f70130aaa6b9637ad70303308304998c893915"))
	if err != nil || string(opened) != "message" {
		t.Errorf("opened %q, %v", opened, err)
	}
}

func unhex(t *testing.T, s string) (b []byte) {
	t.Helper()
	if _, err := fmt.Sscanf(s, "%x", &b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHTTPRefusals(t *testing.T) {
	e := endpoint(t)
	const ok = "GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n"
	for _, c := range []struct{ in, status string }{
		{"\r\n\r\n\r\n", "400"},
		{"GET /v1/sys/health\r\n\r\n", "400"}, {"GET  /v1/sys/health HTTP/1.1\r\n\r\n", "400"}, {"GET http://x/ HTTP/1.1\r\n\r\n", "400"}, {"G(T / HTTP/1.1\r\n\r\n", "400"},
		{"GET / HTTP/2.0\r\n\r\n", "505"}, {"GET /\x01 HTTP/1.1\r\n\r\n", "400"}, {"GET / HTTP/1.1\n\n", "400"},
		{"GET / HTTP/1.1\r\n\r\n", "400"}, {ok + "Host: y\r\n\r\n", "400"}, // no host, two
		{ok + " folded: x\r\n\r\n", "400"}, {ok + "no colon\r\n\r\n", "400"}, {ok + "space : x\r\n\r\n", "400"}, {ok + "x: a\rb\r\n\r\n", "400"},
		{ok + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", "400"}, {ok + "Content-Length: +1\r\n\r\nx", "400"}, {ok + "Content-Length: -1\r\n\r\nx", "400"}, {ok + "Content-Length: 1, 1\r\n\r\nx", "400"},
		{ok + "Content-Length: 99999999\r\n\r\n", "413"}, {ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "411"},
		{ok + "Upgrade: h2c\r\n\r\n", "400"}, {ok + "Expect: cake\r\n\r\n", "417"},
		{ok + "x: " + strings.Repeat("x", 9000) + "\r\n\r\n", "431"}, {ok + strings.Repeat("x: y\r\n", 4000) + "\r\n", "431"},
	} {
		out := serve(e, c.in+"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n")
		if !strings.HasPrefix(out, "HTTP/1.1 "+c.status) || !strings.Contains(out, "Connection: close") || strings.Count(out, "HTTP/1.1 ") != 1 {
			t.Errorf("%.60q: %.200q, expected %s and the end", c.in, out, c.status)
		}
	}
	for _, cut := range []string{"", "GET / HT", ok, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc"} {
		if out := serve(e, cut); out != "" {
			t.Errorf("%q was answered: %q", cut, out)
		}
	}
}

func TestKeepAlive(t *testing.T) {
	e := endpoint(t)
	get := "GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n"
	if out := serve(e, get+"\r\n"+get+"\r\n"); strings.Count(out, "200 OK") != 2 {
		t.Errorf("got %q", out)
	}
	if out := serve(e, get+"Connection: Close\r\n\r\n"+get+"\r\n"); strings.Count(out, "200 OK") != 1 {
		t.Errorf("got %q", out)
	}
	if out := serve(e, "GET /v1/sys/health HTTP/1.0\r\n\r\n"+get+"\r\n"); strings.Count(out, "200 OK") != 1 {
		t.Errorf("got %q", out)
	}
	body := `{"input":"AA=="}`
	out := serve(e, fmt.Sprintf("PUT /v1/transit/sign/all HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	if !strings.HasPrefix(out, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK") {
		t.Errorf("got %q", out)
	}
}

// TestClients has the standard library's HTTP client use the endpoint as Vault's own does.
func TestClients(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go endpoint(t).Serve(t.Context(), func(context.Context) (io.ReadWriteCloser, error) { return l.Accept() })
	for range 100 { // more than there may be at once, one after the other
		client := &http.Client{Transport: &http.Transport{}}
		r, err := client.Post("http://"+l.Addr().String()+"/v1/transit/hmac/all", "application/json", strings.NewReader(`{"input":"AA=="}`))
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != 200 || !strings.Contains(string(data), `"hmac":"vault:v1:`) || !strings.Contains(string(data), `"request_id":"`) {
			t.Fatalf("%d %s %v", r.StatusCode, data, err)
		}
		r.Body.Close()
		client.CloseIdleConnections()
	}
	req, err := http.NewRequest("LIST", "http://"+l.Addr().String()+"/v1/transit/keys", nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	data, _ := io.ReadAll(r.Body)
	if !strings.Contains(string(data), `{"keys":["all","crypter","nothing","signer","zero"]}`) {
		t.Errorf("got %s", data)
	}
}

func FuzzServe(f *testing.F) {
	f.Add([]byte(post("encrypt/all", `{"plaintext":"AA=="}`)))
	f.Add([]byte("GET /v1/transit/keys?list=true HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte(post("random/hex", `{"bytes":"5"}`)))
	e := endpoint(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		out := serve(e, string(in))
		r := bufio.NewReader(strings.NewReader(out))
		for r.Buffered() > 0 {
			answer, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatalf("%q: %v", out, err)
			}
			io.Copy(io.Discard, answer.Body)
		}
	})
}
