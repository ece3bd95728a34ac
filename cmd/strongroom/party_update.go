package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"strongroom.dev/internal/home"
)

func (a *app) partyUpdate() *cobra.Command {
	var c home.Change
	var title, domain, address, operator string
	var add, cosign []string
	cmd := &cobra.Command{
		Use:   "update",
		Short: "Write the next version of your descriptor",
		Long: `Writes the next version of your descriptor, signed by the old keys and the new ones, so
that whoever pinned the old version can follow. Agreements name parties by descriptor: those
made before go on naming the version they name.`,
		Example: `  strongroom party update --broker-address broker.alpha.example:8443
  strongroom party update --new-signing-key
  strongroom party update --add-key officer.key --threshold 2`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.openHome()
			if err != nil {
				return err
			}
			for flag, member := range map[string]**string{"title": &c.Title, "domain": &c.Domain, "broker-address": &c.BrokerAddress, "operator": &c.Operator} {
				if f := cmd.Flags().Lookup(flag); f.Changed {
					value := f.Value.String()
					*member = &value
				}
			}
			if c.Add, err = loadKeys(add); err != nil {
				return err
			}
			if c.Cosign, err = loadKeys(cosign); err != nil {
				return err
			}
			party, err := h.Update(c, a.now())
			if err != nil {
				return namedByFlags(err)
			}
			return a.print(showParty(party), func(w io.Writer) {
				partyText(w, party)
				fmt.Fprintf(w, "\nNext: give the others this version (%s party show -o %s.json).\n", a.self(), party.Name)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&title, "title", "", "name for people")
	f.StringVar(&domain, "domain", "", "a DNS name you are known by")
	f.StringVar(&address, "broker-address", "", "`HOST:PORT` of your broker")
	f.StringVar(&operator, "operator", "", "who runs your broker, and where")
	f.BoolVar(&c.Data, "data", false, "make a broker for a party that had none")
	f.StringArrayVar(&add, "add-key", nil, "signing key `FILE` that joins (repeat)")
	f.StringArrayVar(&c.Remove, "remove-key", nil, "id of a signing key that leaves (repeat)")
	f.StringArrayVar(&cosign, "key", nil, "signing key `FILE` of the party that signs too (repeat)")
	f.Int64Var(&c.Threshold, "threshold", 0, "how many of the party's keys must sign (default: as before)")
	f.BoolVar(&c.NewSigning, "new-signing-key", false, "replace your own signing key")
	f.BoolVar(&c.NewResult, "new-result-key", false, "replace the key that results are sealed to")
	f.BoolVar(&c.NewData, "new-data-key", false, "replace the key that data is sealed to")
	f.IntVar(&c.Years, "years", 5, "how long added and new signing keys are valid, 1 to 10")
	return cmd
}
