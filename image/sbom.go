package image

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"strongroom.dev/wire"
)

// spdx is a document of SPDX 2.3 in JSON, as far as we write it
// (https://spdx.github.io/spdx-spec/v2.3/).
type spdx struct {
	Version       string             `json:"spdxVersion"`
	DataLicense   string             `json:"dataLicense"`
	ID            string             `json:"SPDXID"`
	Name          string             `json:"name"`
	Namespace     string             `json:"documentNamespace"`
	Creation      spdxCreation       `json:"creationInfo"`
	Packages      []spdxPackage      `json:"packages"`
	Relationships []spdxRelationship `json:"relationships"`
}

type spdxCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
	Comment  string   `json:"comment"`
}

type spdxPackage struct {
	ID               string         `json:"SPDXID"`
	Name             string         `json:"name"`
	Version          string         `json:"versionInfo,omitempty"`
	FileName         string         `json:"packageFileName,omitempty"`
	Supplier         string         `json:"supplier,omitempty"`
	Location         string         `json:"downloadLocation"`
	FilesAnalyzed    bool           `json:"filesAnalyzed"`
	Checksums        []spdxChecksum `json:"checksums,omitempty"`
	SourceInfo       string         `json:"sourceInfo,omitempty"`
	LicenseConcluded string         `json:"licenseConcluded"`
	LicenseDeclared  string         `json:"licenseDeclared"`
	Copyright        string         `json:"copyrightText"`
	References       []spdxRef      `json:"externalRefs,omitempty"`
	Purpose          string         `json:"primaryPackagePurpose,omitempty"`
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxRelationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

const (
	noAssertion = "NOASSERTION"
	ownLicence  = "Apache-2.0"
)

// sbom collects a bill of materials. Elements appear once, in the order they are met.
type sbom struct {
	doc   spdx
	ids   map[string]string // element's key: its identifier
	taken map[string]bool
	said  map[spdxRelationship]bool
}

// makeSBOM lists what an image consists of: packages of Debian, our programs, the modules
// and packages of Go that these hold code of. newest is the newest date in the packages, the
// only date there is: a bill made twice is the same twice.
func makeSBOM(m Manifest, newest time.Time, programs map[string]goProgram) []byte {
	uki, _ := m.File(FileUKI)
	s := sbom{
		doc: spdx{Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: "strongroom-room-image-" + m.Version,
			Namespace: fmt.Sprintf("https://strongroom.dev/spdx/room-image/%x", uki.SHA256[:]),
			Creation: spdxCreation{Created: newest.UTC().Format(time.RFC3339), Creators: []string{"Tool: strongroom-" + m.Version},
				Comment: "The date is that of the newest file in the packages. Go packages are those that the programs hold code of."},
			Packages: []spdxPackage{}, Relationships: []spdxRelationship{}},
		ids: map[string]string{}, taken: map[string]bool{}, said: map[spdxRelationship]bool{},
	}
	image := s.add("image", spdxPackage{Name: "strongroom-room-image", Version: m.Version, FileName: FileUKI, Checksums: sha256Of(uki.SHA256), Purpose: "OPERATING-SYSTEM"})
	s.relate(s.doc.ID, "DESCRIBES", image)
	for _, p := range m.Packages {
		s.relate(image, "CONTAINS", s.debian(p))
	}
	for _, p := range m.Programs {
		s.program(image, p, m.Version, programs[p.Name])
	}
	out, err := json.MarshalIndent(s.doc, "", "  ")
	if err != nil {
		panic(err) // strings only: can't happen
	}
	return append(out, '\n')
}

// add gives an element's identifier, after adding it the first time.
func (s *sbom) add(key string, p spdxPackage) string {
	if id := s.ids[key]; id != "" {
		return id
	}
	id := "SPDXRef-" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return '-'
	}, key)
	for s.taken[id] { // "a/b" and "a-b"
		id += "-"
	}
	s.ids[key], s.taken[id] = id, true
	p.ID, p.LicenseConcluded, p.Copyright = id, noAssertion, noAssertion
	if p.Location == "" {
		p.Location = noAssertion
	}
	if p.LicenseDeclared == "" {
		p.LicenseDeclared = noAssertion
	}
	s.doc.Packages = append(s.doc.Packages, p)
	return id
}

