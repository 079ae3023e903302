package provision_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/provision/check"
)

// checkAsRoot runs tests on m as root.
func checkAsRoot(t *testing.T, m bake.Machine, tests ...check.Test) {
	t.Helper()
	if err := check.All(tests...).AsRoot().Check(t.Context(), m); err != nil {
		t.Error(err)
	}
}

// packageArchive creates a repository on m with the packages alpha 1.0 and 1.1 and
// omega 1.0, which recommends alpha.
func packageArchive(t *testing.T, m bake.Machine) provision.Repository {
	t.Helper()
	tree := fstest.MapFS{}
	for _, p := range []struct{ name, version, more string }{{"alpha", "1.0-1", ""}, {"alpha", "1.1-1", ""}, {"omega", "1.0", "Recommends: alpha\n"}} {
		at := p.name + "_" + p.version
		tree[at+"/DEBIAN/control"] = &fstest.MapFile{Mode: 0o644, Data: []byte(fmt.Sprintf(
			"Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: test <test@example.com>\n%sDescription: test\n", p.name, p.version, p.more))}
		tree[at+"/etc/"+p.name+".conf"] = &fstest.MapFile{Mode: 0o644, Data: []byte(p.version + "\n")}
		tree[at+"/DEBIAN/conffiles"] = &fstest.MapFile{Mode: 0o644, Data: []byte("/etc/" + p.name + ".conf\n")}
	}
	run(t, m, provision.Dir{FS: tree, Dest: "/srv/repo", Sudo: true})
	run(t, m, provision.Shell(
		`cd /srv/repo`,
		`for d in */; do d=${d%/}; dpkg-deb --root-owner-group -b "$d" "$d.deb"; rm -r "$d"; done`,
		`for f in *.deb; do dpkg-deb -f "$f"; echo "Filename: ./$f"; echo "Size: $(stat -c %s "$f")"; echo "SHA256: $(sha256sum <"$f" | cut -c1-64)"; echo; done >Packages`,
	).AsRoot())
	return provision.Repository{Name: "local", URL: "file:/srv/repo", Suite: "./", InsecureUnsigned: true}
}

// withoutSources removes all repositories.
var withoutSources = provision.Shell("rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*").AsRoot() //nolint:gochecknoglobals // a value that nobody changes

func TestPackagesOnGuest(t *testing.T) {
	m := guest(t, nil, nil)
	run(t, m, withoutSources)
	repo := packageArchive(t, m)
	messages, err := bakeMessages(t, m, provision.Packages{Repositories: []provision.Repository{repo}, Install: []string{"alpha=1.0*"}})
	if want := "packages: repository local, install alpha=1.0*: changed /etc/apt/sources.list.d/local.sources, installed alpha=1.0*"; err != nil || len(messages) != 1 || messages[0] != want {
		t.Fatalf("messages = %q (%v), want %q", messages, err, want)
	}
	checkAsRoot(t, m, check.Package{Name: "alpha", Version: "1.0"}, check.File{Path: "/etc/alpha.conf", Contains: "1.0-1"})

	provisionTwice(t, m, provision.Packages{Install: []string{"omega"}, NoRecommends: true}, "changed installed omega")
	checkAsRoot(t, m, check.Package{Name: "alpha", Version: "1.0"}) // with recommendations it would be 1.1

	// Configuration files that were changed on the machine are kept.
	run(t, m, provision.Shell("echo mine >/etc/alpha.conf").AsRoot())
	provisionTwice(t, m, provision.Packages{Upgrade: true}, "changed versions")
	checkAsRoot(t, m, check.Package{Name: "alpha", Version: "1.1"}, check.File{Path: "/etc/alpha.conf", Contains: "mine"})
	provisionTwice(t, m, provision.Packages{Install: []string{"alpha=1.0-1"}}, "changed installed alpha=1.0-1")
	checkAsRoot(t, m, check.Package{Name: "alpha", Version: "1.0-1"})
	provisionTwice(t, m, provision.Packages{Remove: []string{"omega", "no-such-package"}}, "changed removed omega")
	checkAsRoot(t, m, check.Package{Name: "omega", Absent: true}, check.File{Path: "/etc/omega.conf"})
	provisionTwice(t, m, provision.Packages{Remove: []string{"alpha"}, Purge: true, Clean: true}, "changed removed alpha")
	checkAsRoot(t, m, check.Package{Name: "alpha", Absent: true}, check.File{Path: "/etc/alpha.conf", Absent: true},
		check.Command{Line: `test -z "$(find /var/lib/apt/lists /var/cache/apt/archives -name '*Packages*' -o -name '*.deb')"`})

	said, err := bakeMessages(t, m, provision.Packages{Install: []string{"no-such-package"}})
	if err == nil || !strings.Contains(err.Error(), "Unable to locate package no-such-package") || strings.Contains(strings.Join(said, "\n"), "retrying") {
		t.Errorf("Provision() = %v with messages %q, want an error without another attempt", err, said)
	}
	_, err = bakeMessages(t, m, provision.Packages{Install: []string{"alpha=7*"}})
	if err == nil || !strings.Contains(err.Error(), "7*' for 'alpha' was not found") {
		t.Errorf("Provision() = %v, want a version not found", err)
	}
}

