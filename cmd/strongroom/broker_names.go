package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/broker"
	"strongroom.dev/broker/acme"
	"strongroom.dev/server"
	"strongroom.dev/verdict"
)

// maxAccountFile bounds the file of --acme-account, and maxRootsFile that of --acme-roots.
const (
	maxAccountFile = 4 << 10
	maxRootsFile   = 1 << 20
)

// namesFlags say which authority outside certifies rooms' names.
type namesFlags struct {
	directory string
	terms     bool
	contact   []string
	account   string
	roots     string
	http      string
	hook      string
	weekly    int
}

func (f *namesFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.directory, "acme", "", "have rooms' names certified by the ACME authority with this directory: `URL`")
	flags.BoolVar(&f.terms, "acme-accept-terms", false, "accept that authority's terms of service, which you have read")
	flags.StringArrayVar(&f.contact, "acme-contact", nil, "`EMAIL` at which it reaches you (repeat)")
	flags.StringVar(&f.account, "acme-account", "", "`FILE` with the key id and key of an account that it gave you: one line, KEYID KEY")
	flags.StringVar(&f.roots, "acme-roots", "", "`FILE` of the certificates (PEM) that its own TLS leads to, if this machine does not know them")
	flags.StringVar(&f.http, "acme-http", "", "prove names by http-01: `HOST:PORT` to answer on, where port 80 of the names leads to")
	flags.StringVar(&f.hook, "acme-dns", "", "prove names by dns-01: `PROGRAM` called with present|cleanup, a record's name and value")
	flags.IntVar(&f.weekly, "acme-weekly", 5, "the most certificates to ask for, for one set of names, in seven days: `N`")
}

// namesService is an authority outside, and what answers it.
type namesService struct {
	authority *acme.Authority
	listener  net.Listener // nil with dns-01
	files     *acme.Files
}

// Close stops answering.
func (n *namesService) Close() {
	if n != nil && n.listener != nil {
		n.listener.Close()
	}
}

// open makes what the flags say; nil if they name no authority.
func (f *namesFlags) open(a *app, cmd *cobra.Command) (*namesService, error) {
	if f.directory == "" {
		for _, name := range []string{"acme-accept-terms", "acme-contact", "acme-account", "acme-roots", "acme-http", "acme-dns", "acme-weekly"} {
			if cmd.Flags().Changed(name) {
				return nil, verdict.Misuse("--"+name, "an authority to go with it", "no --acme", "name its directory: --acme URL")
			}
		}
		return nil, nil
	}
	if (f.http == "") == (f.hook == "") {
		return nil, verdict.Misuse("--acme", "one way to prove names: --acme-http HOST:PORT or --acme-dns PROGRAM", map[bool]string{true: "neither", false: "both"}[f.http == ""], "choose one; dns-01 needs no way in from outside")
	}
	if f.weekly < 1 {
		return nil, verdict.Misuse("--acme-weekly", "a number above 0", fmt.Sprint(f.weekly), "name what the authority allows; 5 is Let's Encrypt's")
	}
	config := acme.Config{Directory: f.directory, AcceptTerms: f.terms}
	n := &namesService{}
	var err error
	if config.Contact, err = f.contacts(); err != nil {
		return nil, err
	}
	if config.Account, err = f.binding(a); err != nil {
		return nil, err
	}
	if config.Client, err = f.client(a); err != nil {
		return nil, err
	}
	if config.Prover, err = f.prover(n); err != nil {
		return nil, err
	}
	if n.authority, err = acme.New(config); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func (f *namesFlags) contacts() (list []string, err error) {
	for _, c := range f.contact {
		if !strings.Contains(c, "@") || strings.ContainsAny(c, " ,:?/") {
			return nil, verdict.Misuse("--acme-contact", "an email address", verdict.Short(c), "name one address; repeat the flag for more")
		}
		list = append(list, "mailto:"+c)
	}
	return list, nil
}

// binding reads an account that the authority gave out.
func (f *namesFlags) binding(a *app) (*acme.Binding, error) {
	if f.account == "" {
		return nil, nil
	}
	const what = "the key id and key of an account at an authority"
	data, err := a.readLarge(f.account, what, maxAccountFile)
	if err != nil {
		return nil, err
	}
	words := strings.Fields(string(data))
	if len(words) != 2 {
		return nil, misfile(f.account, what, fmt.Sprintf("%d words", len(words)), "write one line: KEYID KEY, both as the authority shows them")
	}
	key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(words[1], "="))
	if err != nil {
		return nil, misfile(f.account, what, "a key that is not base64url", "copy it as the authority shows it")
	}
	return &acme.Binding{KeyID: words[0], Key: key}, nil
}

// client makes what speaks to the authority; nil trusts what the machine does.
func (f *namesFlags) client(a *app) (*http.Client, error) {
	if f.roots == "" {
		return nil, nil
	}
	const what = "certificates (PEM) of authorities"
	data, err := a.readLarge(f.roots, what, maxRootsFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, misfile(f.roots, what, "no certificate", "name the file of the authority's root")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: transport}, nil
}

// prover makes what proves names, and begins to listen if that is how.
func (f *namesFlags) prover(n *namesService) (acme.Prover, error) {
	if f.hook != "" {
		program, err := exec.LookPath(f.hook)
		if err == nil {
			program, err = filepath.Abs(program)
		}
		if err != nil {
			return nil, verdict.Misuse("--acme-dns", "a program", verdict.Short(err.Error()), "name one that you may execute")
		}
		return acme.Hook{Program: program, Environment: os.Environ()}, nil
	}
	listener, err := net.Listen("tcp", f.http)
	if err != nil {
		return nil, verdict.Misuse("--acme-http", "a free address of this machine", verdict.Short(err.Error()), "choose another, and have port 80 of the names lead there")
	}
	n.listener, n.files = listener, new(acme.Files)
	return n.files, nil
}

// serve answers the authority until ctx ends, and says by which account it knows this broker.
func (n *namesService) serve(ctx context.Context, a *app, b *broker.Broker, logger *slog.Logger) {
	if n == nil {
		return
	}
	if n.listener != nil {
		a.say("Proofs of names are answered on http://%s", n.listener.Addr())
		go func() {
			if err := server.Serve(ctx, n.listener, n.files, logger); err != nil && ctx.Err() == nil {
				logger.Error("proofs of names are answered no more", "cause", err.Error())
			}
		}()
	}
	go func() {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		account, err := b.NamesAccount(ctx)
		if err != nil {
			logger.Warn("no account to have names certified by: rooms with names will not start", "authority", n.authority.Name(), "cause", verdict.As(err).Error())
			return
		}
		logger.Info("names are certified outside", "account", account, "authority", n.authority.Name())
	}()
}
