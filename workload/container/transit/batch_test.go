package transit_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/workload/container/transit"
)

// results asks with a batch and gives each item's members, secrets by their beginning.
func results(t *testing.T, e transit.Endpoint, path, body string) (status int, out []map[string]any) {
	t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(serve(e, post(path, body)))), nil)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Data struct {
			Results []map[string]any `json:"batch_results"`
		} `json:"data"`
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, answer.Data.Results
}

func TestBatchEncrypt(t *testing.T) {
	e := endpoint(t)
	status, sealed := results(t, e, "encrypt/all", `{"plaintext":"","batch_input":[{"plaintext":"`+b64("one")+`","reference":"a"},{"plaintext":"`+b64("two")+`","context":"Yw=="}]}`)
	if status != 200 || len(sealed) != 2 || sealed[0]["reference"] != "a" || sealed[0]["ciphertext"] == sealed[1]["ciphertext"] {
		t.Fatalf("%d %v", status, sealed)
	}
	items := fmt.Sprintf(`[{"ciphertext":%q},{"ciphertext":%q,"context":"Yw=="},{"ciphertext":%q,"reference":"b"}]`, sealed[0]["ciphertext"], sealed[1]["ciphertext"], sealed[1]["ciphertext"])
	want := []map[string]any{{"plaintext": b64("one")}, {"plaintext": b64("two")}, {"error": "cipher: message authentication failed", "reference": "b"}}
	for body, code := range map[string]int{`{"batch_input":` + items + `}`: 400, `{"partial_failure_response_code":207,"batch_input":` + items + `}`: 207} {
		status, got := results(t, e, "decrypt/all", body)
		if diff := cmp.Diff(want, got); status != code || diff != "" {
			t.Errorf("%s: %d %s", body, status, diff)
		}
	}
	// Where nothing came of any item, no code makes it a success.
	if status, _ := results(t, e, "decrypt/all", `{"partial_failure_response_code":200,"batch_input":[{"ciphertext":"vault:v1:AA=="}]}`); status != 400 {
		t.Errorf("got %d", status)
	}
	_, again := results(t, e, "rewrap/all", fmt.Sprintf(`{"batch_input":[{"ciphertext":%q}]}`, sealed[0]["ciphertext"]))
	if again[0]["ciphertext"] == sealed[0]["ciphertext"] {
		t.Error("rewrapped, it is the same")
	}
	if _, open, _ := ask(t, e, "decrypt/all", fmt.Sprintf(`{"ciphertext":%q}`, again[0]["ciphertext"])); open["plaintext"] != b64("one") {
		t.Errorf("rewrapped, it opens to %v", open)
	}
}

func TestBatchSign(t *testing.T) {
	e := endpoint(t)
	for path, name := range map[string]string{"sign/all": "signature", "hmac/all": "hmac"} {
		status, made := results(t, e, path, `{"hash_algorithm":"sha2-256","batch_input":[{"input":"`+b64("one")+`"},{"input":"!"},{"input":"`+b64("two")+`"}]}`)
		if status != 200 || len(made) != 3 || made[1]["error"] != "input is not base64" || made[0][name] == nil || made[0][name] == made[2][name] {
			t.Fatalf("%s: %d %v", path, status, made)
		}
		_, got := results(t, e, "verify/all", fmt.Sprintf(`{"batch_input":[{"input":%q,%q:%q},{"input":%q,%q:%q},{"input":%q,%q:"x"}]}`,
			b64("one"), name, made[0][name], b64("one"), name, made[2][name], b64("one"), name))
		want := []map[string]any{{"valid": true}, {"valid": false}, {"valid": false, "error": "invalid " + name + ": vault:v1: and base64 are expected"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

func TestHash(t *testing.T) {
	for path, want := range map[string]string{"hash": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", "hash/sha2-224": "ea09ae9cc6768c50fcee903ed054556e5bfc8347907f12598aa24193"} {
		if _, data, errs := ask(t, endpoint(t), path, `{"input":"`+b64("hello")+`"}`); data["sum"] != want {
			t.Errorf("%s: %v %q", path, data, errs)
		}
	}
}
