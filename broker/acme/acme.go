// Package acme has the names of rooms certified by an authority outside, by ACME (RFC 8555).
//
// What it promises: nothing is asked for but what the request says, whose key is the room's;
// what was shown to prove a name is taken away again, whatever came of it; and every wait is
// bounded by the caller's context. What it refuses: directories that are not reached over
// TLS, terms that nobody accepted, and authorities that demand an account of theirs when none
// was named. It keeps nothing: the account's key is the broker's, and the same key finds the
// same account.
//
// Whether what comes back says what was asked is the broker's to check.
package acme

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/crypto/acme"
	"strongroom.dev/verdict"
)

// Kind is how a name is proven to an authority.
type Kind string

// The kinds: a file at port 80 of the name (RFC 8555, section 8.3), or a TXT record below it
// (section 8.4).
const (
	HTTP Kind = "http-01"
	DNS  Kind = "dns-01"
)

// Proof is what proves one name to the authority.
type Proof struct {
	// Name is the DNS name.
	Name string
	// Token is where the file is: /.well-known/acme-challenge/Token. For http-01 only.
	Token string
	// Value is the file's content, or the record's.
	Value string
}

// Prover shows proofs. It says when one can be seen: the authority is told then.
type Prover interface {
	Kind() Kind
	Show(ctx context.Context, p Proof) error
	// Hide takes away what Show showed, also where that went wrong half-way.
	Hide(ctx context.Context, p Proof) error
}

// Config says which authority is asked, and how. The zero Config is refused.
type Config struct {
	// Directory is the URL of the authority's directory (RFC 8555, section 7.1.1), https.
	Directory string
	// AcceptTerms says that whoever runs this has read the authority's terms and accepts them.
	AcceptTerms bool
	// Contact are URLs by which the authority may reach who holds the account, such as
	// mailto:pki@hospital.example. Optional.
	Contact []string
	// Account binds the account to one that the authority has given out before (section
	// 7.3.4). Optional: many demand none.
	Account *Binding
	Prover  Prover
	// Client makes the requests; it decides which authorities of TLS count. nil is one that
	// trusts the machine's.
	Client *http.Client
}

// Binding is an account that an authority gave out by other means.
type Binding struct {
	KeyID string
	Key   []byte // of HMAC-SHA-256
}

// Authority is an authority reached by ACME. It is safe for concurrent use.
type Authority struct {
	config Config
	client *http.Client
}

// New checks a Config; nothing is asked yet.
func New(c Config) (*Authority, error) {
	u, err := url.Parse(c.Directory)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || len(c.Directory) > maxURL {
		return nil, verdict.Misuse("acme.directory", "the https URL of an ACME directory", verdict.Short(c.Directory), "take it from the authority's documentation")
	}
	if c.Prover == nil {
		return nil, verdict.Misuse("acme.proof", "a way to prove names: http-01 or dns-01", "none", "choose one")
	}
	if b := c.Account; b != nil && (b.KeyID == "" || len(b.Key) < minBinding) {
		return nil, verdict.Misuse("acme.account", fmt.Sprintf("a key id and a key of at least %d bytes", minBinding), fmt.Sprintf("key id %s, %d bytes", verdict.Short(b.KeyID), len(b.Key)), "copy both from the authority's console")
	}
	base := c.Client
	if base == nil {
		base = http.DefaultClient
	}
	client := *base
	client.Transport = &onlyTLS{base.Transport}
	if client.Timeout == 0 {
		client.Timeout = requestTime
	}
	return &Authority{c, &client}, nil
}

// onlyTLS keeps an authority from sending us to URLs that anybody on the way can answer.
type onlyTLS struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (t *onlyTLS) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("a URL of the authority that is not https: %s", verdict.Short(r.URL.String()))
	}
	next := t.next
	if next == nil {
		next = http.DefaultTransport
	}
	return next.RoundTrip(r)
}

