package broker

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// NamesAuthority is an authority outside that certifies names: a public one, or an
// organisation's.
type NamesAuthority interface {
	// Name says which it is, such as the URL of its directory.
	Name() string
	// Account finds or makes the account of a key there, and says what it is called.
	Account(ctx context.Context, account crypto.Signer) (string, error)
	// Certify has it certify the key of a request (PKCS #10, DER) for the request's names, on
	// the account of a key. The chain's first certificate is the key's own; what is in it is
	// for the caller to check.
	Certify(ctx context.Context, account crypto.Signer, csr []byte) (chain [][]byte, err error)
}

// orderRecord is one certificate that an authority outside was asked for.
type orderRecord struct {
	ReleaseID string `json:"release_id"`
	// Chain is empty until there is a certificate. FromMS and UntilMS are its dates.
	Chain   []wire.Bytes `json:"chain,omitempty"`
	FromMS  int64        `json:"from_ms,omitempty"`
	UntilMS int64        `json:"until_ms,omitempty"`
	Failed  bool         `json:"failed,omitempty"`
}

// OrderFacts is the public part of a log entry of kind "order": whose key an authority outside
// is asked to certify for what. It is in the log before the authority is asked.
type OrderFacts struct {
	ReleaseID string    `json:"release_id"`
	Authority string    `json:"authority"`
	Key       wire.Hash `json:"key"` // SHA-256 of the public key (SPKI)
	Names     []string  `json:"names"`
}

// order is an authority outside being asked; err is set when done is closed.
type order struct {
	key   string // in the table
	asked *release.SignedCertifyRequest
	names []string
	done  chan struct{}
	err   error
}

// accountKey derives the private key of the account at the authority outside.
func (b *Broker) accountKey() (crypto.Signer, error) {
	return b.derivedKey("strongroom/names-account/v1", []byte(b.name), []byte(b.cfg.Names.Name()))
}

// NamesAccount finds or makes this broker's account at the authority outside, and says what
// it is called there: a CAA record that names it (RFC 8657) keeps others from having the
// names certified.
func (b *Broker) NamesAccount(ctx context.Context) (string, error) {
	if b.cfg.Names == nil {
		return "", verdict.Misuse("certify.authority", "an authority outside", "none", "serve with --acme URL")
	}
	key, err := b.accountKey()
	if err != nil {
		return "", err
	}
	return b.cfg.Names.Account(ctx, key)
}

// orderNames has the authority outside certify a room's key, unless a certificate of it for
// these names has more than half of its life left. A room that would wait for too long is
// told to come again (certify.pending); the order goes on meanwhile.
func (b *Broker) orderNames(ctx context.Context, q roomAsks, asked *release.SignedCertifyRequest) error {
	if err := b.serving(); err != nil {
		return err
	}
	if err := b.signedByRoom(q.ofRun, asked); err != nil {
		return err
	}
	o, err := b.ordering(q, asked)
	if err == nil && o != nil {
		err = o.wait(ctx)
	}
	if err != nil && verdict.As(err).Check != "certify.pending" {
		b.refused(ctx, refusal{agreement: q.agreement, run: &q.run, runID: q.id, releaseID: q.releaseID, subject: q.subject}, err)
	}
	return err
}

func (o *order) wait(ctx context.Context) error {
	patience := time.NewTimer(orderPatience)
	defer patience.Stop()
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
	case <-patience.C:
	}
	return verdict.Refuse("certify.pending", "a certificate", "an authority that has not made it yet", "ask again in some seconds")
}

// ordering gives the order that is under way for what is asked, begun now if need be; nil if
// there is nothing to wait for.
func (b *Broker) ordering(q roomAsks, asked *release.SignedCertifyRequest) (*order, error) {
	b.ordersMu.Lock()
	defer b.ordersMu.Unlock()
	underWay := wire.HashOf(asked.SPKI).String() + asked.Agreement.String()
	if o := b.orders[underWay]; o != nil {
		return o, nil
	}
	o, err := b.placeOrder(q, asked)
	if err != nil || o == nil {
		return nil, err
	}
	b.orders[underWay] = o
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), orderTime)
		defer cancel()
		o.err = b.fulfil(ctx, o)
		b.ordersMu.Lock()
		delete(b.orders, underWay)
		b.ordersMu.Unlock()
		close(o.done)
	}()
	return o, nil
}

