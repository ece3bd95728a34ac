package main

import (
	"os"
	"os/exec"
	"strings"

	"strongroom.dev/sandbox"
	"strongroom.dev/wire"
)

// forContainers is what rooms with containers need besides.
const forContainers = "containers in rooms"

// examineContainers tries what cells and volumes of rooms on this machine are made of. Rooms in
// virtual machines bring all of it.
func examineContainers(d *diagnosis) {
	lacks := map[wire.ID]string{}
	for _, l := range sandbox.CellLayers() {
		lacks[l.Layer] = l.Reason
	}
	layer := func(id wire.ID, expected, fix string) {
		reason, lacking := lacks[id]
		d.check(forContainers, "container."+string(id), !lacking, expected, orText(reason, "there"), fix)
	}
	layer(sandbox.UserRange, "65,536 users for a container", "host as root, or install uidmap and give this user ranges in /etc/subuid and /etc/subgid; an agreement's dev platform can go without, if it says may_lack")
	layer(sandbox.MemoryGroup, "a control group that bounds a container's memory", "host as root with control groups for memory; an agreement's dev platform can go without, if it says may_lack")
	root := os.Geteuid() == 0
	d.check(forContainers, "volume.root", root, "root, who mounts volumes", userText(root), "host as root, or in a virtual machine")
	d.check(forContainers, "volume.fscrypt", exists("/sys/fs/ext4/features/encryption"), "ext4 with encryption", presence("/sys/fs/ext4/features/encryption"), "load ext4 of a kernel with CONFIG_FS_ENCRYPTION, or host in a virtual machine")
	d.check(forContainers, "volume.loop", exists("/dev/loop-control"), "loop devices", presence("/dev/loop-control"), "modprobe loop")
	var missing []string
	for _, name := range []string{"mkfs.ext4", "e2fsck", "resize2fs"} {
		if _, err := exec.LookPath(name); err != nil && !exists("/usr/sbin/"+name) {
			missing = append(missing, name)
		}
	}
	d.check(forContainers, "volume.e2fsprogs", len(missing) == 0, "programs that make and grow file systems", orText(strings.Join(missing, ", "), "there"), "install e2fsprogs")
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func presence(path string) string {
	if exists(path) {
		return path
	}
	return "no " + path
}

func userText(root bool) string {
	if root {
		return "root"
	}
	return "an ordinary user"
}
