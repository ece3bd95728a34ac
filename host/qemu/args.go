package qemu

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"strongroom.dev/verdict"
)

// Args gives the arguments of qemu-system-x86_64 for a machine.
func (c Config) Args() ([]string, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	// -nodefaults and -nic none leave out what nobody asked for; the sandbox takes from QEMU
	// the system calls that a guest which broke out of its devices would want first.
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-parallel", "none", "-nic", "none", "-no-reboot",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-smp", strconv.Itoa(c.CPUs), "-m", fmt.Sprintf("%dM", c.Memory),
	}
	args = append(args, c.platform()...)
	args = append(args, "-kernel", c.Kernel,
		"-chardev", "file,id=console,path="+escape(c.Console), "-serial", "chardev:console",
		"-device", "virtio-rng-pci,addr=0x2"+c.virtio(),
		"-device", "virtio-serial-pci,id=ports,max_ports=2,addr=0x3"+c.virtio(),
		"-chardev", "socket,id=channel,"+c.Channel.option(),
		"-device", "virtserialport,bus=ports.0,nr=1,chardev=channel,name="+ChannelPort)
	for i, d := range c.Disks {
		args = append(args, c.disk(i, d)...)
	}
	return args, nil
}

// platform gives what measures the machine, and its firmware.
func (c Config) platform() []string {
	switch c.Platform {
	case SNP:
		return c.snp()
	case TDX:
		return c.tdx()
	}
	accel, cpu := "tcg,thread=multi", "max"
	if c.Accel == KVM {
		accel, cpu = "kvm", "host"
	}
	return []string{
		"-machine", "q35,vmport=off", "-accel", accel, "-cpu", cpu,
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + escape(c.Firmware),
		"-drive", "if=pflash,unit=1,format=raw,file=" + escape(c.Variables),
		"-chardev", "socket,id=tpm," + c.TPM.option(), "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0",
	}
}

// snp gives a launch whose digest covers the firmware, the hashes of the kernel image and its
// command line, and the processors' state, and whose HOST_DATA is the agreement's. There is no ID block: the
// agreement pins the digest itself.
func (c Config) snp() []string {
	guest := fmt.Sprintf("sev-snp-guest,id=sev0,policy=%#x,cbitpos=%d,reduced-phys-bits=%d,kernel-hashes=on,host-data=%s",
		c.SNP.Policy, c.SNP.CBit, c.SNP.ReducedBits, base64.StdEncoding.EncodeToString(c.ShortInitData[:]))
	return []string{
		"-machine", "q35,vmport=off,smm=off,confidential-guest-support=sev0,memory-backend=ram0", "-accel", "kvm", "-cpu", c.SNP.CPU,
		"-object", fmt.Sprintf("memory-backend-memfd,id=ram0,size=%dM,share=true,prealloc=false", c.Memory),
		"-object", guest, "-bios", c.Firmware, "-append", c.SNP.Line,
	}
}

// tdx gives a launch whose MRTD covers the firmware and whose MRCONFIGID is the agreement's;
// the firmware measures the rest into RTMRs.
func (c Config) tdx() []string {
	type address struct {
		Type string `json:"type"`
		Path string `json:"path,omitempty"`
		CID  string `json:"cid,omitempty"`
		Port string `json:"port,omitempty"`
	}
	service := address{Type: "unix", Path: c.TDX.QuoteSocket}
	if service.Path == "" {
		service = address{Type: "vsock", CID: strconv.FormatUint(uint64(c.TDX.QuoteCID), 10), Port: strconv.FormatUint(uint64(c.TDX.QuotePort), 10)}
	}
	guest := struct {
		Type       string  `json:"qom-type"`
		ID         string  `json:"id"`
		MRConfigID string  `json:"mrconfigid"`
		Quotes     address `json:"quote-generation-socket"`
	}{"tdx-guest", "tdx0", base64.StdEncoding.EncodeToString(c.InitData[:]), service}
	object, err := json.Marshal(guest)
	if err != nil {
		panic(err) // strings only
	}
	return []string{
		"-machine", "q35,vmport=off,smm=off,hpet=off,kernel-irqchip=split,confidential-guest-support=tdx0", "-accel", "kvm", "-cpu", "host",
		"-object", string(object), "-bios", c.Firmware,
	}
}

// disk gives a disk at a place of its own: eight to a slot, so that the machine
// has room for as many as an agreement can name.
func (c Config) disk(i int, d Disk) []string {
	slot, function := firstDiskSlot+i/8, i%8
	place := fmt.Sprintf("addr=%#x.%#x", slot, function)
	if function == 0 {
		place += ",multifunction=on"
	}
	access := "on"
	if d.Writable {
		access = "off"
	}
	return []string{
		"-drive", fmt.Sprintf("if=none,id=disk%d,format=raw,readonly=%s,file=%s", i, access, escape(d.Path)),
		"-device", fmt.Sprintf("virtio-blk-pci,drive=disk%d,serial=%s,%s%s", i, d.Serial, place, c.virtio()),
	}
}

// virtio gives what every virtio device has: no legacy interface, and in machines whose
// memory is shut to devices the promise to go through what they share.
func (c Config) virtio() string {
	if c.Platform == TPM {
		return ",disable-legacy=on"
	}
	return ",disable-legacy=on,iommu_platform=on"
}

func (s Socket) option() string {
	if s.FD != 0 {
		return "fd=" + strconv.Itoa(s.FD)
	}
	return "path=" + escape(s.Path)
}

// escape writes a value of QEMU's options, where a comma ends a value unless doubled.
func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }

// Line writes a command for people to read and shells to run: an option a line.
func Line(program string, args []string) string {
	var b strings.Builder
	b.WriteString(verdict.ShellWord(program))
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			b.WriteString(" \\\n ")
		}
		b.WriteString(" " + verdict.ShellWord(a))
	}
	return b.String()
}
