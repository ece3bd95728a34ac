package source

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"strongroom.dev/verdict"
)

// S3 names an object of S3-compatible storage and how to reach it. The zero value is refused.
type S3 struct {
	Bucket, Key string
	// Endpoint is the storage's address, such as https://s3.example.org; empty: that of AWS in Region.
	Endpoint string
	// Region is what requests are signed for.
	Region string
	// AccessKey, SecretKey and, with passing ones, SessionToken are the credentials.
	AccessKey, SecretKey, SessionToken string
	// InsecureConnection allows endpoints on other machines without TLS.
	InsecureConnection bool
	// Now tells the time for signatures.
	Now func() time.Time
}

// IsS3 reports whether a name is that of an object of S3-compatible storage.
func IsS3(name string) bool { return strings.HasPrefix(name, "s3://") }

// ParseS3 reads s3://BUCKET/KEY, with endpoint, region and credentials as AWS's own tools take
// them from the environment: AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, AWS_REGION or
// AWS_DEFAULT_REGION (else us-east-1), AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN.
func ParseS3(name string, getenv func(string) string) (S3, error) {
	first := func(names ...string) string {
		for _, n := range names {
			if v := getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	rest, found := strings.CutPrefix(name, "s3://")
	bucket, key, slash := strings.Cut(rest, "/")
	if !found || !slash || key == "" || !bucketName(bucket) {
		return S3{}, verdict.Misuse("s3", "s3://BUCKET/KEY", verdict.Short(name), "name a bucket and an object in it")
	}
	s := S3{Bucket: bucket, Key: key, Endpoint: strings.TrimSuffix(first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"), "/"), Region: first("AWS_REGION", "AWS_DEFAULT_REGION"),
		AccessKey: getenv("AWS_ACCESS_KEY_ID"), SecretKey: getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: getenv("AWS_SESSION_TOKEN"), Now: time.Now}
	if s.Region == "" {
		s.Region = "us-east-1"
	}
	return s, nil
}

// bucketName reports names that can stand in a host's name or a path: 3 to 63 of a-z, 0-9, '.', '-'.
func bucketName(s string) bool {
	return len(s) >= 3 && len(s) <= 63 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-") == "" && !strings.Contains(s, "..")
}

// Check refuses what can't be asked for, before anything is.
func (s S3) Check() error {
	_, err := s.url()
	if err == nil && (s.AccessKey == "" || s.SecretKey == "") {
		err = verdict.Misuse("s3.credentials", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment", "none", "set them for this command alone: env AWS_ACCESS_KEY_ID=... strongroom ...")
	}
	return err
}

// url gives the object's address: the bucket stands in AWS's host name, else in the path.
func (s S3) url() (*url.URL, error) {
	endpoint, path := s.Endpoint, "/"+s.Bucket+"/"+s.Key
	switch {
	case endpoint == "" && strings.Contains(s.Bucket, "."): // no certificate has such a name
		endpoint = "https://s3." + s.Region + ".amazonaws.com"
	case endpoint == "":
		endpoint, path = "https://"+s.Bucket+".s3."+s.Region+".amazonaws.com", "/"+s.Key
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, verdict.Misuse("s3.endpoint", "an address such as https://s3.example.org", verdict.Short(endpoint), "correct AWS_ENDPOINT_URL_S3 and AWS_REGION")
	}
	ip := net.ParseIP(u.Hostname())
	if near := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback(); u.Scheme == "http" && !near && !s.InsecureConnection {
		return nil, verdict.Misuse("s3.endpoint", "an https address", verdict.Short(endpoint), "use TLS; --insecure-connection lets whoever is on the way read the data")
	}
	u.Path, u.RawPath = path, escape(path)
	return u, nil
}

// escape writes a path as signatures want it: all but unreserved characters and slashes as %XX.
func escape(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~/", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// headerPatience is how long the storage may take to begin an answer.
const headerPatience = time.Minute

// Open asks for the object and gives its bytes as they come; size is in bytes, 0 if it is not
// told. What ends before that is an error of the reading. ctx is for the reading too.
func (s S3) Open(ctx context.Context) (src io.ReadCloser, size int64, err error) {
	if err := s.Check(); err != nil {
		return nil, 0, err
	}
	u, err := s.url()
	if err != nil {
		return nil, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, 0, s.unreachable(err)
	}
	s.sign(req)
	// Nothing is packed on the way, and credentials follow no redirection.
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableCompression: true, DisableKeepAlives: true, ResponseHeaderTimeout: headerPatience},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(req)
	if err != nil {
		return nil, 0, s.unreachable(err)
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		return nil, 0, s.refused(answer)
	}
	return answer.Body, max(answer.ContentLength, 0), nil
}

func (s S3) unreachable(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "s3", Expected: "a storage that answers", Got: verdict.Short(err.Error()), Fix: "check AWS_ENDPOINT_URL_S3, AWS_REGION and the network", Err: err}
}

// refused says what the storage says of a request.
func (s S3) refused(answer *http.Response) error {
	var said struct{ Code string }
	if data, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10)); err == nil {
		_ = xml.Unmarshal(data, &said) // its status says enough
	}
	got := strings.TrimSpace(answer.Status + " " + said.Code)
	fix := "ask for the right to read the object; check credentials, region and clock"
	if answer.StatusCode == http.StatusNotFound {
		fix = "check the bucket and the object's name"
	} else if answer.StatusCode >= 300 && answer.StatusCode < 400 {
		fix = "set AWS_REGION to the bucket's region"
	} else if answer.StatusCode >= 500 {
		return &verdict.Error{Kind: verdict.Broken, Check: "s3", Expected: "the object", Got: verdict.Short(got), Fix: "try again later"}
	}
	return verdict.Misuse("s3.object", "s3://"+s.Bucket+"/"+verdict.Short(s.Key), verdict.Short(got), fix)
}

// sign signs a request without a body: AWS Signature Version 4.
func (s S3) sign(req *http.Request) {
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	now := s.Now().UTC()
	moment, day := now.Format("20060102T150405Z"), now.Format("20060102")
	req.Header.Set("X-Amz-Date", moment)
	req.Header.Set("X-Amz-Content-Sha256", empty)
	if s.SessionToken != "" {
		req.Header.Set("X-Amz-Security-Token", s.SessionToken)
	}
	headers := map[string]string{"host": req.URL.Host}
	for name, values := range req.Header {
		headers[strings.ToLower(name)] = strings.TrimSpace(values[0])
	}
	var names []string
	for name := range headers {
		names = append(names, name)
	}
	slices.Sort(names)
	canonical := "GET\n" + escape(req.URL.Path) + "\n\n"
	for _, name := range names {
		canonical += name + ":" + headers[name] + "\n"
	}
	signed := strings.Join(names, ";")
	canonical += "\n" + signed + "\n" + empty
	scope := day + "/" + s.Region + "/s3/aws4_request"
	hash := sha256.Sum256([]byte(canonical))
	key := []byte("AWS4" + s.SecretKey)
	for _, part := range []string{day, s.Region, "s3", "aws4_request", "AWS4-HMAC-SHA256\n" + moment + "\n" + scope + "\n" + hex.EncodeToString(hash[:])} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+s.AccessKey+"/"+scope+",SignedHeaders="+signed+",Signature="+hex.EncodeToString(key))
}
