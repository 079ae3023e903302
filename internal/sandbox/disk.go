package sandbox

import (
	"crypto/rand"
	"encoding/hex"
	"io/fs"
	"path"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

const loginUID = 1000

// NewRoot returns a new disk with a minimal installation that has not booted
// yet. If o is nil, the zero RootOptions are used.
func NewRoot(o *RootOptions) *memfs.FS {
	if o == nil {
		o = &RootOptions{}
	}
	facts := o.Facts.filled()
	login := o.Login
	if login == "" {
		login = facts.login()
	}
	disk := memfs.New(o.Now)
	b := diskBuilder{disk: disk}
	for _, dir := range []string{
		"/boot", "/dev/fd", "/etc/ssh", "/etc/sudoers.d", "/etc/default", "/etc/profile.d", "/etc/sysctl.d", "/etc/systemd/system", "/etc/apt/sources.list.d", "/etc/cron.d", "/etc/logrotate.d", "/home", "/media",
		"/mnt", "/opt", "/proc/sys/kernel/random", "/run", "/srv", "/sys", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/share",
		"/usr/local/bin", "/usr/local/sbin", "/usr/local/lib", "/usr/local/share", "/usr/local/etc", "/usr/src",
		"/var/backups", "/var/cache/apt/archives", "/var/lib/apt/lists", "/var/lib/dpkg", "/var/log", "/var/mail", "/var/opt", "/var/spool/cron",
	} {
		b.dir(dir, 0o755)
	}
	b.dir("/tmp", 0o777|fs.ModeSticky)
	b.dir("/var/tmp", 0o777|fs.ModeSticky)
	b.dir("/dev/shm", 0o777|fs.ModeSticky)
	b.dir("/root", 0o700)
	b.dir("/lost+found", 0o700)
	for _, dir := range []string{"bin", "sbin", "lib"} {
		b.check(disk.Symlink("usr/"+dir, "/"+dir))
	}
	b.check(disk.Symlink("/run", "/var/run"))
	b.check(disk.Symlink("/run/lock", "/var/lock"))
	b.check(disk.Mknod("/dev/null", 0o666, memfs.Null))
	b.check(disk.Mknod("/dev/zero", 0o666, memfs.Zero))
	b.check(disk.Mknod("/dev/full", 0o666, memfs.Full))
	b.check(disk.Mknod("/dev/random", 0o666, memfs.Random))
	b.check(disk.Mknod("/dev/urandom", 0o666, memfs.Random))
	b.check(disk.Mknod("/dev/console", 0o600, memfs.Null))
	b.check(disk.Mknod("/dev/tty", 0o666, memfs.Null))
	b.loginFiles(facts)
	b.accounts(facts, login)
	b.etc(facts, login)
	b.release(facts)
	b.programs(facts)
	b.software(facts)
	if b.err != nil { // a bug: the paths are fixed and the disk was empty
		panic("sandbox: NewRoot: " + b.err.Error())
	}
	return disk
}

// diskBuilder adds files to a disk and records the first error.
type diskBuilder struct {
	disk *memfs.FS
	err  error
}

func (b *diskBuilder) check(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *diskBuilder) dir(name string, mode fs.FileMode) {
	b.check(b.disk.MkdirAll(name, 0o755))
	b.check(b.disk.Chmod(name, mode))
}

func (b *diskBuilder) file(name, text string, mode fs.FileMode) {
	b.check(b.disk.MkdirAll(path.Dir(name), 0o755))
	b.check(b.disk.WriteFile(name, []byte(text), mode))
}

func (b *diskBuilder) release(f Facts) {
	b.releaseFiles(f)
	b.file("/etc/hostname", defaultHostname+"\n", 0o644)
	b.file("/etc/hosts", "127.0.0.1 localhost\n::1 ip6-localhost ip6-loopback\n", 0o644)
	b.file("/etc/fstab", map[string]string{
		"ubuntu": "LABEL=cloudimg-rootfs\t/\t ext4\tdiscard,commit=30,errors=remount-ro\t0 1\n",
		"debian": "PARTUUID=5c3b1f9e-01 / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1\n",
	}[f.Distro], 0o644)
	if !f.dash() {
		b.file("/etc/fstab", "UUID=3a1f9e5c-7b1d-4a53-8a8e-0d9c3b1f5e7a     /           xfs    defaults,noatime  1   1\n", 0o644)
	}
	b.file("/etc/resolv.conf", "nameserver 127.0.0.53\n", 0o644)
	b.file("/etc/shells", "/bin/sh\n/bin/bash\n/usr/bin/bash\n", 0o644)
	b.file("/etc/machine-id", "", 0o444)
	b.file("/proc/cpuinfo", "processor\t: 0\n\nprocessor\t: 1\n\n", 0o444)
	b.file("/proc/meminfo", "MemTotal:        3994560 kB\nMemFree:         3210000 kB\nMemAvailable:    3500000 kB\nSwapTotal:             0 kB\n", 0o444)
	b.file("/proc/mounts", "/dev/root / ext4 rw,relatime 0 0\n", 0o444)
	b.file("/proc/version", "Linux version "+f.Kernel+"\n", 0o444)
	b.file("/proc/sys/kernel/osrelease", f.Kernel+"\n", 0o444)
	b.file("/proc/uptime", "1.00 1.00\n", 0o444)
}

// uuid returns a random UUID in the kernel's format.
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	text := hex.EncodeToString(b[:])
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}
