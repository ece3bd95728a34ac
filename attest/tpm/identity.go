package tpm

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// identity is what a certificate says of a TPM (TCG EK credential profile 2.5, section
// 3.1.2) or of a cloud's virtual machine.
type identity struct {
	manufacturer, model, version string
	instance                     *instance
}

// instance is Google's extension about a virtual machine.
type instance struct {
	Zone          string
	ProjectNumber int64
	ProjectID     string
	InstanceID    *big.Int
	Name          string
	Security      security `asn1:"explicit,optional,tag:0"`
}

// security is what the extension says of the hardware root behind it.
type security struct {
	Version    int64         `asn1:"explicit,optional,tag:0"`
	Production bool          `asn1:"explicit,optional,tag:1"`
	B          asn1.RawValue `asn1:"explicit,optional,tag:2"`
	C          asn1.RawValue `asn1:"explicit,optional,tag:3"`
	D          asn1.RawValue `asn1:"explicit,optional,tag:4"`
	E          asn1.RawValue `asn1:"explicit,optional,tag:5"`
}

func (i *instance) machine() string {
	return fmt.Sprintf("projects/%d/zones/%s/instances/%s", i.ProjectNumber, i.Zone, i.InstanceID)
}

// identify reads the names of a TPM in a subject alternative name, and Google's extension.
func identify(c *x509.Certificate) (identity, error) {
	var id identity
	for _, e := range c.Extensions {
		switch {
		case e.Id.Equal(oidSAN()):
			if err := id.names(e.Value); err != nil {
				return id, fmt.Errorf("subject alternative name: %w", err)
			}
		case e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 1, 21}):
			id.instance = &instance{}
			if rest, err := asn1.Unmarshal(e.Value, id.instance); err != nil || len(rest) > 0 {
				return id, fmt.Errorf("instance extension: %v, %d bytes behind it", err, len(rest))
			}
			if id.instance.InstanceID == nil || id.instance.InstanceID.BitLen() > 64 {
				return id, fmt.Errorf("instance extension: instance id out of range")
			}
		}
	}
	return id, nil
}

// names reads GeneralNames (RFC 5280, section 4.2.1.6), of which only directory names matter
// here; a critical extension without any would mean something that is not understood.
func (id *identity) names(der []byte) error {
	var all []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &all); err != nil || len(rest) > 0 {
		return fmt.Errorf("%v, %d bytes behind it", err, len(rest))
	}
	for _, n := range all {
		if n.Class != asn1.ClassContextSpecific || n.Tag != 4 {
			continue
		}
		var rdn pkix.RDNSequence
		if rest, err := asn1.Unmarshal(n.Bytes, &rdn); err != nil || len(rest) > 0 {
			return fmt.Errorf("%v, %d bytes behind it", err, len(rest))
		}
		for _, set := range rdn {
			for _, a := range set {
				id.attribute(a)
			}
		}
	}
	return nil
}

func (id *identity) attribute(a pkix.AttributeTypeAndValue) {
	text, _ := a.Value.(string)
	switch {
	case a.Type.Equal(asn1.ObjectIdentifier{2, 23, 133, 2, 1}):
		id.manufacturer = text
	case a.Type.Equal(asn1.ObjectIdentifier{2, 23, 133, 2, 2}):
		id.model = text
	case a.Type.Equal(asn1.ObjectIdentifier{2, 23, 133, 2, 3}):
		id.version = text
	}
}

// software names known software TPMs by what their certificates say; "" for others. That a
// TPM doesn't say so proves nothing: its root does.
func (id identity) software() string {
	switch {
	case strings.EqualFold(id.model, "swtpm"), strings.EqualFold(id.manufacturer, "id:00001014"): // IBM's simulator
		return "swtpm"
	case strings.Contains(strings.ToLower(id.model), "simulator"):
		return id.model
	}
	return ""
}

// text names the make of a TPM; "" if the certificate doesn't.
func (id identity) text() string {
	return strings.TrimSpace(strings.TrimPrefix(id.manufacturer, "id:") + " " + id.model)
}

// claims are what the certificate says, as far as it says anything.
func (id identity) claims() map[string]any {
	all := map[string]any{}
	for name, value := range map[string]string{"tpm_manufacturer": id.manufacturer, "tpm_model": id.model, "tpm_version": id.version} {
		if value != "" {
			all[name] = value
		}
	}
	if i := id.instance; i != nil {
		all["instance_zone"], all["instance_project"], all["instance_name"] = i.Zone, i.ProjectID, i.Name
		all["instance_id"], all["instance_project_number"] = i.InstanceID.String(), strconv.FormatInt(i.ProjectNumber, 10)
		all["instance_production"] = i.Security.Production
	}
	return all
}
