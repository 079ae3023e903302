package provision_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/internal/sandbox"
	"github.com/bakestone-go/bakestone/provision"
)

// A store is the state of a fake package manager and the calls it received.
type store struct {
	mu        sync.Mutex
	installed map[string]string // name to version
	calls     []string
}

func (s *store) manager(verbs map[string]string) sandbox.Command {
	return func(_ context.Context, p *sandbox.Process) int {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls = append(s.calls, strings.Join(p.Args, " "))
		doing := ""
		for _, arg := range p.Args[1:] {
			switch {
			case doing == "" && verbs[arg] != "":
				doing = verbs[arg]
			case strings.HasPrefix(arg, "-"), doing == "":
			case doing == "install":
				name, version, _ := strings.Cut(strings.Replace(arg, "~", "=", 1), "=")
				if before, after, dnf := strings.Cut(arg, "-1."); dnf {
					name, version = before, "1."+after
				}
				if version = strings.TrimRight(version, ".*"); !strings.HasPrefix(version, "1.24") {
					version = "2.0"
				}
				s.installed[name] = version + "-r1"
			case doing == "remove":
				delete(s.installed, arg)
			}
		}
		if doing == "upgrade" {
			for name := range s.installed {
				s.installed[name] = "3.0-r1"
			}
		}
		return 0
	}
}

// query returns a command that prints the version of the package that args selects,
// or all packages if it selects none.
func (s *store) query(args func([]string) (name string), format, all string) sandbox.Command {
	return func(_ context.Context, p *sandbox.Process) int {
		s.mu.Lock()
		defer s.mu.Unlock()
		name := args(p.Args)
		if name == "" {
			for _, n := range slices.Sorted(maps.Keys(s.installed)) {
				_, _ = fmt.Fprintf(p.Stdout, all, n, s.installed[n])
			}
			return 0
		}
		version, ok := s.installed[name]
		if !ok { // as rpm prints it
			_, _ = fmt.Fprintf(p.Stdout, "package %s is not installed\n", name)
			return 1
		}
		_, _ = fmt.Fprintf(p.Stdout, format, version)
		return 0
	}
}

// last returns the last argument if it is a name, else "".
func last(args []string) string {
	if name := args[len(args)-1]; len(args) > 2 && !strings.HasPrefix(name, "-") {
		return name
	}
	return ""
}

func (s *store) commands(manager string) map[string]sandbox.Command {
	verbs := map[string]string{
		"install": "install", "add": "install", "remove": "remove", "purge": "remove", "del": "remove",
		"dist-upgrade": "upgrade", "upgrade": "upgrade", "update": "upgrade", "refresh": "refresh", "clean": "clean",
	}
	if manager == "apt-get" || manager == "apk" {
		verbs["update"] = "refresh"
	}
	all := map[string]sandbox.Command{manager: s.manager(verbs)}
	switch manager {
	case "apt-get":
		all["dpkg-query"] = s.query(last, "installed %s\n", "%s %s\n")
	case "apk":
		change := all["apk"]
		list := s.query(func([]string) string { return "" }, "", "%s-%s\n")
		all["apk"] = func(ctx context.Context, p *sandbox.Process) int {
			if p.Args[1] == "info" {
				return list(ctx, p)
			}
			return change(ctx, p)
		}
	default:
		all["rpm"] = s.query(func(args []string) string {
			if args[1] == "-qa" || args[1] == "--import" {
				return ""
			}
			return last(args)
		}, "%s\n", "%s-%s\n")
	}
	return all
}

