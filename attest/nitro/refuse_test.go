package nitro_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/attest/nitro"
	"strongroom.dev/internal/cbortest"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/verdict"
)

const good = "warning nitro.revocation"

// TestDocuments is one document per rule about what is signed.
func TestDocuments(t *testing.T) {
	w := newWorld(t)
	registers := func(change func(pairs) pairs) pairs {
		p := w.payload()
		for i := 0; i < len(p); i += 2 {
			if p[i] == "pcrs" {
				return p.Set("pcrs", change(p[i+1].(pairs)))
			}
		}
		panic("no pcrs")
	}
	for name, c := range map[string]struct {
		payload pairs
		want    string
	}{
		"good": {w.payload(), good},
		// Debug (pitfall 3): an enclave in debug mode is not measured.
		"debug":               {registers(func(p pairs) pairs { return p.Set(0, pcr(0)).Set(1, pcr(0)).Set(2, pcr(0)) }), "contraindicated -nitro.debug nitro.revocation"},
		"PCR0 zero":           {registers(func(p pairs) pairs { return p.Set(0, pcr(0)) }), "contraindicated -nitro.debug nitro.revocation"},
		"PCR1 zero":           {registers(func(p pairs) pairs { return p.Set(1, pcr(0)) }), "contraindicated -nitro.debug nitro.revocation"},
		"PCR2 zero":           {registers(func(p pairs) pairs { return p.Set(2, pcr(0)) }), "contraindicated -nitro.debug nitro.revocation"},
		"without PCR0":        {registers(func(p pairs) pairs { return p.Set(0, nothing{}) }), "invalid evidence nitro.form"},
		"without PCR2":        {registers(func(p pairs) pairs { return p.Set(2, nothing{}) }), "invalid evidence nitro.form"},
		"no PCRs":             {w.payload().Set("pcrs", pairs{}), "invalid evidence nitro.form"},
		"PCR of 47 bytes":     {registers(func(p pairs) pairs { return p.Set(0, pcr(1)[1:]) }), "invalid evidence nitro.form"},
		"PCR of 49 bytes":     {registers(func(p pairs) pairs { return p.Set(5, append(pcr(1), 0)) }), "invalid evidence nitro.form"},
		"PCR 32":              {registers(func(p pairs) pairs { return append(p, 32, pcr(1)) }), "invalid evidence nitro.form"},
		"PCR -1":              {registers(func(p pairs) pairs { return append(p, -1, pcr(1)) }), "invalid evidence nitro.form"},
		"PCR by name":         {registers(func(p pairs) pairs { return append(p, "16", pcr(1)) }), "invalid evidence nitro.form"},
		"PCR twice":           {registers(func(p pairs) pairs { return append(p, 0, pcr(1)) }), "invalid evidence nitro.form"},
		"PCRs as a list":      {w.payload().Set("pcrs", []any{pcr(1), pcr(2), pcr(3)}), "invalid evidence nitro.form"},
		"another digest":      {w.payload().Set("digest", "SHA256"), "invalid evidence nitro.form"},
		"no digest":           {w.payload().Set("digest", nothing{}), "invalid evidence nitro.form"},
		"no module":           {w.payload().Set("module_id", nothing{}), "invalid evidence nitro.form"},
		"empty module":        {append(w.payload().Set("module_id", nothing{}), "module_id", ""), "invalid evidence nitro.form"},
		"long module":         {w.payload().Set("module_id", strings.Repeat("i", 129)), "invalid evidence nitro.form"},
		"no timestamp":        {w.payload().Set("timestamp", nothing{}), "invalid evidence nitro.form"},
		"timestamp zero":      {w.payload().Set("timestamp", 0), "invalid evidence nitro.form"},
		"timestamp negative":  {w.payload().Set("timestamp", -1), "invalid evidence nitro.form"},
		"timestamp far":       {w.payload().Set("timestamp", 1<<47), "invalid evidence nitro.form"},
		"timestamp as text":   {w.payload().Set("timestamp", "now"), "invalid evidence nitro.form"},
		"no certificate":      {w.payload().Set("certificate", nothing{}), "invalid evidence nitro.form"},
		"null certificate":    {w.payload().Set("certificate", nil), "invalid evidence nitro.form"},
		"broken certificate":  {w.payload().Set("certificate", w.chain[4].Raw[1:]), "invalid evidence nitro.form"},
		"no bundle":           {w.payload().Set("cabundle", nothing{}), "invalid evidence nitro.form"},
		"empty bundle":        {w.payload().Set("cabundle", []any{}), "invalid evidence nitro.form"},
		"bundle of text":      {w.payload().Set("cabundle", []any{"root"}), "invalid evidence nitro.form"},
		"bundle of nine":      {w.payload().Set("cabundle", bytesOf(w.chain[0], w.chain[0], w.chain[0], w.chain[0], w.chain[0], w.chain[0], w.chain[0], w.chain[0], w.chain[0])), "invalid evidence nitro.form"},
		"user data as text":   {w.payload().Set("user_data", "text"), "invalid evidence nitro.form"},
		"user data too long":  {w.payload().Set("user_data", make([]byte, 1025)), "invalid evidence nitro.form"},
		"nonce too long":      {w.payload().Set("nonce", make([]byte, 1025)), "invalid evidence nitro.form"},
		"public key too long": {w.payload().Set("public_key", make([]byte, 1025)), "invalid evidence nitro.form"},
		"a NitroTPM's":        {append(w.payload().Set("pcrs", nothing{}), "nitrotpm_pcrs", pairs{0, pcr(1), 1, pcr(1), 2, pcr(1)}), "invalid evidence nitro.form"},
		"a member twice":      {append(w.payload(), "nonce", []byte("another")), "invalid evidence nitro.form"},
		"a numbered member":   {append(w.payload(), 7, nil), "invalid evidence nitro.form"},
		"floating point":      {append(w.payload(), "x", raw{0xf9, 0x3c, 0}), "invalid evidence nitro.form"},
		"a long head":         {w.payload().Set("nonce", raw{0x58, 1, 0}), "invalid evidence nitro.form"},
		"bytes in pieces":     {w.payload().Set("nonce", raw{0x5f, 0x41, 0, 0xff}), "invalid evidence nitro.form"},
		"an unknown member":   {append(w.payload(), "hibernated", raw{0xf5}), "warning nitro.revocation nitro.members"},
		"without a nonce":     {w.payload().Set("nonce", nothing{}), good},
		// Freshness by the clock: a document of the future, one after its signer, one before.
		"six minutes ahead": {w.payload().Set("timestamp", int(w.now.Add(6*time.Minute).UnixMilli())), "contraindicated -nitro.timestamp nitro.revocation"},
		"four minutes":      {w.payload().Set("timestamp", int(w.now.Add(4*time.Minute).UnixMilli())), good},
		"after its signer":  {w.payload().Set("timestamp", int(w.now.Add(3*time.Hour).UnixMilli())), "invalid evidence nitro.chain"},
		"before its signer": {w.payload().Set("timestamp", int(w.now.Add(-2*time.Hour).UnixMilli())), "invalid evidence nitro.chain"},
		// Chains.
		"AWS's name, another root":  {w.payload().Set("cabundle", bytesOf(w.chain[1], w.chain[2], w.chain[3])), "invalid evidence nitro.root"},
		"chain out of order":        {w.payload().Set("cabundle", bytesOf(w.chain[0], w.chain[2], w.chain[1], w.chain[3])), "invalid evidence nitro.chain"},
		"chain with a gap":          {w.payload().Set("cabundle", bytesOf(w.chain[0], w.chain[1], w.chain[3])), "invalid evidence nitro.chain"},
		"a root alone":              {w.payload().Set("cabundle", bytesOf(w.chain[0])), "invalid evidence nitro.chain"},
		"an authority as signer":    {w.payload().Set("certificate", w.chain[3].Raw).Set("cabundle", bytesOf(w.chain[0], w.chain[1], w.chain[2])), "invalid evidence nitro.chain"},
		"the signer as authority":   {w.payload().Set("cabundle", bytesOf(w.chain[0], w.chain[1], w.chain[2], w.chain[3], w.chain[4])), "invalid evidence nitro.chain"},
		"a certificate of another":  {w.payload().Set("certificate", newWorld(t).chain[4].Raw), "invalid evidence nitro.chain"},
		"a bundle of another world": {w.payload().Set("cabundle", bytesOf(newWorld(t).chain[:4]...)), "invalid evidence nitro.root"},
	} {
		document := w.document(c.payload)
		f, err := nitro.NewUnder(w.chain[0]).Examine(document, w.now)
		if got := evidencetest.Judge(f, err); got != c.want {
			t.Errorf("%s: got %q, expected %q (%v)", name, got, c.want, err)
		}
		if err != nil && (verdict.As(err).Fix == "" || verdict.As(err).Expected == "" || len(f.Claims)+len(f.Checks) > 0) {
			t.Errorf("%s: unexplained: %v", name, err)
		}
	}
}

