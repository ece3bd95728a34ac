package dice_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"maps"
	"slices"
	"testing"
	"time"

	"filippo.io/mldsa"

	"strongroom.dev/attest/dice"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/verdict"
)

func p384() *signer { return ecSigner(elliptic.P384()) }

// TestFamilies verifies devices with every kind of key, and one with several.
func TestFamilies(t *testing.T) {
	for family, make := range map[string]func() *signer{
		"P-256": func() *signer { return ecSigner(elliptic.P256()) }, "P-384": p384, "P-521": func() *signer { return ecSigner(elliptic.P521()) },
		"ML-DSA-44": func() *signer { return pqSigner(mldsa.MLDSA44()) }, "ML-DSA-65": func() *signer { return pqSigner(mldsa.MLDSA65()) }, "ML-DSA-87": func() *signer { return pqSigner(mldsa.MLDSA87()) },
	} {
		d, other := newDevice(make), newDevice(make)
		v := dice.New(pin(other.keys[1], d.keys[1]))
		f, err := v.Examine(d.chain(2), today)
		if got := evidencetest.Judge(f, err); got != "affirming" {
			t.Errorf("%s: %q %v", family, got, err)
		}
		if got := evidencetest.Judge(dice.New(pin(d.keys[0])).Examine(d.chain(1), today)); got != "affirming" {
			t.Errorf("%s, under an authority: %q", family, got)
		}
		if got := evidencetest.Judge(v.Examine(d.with(3, func(tm *template) { tm.breakIt = true }).chain(2), today)); got != "invalid evidence dice.chain" {
			t.Errorf("%s, a signature broken: %q", family, got)
		}
		if names := slices.Sorted(maps.Keys(f.Facts.Measurements)); !slices.Equal(names, []string{"device-info", "fmc-info", "rt-info"}) || f.Claims["ueid"] != "010203" {
			t.Errorf("%s: %q", family, names)
		}
	}
	mixed := newDevice(p384)
	mixed.keys[3] = pqSigner(mldsa.MLDSA87())
	mixed.templates[2].key, mixed.templates[2].ski, mixed.templates[3].by, mixed.templates[3].aki = mixed.keys[3], mixed.keys[3].id(), mixed.keys[3], mixed.keys[3].id()
	if got := evidencetest.Judge(dice.New(pin(mixed.keys[1])).Examine(mixed.chain(2), today)); got != "affirming" {
		t.Errorf("mixed: %q", got)
	}
	small := newDevice(func() *signer { return ecSigner(elliptic.P224()) })
	if got := evidencetest.Judge(dice.New(pin(small.keys[1])).Examine(small.chain(2), today)); got != "invalid evidence dice.form" {
		t.Errorf("P-224: %q", got)
	}
}

