package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// guestVar names the directory with the root file system of guests.
const guestVar = "BAKESTONE_GUESTROOT"

// GuestPassword is the password of both logins of a guest.
const GuestPassword = "half-baked"

// guestScript makes a guest out of a base and a directory of its own, and runs
// sshd in it. It is the first process of the guest's process ids, so that all
// the others end with it, and all the mounts end with the last of them.
const guestScript = `set -e
base=$0 dir=$1
shift
mount -t overlay overlay -o "lowerdir=$base,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
mount -t proc proc "$dir/root/proc"
mount -t sysfs -o ro sysfs "$dir/root/sys"
mount --rbind /dev "$dir/root/dev"
echo oven >/proc/sys/kernel/hostname
exec chroot "$dir/root" /usr/sbin/sshd "$@"`

// GuestOptions say how Guest sets up its machine. The zero value, and nil, is a
// machine whose login may do everything by sudo.
type GuestOptions struct {
	// AskSudo makes sudo ask for the login's password.
	AskSudo bool

	// PasswordLogin lets the login in by its password, too.
	PasswordLogin bool
}

// Guest starts a disposable Debian for t and returns the OpenSSH server in it:
// sshd in a copy-on-write root file system, which the test may change as it
// likes. It has Python, sudo, Puppet and Salt, no init system, and the network
// of the host. It sees no processes but its own; on the host all of them are
// seen. The server's Signer and ClientKeyPEM open the login "baker".
//
// The file system is the one that .ci/guestroot makes, in the directory named
// by BAKESTONE_GUESTROOT. Without it, or when the test does not run as root on
// Linux, it skips t, as Need does with the name "guestroot". Everything of the
// guest is gone when t has ended.
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
	options := &SSHDOptions{}
	if opts.PasswordLogin {
		options.Config = []string{"PasswordAuthentication yes"}
	}
	s.serve(t, options)
	return s
}

// findGuestRoot returns the root file system of guests, if it has the tool.
func findGuestRoot(tool string) (string, error) {
	base := os.Getenv(guestVar)
	switch {
	case runtime.GOOS != "linux":
		return "", errors.New("guests are made by Linux")
	case os.Geteuid() != 0:
		return "", errors.New("guests are made by root")
	case base == "":
		return "", fmt.Errorf("%s names no directory", guestVar)
	}
	program := map[string]string{"guestroot": "usr/sbin/sshd", "puppet": "usr/bin/puppet", "salt": "opt/salt/bin/salt-call"}[tool]
	if _, err := os.Stat(filepath.Join(base, program)); err != nil {
		return "", err
	}
	if _, err := lookPath("unshare"); err != nil {
		return "", err
	}
	return base, nil
}