func TestPackagesLockOnGuest(t *testing.T) {
	m := guest(t, nil, nil)
	run(t, m, withoutSources)
	repo := packageArchive(t, m)
	locked := func(file string) (release func()) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		has, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			_ = m.Run(ctx, &bake.Cmd{
				Args: []string{"python3", "-c", "import fcntl, time\nf = open('" + file + "', 'w')\nfcntl.lockf(f, fcntl.LOCK_EX)\nprint('has it', flush=True)\ntime.sleep(1000)"},
				Sudo: true, Stdout: &signaling{line: "\n", then: sync.OnceFunc(func() { close(has) })},
			})
		}()
		<-has
		return func() { cancel(); <-done }
	}
	p := provision.Packages{Repositories: []provision.Repository{repo}, Install: []string{"alpha"}, LockTimeout: time.Second}
	for _, file := range []string{"/var/lib/dpkg/lock-frontend", "/var/lib/apt/lists/lock"} {
		release := locked(file)
		_, err := bakeMessages(t, m, p)
		release()
		if err == nil || !strings.Contains(err.Error(), "package manager locked by another process for ") {
			t.Errorf("%s: Provision() = %v, want a lock timeout", file, err)
		}
	}
	p.LockTimeout = time.Minute
	release := locked("/var/lib/dpkg/lock-frontend")
	defer release()
	run(t, outputWatcher{m, "Waiting for cache lock", release}, p)
	checkAsRoot(t, m, check.Package{Name: "alpha", Version: "1.1"})
}

// An outputWatcher calls then when a command writes text to either output.
type outputWatcher struct {
	bake.Machine
	text string
	then func()
}

func (w outputWatcher) Run(ctx context.Context, cmd *bake.Cmd) error {
	var mu sync.Mutex
	seen := &signaling{line: w.text, then: w.then}
	with := *cmd
	with.Stdout, with.Stderr = locking{&mu, seen, cmd.Stdout}, locking{&mu, seen, cmd.Stderr}
	return w.Machine.Run(ctx, &with)
}

type locking struct {
	mu   *sync.Mutex
	a, b io.Writer
}

func (l locking) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b != nil {
		if n, err := l.b.Write(p); err != nil {
			return n, err
		}
	}
	return l.a.Write(p)
}

// Packages uses Debian's repository with its key.
func TestPackagesFromDebianOnGuest(t *testing.T) {
	m := guest(t, nil, nil)
	var key strings.Builder
	get := func(name string) {
		if err := m.Get(t.Context(), &bake.Download{Source: name, Content: &key}); err != nil {
			t.Fatal(err)
		}
	}
	get("/etc/apt/trusted.gpg.d/debian-archive-bookworm-stable.asc")
	// Use the host's network configuration.
	if _, err := os.Stat("/etc/apt/apt.conf.d"); err == nil {
		run(t, m, provision.Dir{Source: "/etc/apt/apt.conf.d", Dest: "/etc/apt/apt.conf.d", Sudo: true, Exclude: []string{"docker*", "*packagekit*", "*appstream*"}})
	}
	run(t, m, withoutSources)
	run(t, m, provision.Shell("rm -rf /etc/apt/trusted.gpg.d/*").AsRoot())
	p := provision.Packages{
		Repositories: []provision.Repository{{Name: "debian", URL: "http://deb.debian.org/debian", Suite: "bookworm", Key: key.String()}},
		Install:      []string{"hello=2.10*"}, NoRecommends: true, Clean: true,
	}
	run(t, m, p)
	checkAsRoot(t, m, check.Package{Name: "hello", Version: "2.10"}, check.Command{Line: "hello", Contains: "Hello, world!"})

	// A different key is rejected.
	p.Repositories[0].Key = strings.Replace(key.String(), "m", "n", 1)
	p.Install, p.Retry.Attempts = []string{"sl"}, 1
	if _, err := bakeMessages(t, m, p); err == nil {
		t.Error("Provision() = nil with a wrong key")
	}
	checkAsRoot(t, m, check.Package{Name: "sl", Absent: true})
}