// TestChains is one chain per rule about certificates.
func TestChains(t *testing.T) {
	d, other := newDevice(p384), newDevice(p384)
	idevid := pin(d.keys[1])
	unknown := pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}
	null := asn1.RawValue{FullBytes: []byte{5, 0}}
	layer := func(n int, change func(*template)) []byte { return d.with(n, change).chain(2) }
	cert := func(n int) []byte { return d.templates[n-1].certificate() }
	extra := func(n int, value []byte) func(*template) {
		return func(tm *template) { tm.extensions = []pkix.Extension{stated(n, false, value)} }
	}
	self := template{name: "authority", issuer: "authority", key: d.keys[0], by: d.keys[0], authority: true, pathLen: -1, usage: 4, from: today.AddDate(-1, 0, 0), to: today.AddDate(9, 0, 0), noAKI: true}
	for name, c := range map[string]struct {
		evidence []byte
		with     endorse.Set
		want     string
	}{
		"good":                             {d.chain(2), idevid, "affirming"},
		"bytes behind":                     {append(d.chain(2), 0), idevid, "invalid evidence dice.form"},
		"cut short":                        {cut(d.chain(2)), idevid, "invalid evidence dice.form"},
		"a certificate signed anew":        {append(d.chain(2), cert(2)...), idevid, "affirming"}, // of the same key, by the same key
		"the same bytes twice":             {twice(d.chain(2)), idevid, "affirming"},
		"two devices":                      {append(d.chain(2), other.chain(2)...), idevid, "invalid evidence dice.form"},
		"a certificate of another":         {append(d.chain(2), other.templates[1].certificate()...), idevid, "invalid evidence dice.form"},
		"local identity broken":            {layer(2, func(tm *template) { tm.breakIt = true }), idevid, "invalid evidence dice.chain"},
		"firmware broken":                  {layer(3, func(tm *template) { tm.breakIt = true }), idevid, "invalid evidence dice.chain"},
		"runtime broken":                   {layer(4, func(tm *template) { tm.breakIt = true }), idevid, "invalid evidence dice.chain"},
		"signed by another, by its name":   {layer(3, func(tm *template) { tm.by = other.keys[2] }), idevid, "invalid evidence dice.chain"},
		"signed by another identity":       {layer(2, func(tm *template) { tm.by = other.keys[1] }), idevid, "invalid evidence dice.chain"},
		"firmware is no authority":         {layer(3, func(tm *template) { tm.authority = false }), idevid, "invalid evidence dice.chain"},
		"firmware may not sign":            {layer(3, func(tm *template) { tm.usage = 0x80 }), idevid, "invalid evidence dice.chain"},
		"local identity, path of zero":     {layer(2, func(tm *template) { tm.pathLen = 0 }), idevid, "invalid evidence dice.chain"},
		"firmware, path of zero":           {layer(3, func(tm *template) { tm.pathLen = 0 }), idevid, "affirming"},
		"no bound on paths":                {layer(2, func(tm *template) { tm.pathLen = -1 }), idevid, "affirming"},
		"an unknown critical extension":    {layer(3, func(tm *template) { tm.extensions = append(slices.Clone(tm.extensions), unknown) }), idevid, "invalid evidence dice.chain"},
		"another algorithm":                {layer(3, func(tm *template) { tm.algorithm = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2} }), idevid, "invalid evidence dice.chain"},
		"an algorithm with parameters":     {layer(3, func(tm *template) { tm.params = null }), idevid, "invalid evidence dice.chain"},
		"firmware by number":               {layer(3, extra(1, info("FMC_INFO", 2, closed()...))), idevid, "affirming"},
		"a broken TcbInfo":                 {layer(3, extra(1, []byte{0x30, 1})), idevid, "invalid evidence dice.form"},
		"a broken MultiTcbInfo":            {layer(3, extra(5, info("FMC_INFO", 2))), idevid, "invalid evidence dice.form"},
		"a broken UEID":                    {layer(3, extra(4, []byte{4, 1, 0})), idevid, "invalid evidence dice.form"},
		"without key identifiers":          {without(d).chain(2), idevid, "affirming"},
		"a name of nobody":                 {layer(2, func(tm *template) { tm.aki = other.keys[1].id() }), idevid, "affirming"}, // the one pinned key verifies it
		"expired":                          {layer(3, func(tm *template) { tm.to = today.Add(-time.Second) }), idevid, "contraindicated -dice.dates"},
		"not yet valid":                    {layer(4, func(tm *template) { tm.from = today.Add(10 * time.Minute) }), idevid, "contraindicated -dice.dates"},
		"valid in a minute":                {layer(4, func(tm *template) { tm.from = today.Add(time.Minute) }), idevid, "affirming"},
		"nothing pinned":                   {d.chain(2), endorse.Set{}, "contraindicated -dice.root"},
		"another device pinned":            {d.chain(2), pin(other.keys[1]), "contraindicated -dice.root"},
		"only the leaf's key pinned":       {d.chain(2), pin(d.keys[4]), "contraindicated -dice.root"},
		"the firmware's key pinned":        {d.chain(2), pin(d.keys[3]), "warning dice.flags"}, // what is above it is not looked at
		"the local identity's key pinned":  {d.chain(2), pin(d.keys[2]), "affirming"},
		"an authority pinned":              {d.chain(1), pin(d.keys[0]), "affirming"},
		"a layer held":                     {append(cert(2), cert(4)...), must(endorse.NewSet(append(idevid.Items(), endorse.Item{Kind: endorse.X509Certificate, Data: cert(3)})...)), "invalid evidence dice.form"},
		"the layer above held":             {cert(4), must(endorse.NewSet(append(idevid.Items(), endorse.Item{Kind: endorse.X509Certificate, Data: cert(3)}, endorse.Item{Kind: endorse.X509Certificate, Data: cert(2)})...)), "affirming"},
		"a certificate is no pin":          {d.chain(2), must(endorse.NewSet(endorse.Item{Kind: endorse.X509Certificate, Data: cert(1)})), "contraindicated -dice.root"},
		"a root of its own":                {append(self.certificate(), d.chain(1)...), endorse.Set{}, "contraindicated -dice.root"},
		"a root of its own, pinned":        {append(self.certificate(), d.chain(1)...), pin(d.keys[0]), "affirming"},
		"the same, by names":               {append(self.certificate(), without(d).chain(1)...), pin(d.keys[0]), "affirming"},
		"the same, by names, unpinned":     {append(self.certificate(), without(d).chain(1)...), pin(other.keys[0]), "contraindicated -dice.root"},
		"a request":                        {append(request(d.keys[1], false), d.chain(2)...), endorse.Set{}, "contraindicated -dice.root"},
		"a request, pinned":                {append(request(d.keys[1], false), d.chain(2)...), idevid, "affirming"},
		"a request pins":                   {d.chain(2), must(endorse.NewSet(endorse.Item{Kind: endorse.X509Request, Data: request(d.keys[1], false)})), "affirming"},
		"a broken request pins nothing":    {d.chain(2), must(endorse.NewSet(endorse.Item{Kind: endorse.X509Request, Data: request(d.keys[1], true)})), "contraindicated -dice.root"},
		"a broken request in the evidence": {append(request(d.keys[1], true), d.chain(2)...), idevid, "invalid evidence dice.request"},
		"a request of another":             {append(request(other.keys[1], false), d.chain(2)...), idevid, "affirming"}, // signed nothing here
		"a request alone":                  {request(d.keys[1], false), idevid, "invalid evidence dice.form"},
		"seventeen":                        {bytes.Repeat(cert(2), 17), idevid, "invalid evidence dice.form"},
		"too long":                         {make([]byte, 300<<10), idevid, "invalid evidence dice.form"},
		"nothing":                          {nil, idevid, "invalid evidence dice.form"},
		"a key":                            {d.keys[1].spki, idevid, "invalid evidence dice.form"},
		"PEM of which one can't be read":   {append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert(2)}), "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"...), idevid, "invalid evidence dice.form"},
		"PEM that can't be read":           {[]byte("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"), idevid, "invalid evidence dice.form"},
	} {
		f, err := dice.New(c.with).Examine(c.evidence, today)
		if got := evidencetest.Judge(f, err); got != c.want {
			t.Errorf("%s: got %q, expected %q (%v)", name, got, c.want, err)
		}
		if err != nil && (verdict.As(err).Fix == "" || len(f.Checks) > 0) {
			t.Errorf("%s: unexplained: %v", name, err)
		}
		if err == nil && f.Facts.Root.IsZero() && (len(f.Claims) > 0 || len(f.Facts.Measurements) > 0 || f.Facts.Machine != "" || !f.Facts.Debug) {
			t.Errorf("%s: something is said without a root: %+v", name, f)
		}
	}
	if got := evidencetest.Judge(dice.Verifier{}.Examine(d.chain(2), today)); got != "contraindicated -dice.root" {
		t.Errorf("the zero verifier: %q", got)
	}
}