func bytesOf(certs ...*x509.Certificate) []any {
	var out []any
	for _, c := range certs {
		out = append(out, c.Raw)
	}
	return out
}

// TestSignatures is about the envelope: algorithm, key and what is signed.
func TestSignatures(t *testing.T) {
	w := newWorld(t)
	payload := cbortest.Encode(w.payload())
	p256 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	document := w.document(w.payload())
	signature := len(document) - 96
	for name, c := range map[string]struct {
		document []byte
		want     string
	}{
		"tagged":                      {append([]byte{0xd2}, document...), good},
		"of indefinite length":        {w.sign(raw("\xa1\x01\x38\x22"), append(append([]byte{0xbf}, payload[1:]...), 0xff), w.keys[4]), good},
		"another's key":               {w.sign(raw("\xa1\x01\x38\x22"), payload, w.keys[3]), "invalid evidence nitro.signature"},
		"a key of P-256":              {w.sign(raw("\xa1\x01\x38\x22"), payload, p256), "invalid evidence nitro.signature"},
		"no signature":                {cbortest.Encode([]any{[]byte("\xa1\x01\x38\x22"), pairs{}, payload, []byte{}}), "invalid evidence nitro.signature"},
		"zeros":                       {append(bytes.Clone(document[:signature]), make([]byte, 96)...), "invalid evidence nitro.signature"},
		"an unprotected algorithm":    {cbortest.Encode([]any{[]byte("\xa1\x01\x38\x22"), pairs{1, -7}, payload, document[signature:]}), good}, // unsigned, and not looked at
		"critical, unprotected":       {cbortest.Encode([]any{[]byte("\xa1\x01\x38\x22"), pairs{2, []any{3}}, payload, document[signature:]}), "invalid evidence nitro.form"},
		"bytes behind":                {append(bytes.Clone(document), 0), "invalid evidence nitro.form"},
		"cut short":                   {document[:len(document)-1], "invalid evidence nitro.form"},
		"a payload that is no map":    {w.sign(raw("\xa1\x01\x38\x22"), cbortest.Encode([]any{"module_id"}), w.keys[4]), "invalid evidence nitro.form"},
		"too long":                    {append(bytes.Clone(document), make([]byte, 33<<10)...), "invalid evidence nitro.form"},
		"nothing":                     {nil, "invalid evidence nitro.form"},
		"a payload with bytes behind": {w.sign(raw("\xa1\x01\x38\x22"), append(bytes.Clone(payload), 0), w.keys[4]), "invalid evidence nitro.form"},
	} {
		if got := evidencetest.Judge(nitro.NewUnder(w.chain[0]).Examine(c.document, w.now)); got != c.want {
			t.Errorf("%s: got %q, expected %q", name, got, c.want)
		}
	}
	// Other algorithms are another form altogether; each is refused.
	for _, protected := range []string{"\xa1\x01\x26", "\xa1\x01\x38\x23", "\xa0", "\xa2\x01\x38\x22\x02\x81\x03"} {
		if got := evidencetest.Judge(nitro.NewUnder(w.chain[0]).Examine(w.sign(raw(protected), payload, w.keys[4]), w.now)); got != "invalid evidence nitro.form" {
			t.Errorf("header %x: %q", protected, got)
		}
	}
	if got := evidencetest.Judge(nitro.Verifier{}.Examine(document, w.now)); got != "invalid evidence nitro.root" {
		t.Errorf("the zero verifier: %q", got)
	}
	if got := evidencetest.Judge(nitro.NewUnder(newWorld(t).chain[0]).Examine(document, w.now)); got != "invalid evidence nitro.root" {
		t.Errorf("another root: %q", got)
	}
}

