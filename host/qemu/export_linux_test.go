package qemu

// ProveWithin is [Prove] without a look at /dev/kvm, with a deadline.
var ProveWithin = prove

// NewTPM makes the state of a TPM in dir/tpm, as [Start] does.
var NewTPM = (*CA).newTPM