// twice gives evidence behind itself.
func twice(b []byte) []byte { return append(bytes.Clone(b), b...) }

// without gives a device whose certificates have no key identifiers, and go by names.
func without(d *device) *device {
	c := &device{keys: d.keys, templates: slices.Clone(d.templates)}
	for i := range c.templates {
		c.templates[i].noAKI, c.templates[i].ski = true, nil
	}
	return c
}

// TestFlags is about what layers state of themselves (pitfall 3).
func TestFlags(t *testing.T) {
	d := newDevice(p384)
	firmware := func(infos ...[]byte) []byte {
		return d.with(3, func(tm *template) { tm.extensions = []pkix.Extension{stated(5, false, seq(infos...))} }).chain(2)
	}
	for name, c := range map[string]struct {
		evidence []byte
		want     string
		debug    bool
	}{
		"closed":                     {firmware(info("DEVICE_INFO", 1, 0, 0xf0)), "affirming", false},
		"closed, without a mask":     {firmware(info("DEVICE_INFO", 1, 0)), "affirming", false},
		"not configured":             {firmware(info("DEVICE_INFO", 1, 0x80, 0xf0)), "contraindicated -dice.flags", true},
		"not secure":                 {firmware(info("DEVICE_INFO", 1, 0x40, 0xf0)), "contraindicated -dice.flags", true},
		"in recovery":                {firmware(info("DEVICE_INFO", 1, 0x20, 0xf0)), "contraindicated -dice.flags", true},
		"debugged":                   {firmware(info("DEVICE_INFO", 1, 0x10, 0xf0)), "contraindicated -dice.debug", true},
		"debugged, outside the mask": {firmware(info("DEVICE_INFO", 1, 0x10, 0x80)), "contraindicated -dice.debug", true},
		"debugged and unconfigured":  {firmware(info("DEVICE_INFO", 1, 0x90, 0xf0)), "contraindicated -dice.debug", true},
		"debugged in another info":   {firmware(info("DEVICE_INFO", 1, 0, 0xf0), info("FMC_INFO", 2, 0x10)), "contraindicated -dice.debug", true},
		"no replay protection":       {firmware(info("DEVICE_INFO", 1, 0x08, 0xf0)), "warning dice.flags", false},
		"the mask leaves debug out":  {firmware(info("DEVICE_INFO", 1, 0, 0xc0)), "warning dice.flags", false},
		"no flags":                   {firmware(info("DEVICE_INFO", 1)), "warning dice.flags", false},
		"a reserved flag":            {firmware(seq(tlv(0x87, []byte{0, 0, 0, 8, 1}))), "contraindicated -dice.flags", true},
	} {
		f, err := dice.New(pin(d.keys[1])).Examine(c.evidence, today)
		if got := evidencetest.Judge(f, err); got != c.want || f.Facts.Debug != c.debug || f.Claims["open"] != c.debug {
			t.Errorf("%s: got %q, debug %t, expected %q (%v)", name, got, f.Facts.Debug, c.want, err)
		}
	}
}