// TestCertificates changes one certificate at a time.
func TestCertificates(t *testing.T) {
	for name, c := range map[string]struct {
		change func(i int, c *x509.Certificate)
		want   string
	}{
		"no change":                 {func(int, *x509.Certificate) {}, good},
		"expired region":            {func(i int, c *x509.Certificate) { c.NotAfter = evidencetest.Time("2026-11-24T11:59:00Z") }, "invalid evidence nitro.chain"},
		"zone not yet valid":        {only(2, func(c *x509.Certificate) { c.NotBefore = evidencetest.Time("2026-11-24T12:01:00Z") }), "invalid evidence nitro.chain"},
		"instance is no authority":  {only(3, func(c *x509.Certificate) { c.IsCA, c.KeyUsage, c.MaxPathLen = false, x509.KeyUsageDigitalSignature, -1 }), "invalid evidence nitro.chain"},
		"region may not sign":       {only(1, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }), "invalid evidence nitro.chain"},
		"path too long":             {only(1, func(c *x509.Certificate) { c.MaxPathLen = 1 }), "invalid evidence nitro.chain"},
		"path of zero":              {only(2, func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true }), "invalid evidence nitro.chain"},
		"no bound on the path":      {only(1, func(c *x509.Certificate) { c.MaxPathLen = -1 }), good},
		"signer is an authority":    {only(4, func(c *x509.Certificate) { c.IsCA = true }), "invalid evidence nitro.chain"},
		"signer may not sign":       {only(4, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), "invalid evidence nitro.chain"},
		"signer without basics":     {only(4, func(c *x509.Certificate) { c.BasicConstraintsValid = false }), "invalid evidence nitro.chain"},
		"signed with SHA-256":       {only(3, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA256 }), "invalid evidence nitro.chain"},
		"unknown critical":          {only(3, func(c *x509.Certificate) { c.ExtraExtensions = critical(1, 2, 3, 4) }), "invalid evidence nitro.chain"},
		"signer's unknown critical": {only(4, func(c *x509.Certificate) { c.ExtraExtensions = critical(1, 2, 3, 4) }), "invalid evidence nitro.chain"},
	} {
		w := newWorld(t)
		w.change = c.change
		w.build()
		if got := evidencetest.Judge(nitro.NewUnder(w.chain[0]).Examine(w.document(w.payload()), w.now)); got != c.want {
			t.Errorf("%s: got %q, expected %q", name, got, c.want)
		}
		// crypto/x509 agrees, but for rules that are the NSM's alone.
		ours := map[string]bool{"signer is an authority": true, "signer may not sign": true, "signer without basics": true, "signed with SHA-256": true}
		if theirs := standard(w); (theirs == nil) != (c.want == good || ours[name]) {
			t.Errorf("%s: crypto/x509 says %v", name, theirs)
		}
	}
	for i := 1; i < 5; i++ {
		w := newWorld(t)
		w.renamed = i
		w.build()
		if got := evidencetest.Judge(nitro.NewUnder(w.chain[0]).Examine(w.document(w.payload()), w.now)); got != "invalid evidence nitro.chain" || standard(w) == nil {
			t.Errorf("certificate %d names another issuer: %q", i, got)
		}
	}
	// A signer on another curve.
	w := newWorld(t)
	w.keys[4] = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	w.build()
	if got := evidencetest.Judge(nitro.NewUnder(w.chain[0]).Examine(w.document(w.payload()), w.now)); got != "invalid evidence nitro.chain" {
		t.Errorf("P-256: %q", got)
	}
}

