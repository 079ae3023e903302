package sandbox_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// TestPackageManagers installs, queries and removes packages as each distribution
// does.
func TestPackageManagers(t *testing.T) {
	t.Parallel()
	known := map[string]sandbox.Package{
		"tool": {Version: "2.1-3", Files: map[string]string{"/usr/bin/tool": "#!/bin/sh\necho tool \"$@\"\n", "/etc/tool.conf": "x=1\n"}, Requires: []string{"libtool"}},
		"gone": {Absent: true},
	}
	for _, c := range []struct{ distro, script, out, err string }{
		{"ubuntu", `apt-get update -qq; apt-get install -y tool nginx=1.24* >/dev/null; tool a; dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\n' tool libtool nginx`,
			"Reading package lists... Done\ntool a\ntool 2.1-3 installed\nlibtool 1.0-1 installed\nnginx 1.24 installed\n", ""},
		{"ubuntu", `apt-get install -y gone; echo $?; apt-get install -y tool=9; echo $?; apt-get frob; echo $?; apt-get install --frob x; echo $?`, "100\n100\n100\n100\n", "E: Unable to locate package gone\nE: Version '9' for 'tool' was not found\nE: Invalid operation frob\n"},
		{"ubuntu", `su ubuntu -c 'apt-get install -y tool'; echo $?; dpkg -s tool; echo $?; dpkg -l tool >/dev/null; echo $?`, "100\n1\n1\n", "are you root?"},
		{"ubuntu", `apt-get install -y tool >/dev/null; apt-mark hold tool; dpkg --get-selections; dpkg -L tool | sort; dpkg -S /etc/tool.conf; apt-get purge -y tool >/dev/null; ls /usr/bin/tool; dpkg -s tool`, "tool set on hold.\nlibtool\tinstall\ntool\thold\n/etc/tool.conf\n/usr/bin/tool\ntool: /etc/tool.conf\n", "No such file"},
		{"ubuntu", `touch a_1.2-1_amd64.deb; apt-get install -y ./a_1.2-1_amd64.deb >/dev/null; dpkg -i a_1.2-1_amd64.deb; dpkg-query -W; apt-get install ./b.deb`, "a\t1.2-1\n", "Unsupported file ./b.deb"},
		{"ubuntu", `for v in '1.2 lt 1.10' '1.0~rc1 lt 1.0' '2 gt 10' '1.0 eq 1.0' '1.0a gt 1.0'; do dpkg --compare-versions $v; echo $?; done; command -v dnf rpm apk zypper`, "0\n0\n1\n0\n0\n", ""},
		{"amzn", `dnf install -y tool nginx-1.24* >/dev/null; rpm -q --qf '%{VERSION}-%{RELEASE}\n' tool; rpm -q nothing; echo $?; rpm -qa; dnf remove -y tool; rpm -q --quiet tool; echo $?; command -v apt-get dpkg`,
			"2.1-3\npackage nothing is not installed\n1\nlibtool-1.0-1.x86_64\nnginx-1.24.x86_64\ntool-2.1-3.x86_64\nComplete!\n1\n", ""},
		{"rocky", `dnf install -y gone; echo $?; dnf install tool </dev/null; echo; echo $?; yes | yum install tool >/dev/null; rpm -q tool; su rocky -c 'yum -y install x'; dnf list installed tool`,
			"1\nIs this ok [y/N]: \n0\ntool-2.1-3.x86_64\nInstalled Packages\ntool.x86_64  2.1-3  @System\n", "No match for argument: gone\nError: Unable to find a match: gone\ndnf: Operation aborted.\n"},
		{"sles", `zypper --non-interactive install tool=2.1; rpm -q tool; zypper -n in gone; echo $?; zypper -n rm tool; rpm -q tool`, "tool-2.1-3.x86_64\n104\npackage tool is not installed\n", "Package 'gone' not found.\n"},
		{"alpine", `apk add --no-cache tool~2 >/dev/null; apk info -v; apk info -e tool; apk add gone; echo $?; apk del tool >/dev/null; apk info -e tool; echo $?`, "libtool-1.0-r0\ntool-2.1-3\ntool\n1\n1\n", "gone (no such package)"},
	} {
		h := boot(t, sandbox.Options{Facts: sandbox.Facts{Distro: c.distro}, Login: map[string]string{"rocky": "rocky"}[c.distro], Packages: known})
		for _, db := range []string{"/var/lib/dpkg/status", "/var/lib/rpm/packages", "/lib/apk/db/installed"} {
			if err := h.FS().RemoveAll(db); err != nil {
				t.Fatal(err)
			}
		}
		got := run(t, h, sandbox.Exec{Line: c.script})
		if got.out != c.out || !strings.Contains(got.err, c.err) {
			t.Errorf("%s: %s:\noutput %q\n  want %q\nerrors %q\n  want %q", c.distro, c.script, got.out, c.out, got.err, c.err)
		}
		if n := strings.Count(h.Console(), "only records packages"); n > 1 {
			t.Errorf("%s: the console says %d times that packages are only recorded, want at most once", c.distro, n)
		}
	}
}

// TestRegisteredManagerReplaces: a registered package manager of another
// distribution hides the simulated ones, and a registered one replaces its like.
func TestRegisteredManagerReplaces(t *testing.T) {
	t.Parallel()
	h := boot(t, sandbox.Options{Commands: map[string]sandbox.Command{"dnf": nothing}})
	if got := run(t, h, sandbox.Exec{Line: "command -v apt-get dpkg-query; command -v dnf"}); got.out != "/usr/bin/dnf\n" {
		t.Errorf("with dnf registered: %+v, want only dnf", got)
	}
}

// TestCommandRuns: OnCommand sees what ran, with user, directory and status, and
// AnyCommand lets what is missing succeed.
func TestCommandRuns(t *testing.T) {
	t.Parallel()
	var log []string
	h := boot(t, sandbox.Options{AnyCommand: true, OnCommand: func(c sandbox.CommandRun) {
		log = append(log, c.User+" "+c.Dir+" "+strings.Join(c.Args, " "))
	}})
	log = nil
	got := run(t, h, sandbox.Exec{Line: "cd /tmp; terraform apply && sudo -u root helm install; command -v helm || /opt/missing; false", User: "ubuntu"})
	if got.status != 1 || !strings.Contains(got.err, "/opt/missing: not found") || strings.Contains(got.err, "helm") {
		t.Errorf("got %+v, want only /opt/missing to be missing", got)
	}
	want := []string{"ubuntu /tmp terraform apply", "root /tmp helm install", "ubuntu /tmp sudo -u root helm install", "ubuntu /tmp /opt/missing"}
	if have := slices.DeleteFunc(log, func(s string) bool { return strings.Contains(s, "/bin/sh") }); !slices.Equal(have, want) {
		t.Errorf("commands %q, want %q", have, want)
	}
}
