// Package ec2machine runs the instances of an embedded EC2 as virtual machines.
//
// With it, a test bakes with real packages and real services on an EC2 that costs
// nothing, before it does so in AWS:
//
//	machines := ec2machine.New(&ec2machine.Options{
//		Disks: map[string]string{"debian-13": "debian-13-genericcloud-amd64.qcow2"},
//	})
//	aws := ec2test.New(&ec2test.Options{
//		Machines: machines,
//		Images:   []ec2test.Image{{Name: "debian-13", Distro: "debian", Version: "13", Login: "debian"}},
//	})
//	defer aws.Close()
//
// QEMU must be installed: on Debian and Ubuntu the packages qemu-system-x86 and
// qemu-utils. It is tested on Linux, where QEMU ends with the process that started
// it; elsewhere a killed test leaves its machines.
//
// # Machines
//
// An instance boots a layer over the disk file of its image, or the blocks that
// were written by the EBS direct APIs. CreateImage and CreateSnapshot capture the
// disk, whose blocks EBS direct reads. Server.Files and Server.ReadFile do not work:
// log in instead.
//
// An attached volume is a virtio disk whose serial number is the volume's id without the
// dash. DetachVolume fails if the guest does not release it within 30 seconds.
//
// The guest reads its user data, host name and key from a NoCloud seed, a disk
// labeled cidata, as cloud-init does. It has no instance metadata service. Images of
// AWS that look for their data only there do not boot properly; those that vendors
// call generic or nocloud do. The network is QEMU's user network: the guest reaches
// what the host reaches, and port 22 of the guest is reached through the server, by
// Server.Dial or ec2test.Options.Listen.
//
// StopInstances, CreateImage and RebootInstances press the power button, and cut the
// power if the guest does not react within Options.PowerDown. Data that it has not
// written to its disk by then is lost.
package ec2machine