// standard verifies the chain with crypto/x509.
func standard(w *world) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(w.chain[0])
	for _, c := range w.chain[1:4] {
		between.AddCert(c)
	}
	_, err := w.chain[4].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: w.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}

func only(which int, change func(*x509.Certificate)) func(int, *x509.Certificate) {
	return func(i int, c *x509.Certificate) {
		if i == which {
			change(c)
		}
	}
}

func critical(id ...int) []pkix.Extension {
	return []pkix.Extension{{Id: id, Critical: true, Value: []byte{5, 0}}}
}

// TestRevocation is about lists that the caller has (pitfall 7): one that names a certificate of
// the chain refuses, however old or partial; forged and foreign ones say nothing, and those that
// are expired or not whole clear nobody.
func TestRevocation(t *testing.T) {
	w := newWorld(t)
	other := newWorld(t)
	document := w.document(w.payload())
	late := w.now.Add(90 * time.Minute)
	for name, c := range map[string]struct {
		lists []*x509.RevocationList
		now   time.Time
		want  string
	}{
		"an empty list":          {lists(w.list(0)), w.now, "affirming"},
		"region revoked":         {lists(w.list(0, 9, 2)), w.now, "contraindicated -nitro.revocation"},
		"instance revoked":       {lists(w.list(2, 4)), w.now, "contraindicated -nitro.revocation"},
		"signer revoked":         {lists(w.list(3, 5)), w.now, "contraindicated -nitro.revocation"},
		"another's serial":       {lists(w.list(0, 3)), w.now, "affirming"},
		"expired":                {lists(w.list(0)), late, good},
		"expired, revoked":       {lists(w.list(0, 2)), late, "contraindicated -nitro.revocation"},
		"revoked by one of two":  {lists(w.list(0), w.list(0, 2)), w.now, "contraindicated -nitro.revocation"},
		"a delta":                {lists(w.partial(0, critical(2, 5, 29, 27))), w.now, good},
		"a part":                 {lists(w.partial(0, critical(2, 5, 29, 28))), w.now, good},
		"something unknown":      {lists(w.partial(0, critical(1, 2, 3, 4))), w.now, good},
		"revoked by a delta":     {lists(w.list(0), w.partial(0, critical(2, 5, 29, 27), 2)), w.now, "contraindicated -nitro.revocation"},
		"forged by another root": {lists(other.list(0, 2)), w.now, good},
	} {
		for range 2 { // in either order
			if got := evidencetest.Judge(nitro.NewUnder(w.chain[0], c.lists...).Examine(document, c.now)); got != c.want {
				t.Errorf("%s: got %q, expected %q", name, got, c.want)
			}
			slices.Reverse(c.lists)
		}
	}
}

