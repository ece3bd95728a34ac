package dice

import (
	"encoding/hex"
	"slices"
	"strconv"

	"strongroom.dev/tcbinfo"
	"strongroom.dev/wire"
)

// claims gives everything the chain states, layer by layer from the root's end.
func (x *examination) claims(p *path) map[string]any {
	leaf := p.layers[len(p.layers)-1]
	c := map[string]any{
		"form":       x.envelope.form,
		"family":     leaf.key.family(),
		"device":     p.device(),
		"leaf_key":   wire.HashOf(leaf.key.spki).String(),
		"root_key":   wire.HashOf(p.top.spki).String(),
		"open":       p.open(),
		"depth":      int64(len(p.layers)),
		"debug_said": slices.ContainsFunc(p.layers, func(l *layer) bool { return l.says(tcbinfo.Debug) }),
	}
	if x.envelope.reportData != nil {
		c["report_data"] = hex.EncodeToString(x.envelope.reportData)
	}
	var layers []any
	for _, l := range p.layers {
		layers = append(layers, l.claims())
		if l.ueid != nil {
			c["ueid"] = hex.EncodeToString(l.ueid)
		}
	}
	c["layers"] = layers
	return c
}

func (l *layer) says(bit int) bool {
	return slices.ContainsFunc(l.infos, func(i tcbinfo.Info) bool { return i.Flags.Says(bit) })
}

func (l *layer) claims() map[string]any {
	c := map[string]any{
		"subject":        l.cert.Subject.String(),
		"issuer":         l.cert.Issuer.String(),
		"serial":         hex.EncodeToString(l.cert.SerialNumber.Bytes()),
		"not_before":     stamp(l.cert.NotBefore),
		"not_after":      stamp(l.cert.NotAfter),
		"key":            wire.HashOf(l.key.spki).String(),
		"key_identifier": hex.EncodeToString(l.cert.SubjectKeyId),
		"authority":      l.cert.IsCA,
	}
	var uses, infos []any
	for n, name := range purposes() {
		if i, err := strconv.Atoi(n); err == nil && l.purpose(i) {
			uses = append(uses, name)
		}
	}
	slices.SortFunc(uses, func(a, b any) int { return slices.Compare([]string{a.(string)}, []string{b.(string)}) })
	for _, info := range l.infos {
		infos = append(infos, infoClaims(info))
	}
	if uses != nil {
		c["purposes"] = uses
	}
	if infos != nil {
		c["tcb_infos"] = infos
	}
	if l.ueid != nil {
		c["ueid"] = hex.EncodeToString(l.ueid)
	}
	return c
}

func infoClaims(i tcbinfo.Info) map[string]any {
	c := map[string]any{}
	for name, text := range map[string]string{"vendor": i.Vendor, "model": i.Model, "version": i.Version, "type": string(i.Type), "vendor_info": hex.EncodeToString(i.VendorInfo)} {
		if text != "" {
			c[name] = text
		}
	}
	for name, n := range map[string]*int64{"svn": i.SVN, "layer": i.Layer, "index": i.Index} {
		if n != nil {
			c[name] = *n
		}
	}
	if list := digests(i.FWIDs); list != nil {
		c["fwids"] = list
	}
	if i.Flags != nil {
		set := []any{}
		for _, bit := range i.Flags.Bits() {
			set = append(set, tcbinfo.FlagName(bit))
		}
		c["flags"] = set
		if i.Flags.Masked {
			c["flags_known"] = "0x" + strconv.FormatUint(i.Flags.Known, 16)
		}
	}
	var registers []any
	for _, r := range i.Registers {
		registers = append(registers, map[string]any{"name": registerLabel(r), "digests": digests(r.Digests)})
	}
	if registers != nil {
		c["integrity_registers"] = registers
	}
	return c
}

func digests(all []tcbinfo.FWID) []any {
	var list []any
	for _, f := range all {
		list = append(list, map[string]any{"algorithm": f.Algorithm.String(), "digest": hex.EncodeToString(f.Digest)})
	}
	return list
}