func TestPackages(t *testing.T) {
	change := provision.Packages{Install: []string{"nginx=1.24*", "curl", "git"}, Remove: []string{"telnet", "absent"}, Purge: true, NoRecommends: true, Clean: true}
	const lock = "-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o APT::Cmd::Pattern-Only=true -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
	for manager, want := range map[string]struct{ first, second, upgrade []string }{
		"apt-get": {
			[]string{
				"apt-get -q -y " + lock + " -o APT::Update::Error-Mode=any update",
				"apt-get -q -y " + lock + " --no-install-recommends install --allow-downgrades nginx=1.24* curl",
				"apt-get -q -y " + lock + " purge telnet",
				"apt-get -q -y " + lock + " clean",
			},
			[]string{"apt-get -q -y " + lock + " clean"},
			[]string{"apt-get -q -y " + lock + " -o APT::Update::Error-Mode=any update", "apt-get -q -y " + lock + " dist-upgrade"},
		},
		"dnf": {
			[]string{
				"dnf -y --setopt=install_weak_deps=False install nginx-1.24* curl",
				"dnf -y --setopt=install_weak_deps=False remove telnet",
				"dnf clean all",
			},
			[]string{"dnf clean all"},
			[]string{"dnf -y upgrade"},
		},
		"yum": {
			[]string{
				"yum -y --setopt=install_weak_deps=False --setopt=skip_missing_names_on_install=False install nginx-1.24* curl",
				"yum -y --setopt=install_weak_deps=False --setopt=skip_missing_names_on_install=False remove telnet",
				"yum clean all",
			},
			[]string{"yum clean all"},
			[]string{"yum -y --setopt=skip_missing_names_on_install=False upgrade"},
		},
		"zypper": {
			[]string{
				"zypper --non-interactive refresh",
				"zypper --non-interactive install --auto-agree-with-licenses --no-recommends --oldpackage nginx=1.24 curl",
				"zypper --non-interactive remove telnet",
				"zypper --non-interactive clean --all",
			},
			[]string{"zypper --non-interactive clean --all"},
			[]string{"zypper --non-interactive refresh", "zypper --non-interactive update --auto-agree-with-licenses"},
		},
		"apk": {
			[]string{"apk --wait 300 update", "apk --wait 300 add nginx~1.24 curl", "apk --wait 300 del telnet"},
			nil,
			[]string{"apk --wait 300 update", "apk --wait 300 upgrade"},
		},
	} {
		t.Run(manager, func(t *testing.T) {
			s := &store{installed: map[string]string{"telnet": "1.0-r1", "git": "1.0-r1", "nginx": "1.18-r1"}}
			m, h := embedded(t, sandbox.Options{Commands: s.commands(manager)})
			writeFiles(t, h, map[string]string{"/var/lib/apt/lists/old": "x", "/var/cache/apk/old": "x"})
			p := change
			p.Install = slices.Clone(p.Install)
			if manager == "zypper" {
				p.Install[0] = "nginx=1.24"
			}
			provisionTwice(t, m, p, "changed installed "+p.Install[0]+" curl, removed telnet")
			if diff := cmp.Diff(append(want.first, want.second...), s.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			wantLeft := map[string]string{"nginx": "1.24-r1", "curl": "2.0-r1", "git": "1.0-r1"}
			if diff := cmp.Diff(wantLeft, s.installed); diff != "" {
				t.Errorf("installed (-want +got):\n%s", diff)
			}
			for _, dir := range map[string][]string{"apt-get": {"/var/lib/apt/lists"}, "apk": {"/var/cache/apk"}}[manager] {
				if _, err := h.FS().Stat(path.Join(dir, "old")); err == nil {
					t.Errorf("%s is not empty", dir)
				}
			}
			s.calls = nil
			provisionTwice(t, m, provision.Packages{Upgrade: true}, "changed versions")
			if diff := cmp.Diff(append(want.upgrade, want.upgrade...), s.calls); diff != "" {
				t.Errorf("upgrade calls (-want +got):\n%s", diff)
			}
		})
	}
}

const armored = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nit's a key\n-----END PGP PUBLIC KEY BLOCK-----\n"

func TestPackagesRepositories(t *testing.T) {
	keys := fstest.MapFS{"binary.gpg": {Data: []byte("\x00\x01binary'\xff")}}
	p := provision.Packages{Repositories: []provision.Repository{
		{Name: "one", URL: "https://example.com/one", Key: armored},
		{Name: "two", URL: "https://example.com/two", Suite: "stable", Components: []string{"main", "extra"}, KeyFile: "binary.gpg", FS: keys},
	}}
	for manager, want := range map[string]map[string]string{
		"apt-get": {
			"/etc/apt/sources.list.d/one.sources": "Types: deb\nURIs: https://example.com/one\nSuites: noble\nComponents: main\nSigned-By: /etc/apt/keyrings/one.asc\n",
			"/etc/apt/keyrings/one.asc":           armored,
			"/etc/apt/sources.list.d/two.sources": "Types: deb\nURIs: https://example.com/two\nSuites: stable\nComponents: main extra\nSigned-By: /etc/apt/keyrings/two.gpg\n",
			"/etc/apt/keyrings/two.gpg":           "\x00\x01binary'\xff",
		},
		"dnf": {
			"/etc/yum.repos.d/one.repo":        "[one]\nname=one\nbaseurl=https://example.com/one\nenabled=1\ngpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-one\n",
			"/etc/pki/rpm-gpg/RPM-GPG-KEY-one": armored,
			"/etc/pki/rpm-gpg/RPM-GPG-KEY-two": "\x00\x01binary'\xff",
			"/etc/yum.repos.d/two.repo":        "[two]\nname=two\nbaseurl=https://example.com/two\nenabled=1\ngpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-two\n",
		},
		"zypper": {
			"/etc/zypp/repos.d/one.repo":       "[one]\nname=one\nbaseurl=https://example.com/one\nenabled=1\ngpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-one\n",
			"/etc/pki/rpm-gpg/RPM-GPG-KEY-one": armored,
		},
		"apk": {
			"/etc/apk/repositories":     "https://example.com/alpine\nhttps://example.com/one\nhttps://example.com/two\n",
			"/etc/apk/keys/one.rsa.pub": armored,
		},
	} {
		t.Run(manager, func(t *testing.T) {
			s := &store{installed: map[string]string{}}
			m, h := embedded(t, sandbox.Options{Commands: s.commands(manager)})
			writeFiles(t, h, map[string]string{
				"/etc/apk/repositories": "https://example.com/alpine\n",
				"/etc/os-release":       readDisk(t, h, "/etc/os-release") + "VERSION_CODENAME=noble\n",
			})
			for range 2 {
				if _, err := bakeMessages(t, m, p); err != nil {
					t.Fatal(err)
				}
			}
			for name, text := range want {
				if got := readDisk(t, h, name); got != text {
					t.Errorf("content of %s = %q, want %q", name, got, text)
				}
			}
			refreshed := 0
			for _, call := range s.calls {
				if strings.HasSuffix(call, "update") || strings.HasSuffix(call, "refresh") {
					refreshed++
				}
			}
			if want := map[string]int{"apt-get": 1, "zypper": 1, "apk": 1}[manager]; refreshed != want {
				t.Errorf("package lists fetched %d times, want %d", refreshed, want)
			}
		})
	}
}

// A failed call ends the script, but informational statuses of zypper do not.
func TestPackagesExitStatus(t *testing.T) {
	for name, test := range map[string]struct {
		manager, verb string
		status        int
		p             provision.Packages
		calls         int
		fails         bool
	}{
		"no lists":          {"apt-get", "update", 100, provision.Packages{}, 1, true},
		"lists not wanted":  {"apt-get", "update", 100, provision.Packages{NoRefresh: true}, 1, false},
		"not installed":     {"apt-get", "install", 100, provision.Packages{Remove: []string{"telnet"}}, 2, true},
		"reboot advised":    {"zypper", "install", 102, provision.Packages{}, 2, false},
		"manager restarted": {"zypper", "install", 103, provision.Packages{}, 3, true}, // the second call fails again
		"zypper fails":      {"zypper", "install", 104, provision.Packages{}, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &store{installed: map[string]string{"telnet": "1.0-r1"}}
			commands := s.commands(test.manager)
			done := commands[test.manager]
			commands[test.manager] = func(ctx context.Context, p *sandbox.Process) int {
				if status := done(ctx, p); status != 0 || !slices.Contains(p.Args, test.verb) {
					return status
				}
				return test.status
			}
			m, h := embedded(t, sandbox.Options{Commands: commands})
			// The shell must not expand the pattern to this file.
			writeFiles(t, h, map[string]string{"/home/ubuntu/x=1.24": ""})
			test.p.Retry.Attempts = 1
			if test.p.Install = []string{"x=1.24*"}; test.manager == "zypper" {
				test.p.Install = []string{"x"}
			}
			_, err := bakeMessages(t, m, test.p)
			if (err != nil) != test.fails || len(s.calls) != test.calls {
				t.Errorf("Provision() = %v after %q, want error: %v after %d calls", err, s.calls, test.fails, test.calls)
			}
			if test.manager == "apt-get" && !test.fails && !strings.HasSuffix(s.calls[0], " x=1.24*") {
				t.Errorf("calls = %q, want the pattern unexpanded", s.calls)
			}
		})
	}
}

