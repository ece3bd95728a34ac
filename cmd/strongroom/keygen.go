package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
)

func (a *app) keygenCommand() *cobra.Command {
	var out, purpose, algorithm string
	var classic bool
	cmd := &cobra.Command{
		Use:   "keygen [-o FILE]",
		Short: "Make a key",
		Long: `Makes a key of its own. A party's usual keys are made by "strongroom party init"; this is
for further ones.

  data      an age identity that opens any sealed file (hybrid post-quantum by default)
  result    an age identity that opens only results that come with their proof
  signing   a key that signs for a party

The age command reads data and result identities too. An existing file is never replaced.`,
		Example: `  strongroom keygen -o backup.key
  strongroom keygen --purpose signing -o officer.key
  strongroom keygen --classic -o old-age.key      # for age commands before 1.3`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.json && (out == "" || out == "-") {
				return verdict.Misuse("--out", "a file for the key, with --output json", "none", "give -o FILE: secrets stay out of what programs log")
			}
			if cmd.Flags().Changed("algorithm") && purpose != "signing" {
				return verdict.Misuse("--algorithm", "--purpose signing with it", purpose, "leave it out: data and result keys are age's")
			}
			if classic && purpose == "signing" {
				return verdict.Misuse("--classic", "--purpose data or result with it", purpose, "use --algorithm")
			}
			text, public, err := generate(purpose, algorithm, classic)
			if err != nil {
				return err
			}
			defer clear(text)
			if out == "" || out == "-" {
				_, err := a.out.Write(text)
				return err
			}
			if err := a.saveFile(out, text, 0o600, false); err != nil {
				if e := verdict.As(err); errors.Is(e.Err, fs.ErrExist) {
					return misfile(out, e.Expected, e.Got, "name another: keygen never replaces a file, since it may be the only key to something")
				}
				return err
			}
			return a.print(map[string]any{"file": out, "purpose": purpose, "public": public}, func(w io.Writer) {
				fmt.Fprintln(w, publicKeyLine, public)
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "out", "o", "", "write the key to `FILE`, readable by you alone (default: standard output)")
	f.StringVar(&purpose, "purpose", "data", "data, result or signing")
	f.StringVar(&algorithm, "algorithm", "ed25519", "of a signing key: ed25519, ecdsa-p256, or one of them with +ml-dsa-65")
	f.BoolVar(&classic, "classic", false, "X25519 instead of the hybrid: open to a future quantum computer")
	return cmd
}

// generate makes a key: its file's text and its public half.
func generate(purpose, algorithm string, classic bool) (text []byte, public string, err error) {
	switch purpose {
	case "signing":
		key, err := keys.GenerateSigningKey(keys.Algorithm(algorithm))
		if err != nil {
			return nil, "", verdict.Misuse("--algorithm", "ed25519, ecdsa-p256, ed25519+ml-dsa-65 or ecdsa-p256+ml-dsa-65", verdict.Short(algorithm), "choose one of them")
		}
		text, err := home.SigningKeyFile(key)
		return text, key.Public().String(), err
	case "data", "result":
		gen := seal.GenerateIdentity
		if classic {
			gen = seal.GenerateClassicIdentity
		}
		id, err := gen(seal.Purpose(purpose))
		if err != nil {
			return nil, "", err
		}
		secret, err := id.MarshalSecret()
		return []byte(secret), id.Recipient().String(), err
	}
	return nil, "", verdict.Misuse("--purpose", strings.Join([]string{"data", "result", "signing"}, ", "), verdict.Short(purpose), "choose one of them")
}
