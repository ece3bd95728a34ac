package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"
	"strongroom.dev/appraise"
	"strongroom.dev/client"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

func (a *app) attestationPolicy() *cobra.Command {
	var dir string
	cmd := group(&cobra.Command{
		Use:   "policy",
		Short: "See and change by which policies a running service judges",
		Long: `Policies have versions, which never change. A new one is a draft until it is activated; try it
on recorded evidence first. "strongroom policy" writes and checks the files.`,
	}, a.attestationPolicyList(&dir), a.attestationPolicyShow(&dir), a.attestationPolicyAdd(&dir), a.attestationPolicyActivate(&dir), a.attestationPolicyRetire(&dir), a.attestationPolicyTry(&dir))
	for _, c := range cmd.Commands() {
		c.Flags().StringVar(&dir, "dir", "", "`DIR` of the service")
		mustHave(c, "dir")
	}
	return cmd
}

// attestationAdmin reaches the officers' socket of a running service.
func attestationAdmin(dir string) (*client.AttestationAdmin, func(), error) {
	path := filepath.Join(dir, attestationSocket)
	short, done, err := socketPath(path)
	if err != nil {
		return nil, nil, err
	}
	conn, err := net.Dial("unix", short)
	if err != nil {
		done()
		return nil, nil, verdict.Misuse("attestation.socket", "a running service with its socket "+path, verdict.Short(err.Error()), "start it with: strongroom attestation serve --dir "+dir)
	}
	conn.Close()
	return client.NewAttestationAdmin(short), done, nil
}

// asOfficer runs one act over the socket.
func asOfficer(cmd *cobra.Command, dir *string, act func(ctx context.Context, c *client.AttestationAdmin) error) error {
	c, done, err := attestationAdmin(*dir)
	if err != nil {
		return err
	}
	defer done()
	return act(cmd.Context(), c)
}

// policyText reads a policy file, and what it says.
func (a *app) policyText(path string) ([]byte, *appraise.Policy, error) {
	text, err := a.readDocument(path, "an appraisal policy")
	if err != nil {
		return nil, nil, err
	}
	p, err := appraise.Parse(path, text)
	return text, p, err
}

func (a *app) attestationPolicyList(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the policies and which versions are in force", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return asOfficer(cmd, dir, func(ctx context.Context, c *client.AttestationAdmin) error {
				list, err := c.Policies(ctx)
				if err != nil {
					return err
				}
				return a.print(verifier.PolicyList{Policies: list}, func(w io.Writer) {
					for _, p := range list {
						stateText(w, p)
					}
				})
			})
		},
	}
}

func stateText(w io.Writer, p verifier.PolicyState) {
	force := "none in force"
	if p.Active != 0 {
		force = fmt.Sprintf("version %d in force", p.Active)
	}
	fmt.Fprintf(w, "%s: %s, newest %d, changed %s\n", p.ID, force, p.Highest, p.Changed)
}

func (a *app) attestationPolicyShow(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "show ID [VERSION]", Short: "Show a policy: its versions, or the text of one", Args: cobra.RangeArgs(1, 2),
		Example: "  strongroom attestation policy show rooms 4 --dir attestation",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := policyID(args[0])
			if err != nil {
				return err
			}
			return asOfficer(cmd, dir, func(ctx context.Context, c *client.AttestationAdmin) error {
				if len(args) == 1 {
					return a.showVersions(c.Versions(ctx, id))
				}
				n, err := versionNumber(args[1])
				if err != nil {
					return err
				}
				v, err := c.Policy(ctx, id, n)
				if err != nil {
					return err
				}
				return a.print(v, func(w io.Writer) { fmt.Fprint(w, v.Text) })
			})
		},
	}
}

func (a *app) showVersions(list []verifier.PolicyVersion, err error) error {
	if err != nil {
		return err
	}
	return a.print(verifier.VersionList{Versions: list}, func(w io.Writer) {
		for _, v := range list {
			force := ""
			if v.Active {
				force = ", in force"
			}
			fmt.Fprintf(w, "version %d, %s, added %s%s\n", v.Version, v.Digest, v.Added, force)
		}
	})
}

func versionNumber(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, verdict.Misuse("appraisal.version", "the number of a version", verdict.Short(text), "list shows the newest")
	}
	return n, nil
}

