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
