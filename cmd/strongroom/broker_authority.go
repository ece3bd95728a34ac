package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func (a *app) brokerAuthority() *cobra.Command {
	var out string
	var force bool
	cmd := &cobra.Command{
		Use:   "authority",
		Short: "Print the certificate of your broker's authority for names of rooms",
		Long: `Where an agreement says certified_by and names you, your broker certifies a room's key for
the names that the agreement gives its ports: for a day at most, and only for rooms that it
gave keys to. Ordinary clients that trust this certificate can then connect by name; what
they learn is that your broker vouched for the server. It is made on first use.

A certificate proves a name and not a room: only clients that check the room's evidence
("strongroom connect") know where they are.`,
		Example: "  strongroom broker authority -o rooms.pem\n  curl --cacert rooms.pem https://web.alpha.example:8443/",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := free(out, force); out != "" && out != "-" && err != nil {
				return err
			}
			h, _, err := a.brokerHome()
			if err != nil {
				return err
			}
			admin, err := a.brokerAdmin(cmd.Context(), h)
			if err != nil {
				return err
			}
			defer admin.Close()
			certificate, err := admin.Authority(cmd.Context())
			if err != nil {
				return err
			}
			if out != "" && out != "-" {
				if err := a.saveFile(out, []byte(certificate), 0o644, force); err != nil {
					return err
				}
				return a.print(map[string]string{"file": out, "certificate": certificate}, func(w io.Writer) { fmt.Fprintln(w, "Written to", out) })
			}
			return a.print(map[string]string{"certificate": certificate}, func(w io.Writer) { fmt.Fprint(w, certificate) })
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "write to `FILE` instead of standard output")
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE if it exists")
	return cmd
}