func lists(all ...*x509.RevocationList) []*x509.RevocationList { return all }

// TestForms takes one document in every form, and checks what each binds.
func TestForms(t *testing.T) {
	w := newWorld(t)
	document := w.document(w.payload())
	initData := attest.InitData([]byte("{}"))
	registers := w.payload()[7].(pairs)
	bound := func(pcr16 any) []byte {
		p := append(pairs{}, registers...)
		if pcr16 != nil {
			p = append(p, nitro.InitDataPCR, pcr16)
		}
		e := nitro.Evidence{Document: w.document(w.payload().Set("pcrs", p)), InitData: initData[:]}
		return must(e.Encode())
	}
	right := nitro.InitDataPCRValue(initData[:])
	twice := nitro.InitDataPCRValue(append(right[48:], right[:]...))
	dstack := func(report byte, behind ...byte) []byte {
		n := len(document)
		out := append([]byte{0, 2, byte(n<<2 | 1), byte(n >> 6)}, document...)
		if n >= 1<<14 {
			t.Fatal("another length")
		}
		out = append(out, 4, 4, 'x', 8, 'y', 'z')
		return append(append(append(out, bytes.Repeat([]byte{report}, 64)...), 8, '{', '}'), behind...)
	}
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	carrier := func(d []byte) []byte {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"enclave.example", hex.EncodeToString(d) + ".enclave.example"}, NotBefore: w.now, NotAfter: w.now}
		return must(x509.CreateCertificate(rand.Reader, c, c, key.Public(), key))
	}
	spki := must(x509.MarshalPKIXPublicKey(key.Public()))
	point := must(key.PublicKey.Bytes())
	for name, c := range map[string]struct {
		evidence []byte
		want     string
	}{
		"hex":                       {[]byte(hex.EncodeToString(document)), good},
		"base64":                    {[]byte(base64.StdEncoding.EncodeToString(document) + "\n"), good},
		"JSON":                      {[]byte(`{"attestation_document":"` + base64.StdEncoding.EncodeToString(document) + `"}`), good},
		"own form":                  {bound(right[:]), good},
		"own form, no PCR16":        {bound(nil), "invalid evidence nitro.init_data"},
		"own form, zero PCR16":      {bound(pcr(0)), "invalid evidence nitro.init_data"},
		"own form, extended twice":  {bound(twice[:]), "invalid evidence nitro.init_data"},
		"own form, the data itself": {bound(initData[:]), "invalid evidence nitro.init_data"},
		"own form, unknown member":  {bytes.Replace(bound(right[:]), []byte("{"), []byte(`{"a":1,`), 1), "invalid evidence nitro.form"},
		"own form, no document":     {must(nitro.Evidence{}.Encode()), "invalid evidence nitro.form"},
		"dstack":                    {dstack(7), good},
		"dstack, zeros behind":      {dstack(7, 0, 0), good},
		"dstack, bytes behind":      {dstack(7, 1), "invalid evidence nitro.form"},
		"dstack, cut short":         {dstack(7)[:len(dstack(7))-2], "invalid evidence nitro.form"},
		"dstack, of another":        {dstack(8), "invalid evidence nitro.report_data"},
		"certificate, key's DER":    {carrier(w.document(w.payload().Set("public_key", spki))), good},
		"certificate, point":        {carrier(w.document(w.payload().Set("user_data", point))), good},
		"certificate, base64":       {carrier(w.document(w.payload().Set("nonce", []byte("x"+base64.StdEncoding.EncodeToString(spki))))), good},
		"certificate of another":    {carrier(document), "contraindicated -nitro.certificate_key nitro.revocation"},
		"two documents":             {[]byte(`["` + hex.EncodeToString(document) + `","` + hex.EncodeToString(w.document(w.payload())) + `"]`), "invalid evidence nitro.form"},
		"base64, cut short":         {[]byte(base64.StdEncoding.EncodeToString(document[:len(document)-1])), "invalid evidence nitro.form"},
	} {
		f, err := nitro.NewUnder(w.chain[0]).Examine(c.evidence, w.now)
		if got := evidencetest.Judge(f, err); got != c.want {
			t.Errorf("%s: got %q, expected %q (%v)", name, got, c.want, err)
		}
		if name == "own form" && (!bytes.Equal(f.Facts.InitData, initData[:]) || f.Facts.Measurements["pcr16"] != "") {
			t.Errorf("%s: %+v", name, f.Facts)
		}
	}
}

// TestFacts checks what agreements are compared with.
func TestFacts(t *testing.T) {
	w := newWorld(t)
	p := w.payload()
	p = p.Set("pcrs", append(append(pairs{}, p[7].(pairs)...), 20, pcr(20), 21, pcr(0)))
	facts, err := nitro.NewUnder(w.chain[0]).Platform().Verify(w.document(p), w.now)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{"pcr0": true, "pcr1": true, "pcr2": true, "pcr8": true, "pcr20": true}
	for name := range facts.Measurements {
		if !names[name] {
			t.Errorf("measurement %s", name)
		}
	}
	if len(facts.Measurements) != len(names) || len(facts.ReportData) != 64 || facts.Machine != "i-0123456789abcdef0" || facts.Debug || facts.Platform != nitro.Name {
		t.Errorf("%+v", facts)
	}
	if _, err := nitro.NewUnder(w.chain[0]).Platform().Verify(w.document(p.Set("pcrs", pairs{0, pcr(0), 1, pcr(0), 2, pcr(0)})), w.now); err == nil || verdict.As(err).Kind != verdict.Refused {
		t.Errorf("debug: %v", err)
	}
}
