// Package qemu bakes disk images in virtual machines on the baking host.
//
// A bake starts QEMU with a new layer over the source's disk, provisions the machine
// over SSH, lets it power down, and writes its disk as a standalone qcow2 image:
//
//	host := qemu.NewHost("/var/lib/bakestone", nil)
//	img := &bake.Image{
//		Name: "web",
//		Builder: qemu.Builder{
//			Host: host,
//			Source: qemu.URL{
//				URL:    "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2",
//				SHA256: "…",
//			},
//			DiskSize: 8 << 30,
//		},
//		Provisioners: []bake.Provisioner{provision.Packages{Install: []string{"nginx"}}},
//		Checks:       []bake.Check{check.Service{Name: "nginx"}},
//	}
//	results, err := bake.Bake(ctx, nil, img)
//	…
//	disk, err := qemu.DiskOf(results[0].Artifact)
//	fmt.Println(disk.Path)
//
// QEMU must be installed: on Debian and Ubuntu the packages qemu-system-x86 and
// qemu-utils. Bakes are tested with QEMU 7.2 on Linux.
//
// # The host
//
// A [Host] is a directory and limits: how many machines may run and how much memory
// they may use at once. Builders that share a Host share its limits. The directory has
// three parts:
//
//	images/<image>/<build>/    finished images, each with its artifact.json
//	building/<session>/        what a bake uses, removed when the bake ends
//	cache/                     downloads, by checksum
//
// # The machine
//
// The guest needs cloud-init, or whatever reads a NoCloud seed: a small disk labeled
// cidata, on which the guest finds the login's public key and its own host key. So the
// connection is verified without trusting the first answer. Guests with Ignition find
// them in Builder.Ignition; guests without either need SSH.Auth and SSH.HostKey.
//
// The guest has virtio devices and user networking: it
// reaches the networks of the baking host, and also the services that listen on the
// host's loopback, at 10.0.2.2. Nothing reaches the guest but a port on loopback that
// leads to its SSH server. Builder.Hardware and Builder.Networks change that.
//
// The serial console is recorded. Errors contain its last lines, so boot with
// console=ttyS0. A machine that ends, whose disk cannot be written, or that does not
// answer is reported as a [*MachineError]; so is a guest that panics, halts or resets
// itself.
//
// # Installers
//
// An [Installer] as the source installs an operating system on an empty disk first. Its
// answers are served on the baking host's loopback or on a medium. The build then goes on
// with the installed disk, as from any source.
//
// # Firmware
//
// SeaBIOS starts machines unless [Firmware] says UEFI, with or without Secure Boot. Then
// each machine has a variable store of its own. Builder.TPM adds a TPM.
//
// # Life and death
//
// On Linux the kernel kills QEMU when the process that bakes ends, whatever the reason.
// A build that is resumed starts the machine again from its disk, as after a power
// failure, unless the machine has survived, which is then adopted. Elsewhere, with
// Builder.Detach and with bake.KeepMachine machines survive: [Host.Machines] lists them,
// [Host.EndMachine] ends one, and [Host.Sweep] ends those that have expired. A guest
// shuts itself down when its build expires. A process is identified by the lock that
// QEMU holds on its pid file, so no other process can be hit.
//
// # The image
//
// Before the disk is captured, the guest is cleaned as on EC2 ([GuestCleanup]), unused
// blocks are trimmed, and the guest powers down. The disk is written as a new file
// without a backing file, checked, and hashed. Checks of the image boot a throwaway
// layer over it. An image becomes visible to [NewestImage] and to reuse by fingerprint
// only when its checks have passed. [Plan] tells what a bake would create.
package qemu