// TestMeasurements checks names: a layer never takes that of one above it, and zeros are none.
func TestMeasurements(t *testing.T) {
	d := newDevice(p384)
	chain := d.with(4, func(tm *template) {
		tm.extensions = []pkix.Extension{stated(5, false, seq(info("DEVICE_INFO", 9), info("Fmc_Info", 8), info("ZERO", 0), info("", 7),
			seq(tlv(0x84, []byte{3}), tlv(0xa6, seq([]byte{6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1}, tlv(4, bytes.Repeat([]byte{6}, 32))))),
			seq(tlv(0x89, []byte("R")), tlv(0xab, seq(tlv(0x80, []byte("log")), tlv(0xa2, seq([]byte{6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1}, tlv(4, bytes.Repeat([]byte{5}, 32)))))))))}
	}).chain(2)
	f, err := dice.New(pin(d.keys[1])).Examine(chain, today)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"device-info": "01", "fmc-info": "02", "device-info-2": "09", "fmc-info-2": "08", "tcb-info": "07", "layer-3": "06", "r/log": "05"}
	for name, start := range want {
		if got := f.Facts.Measurements[name]; len(got) < 64 || got[:2] != start {
			t.Errorf("%s is %q", name, got)
		}
	}
	if len(f.Facts.Measurements) != len(want) {
		t.Errorf("%q", f.Facts.Measurements)
	}
}