func (s *sbom) relate(from, kind, to string) {
	if r := (spdxRelationship{from, kind, to}); !s.said[r] {
		s.said[r] = true
		s.doc.Relationships = append(s.doc.Relationships, r)
	}
}

func (s *sbom) debian(p Package) string {
	arch := strings.TrimSuffix(p.File()[strings.LastIndexByte(p.File(), '_')+1:], ".deb")
	licence, purpose := "BSD-2-Clause-Patent", "FIRMWARE"
	switch p.Use {
	case UseKernel:
		licence, purpose = "GPL-2.0-only WITH Linux-syscall-note", "OPERATING-SYSTEM"
	case UseStub:
		licence, purpose = "LGPL-2.1-or-later", "OPERATING-SYSTEM"
	}
	return s.add("deb-"+p.Name+"-"+p.Version, spdxPackage{ // two of a name may be there
		Name: p.Name, Version: p.Version, FileName: p.File(), Supplier: "Organization: Debian", Checksums: sha256Of(p.SHA256),
		SourceInfo: "the archive " + p.Archive + ", suite " + p.Suite + ": " + p.Path, LicenseDeclared: licence, Purpose: purpose,
		References: purl("pkg:deb/debian/" + url.PathEscape(p.Name) + "@" + url.PathEscape(p.Version) + "?arch=" + arch),
	})
}

// program adds one of our programs and what its own bytes say it holds.
func (s *sbom) program(image string, f File, version string, g goProgram) {
	id := s.add("program-"+f.Name, spdxPackage{Name: f.Name, Version: version, FileName: f.Name, Checksums: sha256Of(f.SHA256), LicenseDeclared: ownLicence, Purpose: "APPLICATION"})
	s.relate(image, "CONTAINS", id)
	std := s.module("std", strings.TrimPrefix(g.info.GoVersion, "go"))
	s.relate(id, "STATIC_LINK", std)
	own := s.add("module-"+g.info.Main.Path, spdxPackage{Name: g.info.Main.Path, Version: version, LicenseDeclared: ownLicence, Purpose: "LIBRARY"})
	s.relate(id, "STATIC_LINK", own)
	modules := map[string]string{g.info.Main.Path: own}
	for _, d := range g.info.Deps {
		used := d
		if d.Replace != nil {
			used = d.Replace
		}
		modules[d.Path] = s.module(used.Path, used.Version)
		s.relate(id, "STATIC_LINK", modules[d.Path]) // also where its code is another language's
	}
	for _, path := range g.packages {
		from := std
		for prefix := path; prefix != "." && prefix != ""; prefix = parent(prefix) {
			if m := modules[prefix]; m != "" {
				from = m
				break
			}
		}
		p := s.add("go-"+path, spdxPackage{Name: path, Purpose: "LIBRARY"})
		s.relate(from, "CONTAINS", p)
		s.relate(id, "CONTAINS", p)
	}
}

func (s *sbom) module(path, version string) string {
	return s.add("module-"+path, spdxPackage{Name: path, Version: version, Purpose: "LIBRARY", References: purl("pkg:golang/" + path + "@" + url.PathEscape(version))})
}

// parent is a path without its last element, "" at the end.
func parent(path string) string { return path[:max(0, strings.LastIndexByte(path, '/'))] }

func sha256Of(h wire.Hash) []spdxChecksum {
	return []spdxChecksum{{"SHA256", fmt.Sprintf("%x", h[:])}}
}

func purl(locator string) []spdxRef { return []spdxRef{{"PACKAGE-MANAGER", "purl", locator}} }
