package endorse

import (
	"fmt"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Type is the document type of a bundle.
const Type = "strongroom/endorsements/v1"

// Bundle is a self-contained set of endorsements as its maker fetched them, to be used where
// there is no network (spec/endorsements.md). Its signature says who fetched it and when;
// what is inside still carries its vendors' own signatures and dates.
type Bundle struct {
	Created wire.Time `json:"created"`
	// Expires is when the maker no longer wants it used, whatever the dates inside say.
	Expires wire.Time `json:"expires"`
	Items   []Item    `json:"items"`
	// Name tells bundles apart that one signer keeps side by side; "" if it keeps one. A bundle
	// never goes back behind others of its signer and name: see [Bundle.Version].
	Name wire.ID `json:"name,omitempty"`
}

// MaxLife is the longest a bundle may be valid: AMD's CRLs live a year, everything else less.
const MaxLife = 366 * 24 * time.Hour

// Document gives the bundle as a document to be signed.
func (b Bundle) Document() (*keys.Document, error) {
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("endorsements: %w", err)
	}
	return keys.NewDocument(Type, b)
}

func (b Bundle) check() error {
	life := b.Expires.Time().Sub(b.Created.Time())
	switch {
	case b.Created.IsZero() || b.Expires.IsZero():
		return fmt.Errorf("no date")
	case life <= 0:
		return fmt.Errorf("expires %s, which is not after its making %s", b.Expires, b.Created)
	case life > MaxLife:
		return fmt.Errorf("valid for %d days, at most %d", life/(24*time.Hour), MaxLife/(24*time.Hour))
	case len(b.Items) == 0:
		return fmt.Errorf("no items")
	case b.Name != "" && !b.Name.Valid():
		return fmt.Errorf("a name that is none: %.70q", string(b.Name))
	}
	_, err := NewSet(b.Items...)
	return err
}

// Set gives the bundle's items as a set.
func (b Bundle) Set() (Set, error) { return NewSet(b.Items...) }

// Show reads a bundle without checking any signature or date, for looking at one.
func Show(data []byte) (Bundle, *keys.Document, error) {
	var b Bundle
	doc, err := keys.ParseDocument(data, Type, &b)
	if err == nil {
		err = b.check()
	}
	if err != nil {
		return Bundle{}, nil, verdict.NotGenuine("endorsements.form", "a bundle of endorsements", verdict.Short(err.Error()), "pack it again with \"strongroom endorsements pack\"")
	}
	return b, doc, nil
}

// Open reads a bundle signed by at least one of the trusted keys and valid at now. Without
// trusted keys it refuses.
func Open(data []byte, trusted []keys.PublicKey, now time.Time) (Bundle, error) {
	b, doc, err := Show(data)
	if err != nil {
		return Bundle{}, err
	}
	if n, err := doc.SignedBy(trusted); err != nil || n == 0 {
		return Bundle{}, verdict.NotGenuine("endorsements.signature", fmt.Sprintf("a signature by one of %d trusted keys", len(trusted)), "none that verifies",
			"trust the key of whoever packs endorsements for you, or fetch them anew")
	}
	if now.Before(b.Created.Time()) || !now.Before(b.Expires.Time()) {
		return Bundle{}, verdict.Refuse("endorsements.dates", "a time from "+b.Created.String()+" to "+b.Expires.String(), wire.At(now).String(), "fetch the endorsements anew")
	}
	return b, nil
}
