package machine

import (
	"strongroom.dev/device"
	"strongroom.dev/machine/chip"
)

// NewTrusted makes the evidence device of a TPM.
func NewTrusted(tpm *chip.TPM, salt [32]byte, log []byte) (device.Device, error) {
	return newTrusted(Found{Platform: TPM, Why: "a test"}, tpm, salt, log)
}

// NewProcessor makes the evidence device of a processor's, in a tree of files.
func NewProcessor(root string, found Found) (device.Device, error) { return newProcessor(root, found) }