func TestSystemOnGuest(t *testing.T) {
	m := guest(t, nil, nil)
	user := provision.User{
		Name: "deploy", UID: 1500, Groups: []string{"www-data", "fresh"}, Home: "/srv/deploy", Shell: "/bin/sh", Comment: "It's deploy",
		AuthorizedKeys: []string{oneKey}, LockPassword: true,
	}
	provisionTwice(t, m, user, "changed group fresh, created, member of www-data, member of fresh, an authorized key")
	checkAsRoot(t, m,
		check.User{Name: "deploy", UID: 1500, Group: "deploy", Groups: user.Groups, Home: "/srv/deploy", Shell: "/bin/sh"},
		check.File{Path: "/srv/deploy/.ssh", Dir: true, Mode: 0o700, Owner: "deploy"}, check.File{Path: "/srv/deploy/.ssh/authorized_keys", Mode: 0o600, Owner: "deploy", Contains: oneKey},
	)
	provisionTwice(t, m, provision.User{Name: "deploy", UID: 1501, Group: "www-data", Shell: "/bin/bash", Comment: "other"}, "changed UID, comment, shell, group")
	checkAsRoot(t, m, check.User{Name: "deploy", UID: 1501, Group: "www-data", Shell: "/bin/bash"})
	provisionTwice(t, m, provision.User{Name: "app", System: true}, "changed created")
	checkAsRoot(t, m, check.File{Path: "/home/app", Absent: true}, check.Command{Line: "test $(id -u app) -lt 1000"})
	run(t, m, provision.Shell("echo app:secret | chpasswd").AsRoot())
	provisionTwice(t, m, provision.User{Name: "app", LockPassword: true}, "changed password locked")
	checkAsRoot(t, m, check.Command{Line: "passwd -S app", Contains: "app L"})

	// The guest has its own host name but no cloud-init.
	provisionTwice(t, m, provision.Hostname{Name: "db.example.com"}, "changed /etc/hostname, /etc/hosts, the running system")
	checkAsRoot(t, m, check.Command{Line: "hostname", Matches: "^db.example.com$"}, check.File{Path: "/etc/hosts", Contains: "127.0.1.1 db.example.com db"})

	// The guest shares the host's kernel, so only the file changes.
	swappiness, err := bake.Output(t.Context(), m, bake.Sh("cat /proc/sys/vm/swappiness"))
	if err != nil {
		t.Fatal(err)
	}
	provisionTwice(t, m, provision.Sysctl{File: "60-x", Parameters: map[string]string{"vm.swappiness": swappiness, "net.no_such.thing": "1"}}, "changed /etc/sysctl.d/60-x.conf")
	checkAsRoot(t, m, check.File{Path: "/etc/sysctl.d/60-x.conf", Mode: 0o644, Contains: "vm.swappiness = " + swappiness}, check.Sysctl{Name: "vm.swappiness", Value: swappiness})

	template := provision.Template{Content: "{{.}}\n", Data: "text", Dest: "/srv/deploy/x", Mode: 0o640, Owner: "deploy", Group: "fresh", Sudo: true}
	provisionTwice(t, m, template, "changed the file")
	checkAsRoot(t, m, check.File{Path: "/srv/deploy/x", Mode: 0o640, Owner: "deploy", Group: "fresh", Contains: "text"})

	run(t, m, provision.WaitCloudInit{})
	_, err = bakeMessages(t, m, provision.Service{Name: "x", Enable: true})
	if err == nil || !strings.Contains(err.Error(), "systemctl not found") {
		t.Errorf("Provision() = %v, want systemctl not found", err)
	}
}

// sudo requires a password.
func TestPackagesOnGuestWithSudoPassword(t *testing.T) {
	m := guest(t, &testenv.GuestOptions{AskSudo: true}, func(c *sshmachine.Config) { c.SudoPassword = bake.NewSecret(testenv.GuestPassword) })
	run(t, m, withoutSources)
	run(t, m, provision.Packages{Repositories: []provision.Repository{packageArchive(t, m)}, Install: []string{"alpha"}})
	checkAsRoot(t, m, check.Package{Name: "alpha"})
}
