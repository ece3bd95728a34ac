package main

import (
	"context"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/attest/dev"
	"strongroom.dev/host/qemu"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// softwareFlags are the machines of class software that a draft accepts.
type softwareFlags struct {
	root, image, tpmRoot string
}

func (s *softwareFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.root, "root", "", "with --insecure-software, the `FINGERPRINT` of the host's development root (default: your own)")
	f.StringVar(&s.image, "image", "", "with --insecure-software, the `DIR` of a room image: accept machines that boot it under a software TPM, too")
	f.StringVar(&s.tpmRoot, "tpm-root", "", "with --image, the `FINGERPRINT` of the host's root for software TPMs (default: your own)")
}

// check finds flags that mean nothing.
func (s *softwareFlags) check(software bool) error {
	switch {
	case s.root != "" && !software:
		return verdict.Misuse("--root", "--insecure-software with it", "none", "a development root only makes software evidence")
	case s.image != "" && !software:
		return verdict.Misuse("--image", "--insecure-software with it", "none", "its machines have software TPMs; for others, strongroom image measure prints the lines")
	case s.tpmRoot != "" && s.image == "":
		return verdict.Misuse("--tpm-root", "--image with it", "none", "name the room image")
	}
	return nil
}

// softwarePlatforms is the dev platform as this machine has it, the programs beside this one
// and a development root; and machines that boot an image under a software TPM, if one is named.
func (a *app) softwarePlatforms(ctx context.Context, s softwareFlags) ([]agreement.Platform, error) {
	if _, err := a.openHome(); err != nil {
		return nil, err
	}
	m, err := a.measuredPrograms()
	if err != nil {
		return nil, err
	}
	var booted prediction
	if s.image != "" {
		if booted, err = a.measuredTPM(measureFlags{platform: string(qemu.TPM), inputs: map[string]string{}}, []string{s.image}); err != nil {
			return nil, err
		}
	}
	// All is measured: now roots may be made.
	pin, err := a.pin(ctx, "--root", s.root, dev.Name)
	if err != nil {
		return nil, err
	}
	all := []agreement.Platform{{Kind: dev.Name, Root: &pin, Images: []agreement.Image{{Name: "room", Measurements: m.Named()}}}}
	if s.image == "" {
		return all, nil
	}
	tpmPin, err := a.pin(ctx, "--tpm-root", s.tpmRoot, qemu.TPM)
	return append(all, agreement.Platform{Kind: qemu.TPM, Root: &tpmPin, Images: []agreement.Image{{Name: "room", Measurements: booted.measurements}}}), err
}

// pin gives the root that is named, or this home's own, made if need be.
func (a *app) pin(ctx context.Context, flag, named string, platform wire.ID) (wire.Hash, error) {
	if named != "" {
		pin, err := wire.ParseHash(named)
		if err != nil {
			return pin, verdict.Misuse(flag, "sha256: and 64 hex digits", verdict.Short(named), "strongroom host root --platform "+string(platform)+" prints it")
		}
		return pin, nil
	}
	pin, err := a.softwareRoot(ctx, string(platform))
	if err == nil {
		what := map[wire.ID]string{dev.Name: "the development root", qemu.TPM: "the root for software TPMs"}[platform]
		a.say("WARNING: the draft pins %s of %s itself, %s: only a host with that home can run rooms under it, and whoever has the root can fake any room's evidence. It must be the root of the host: with another host, give %s with what this prints there: strongroom --home HOST-HOME host root --platform %s", what, a.homeDir, pin, flag, platform)
	}
	return pin, err
}

// measuredPrograms measures the programs beside this one as the dev platform does.
func (a *app) measuredPrograms() (dev.Measurement, error) {
	agent, err := measure(agentProgram)
	if err != nil {
		return dev.Measurement{}, err
	}
	sql, err := measure(sqlProgram)
	return dev.Measurement{Agent: agent, Helpers: map[string]wire.Digest{sqlProgram: sql}}, err
}