func TestPackagesNoManager(t *testing.T) {
	m, _ := embedded(t, sandbox.Options{Missing: []string{"apt-get"}})
	_, err := bakeMessages(t, m, provision.Packages{Install: []string{"nginx"}})
	var exit *bake.ExitError
	if !errors.As(err, &exit) || !strings.Contains(err.Error(), "no supported package manager found") {
		t.Errorf("Provision() = %v, want an *ExitError", err)
	}
}

// A lock or a failed mirror is retried, a missing package is not.
func TestPackagesRetry(t *testing.T) {
	locked := baketest.Reply{Status: 100, Stderr: "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)\n"}
	broken := baketest.Reply{Status: 100, Stderr: "E: Failed to fetch http://example.com/x  503\n"}
	missing := baketest.Reply{Status: 100, Stderr: "E: Unable to locate package nosuch\n"}
	times := func(r baketest.Reply, n int) baketest.Reply { r.Times = n; return r }
	for name, test := range map[string]struct {
		p       provision.Packages
		replies []baketest.Reply
		took    time.Duration
		calls   int
		want    string
	}{
		"lock":          {provision.Packages{}, []baketest.Reply{times(locked, 20), {}}, 100 * time.Second, 21, ""},
		"lock for long": {provision.Packages{LockTimeout: time.Minute}, []baketest.Reply{locked}, time.Minute, 13, "package manager locked by another process for 1m0s: exit status 100"},
		"mirror":        {provision.Packages{}, []baketest.Reply{times(broken, 2), {}}, 15 * time.Second, 3, ""},
		"mirror dead":   {provision.Packages{}, []baketest.Reply{broken}, 15 * time.Second, 3, "503"},
		"own retry":     {provision.Packages{Retry: bake.Retry{Attempts: 2, Delay: time.Minute}}, []baketest.Reply{broken}, time.Minute, 2, "503"},
		"missing":       {provision.Packages{}, []baketest.Reply{missing}, 0, 1, "Unable to locate"},
		"no command":    {provision.Packages{}, []baketest.Reply{{Status: 127, Stderr: "sh: 50: dpkg-query: not found\n"}}, 0, 1, "dpkg-query: not found"},
		"lost":          {provision.Packages{}, []baketest.Reply{{Err: bake.ErrDisconnected}}, 0, 1, "lost"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := baketest.NewMachine(nil)
				for _, r := range test.replies {
					m.OnPrefix("# packages: install x", r)
				}
				test.p.Install = []string{"x"}
				start := time.Now()
				err := test.p.Provision(t.Context(), m)
				if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
					t.Errorf("Provision() = %v, want %q", err, test.want)
				}
				if took := time.Since(start); took != test.took || len(m.Calls()) != test.calls {
					t.Errorf("%d calls in %v, want %d in %v", len(m.Calls()), took, test.calls, test.took)
				}
			})
		})
	}
}

