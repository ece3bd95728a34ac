package dcap

import (
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

func hexes(b []byte) string { return hex.EncodeToString(b) }

// claims notes every field of the quote and of the PCK certificate.
func (x *examination) claims() {
	q, p := x.quote, x.chain.info
	c := map[string]any{
		"tee":                  q.Header.TEE.String(),
		"quote_version":        int(q.Header.Version),
		"attestation_key_type": int(q.Header.KeyType),
		"header_qe_svn":        int(q.Header.QESVN),
		"header_pce_svn":       int(q.Header.PCESVN),
		"qe_vendor_id":         hexes(q.Header.Vendor[:]),
		"user_data":            hexes(q.Header.UserData[:]),
		"body_type":            int(q.BodyType),
		"padding":              q.Padding,
		"attestation_key":      hexes(q.key),
		"qe_auth_data":         hexes(q.AuthData),

		"pck_subject_serial": fmt.Sprintf("%x", x.chain.pck.SerialNumber),
		"pck_issuer":         x.chain.ca.cert.Subject.CommonName,
		"pck_not_before":     stamp(x.chain.pck.NotBefore),
		"pck_not_after":      stamp(x.chain.pck.NotAfter),
		"ppid":               hexes(p.PPID[:]),
		"fmspc":              hexes(p.FMSPC[:]),
		"pceid":              hexes(p.PCEID[:]),
		"pce_svn":            int(p.PCESVN),
		"cpu_svn":            hexes(p.CPUSVN[:]),
		"sgx_components":     numbers(p.Components[:]),
		"sgx_type":           []string{"standard", "scalable", "scalable with integrity"}[p.SGXType],
	}
	if p.Platform {
		c["piid"] = hexes(p.PIID[:])
		c["dynamic_platform"], c["cached_keys"], c["smt_enabled"] = p.DynamicPlatform, p.CachedKeys, p.SMTEnabled
	}
	q.QE.claims(c, "qe_")
	if q.Enclave != nil {
		q.Enclave.claims(c, "")
	}
	if q.TD != nil {
		q.TD.claims(c)
	}
	x.r.Claims = c
}

// claims notes the fields of an enclave's report under names that start with a prefix.
func (e *EnclaveReport) claims(c map[string]any, prefix string) {
	flags := e.Attributes[0]
	for name, value := range map[string]any{
		"report_cpu_svn":  hexes(e.CPUSVN[:]),
		"misc_select":     fmt.Sprintf("%08x", e.MiscSelect),
		"isv_ext_prod_id": hexes(e.ISVExtProdID[:]),
		"attributes":      hexes(e.Attributes[:]),
		"debug":           e.Debug(),
		"initialised":     flags&enclaveInit != 0,
		"mode_64bit":      flags&enclaveMode64 != 0,
		"provision_key":   flags&enclaveProvisionKey != 0,
		"einittoken_key":  flags&enclaveTokenKey != 0,
		"mrenclave":       hexes(e.MRENCLAVE[:]),
		"mrsigner":        hexes(e.MRSIGNER[:]),
		"config_id":       hexes(e.ConfigID[:]),
		"isv_prod_id":     int(e.ISVProdID),
		"isv_svn":         int(e.ISVSVN),
		"config_svn":      int(e.ConfigSVN),
		"isv_family_id":   hexes(e.ISVFamilyID[:]),
		"report_data":     hexes(e.ReportData[:]),
	} {
		c[prefix+name] = value
	}
}

// claims notes the fields of a trust domain's report.
func (t *TDReport) claims(c map[string]any) {
	flags := t.flags()
	for name, value := range map[string]any{
		"tee_tcb_svn":     hexes(t.TEETCBSVN[:]),
		"tdx_components":  numbers(t.TEETCBSVN[:]),
		"mrseam":          hexes(t.MRSEAM[:]),
		"mrsignerseam":    hexes(t.MRSIGNERSEAM[:]),
		"seam_attributes": hexes(t.SEAMAttributes[:]),
		"td_attributes":   hexes(t.Attributes[:]),
		"debug":           t.Debug(),
		"sept_ve_disable": flags&tdSeptVEDisable != 0,
		"migratable":      flags&tdMigratable != 0,
		"pks":             flags&tdPKS != 0,
		"key_locker":      flags&tdKeyLocker != 0,
		"perfmon":         flags&tdPerfmon != 0,
		"xfam":            hexes(t.XFAM[:]),
		"mrtd":            hexes(t.MRTD[:]),
		"mrconfigid":      hexes(t.MRCONFIGID[:]),
		"mrowner":         hexes(t.MROWNER[:]),
		"mrownerconfig":   hexes(t.MROWNERCONFIG[:]),
		"report_data":     hexes(t.ReportData[:]),
	} {
		c[name] = value
	}
	for i, r := range t.RTMR {
		c[fmt.Sprintf("rtmr%d", i)] = hexes(r[:])
	}
	if t.Newer {
		c["tee_tcb_svn2"], c["mrservicetd"] = hexes(t.TEETCBSVN2[:]), hexes(t.MRSERVICETD[:])
	}
}

// tcbClaims notes what the collateral says.
func (x *examination) tcbClaims(t tcb, qe EnclaveLevel, id *Identity) {
	c := x.r.Claims
	c["tcb_status"] = string(x.r.Status)
	x.r.TCB = map[string]int64{"evaluation": int64(t.info.Evaluation), "up-to-date": 0}
	if x.r.Status.Good() {
		x.r.TCB["up-to-date"] = 1
	}
	c["tcb_platform_status"] = string(t.platform())
	c["tcb_evaluation_data_number"] = t.info.Evaluation
	c["tcb_info_issued"], c["tcb_info_next_update"] = stamp(t.info.Issued), stamp(t.info.NextUpdate)
	advisories := []string{}
	if t.level != nil {
		c["tcb_date"] = stamp(t.level.Date)
		x.r.TCB["date"] = dayNumber(t.level.Date)
		advisories = append(advisories, t.level.Advisories...)
	}
	if x.quote.TD != nil && t.moduleStatus != "" {
		c["tcb_module_status"], c["tdx_module"] = string(t.moduleStatus), t.identity.ID
	}
	if t.module != nil {
		c["tcb_module_date"] = stamp(t.module.Date)
		x.r.TCB["module-date"] = dayNumber(t.module.Date)
		advisories = append(advisories, t.module.Advisories...)
	}
	if id != nil {
		c["tcb_qe_status"], c["qe_identity_evaluation_data_number"] = string(qe.Status), id.Evaluation
		c["qe_identity_issued"], c["qe_identity_next_update"] = stamp(id.Issued), stamp(id.NextUpdate)
		if !qe.Date.IsZero() {
			c["tcb_qe_date"] = stamp(qe.Date)
		}
		advisories = append(advisories, qe.Advisories...)
	}
	slices.Sort(advisories)
	c["advisories"] = slices.Compact(advisories)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// dayNumber gives a day as YYYYMMDD, so that days compare as numbers.
func dayNumber(t time.Time) int64 {
	year, month, day := t.UTC().Date()
	return int64(year)*10000 + int64(month)*100 + int64(day)
}

func numbers(b []byte) []int {
	out := make([]int, len(b))
	for i, n := range b {
		out[i] = int(n)
	}
	return out
}
