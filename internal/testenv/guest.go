package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// guestVar names the directory of the guests' root file system.
const guestVar = "BAKESTONE_GUESTROOT"

// guestKindVar selects what guests are: "qemu" for virtual machines.
const guestKindVar = "BAKESTONE_GUEST"

// GuestPassword is the password of a guest's logins, root and "baker".
const GuestPassword = "half-baked"

// guestScript mounts a guest's file system, an overlay of a directory over the
// base, and runs sshd in it. It runs as the first process of a PID namespace, so
// that the guest's processes and mounts end with it.
const guestScript = `set -e
base=$0 dir=$1
shift
mount -t overlay overlay -o "lowerdir=$base,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
mount -t proc proc "$dir/root/proc"
mount -t sysfs -o ro sysfs "$dir/root/sys"
mount --rbind /dev "$dir/root/dev"
echo oven >/proc/sys/kernel/hostname
setup=/etc/bakestone-test/setup
if [ -e "$dir/root$setup" ]; then chroot "$dir/root" /bin/sh -e "$setup" && rm "$dir/root$setup"; fi
exec chroot "$dir/root" /usr/sbin/sshd "$@"`

// machineScript does the same with a virtual machine. Its disk is made of the overlay, since
// programs look for many files that do not exist, which a shared directory answers slowly. The
// test's own directory comes with the initramfs at each start; its init runs sshd.
const machineScript = `set -e
export PATH=$PATH:/usr/sbin:/sbin
base=$0 dir=$1 guests=$2 inside=$3
shift 3
if ! [ -e "$dir/disk" ]; then
	mount -t overlay overlay -o "lowerdir=$base,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
	setup=$inside/setup
	if [ -e "$dir/root$setup" ]; then chroot "$dir/root" /bin/sh -e "$setup" && rm "$dir/root$setup"; fi
	mke2fs -q -t ext4 -O ^has_journal -E root_owner=0:0 -d "$dir/root" "$dir/new" 4G
	umount "$dir/root"
	mv "$dir/new" "$dir/disk"
fi
rm -rf "$dir/early"
cp -a "$dir/upper$inside" "$dir/early"
cat >"$dir/early/init" <<END
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /dev/pts /dev/shm /run/sshd /run/lock
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
busybox ifconfig lo 127.0.0.1
busybox ifconfig eth0 10.0.2.15 netmask 255.255.255.0
busybox route add default gw 10.0.2.2
echo oven >/proc/sys/kernel/hostname
grep -q ' host.internal$' /etc/hosts || echo '10.0.2.2 host.internal' >>/etc/hosts
exec /usr/sbin/sshd $@
END
cat >"$dir/early/early" <<END
#!/bin/busybox sh
. /load
/bin/busybox mount -t ext4 -o noatime /dev/vda /mnt || exec /bin/busybox sh
/bin/busybox cp -a $inside/. /mnt$inside/
/bin/busybox mount -o move /dev /mnt/dev
/bin/busybox mount -o move /proc /mnt/proc
exec /bin/busybox switch_root /mnt $inside/init
END
chmod 755 "$dir/early/init" "$dir/early/early"
mkdir -p "$dir/files${inside%/*}"
rm -rf "$dir/files$inside"
mv "$dir/early" "$dir/files$inside"
(cat "$guests/initrd"; cd "$dir/files"; find . | busybox cpio -o -H newc 2>/dev/null | gzip) >"$dir/initrd"
port=$(sed -n 's/^Port //p' "$dir/files$inside/sshd_config")
exec qemu-system-x86_64 -nodefaults -no-user-config -display none -serial stdio -no-reboot \
	-machine q35,accel=tcg -cpu max -smp 2 -m 1024M -device virtio-rng-pci \
	-kernel "$guests/vmlinux" -initrd "$dir/initrd" -append "console=ttyS0 quiet panic=-1 net.ifnames=0 no_timer_check rdinit=$inside/early" \
	-drive "if=none,id=root,format=raw,cache=unsafe,file=$dir/disk" -device virtio-blk-pci,drive=root \
	-netdev "user,id=net,hostfwd=tcp:127.0.0.1:$port-:$port" -device virtio-net-pci,netdev=net,romfile=`