func TestPackagesValidate(t *testing.T) {
	invalid(t, provision.Packages{}, []string{"Packages: nothing to do"})
	invalid(t, provision.Packages{
		Install: []string{"a b", "-o=x", "x=", "same", "$(id)"}, Remove: []string{"same", "/a", ""},
		LockTimeout: -1, Retry: bake.Retry{Delay: -1},
		Repositories: []provision.Repository{
			{Name: "../x", URL: "nowhere", InsecureUnsigned: true},
			{Name: "x", URL: "http://x/ y", Suite: "a b", Key: "k", KeyFile: "f"},
			{Name: "x", URL: "http://x", KeyFile: "missing", FS: fstest.MapFS{}},
			{Name: "x", URL: "http://x", Suite: "./", Components: []string{"main"}, Key: "x", FS: fstest.MapFS{}},
		},
	}, []string{
		"Install[0]", "Install[1]", "Install[2]", "Install[3]: same is also in Remove", "Install[4]", "Remove[1]", "Remove[2]",
		"Repositories[0].Name", "Repositories[0].URL", "Repositories[1].URL", "Repositories[1]: \"a b\"", "Repositories[1]: exactly one",
		"Repositories[2].KeyFile", "Repositories[3].Components", "Repositories[3].FS", "LockTimeout", "Retry",
	})
	invalid(t, provision.Packages{Install: []string{"nginx-"}}, []string{"Packages.Install[0]: invalid package name \"nginx-\": apt-get would remove"})
	invalid(t, provision.Packages{Install: []string{"g++", "libc6:i386=2.*", "@development", "/tmp/x_1.2~3.deb"}, Purge: true}, []string{"Packages.Purge"})
}
