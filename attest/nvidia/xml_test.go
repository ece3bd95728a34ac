package nvidia_test

import (
	"strings"
	"testing"

	"strongroom.dev/attest/nvidia"
)

// TestCanonical compares with canonical forms made by hand from W3C Canonical XML 1.1:
// namespaces first, by prefix; attributes by namespace and name, none first; what is declared
// already is left out; empty elements get an end tag.
func TestCanonical(t *testing.T) {
	for _, c := range [][2]string{
		{`<a/>`, `<a></a>`},
		{"\n<a>\n <b/>\t</a>\n\n", "<a>\n <b></b>\t</a>"},
		{`<a c="1" b="2"/>`, `<a b="2" c="1"></a>`},
		{`<a xmlns:z="1" xmlns:b="2" xmlns="3" z:q="4" b:r="5" c="6"/>`, `<a xmlns="3" xmlns:b="2" xmlns:z="1" c="6" z:q="4" b:r="5"></a>`},
		{`<a xmlns="u"><b xmlns="u"/></a>`, `<a xmlns="u"><b></b></a>`},
		{`<a xmlns="u"><b xmlns="v"><c xmlns="u"/></b></a>`, `<a xmlns="u"><b xmlns="v"><c xmlns="u"></c></b></a>`},
		{`<z:a xmlns:z="u"><b xmlns:y="a" z:x="1" x="2" y:x="3"/></z:a>`, `<z:a xmlns:z="u"><b xmlns:y="a" x="2" y:x="3" z:x="1"></b></z:a>`},
		{`<a xmlns:unused="u"><b/></a>`, `<a xmlns:unused="u"><b></b></a>`}, // inclusive: it stays
	} {
		got, err := nvidia.Canonical([]byte(c[0]))
		if err != nil || string(got) != c[1] {
			t.Errorf("%s becomes %s, expected %s (%v)", c[0], got, c[1], err)
		}
	}
}

// TestOtherXML refuses what NVIDIA's RIMs do not use, well-formed or not.
func TestOtherXML(t *testing.T) {
	for _, text := range []string{
		``, ` `, `a`, `<`, `<a`, `<a>`, `<a></b>`, `<a></a></a>`, `<a/><b/>`, `<a/>x`, `x<a/>`, `<a b="1"c="2"/>`, `<a  b="1"/>`, `<a b ="1"/>`, `<a b= "1"/>`, `<a b=1/>`, `<a b='1'/>`,
		`<a b/>`, `<a b="1" b="2"/>`, `<a b="<"/>`, `<a b=">"/>`, "<a b=\"1\n2\"/>", `<a >x</a>`, `<a></a >`, `<a:b/>`, `<a b:c="1"/>`, `<:a/>`, `<a:/>`, `<a:b:c xmlns:a="u"/>`, `<1a/>`,
		`<a>x>y</a>`, `<a>&amp;</a>`, `<a>&#65;</a>`, `<?xml version="1.0"?><a/>`, `<!DOCTYPE a><a/>`, `<a><!-- --></a>`, `<a><![CDATA[x]]></a>`, `<a><?b c?></a>`, "<a>\r</a>", "<a>\x00</a>", "<a>é</a>", "\ufeff<a/>",
		`<a xmlns=""/>`, `<a xmlns:p=""/>`, `<a xmlns:xml="http://www.w3.org/XML/1998/namespace"/>`, `<a xmlns:xmlns="u"/>`, `<a xml:lang="de"/>`, `<a xmlns="u" xmlns="v"/>`,
		`<a xmlns:p="u" xmlns:q="u" p:b="1" q:b="2"/>`,
		strings.Repeat("<a>", 9) + strings.Repeat("</a>", 9),
		"<a>" + strings.Repeat("<b/>", 2000) + "</a>",
		"<a" + strings.Repeat(` b="1"`, 40) + "/>",
		"<a>" + strings.Repeat(" ", 300<<10) + "</a>",
	} {
		if got, err := nvidia.Canonical([]byte(text)); err == nil {
			t.Errorf("%.80q was read, as %.80q", text, got)
		}
	}
}
