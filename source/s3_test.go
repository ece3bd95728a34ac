package source_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/source"
	"strongroom.dev/verdict"
)

// env is an environment with credentials, and more variables.
func env(more ...string) func(string) string {
	vars := map[string]string{"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
	for i := 0; i < len(more); i += 2 {
		vars[more[i]] = more[i+1]
	}
	return func(name string) string { return vars[name] }
}

func TestS3Refuses(t *testing.T) {
	for name, want := range map[string]string{"s3://": "BUCKET/KEY", "s3://bucket": "BUCKET/KEY", "s3://bucket/": "BUCKET/KEY", "s3://Bucket/x": "BUCKET/KEY", "s3://a..b/x": "BUCKET/KEY",
		"s3://evil.example.org:1/x": "BUCKET/KEY", "s3://user@bucket/x": "BUCKET/KEY"} {
		if _, err := source.ParseS3(name, env()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, test := range map[string]struct {
		env  func(string) string
		want string
	}{
		"no credentials":    {env("AWS_SECRET_ACCESS_KEY", ""), "AWS_ACCESS_KEY_ID"},
		"far, without TLS":  {env("AWS_ENDPOINT_URL", "http://s3.example.org"), "an https address"},
		"no address":        {env("AWS_ENDPOINT_URL", "s3.example.org"), "an address such as"},
		"with a path":       {env("AWS_ENDPOINT_URL", "https://s3.example.org/x"), "an address such as"},
		"with a name":       {env("AWS_ENDPOINT_URL", "https://a:b@s3.example.org"), "an address such as"},
		"nobody there":      {env("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), "a storage that answers"},
		"region of a path?": {env("AWS_REGION", "x/../y"), "an address such as"},
	} {
		s, err := source.ParseS3("s3://bucket/rows.csv", test.env)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err = s.Open(context.Background()); err == nil || !strings.Contains(err.Error(), test.want) || verdict.As(err).Fix == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := (source.S3{}).Open(context.Background()); err == nil {
		t.Error("the zero value asks")
	}
}

// What a storage answers but the object becomes one error, and no redirection is followed.
func TestS3Answers(t *testing.T) {
	for path, test := range map[string]struct {
		status int
		body   string
		want   string
		kind   verdict.Kind
	}{
		"none":    {404, "<Error><Code>NoSuchKey</Code></Error>", "404 Not Found NoSuchKey", verdict.Usage},
		"denied":  {403, "<Error><Code>AccessDenied</Code></Error>", "AccessDenied", verdict.Usage},
		"moved":   {301, "", "AWS_REGION", verdict.Usage},
		"broken":  {503, "not XML", "503", verdict.Broken},
		"partial": {206, "x", "206", verdict.Usage},
	} {
		calls := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls++
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		}))
		s, err := source.ParseS3("s3://bucket/"+path, env("AWS_ENDPOINT_URL", server.URL))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = s.Open(context.Background())
		if err == nil || !strings.Contains(err.Error(), test.want) || verdict.As(err).Kind != test.kind || calls != 1 {
			t.Errorf("%s: %v after %d calls", path, err, calls)
		}
		server.Close()
	}
}

// An object that ends too early is no shorter object.
func TestS3CutOff(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, "too short")
	}))
	defer server.Close()
	s, err := source.ParseS3("s3://bucket/x", env("AWS_ENDPOINT_URL", server.URL))
	if err != nil {
		t.Fatal(err)
	}
	src, size, err := s.Open(context.Background())
	if err != nil || size != 1000 {
		t.Fatal(size, err)
	}
	defer src.Close()
	if _, err := io.ReadAll(src); err == nil {
		t.Error("it was read to its end")
	}
}

// storage starts a storage of its own, moto's, and gives its address.
func storage(t *testing.T) string {
	t.Helper()
	program, err := filepath.Abs("../.python/bin/moto_server")
	if _, missing := os.Stat(program); err != nil || missing != nil {
		if program, err = exec.LookPath("moto_server"); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal("no moto_server: scripts/setup test installs it")
			}
			t.Skip("no moto_server: scripts/setup test installs it")
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	cmd := exec.Command(program, "-H", "127.0.0.1", "-p", port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	address := "http://127.0.0.1:" + port
	for range 300 {
		if answer, err := http.Get(address + "/moto-api/"); err == nil {
			answer.Body.Close()
			return address
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("moto does not answer")
	return ""
}

func put(t *testing.T, address string, data []byte) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPut, address, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatal(answer.Status)
	}
}

// Objects of another implementation of the interface come as they are, whatever their names.
func TestS3Storage(t *testing.T) {
	address := storage(t)
	put(t, address+"/shop", nil)
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	put(t, address+"/shop/visits.csv", large)
	put(t, address+"/shop/a%20b/%C3%BC%2B%25%3F.csv", []byte("odd"))
	for key, want := range map[string][]byte{"visits.csv": large, "a b/ü+%?.csv": []byte("odd")} {
		s, err := source.ParseS3("s3://shop/"+key, env("AWS_ENDPOINT_URL_S3", address+"/", "AWS_REGION", "eu-central-1", "AWS_SESSION_TOKEN", "token"))
		if err != nil {
			t.Fatal(err)
		}
		src, size, err := s.Open(context.Background())
		if err != nil {
			t.Fatal(key, err)
		}
		got, err := io.ReadAll(src)
		src.Close()
		if err != nil || !bytes.Equal(got, want) || size != int64(len(want)) {
			t.Errorf("%s: %d of %d bytes, %v", key, len(got), size, err)
		}
	}
	s, _ := source.ParseS3("s3://shop/none", env("AWS_ENDPOINT_URL", address))
	if _, _, err := s.Open(context.Background()); err == nil || !strings.Contains(err.Error(), "NoSuchKey") {
		t.Error(err)
	}
}