// HostOfGuests returns the name by which the machines that [Guest] starts reach servers on this
// host's loopback interface.
func HostOfGuests() string {
	if os.Getenv(guestKindVar) == "qemu" {
		return "host.internal"
	}
	return "localhost"
}

// GuestOptions configures a machine started by Guest. The zero value, or nil, is
// a machine whose login may run everything with sudo without a password.
type GuestOptions struct {
	// AskSudo makes sudo ask for the login's password.
	AskSudo bool

	// PasswordLogin allows logging in with the password as an alternative to the
	// key.
	PasswordLogin bool

	// Setup is a shell script that changes the machine, as root, before its server
	// starts.
	Setup string

	// Config and NoSFTP are those of SSHDOptions.
	Config []string
	NoSFTP bool
}

// Guest starts a disposable Debian machine for t and returns its OpenSSH server.
// The machine has a copy-on-write root file system that the test may change
// freely, Python, sudo, Puppet and Salt, no init system, and the host's network.
// It sees only its own processes. The server's Signer and ClientKeyPEM log in as
// "baker".
//
// The base file system is built by .ci/guestroot in the directory named by
// BAKESTONE_GUESTROOT. Without it, or if the test does not run as root on Linux,
// Guest skips t as Need(t, "guestroot") does. The machine is removed when t ends.
//
// With BAKESTONE_GUEST=qemu the machine is a virtual one, emulated, with a kernel of its
// own. That is slower by a factor of ten or more. Server.Drop does not work then.
func Guest(t testing.TB, opts *GuestOptions) *Server {
	t.Helper()
	base := Need(t, "guestroot")
	if opts == nil {
		opts = &GuestOptions{}
	}
	dir := t.TempDir()
	const inside = "/etc/bakestone-test"
	s := &Server{User: "baker", Dir: filepath.Join(dir, "upper", inside), inside: inside}
	for _, name := range []string{s.Dir, filepath.Join(dir, "upper/etc/sudoers.d"), filepath.Join(dir, "work"), filepath.Join(dir, "root")} {
		if err := os.MkdirAll(name, 0o755); err != nil {
			t.Fatalf("testenv: %v", err)
		}
	}
	s.marker = "BAKESTONE_TEST_SSHD=" + s.Dir
	s.launch = []string{
		"unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--propagation", "private",
		"sh", "-c", guestScript, base, dir,
	}
	if os.Getenv(guestKindVar) == "qemu" {
		script := len(s.launch) - len([]string{guestScript, base, dir})
		s.emulated = slices.Concat(s.launch[:script], []string{machineScript, base, dir, filepath.Dir(Need(t, "qemu")), inside})
	}
	if opts.AskSudo {
		rule := filepath.Join(dir, "upper/etc/sudoers.d/baker")
		if err := os.WriteFile(rule, []byte("baker ALL=(ALL) ALL\n"), 0o440); err != nil {
			t.Fatalf("testenv: %v", err)
		}
	}
	if opts.Setup != "" {
		s.write(t, "setup", []byte(opts.Setup))
	}
	options := &SSHDOptions{Config: slices.Clone(opts.Config), NoSFTP: opts.NoSFTP}
	if opts.PasswordLogin {
		options.Config = append(options.Config, "PasswordAuthentication yes")
	}
	s.serve(t, options)
	return s
}

// findGuestRoot returns the guests' root file system if it contains the tool.
func findGuestRoot(tool string) (string, error) {
	base := os.Getenv(guestVar)
	switch {
	case runtime.GOOS != "linux":
		return "", errors.New("guests require Linux")
	case os.Geteuid() != 0:
		return "", errors.New("guests require root")
	case base == "":
		return "", fmt.Errorf("%s is not set", guestVar)
	}
	program := map[string]string{
		"guestroot": "usr/sbin/sshd", "guestshells": "usr/bin/fish", "puppet": "usr/bin/puppet", "salt": "opt/salt/bin/salt-call",
	}[tool]
	if _, err := os.Stat(filepath.Join(base, program)); err != nil {
		return "", err
	}
	if _, err := lookPath("unshare"); err != nil {
		return "", err
	}
	return base, nil
}