// TestRevocation is about lists of authorities (pitfall 7).
func TestRevocation(t *testing.T) {
	d, other := newDevice(p384), newDevice(p384)
	listed := d.with(1, func(tm *template) { tm.crl = "http://pki.example/a.crl" })
	serial := int64(len("IDevID")) + 1
	from, to, ended := today.AddDate(0, -1, 0), today.AddDate(0, 1, 0), today.Add(-time.Hour)
	// The local identity signs the first firmware's certificate, and may sign lists or not.
	lister := d.with(2, func(tm *template) { tm.usage = 6 })
	own := list("LDevID", d.keys[2], from, to, int64(len("FMC alias"))+1)
	held := d.with(3, func(tm *template) { tm.crl = "http://pki.example/b.crl" })
	var (
		empty = list("authority", d.keys[0], from, to)
		newer = list("authority", d.keys[0], today.AddDate(0, 0, -1), to, serial)
		over  = list("authority", d.keys[0], today.AddDate(0, 0, -1), ended)
		delta = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}
		shard = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 3, 0x82, 1, 0xff}}}
	)
	for name, c := range map[string]struct {
		device *device
		lists  [][]byte
		want   string
	}{
		"none named, none given":       {d, nil, "affirming"},
		"named, not given":             {listed, nil, "contraindicated -dice.collateral"},
		"given":                        {listed, [][]byte{empty}, "affirming"},
		"another revoked":              {listed, [][]byte{list("authority", d.keys[0], from, to, serial+1)}, "affirming"},
		"revoked":                      {listed, [][]byte{list("authority", d.keys[0], from, to, serial)}, "contraindicated -dice.revocation"},
		"not named, revoked":           {d, [][]byte{list("authority", d.keys[0], from, to, serial)}, "contraindicated -dice.revocation"},
		"expired":                      {listed, [][]byte{list("authority", d.keys[0], from, ended)}, "contraindicated -dice.collateral"},
		"revoked by an expired one":    {listed, [][]byte{empty, list("authority", d.keys[0], from, ended, serial)}, "contraindicated -dice.revocation"},
		"revoked by a newer one":       {listed, [][]byte{empty, newer}, "contraindicated -dice.revocation"},
		"revoked by an older one":      {listed, [][]byte{list("authority", d.keys[0], today.AddDate(0, -2, 0), to, serial), empty}, "contraindicated -dice.revocation"},
		"the newest is over":           {listed, [][]byte{empty, over}, "contraindicated -dice.collateral"},
		"a delta only":                 {listed, [][]byte{partial("authority", d.keys[0], from, to, delta)}, "contraindicated -dice.collateral"},
		"a part only":                  {listed, [][]byte{partial("authority", d.keys[0], from, to, shard)}, "contraindicated -dice.collateral"},
		"revoked by a delta":           {listed, [][]byte{empty, partial("authority", d.keys[0], from, to, delta, serial)}, "contraindicated -dice.revocation"},
		"not yet valid":                {listed, [][]byte{list("authority", d.keys[0], today.Add(time.Hour), to)}, "contraindicated -dice.collateral"},
		"forged":                       {listed, [][]byte{list("authority", other.keys[0], from, to)}, "contraindicated -dice.collateral"},
		"forged, and a genuine one":    {listed, [][]byte{list("authority", other.keys[0], from, to, serial), empty}, "affirming"},
		"of another issuer":            {listed, [][]byte{list("IDevID", d.keys[0], from, to)}, "contraindicated -dice.collateral"},
		"of the device itself":         {lister, [][]byte{own}, "contraindicated -dice.revocation"},
		"by a key that may not":        {d, [][]byte{own}, "affirming"},
		"by a key that may not, named": {held, [][]byte{list("LDevID", d.keys[2], from, to)}, "contraindicated -dice.collateral"},
	} {
		for range 2 { // in either order
			items := pin(d.keys[0]).Items()
			for _, l := range c.lists {
				items = append(items, endorse.Item{Kind: endorse.X509CRL, Data: l})
			}
			if got := evidencetest.Judge(dice.New(must(endorse.NewSet(items...))).Examine(c.device.chain(1), today)); got != c.want {
				t.Errorf("%s: got %q, expected %q", name, got, c.want)
			}
			slices.Reverse(c.lists)
		}
	}
}

