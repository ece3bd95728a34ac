package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"strongroom.dev/appraise"
	"strongroom.dev/internal/home"
	"strongroom.dev/reference"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func (a *app) referenceCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "reference",
		Short: "Reference values: what good code measures, signed and logged",
		Long: `Reference values say which measurements good code gives. A set of them lists groups that
count as a whole, is signed by several release keys, recorded in a log, and expires within
180 days; verifiers never go back to an older one (spec/reference-values.md).

Who makes code: init or import a draft, sign it, have the others sign, publish it.
Who verifies:   name product, keys and log in an appraisal policy, check or add the set.`,
	}, a.referenceInit(), a.referenceImport(), a.referenceSign(), a.referencePublish(), a.referenceShow(), a.referenceCheck(), a.referenceAdd())
}

// maxSets and maxSetBytes are the most sets, and bytes of them, that one call looks at: every
// set costs some signatures, the largest 50 ms.
const (
	maxSets     = 256
	maxSetBytes = 64 << 20
)

// referenceFlags say where sets of reference values come from.
type referenceFlags struct{ paths []string }

func (f *referenceFlags) add(cmd *cobra.Command) { f.addFor(cmd, "the policy asks for") }

// addRooms adds the flag where an agreement's release lines are what asks.
func (f *referenceFlags) addRooms(cmd *cobra.Command) {
	f.addFor(cmd, "an agreement's release lines ask for")
}

func (f *referenceFlags) addFor(cmd *cobra.Command, who string) {
	cmd.Flags().StringArrayVar(&f.paths, "reference", nil, "`PATH` of signed reference values that "+who+": a file or directory (repeatable)")
}

// referenceSets reads every set that the paths name. Directories may hold other things too,
// which are ignored; a damaged set is an error wherever it lies: somebody meant it to be used.
func (a *app) referenceSets(paths []string) ([][]byte, error) {
	var sets [][]byte
	total := 0
	read := func(path string, named bool) error {
		data, err := a.readLarge(path, "a set of reference values", wire.MaxDocument)
		if err != nil || !named && !reference.Is(data) {
			return err
		}
		if _, err := reference.Parse(data); err != nil {
			return inFile(path, err)
		}
		sets, total = append(sets, data), total+len(data)
		if len(sets) > maxSets || total > maxSetBytes {
			return misfile(path, fmt.Sprintf("at most %d sets of reference values, of %d bytes together", maxSets, maxSetBytes), "more", "name fewer")
		}
		return nil
	}
	for _, path := range paths {
		if !isDirectory(path) {
			if err := read(path, true); err != nil {
				return nil, err
			}
			continue
		}
		err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return fileError(name, "a directory of reference values", err)
			}
			info, err := d.Info()
			if err != nil || !info.Mode().IsRegular() || info.Size() > wire.MaxDocument {
				return nil
			}
			return read(name, false)
		})
		if err != nil {
			return nil, err
		}
	}
	return sets, nil
}

// references gives what a policy may take measurements from: the sets named, those kept at
// home, and what home remembers. At another time than now nothing is remembered, since what
// was used lately says nothing about then.
func (a *app) references(f referenceFlags, p *appraise.Policy, now bool) (appraise.References, error) {
	var r appraise.References
	if p == nil || len(p.Lines()) == 0 {
		if len(f.paths) > 0 {
			return r, verdict.Misuse("--reference", "a policy that asks for reference values", "none", "give --policy with a member reference for the platform")
		}
		return r, nil
	}
	sets, err := a.referenceSets(f.paths)
	if err != nil {
		return r, err
	}
	r.Sets = sets
	h, err := a.homeIfThere()
	if err != nil || h == nil {
		if now {
			r.Seen = map[wire.ID]reference.Name{}
		}
		return r, err
	}
	kept, err := h.References()
	if err != nil {
		return r, err
	}
	r.Sets = append(r.Sets, kept...)
	if now {
		r.Seen, err = h.SeenReferences()
	}
	return r, err
}

// recordedReferences gives sets for trying policies on recorded evidence: what was used since
// says nothing about that time.
func (a *app) recordedReferences(paths []string) (appraise.References, error) {
	sets, err := a.referenceSets(paths)
	return appraise.References{Sets: sets, Seen: map[wire.ID]reference.Name{}}, err
}

// homeIfThere opens the home; nil if there is none.
func (a *app) homeIfThere() (*home.Home, error) {
	if _, err := os.Stat(a.homeDir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return a.openHome()
}

// sawReferences remembers the sets that results were judged by. Making the home is worth it:
// without a memory anybody can show an older set.
func (a *app) sawReferences(results []appraised) error {
	for _, r := range results {
		if r.Reference == nil {
			continue
		}
		h, err := home.Create(a.homeDir)
		if err != nil {
			return err
		}
		if err := h.SawReference(r.Reference.Name); err != nil {
			return err
		}
	}
	return nil
}

// lineFlags say by which release line a set is looked at: one of a policy, or one that is
// spelled out.
type lineFlags struct {
	policy, agreement, product, log string
	keys                            []string
	threshold                       int
	least                           int64
	unlogged                        bool
}

func (f *lineFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.policy, "policy", "", "take product, keys and log from this appraisal policy")
	flags.StringVar(&f.agreement, "agreement", "", "take them from the release lines of this agreement: a file, id or digest")
	flags.StringVar(&f.product, "product", "", "product that the set must be of")
	flags.StringArrayVar(&f.keys, "key", nil, "release key that may have signed: ed25519:..., or the file of one or of its signing key (repeatable)")
	flags.IntVar(&f.threshold, "threshold", 0, "how many of the keys must have signed (default: all)")
	flags.Int64Var(&f.least, "least-security-version", 1, "refuse a lower security version")
	flags.StringVar(&f.log, "log", "", "verifier key of the log that must have recorded the set")
	flags.BoolVar(&f.unlogged, "insecure-unlogged", false, "do without a log: the set may have been made for you alone")
	cmd.MarkFlagsMutuallyExclusive("policy", "agreement")
	for _, name := range []string{"product", "key", "threshold", "least-security-version", "log", "insecure-unlogged"} {
		cmd.MarkFlagsMutuallyExclusive("policy", name)
		cmd.MarkFlagsMutuallyExclusive("agreement", name)
	}
}

// lines gives the release lines for sets of a product.
func (a *app) lines(f lineFlags, product wire.ID) ([]reference.Line, error) {
	if f.policy != "" {
		p, err := a.readPolicy(f.policy)
		if err != nil {
			return nil, err
		}
		var lines []reference.Line
		for _, l := range p.Lines() {
			if l.Product == product {
				lines = append(lines, l)
			}
		}
		if len(lines) == 0 {
			return nil, verdict.Refuse("reference.product", "a product that "+f.policy+" asks for", string(product), "name it in the policy, or give the right set")
		}
		return lines, nil
	}
	if f.agreement != "" {
		return a.agreedLines(f.agreement, product)
	}
	trusted, err := a.publicKeys("--key", f.keys)
	if err != nil {
		return nil, err
	}
	l := reference.Line{Product: wire.ID(f.product), Keys: trusted, Threshold: f.threshold, LeastSecurityVersion: f.least, Log: f.log, InsecureUnlogged: f.unlogged}
	if l.Threshold == 0 {
		l.Threshold = len(trusted)
	}
	if err := l.Check(); err != nil {
		e := *verdict.As(err)
		e.Where, e.Fix = "", e.Fix+"; --policy and --agreement take all of it from one"
		return nil, &e
	}
	return []reference.Line{l}, nil
}