// placeOrder judges a request and records that the authority is to be asked; nil if it need
// not be.
func (b *Broker) placeOrder(q roomAsks, asked *release.SignedCertifyRequest) (o *order, err error) {
	now := b.now()
	err = b.cfg.State.Update(func(tx Tx) error {
		o = nil
		known, run, err := b.goesOn(tx, q.agreement, q.id, now.UnixMilli())
		if err != nil {
			return err
		}
		if done, err := load[answerRecord](tx, tableAnswers, q.key()); err != nil || done != nil {
			return err
		}
		c, _, err := b.mayCertify(asked.CertifyRequest, known.agreement.Agreement, run)
		if err != nil {
			return err
		}
		names, err := namesOf(c, run)
		if err != nil {
			return err
		}
		if err := checkCSR(asked.CertifyRequest, names); err != nil {
			return err
		}
		had, err := b.orderFor(tx, asked.SPKI, names, now)
		if err != nil || had != nil && 2*(had.UntilMS-now.UnixMilli()) > had.UntilMS-had.FromMS {
			return err
		}
		if err := b.mayOrder(tx, names, now); err != nil {
			return err
		}
		o = &order{key: orderKey(names, now, asked.SPKI), asked: asked, names: names, done: make(chan struct{})}
		return b.recordOrder(tx, q, o, now)
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

func (b *Broker) recordOrder(tx Tx, q roomAsks, o *order, now time.Time) error {
	public, err := json.Marshal(OrderFacts{q.releaseID, b.cfg.Names.Name(), wire.HashOf(o.asked.SPKI), o.names})
	if err != nil {
		return err
	}
	e := ledger.Entry{Kind: "order", TimeMS: now.UnixMilli(), Agreement: &q.agreement, Run: &q.run, RunID: q.id, Public: public}
	d := Decision{Subject: fmt.Sprintf("run %s: %s is asked for a certificate", q.id, b.cfg.Names.Name()), Agreement: q.agreement.String(), RunID: q.id, ReleaseID: q.releaseID}
	if _, err := record(tx, e, d, q.id, q.releaseID); err != nil {
		return err
	}
	return save(tx, tableOrders, o.key, orderRecord{ReleaseID: q.releaseID})
}

// fulfil asks the authority, once its being asked is in the log, and keeps what it made if
// that is what was asked for.
func (b *Broker) fulfil(ctx context.Context, o *order) error {
	if err := b.drain(ctx); err != nil {
		return err
	}
	chain, err := b.askAuthority(ctx, o)
	kept := orderRecord{ReleaseID: o.asked.ReleaseID, Failed: true}
	if err == nil {
		var leaf *x509.Certificate
		if leaf, err = checkMade(chain, o.asked.SPKI, o.names, b.now()); err == nil {
			kept.Failed, kept.FromMS, kept.UntilMS = false, leaf.NotBefore.UnixMilli(), leaf.NotAfter.UnixMilli()
			for _, der := range chain {
				kept.Chain = append(kept.Chain, der)
			}
		}
	}
	saved := b.cfg.State.Update(func(tx Tx) error { return save(tx, tableOrders, o.key, kept) })
	if err == nil && saved != nil {
		err = broken("to keep a certificate", saved)
	}
	return err
}

func (b *Broker) askAuthority(ctx context.Context, o *order) ([][]byte, error) {
	account, err := b.accountKey()
	if err != nil {
		return nil, err
	}
	return b.cfg.Names.Certify(ctx, account, o.asked.CSR)
}

// ordered gives what the authority outside made for a room's key.
func (b *Broker) ordered(tx Tx, asked *release.SignedCertifyRequest, c *agreement.Container, run *runRecord, now time.Time) (body, facts any, err error) {
	names, err := namesOf(c, run)
	if err != nil {
		return nil, nil, err
	}
	had, err := b.orderFor(tx, asked.SPKI, names, now)
	if err != nil {
		return nil, nil, err
	}
	if had == nil {
		return nil, nil, verdict.Refuse("certify.pending", "a certificate", "none yet", "ask again")
	}
	return had.Chain, CertifyFacts{ReleaseID: asked.ReleaseID, Use: asked.Use, Key: wire.HashOf(asked.SPKI), Names: names,
		Certificate: wire.HashOf(had.Chain[0]), UntilMS: had.UntilMS, Authority: b.cfg.Names.Name()}, nil
}

// Keys of orders sort by names, then by time.
func namesKey(names []string) string {
	return wire.HashOf([]byte(strings.Join(slices.Sorted(slices.Values(names)), "\n"))).String()
}

func orderKey(names []string, now time.Time, spki []byte) string {
	return fmt.Sprintf("%s/%016x/%s", namesKey(names), max(now.UnixMilli(), 0), wire.HashOf(spki))
}

// orderFor gives the certificate of a key for names that lives longest; nil if none lives.
func (b *Broker) orderFor(tx Tx, spki []byte, names []string, now time.Time) (best *orderRecord, err error) {
	key := "/" + wire.HashOf(spki).String()
	err = b.eachOrder(tx, names, func(at string, r *orderRecord) error {
		if strings.HasSuffix(at, key) && len(r.Chain) > 0 && now.UnixMilli() < r.UntilMS && (best == nil || best.UntilMS < r.UntilMS) {
			best = r
		}
		return nil
	})
	return best, err
}

// mayOrder keeps to what authorities allow, and forgets what is over.
func (b *Broker) mayOrder(tx Tx, names []string, now time.Time) error {
	inWeek, failed := 0, 0
	week, lately := namesKey(names)+fmt.Sprintf("/%016x", now.Add(-namesWindow).UnixMilli()), namesKey(names)+fmt.Sprintf("/%016x", now.Add(-failedWindow).UnixMilli())
	err := b.eachOrder(tx, names, func(at string, r *orderRecord) error {
		switch {
		case at <= week && r.UntilMS < now.UnixMilli():
			return tx.Delete(tableOrders, at)
		case r.Failed && at > lately:
			failed++
		case !r.Failed && at > week:
			inWeek++
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case failed >= failedOrders:
		return verdict.Refuse("certify.failing", fmt.Sprintf("fewer than %d orders for these names that failed within %s", failedOrders, failedWindow), fmt.Sprint(failed),
			"mend what the authority named (strongroom broker why), and wait: public ones bar who fails too often")
	case inWeek >= b.cfg.NamesPerWeek:
		return verdict.Refuse("certify.rate", fmt.Sprintf("fewer than %d certificates for these names in seven days", b.cfg.NamesPerWeek), fmt.Sprint(inWeek),
			"each new room needs one: wait, or serve with a higher --acme-weekly if the authority allows it")
	}
	return nil
}

// eachOrder does something for every order for a set of names, oldest first; it may write.
func (b *Broker) eachOrder(tx Tx, names []string, do func(at string, r *orderRecord) error) error {
	var keys []string
	from := namesKey(names)
	if err := tx.Scan(tableOrders, from+"/", from+"0", func(key string, _ []byte) bool {
		keys = append(keys, key)
		return true
	}); err != nil {
		return err
	}
	for _, key := range keys {
		r, err := load[orderRecord](tx, tableOrders, key)
		if err == nil && r != nil {
			err = do(key, r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkCSR checks that a request asks for the key and names that the room's message and the
// agreement say, and nothing else.
func checkCSR(asked release.CertifyRequest, names []string) error {
	refuse := func(got string) error {
		return verdict.Refuse("certify.csr", "a request (PKCS #10) of the room's key for exactly "+verdict.Short(strings.Join(names, ", ")), got, "use a room image of this version; agree on fewer names if they are very many")
	}
	if len(asked.CSR) == 0 {
		return refuse("none")
	}
	csr, err := x509.ParseCertificateRequest(asked.CSR)
	if err != nil {
		return refuse(verdict.Short(err.Error()))
	}
	switch {
	case !bytes.Equal(csr.RawSubjectPublicKeyInfo, asked.SPKI):
		return refuse("one of another key")
	case csr.CheckSignature() != nil:
		return refuse("one that its key did not sign")
	case len(csr.Subject.Names) != 0 || len(csr.Extensions) != 1 || len(csr.EmailAddresses)+len(csr.IPAddresses)+len(csr.URIs) != 0:
		return refuse("one that asks for more")
	case !sameNames(csr.DNSNames, names):
		return refuse(verdict.Short(strings.Join(csr.DNSNames, ", ")))
	}
	return nil
}

func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// checkMade checks that what an authority made is a certificate for servers of a key for
// exactly these names, and leads upwards.
func checkMade(chain [][]byte, spki []byte, names []string, now time.Time) (*x509.Certificate, error) {
	refuse := func(got string) error {
		return verdict.Refuse("certify.made", "a certificate for servers of the room's key and names, valid now, with what signed it", verdict.Short(got), "ask whoever runs the authority")
	}
	if len(chain) < 2 || len(chain) > release.MaxChain {
		return nil, refuse(fmt.Sprintf("%d certificates, expected 2 to %d", len(chain), release.MaxChain))
	}
	var list []*x509.Certificate
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, refuse(err.Error())
		}
		if len(der) > release.MaxChainCertificate {
			return nil, refuse(fmt.Sprintf("a certificate of %d bytes, expected at most %d", len(der), release.MaxChainCertificate))
		}
		list = append(list, c)
	}
	leaf := list[0]
	switch {
	case !bytes.Equal(leaf.RawSubjectPublicKeyInfo, spki):
		return nil, refuse("one of another key")
	case !sameNames(leaf.DNSNames, names) || len(leaf.EmailAddresses)+len(leaf.IPAddresses)+len(leaf.URIs) != 0:
		return nil, refuse("one for " + strings.Join(leaf.DNSNames, ", "))
	case leaf.IsCA || !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth):
		return nil, refuse("one that is not for servers")
	case now.Add(clockSlack).Before(leaf.NotBefore) || !now.Before(leaf.NotAfter):
		return nil, refuse("one from " + wire.At(leaf.NotBefore).String() + " until " + wire.At(leaf.NotAfter).String())
	}
	for i := range len(list) - 1 {
		if err := list[i].CheckSignatureFrom(list[i+1]); err != nil {
			return nil, refuse(err.Error())
		}
	}
	return leaf, nil
}