// Name is the directory's URL.
func (a *Authority) Name() string { return a.config.Directory }

// Account finds or makes the account of a key, and gives its URL: what a CAA record's
// accounturi (RFC 8657) names.
func (a *Authority) Account(ctx context.Context, key crypto.Signer) (string, error) {
	_, account, err := a.account(ctx, key)
	return account, err
}

func (a *Authority) account(ctx context.Context, key crypto.Signer) (*acme.Client, string, error) {
	c := &acme.Client{Key: key, HTTPClient: a.client, DirectoryURL: a.config.Directory, UserAgent: "strongroom", RetryBackoff: backoff}
	dir, err := c.Discover(ctx)
	if err != nil {
		return nil, "", a.failed("its directory", err)
	}
	if dir.Terms != "" && !a.config.AcceptTerms {
		return nil, "", verdict.Refuse("acme.terms", "the authority's terms accepted", "nobody accepted "+verdict.Short(dir.Terms), "read them, then serve with --acme-accept-terms")
	}
	if dir.ExternalAccountRequired && a.config.Account == nil {
		return nil, "", verdict.Refuse("acme.account", "an account of the authority's own, which it demands", "none", "serve with --acme-account FILE")
	}
	asked := &acme.Account{Contact: a.config.Contact}
	if b := a.config.Account; b != nil {
		asked.ExternalAccountBinding = &acme.ExternalAccountBinding{KID: b.KeyID, Key: b.Key}
	}
	if _, err := c.Register(ctx, asked, acme.AcceptTOS); err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return nil, "", a.failed("an account", err)
	}
	return c, string(c.KID), nil
}

// Certify has the authority certify the key of a request (PKCS #10, DER) for the request's
// DNS names, on the account of a key. The chain's first certificate is the key's own. It
// takes as long as the authority does: seconds, or minutes with dns-01.
func (a *Authority) Certify(ctx context.Context, account crypto.Signer, csr []byte) (chain [][]byte, err error) {
	request, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, fmt.Errorf("request for a certificate: %w", err)
	}
	if len(request.DNSNames) == 0 || len(request.DNSNames) > MaxNames {
		return nil, verdict.Refuse("acme.names", fmt.Sprintf("1 to %d names in one certificate", MaxNames), fmt.Sprint(len(request.DNSNames)), "agree on fewer names")
	}
	c, _, err := a.account(ctx, account)
	if err != nil {
		return nil, err
	}
	order, err := c.AuthorizeOrder(ctx, acme.DomainIDs(request.DNSNames...))
	if err != nil {
		return nil, a.failed("an order", err)
	}
	if len(order.AuthzURLs) > MaxNames {
		return nil, a.failed("an order", fmt.Errorf("%d authorizations for %d names", len(order.AuthzURLs), len(request.DNSNames)))
	}
	left := slices.Clone(request.DNSNames)
	for _, u := range order.AuthzURLs {
		if err := a.prove(ctx, c, u, &left); err != nil {
			return nil, err
		}
	}
	place := order.URI
	if order, err = c.WaitOrder(ctx, place); err != nil {
		return nil, a.failed("an order that is ready", err)
	}
	if chain, err = finish(ctx, c, place, order.FinalizeURL, csr); err != nil {
		return nil, a.failed("a certificate", err)
	}
	return chain, nil
}

// finish hands in the request and fetches the certificate. The answer to the request need not
// say where the order is (section 7.4), which the library expects of it: who asks there
// learns what became of it.
func finish(ctx context.Context, c *acme.Client, place, finalize string, csr []byte) ([][]byte, error) {
	chain, _, err := c.CreateOrderCert(ctx, finalize, csr, true)
	if err == nil {
		return chain, nil
	}
	order, unknown := c.WaitOrder(ctx, place)
	if unknown != nil || order.Status != acme.StatusValid {
		return nil, err
	}
	return c.FetchCert(ctx, order.CertURL, true)
}

