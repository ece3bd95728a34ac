package predict

// Limits, checked before any work is done.
const (
	// MaxFirmware is the most bytes of a firmware image: OVMF's are 2 to 4 MiB, and what lies
	// below 4 GiB of address space is 16 MiB at most.
	MaxFirmware = 16 << 20
	// MaxImage is the most bytes of a kernel, an initrd or a unified kernel image.
	MaxImage = 512 << 20
	// MaxCommandLine is the most bytes of a command line: x86 kernels read 2,047.
	MaxCommandLine = 2047
	// MaxVCPUs is the most processors of a guest: QEMU's machines have 4,096 at most, KVM
	// fewer.
	MaxVCPUs = 4096
	// maxSections is the most sections of a PE image or of firmware's metadata: images have
	// some 15, metadata 6 to 12.
	maxSections = 64
	// maxMetadataPages is the most 4 KiB pages that firmware's metadata may name: 256 MiB.
	maxMetadataPages = 1 << 16
	// maxACPI is the most bytes of a file of ACPI tables: QEMU's are some 10 KiB, its loader's at
	// most 64 KiB.
	maxACPI = 1 << 20
)