func (a *app) attestationPolicyAdd(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "add FILE", Short: "Add a version of a policy, as a draft", Args: cobra.ExactArgs(1),
		Example: "  strongroom attestation policy add rooms.yaml --dir attestation",
		RunE: func(cmd *cobra.Command, args []string) error {
			text, p, err := a.policyText(args[0])
			if err != nil {
				return err
			}
			return asOfficer(cmd, dir, func(ctx context.Context, c *client.AttestationAdmin) error {
				added, err := c.AddPolicy(ctx, p.ID, text)
				if err != nil {
					return err
				}
				return a.print(added, func(w io.Writer) {
					fmt.Fprintf(w, "Added version %d of policy %s, %s. It is a draft.\n", p.Version, p.ID, added.Digest)
					for _, advice := range added.Advice {
						fmt.Fprintf(w, "  %s: %s\n", verdict.Printable(advice.Where), verdict.Printable(advice.Says))
					}
				})
			})
		},
	}
}

func policyID(text string) (wire.ID, error) {
	if id := wire.ID(text); id.Valid() {
		return id, nil
	}
	return "", verdict.Misuse("appraisal.policies", "the id of a policy", verdict.Short(text), "list shows which there are")
}

func (a *app) attestationPolicyActivate(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "activate ID VERSION", Short: "Put a version of a policy in force", Args: cobra.ExactArgs(2),
		Example: "  strongroom attestation policy activate rooms 4 --dir attestation",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := policyID(args[0])
			if err != nil {
				return err
			}
			n, err := versionNumber(args[1])
			if err != nil {
				return err
			}
			return asOfficer(cmd, dir, func(ctx context.Context, c *client.AttestationAdmin) error {
				return a.showState(c.Activate(ctx, id, n))
			})
		},
	}
}

func (a *app) showState(p verifier.PolicyState, err error) error {
	if err != nil {
		return err
	}
	return a.print(p, func(w io.Writer) { stateText(w, p) })
}

func (a *app) attestationPolicyRetire(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "retire ID", Short: "Take a policy out of force", Args: cobra.ExactArgs(1),
		Example: "  strongroom attestation policy retire rooms --dir attestation",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := policyID(args[0])
			if err != nil {
				return err
			}
			return asOfficer(cmd, dir, func(ctx context.Context, c *client.AttestationAdmin) error {
				return a.showState(c.Retire(ctx, id))
			})
		},
	}
}

func (a *app) attestationPolicyTry(dir *string) *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use: "try FILE EVIDENCE...", Short: "Say what a draft would say of recorded evidence", Args: cobra.MinimumNArgs(2),
		Long: `Judges recorded evidence by the policy in FILE, which is not added, and by the version in
force. What would be refused that passes today is counted, and so is the contrary.`,
		Example: "  strongroom attestation policy try rooms.yaml recorded/*.bin --dir attestation --at 2026-11-01",
		RunE: func(cmd *cobra.Command, args []string) error {
			text, p, err := a.policyText(args[0])
			if err != nil {
				return err
			}
			trial := verifier.Trial{Text: string(text)}
			for _, path := range args[1:] {
				r := verifier.Recorded{}
				if r.Evidence, err = a.readEvidence(path); err != nil {
					return err
				}
				if at != "" {
					when, err := timeFlag("--at", at)
					if err != nil {
						return err
					}
					then := wire.At(when)
					r.At = &then
				}
				trial.Evidence = append(trial.Evidence, r)
			}
			return asOfficer(cmd, dir, func(ctx context.Context, c *client.AttestationAdmin) error {
				tried, err := c.Try(ctx, p.ID, trial)
				if err != nil {
					return err
				}
				return a.print(tried, func(w io.Writer) { triedText(w, tried, args[1:]) })
			})
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "judge as of this time (default: now)")
	return cmd
}

func triedText(w io.Writer, t verifier.Tried, files []string) {
	for i, r := range t.Results {
		today := ""
		if r.Today != "" {
			today = ", today " + r.Today
		}
		fmt.Fprintf(w, "%s: %s%s\n", verdict.Printable(files[i]), r.Verdict, today)
		for _, c := range r.Failed {
			fmt.Fprintf(w, "  FAIL %-24s %s\n", c.ID, verdict.Printable(said(c)))
		}
		for _, id := range r.Mended {
			fmt.Fprintf(w, "  mended: %s\n", id)
		}
	}
	fmt.Fprintf(w, "Newly refused: %d. Newly admitted: %d.\n", t.Refused, t.Admitted)
}