// prove shows one proof, has the authority look, and takes it away.
// left are the names that no authorization was about yet: it takes its own off.
func (a *Authority) prove(ctx context.Context, c *acme.Client, authorization string, left *[]string) error {
	z, err := c.GetAuthorization(ctx, authorization)
	if err != nil {
		return a.failed("an authorization", err)
	}
	if err := takeName(left, z.Identifier); err != nil {
		return a.failed("an authorization for one of the names asked for", err)
	}
	if z.Status == acme.StatusValid {
		return nil
	}
	challenge, proof, err := a.proof(c, z)
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), hideTime)
		defer cancel()
		_ = a.config.Prover.Hide(end, proof) // it proves nothing any more
	}()
	if err := a.config.Prover.Show(ctx, proof); err != nil {
		return verdict.Refuse("acme.proof", "the proof of "+verdict.Short(proof.Name)+" shown by "+string(a.config.Prover.Kind()), verdict.Short(err.Error()), "look at what the hook says")
	}
	if _, err := c.Accept(ctx, challenge); err != nil {
		return a.failed("a challenge", err)
	}
	if _, err := c.WaitAuthorization(ctx, z.URI); err != nil {
		return a.failed("the proof of "+proof.Name, err)
	}
	return nil
}

// takeName takes the name that an authorization is about off those left. The authority does not
// choose what is proven: a hook would write it into a zone.
func takeName(left *[]string, id acme.AuthzID) error {
	at := slices.Index(*left, id.Value)
	if id.Type != "dns" || at < 0 {
		return fmt.Errorf("one for %s %s", verdict.Short(id.Type), verdict.Short(id.Value))
	}
	*left = slices.Delete(*left, at, at+1)
	return nil
}

// proof makes what the configured kind of challenge asks for.
func (a *Authority) proof(c *acme.Client, z *acme.Authorization) (*acme.Challenge, Proof, error) {
	kind := a.config.Prover.Kind()
	for _, challenge := range z.Challenges {
		if challenge.Type != string(kind) {
			continue
		}
		p := Proof{Name: z.Identifier.Value, Token: challenge.Token}
		value, err := c.HTTP01ChallengeResponse(challenge.Token)
		if kind == DNS {
			p.Token = ""
			value, err = c.DNS01ChallengeRecord(challenge.Token)
		}
		p.Value = value
		if err == nil && kind == HTTP && !isToken(p.Token) {
			err = errors.New("a token that is none")
		}
		return challenge, p, err
	}
	return nil, Proof{}, verdict.Refuse("acme.proof", "an authority that takes "+string(kind)+" for "+verdict.Short(z.Identifier.Value), "one that does not", "choose the other kind")
}

// failed says what an authority did not give. It is a refusal, not a defect of ours: asking
// again at once would only use up what it allows.
func (a *Authority) failed(what string, err error) error {
	said := err.Error()
	var problem *acme.Error
	var unproven *acme.AuthorizationError
	switch {
	case errors.As(err, &unproven) && len(unproven.Errors) > 0:
		said = fmt.Sprint(unproven.Errors[0])
	case errors.As(err, &problem):
		said = problem.ProblemType + ": " + problem.Detail
	}
	return &verdict.Error{Kind: verdict.Refused, Check: "acme.authority", Expected: what + " from " + a.config.Directory, Got: verdict.Short(said),
		Fix: "look at DNS, the way to the proof and the authority's limits; the room asks again", Err: err}
}

// backoff waits longer each time, and gives up on what stays wrong.
func backoff(n int, _ *http.Request, _ *http.Response) time.Duration {
	if n > maxRetries {
		return 0
	}
	return time.Duration(n*n) * 200 * time.Millisecond
}

// isToken tells whether a token is of the base64url alphabet (RFC 8555, section 8.3).
func isToken(s string) bool {
	for _, r := range s {
		if r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return false
		}
	}
	return len(s) >= minToken && len(s) <= maxToken
}