// TestChallenge is about this program's own form, which answers a challenge (pitfall 1).
func TestChallenge(t *testing.T) {
	for family, make := range map[string]func() *signer{"P-384": p384, "ML-DSA-87": func() *signer { return pqSigner(mldsa.MLDSA87()) }} {
		d := newDevice(make)
		v := dice.New(pin(d.keys[1]))
		report := bytes.Repeat([]byte{7}, 64)
		evidence := func(change func(*dice.Evidence)) []byte {
			e := dice.Evidence{ReportData: report, Signature: d.keys[4].sign(dice.Message(report))}
			for _, tm := range d.templates[1:] {
				e.Certificates = append(e.Certificates, tm.certificate())
			}
			change(&e)
			return must(e.Encode())
		}
		for name, c := range map[string]struct {
			evidence []byte
			want     string
		}{
			"good":                    {evidence(func(*dice.Evidence) {}), "affirming"},
			"another challenge":       {evidence(func(e *dice.Evidence) { e.ReportData = bytes.Repeat([]byte{8}, 64) }), "invalid evidence dice.report_data"},
			"without a domain":        {evidence(func(e *dice.Evidence) { e.Signature = d.keys[4].sign(report) }), "invalid evidence dice.report_data"},
			"signed a layer above":    {evidence(func(e *dice.Evidence) { e.Signature = d.keys[3].sign(dice.Message(report)) }), "invalid evidence dice.report_data"},
			"not signed":              {evidence(func(e *dice.Evidence) { e.Signature = nil }), "invalid evidence dice.report_data"},
			"no challenge":            {evidence(func(e *dice.Evidence) { e.ReportData, e.Signature = nil, d.keys[4].sign(dice.Message(nil)) }), "invalid evidence dice.form"},
			"no certificates":         {evidence(func(e *dice.Evidence) { e.Certificates = nil }), "invalid evidence dice.form"},
			"certificates in one":     {evidence(func(e *dice.Evidence) { e.Certificates = e.Certificates[:1]; e.Certificates[0] = d.chain(2) }), "invalid evidence dice.form"},
			"certificate that is not": {evidence(func(e *dice.Evidence) { e.Certificates[0] = []byte("x") }), "invalid evidence dice.form"},
			"unknown member":          {bytes.Replace(evidence(func(*dice.Evidence) {}), []byte(`"report_data"`), []byte(`"r":1,"report_data"`), 1), "invalid evidence dice.form"},
		} {
			f, err := v.Examine(c.evidence, today)
			if got := evidencetest.Judge(f, err); got != c.want || !dice.Detect(c.evidence) {
				t.Errorf("%s, %s: got %q, expected %q (%v)", family, name, got, c.want, err)
			}
			if name == "good" && (!bytes.Equal(f.Facts.ReportData, report) || f.Claims["form"] != dice.Type) {
				t.Errorf("%s: %+v", family, f.Facts)
			}
		}
	}
}

func FuzzExamine(f *testing.F) {
	d := newDevice(p384)
	f.Add(d.templates[3].certificate())
	f.Add(request(d.keys[1], false))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Add([]byte(`{"certificates":["MAA="],"report_data":"AA==","signature":"","type":"strongroom/dice-evidence/v1"}`))
	v := dice.New(pin(p384()))
	f.Fuzz(func(t *testing.T, data []byte) {
		if found, err := v.Examine(data, today); err == nil && (!found.Facts.Root.IsZero() || len(found.Claims) > 0) {
			t.Error("genuine")
		}
		dice.Detect(data)
	})
}

// FuzzExtensions fuzzes what certificates state, under signatures that verify.
func FuzzExtensions(f *testing.F) {
	d := newDevice(p384)
	f.Add(1, info("RT_INFO", 3, 0, 0xf0))
	f.Add(5, seq(info("DEVICE_INFO", 1), info("FMC_INFO", 2)))
	f.Add(4, seq(tlv(4, []byte{1})))
	v := dice.New(pin(d.keys[3]))
	f.Fuzz(func(t *testing.T, n int, value []byte) {
		if n < 1 || n > 5 || len(value) > 1000 {
			return
		}
		tm := d.templates[3]
		tm.extensions = []pkix.Extension{stated(n, false, value)}
		found, err := v.Examine(tm.certificate(), today)
		if err == nil && found.Facts.Root.IsZero() {
			t.Error("a chain that verifies has no root")
		}
	})
}

// cut leaves the last byte out. Each call of chain signs anew, with signatures of other lengths.
func cut(b []byte) []byte { return b[:len(b)-1] }
