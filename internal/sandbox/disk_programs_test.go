package sandbox_test

import (
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// TestProgramsAreFiles checks that what lists, tests and owns programs agrees with
// what runs them.
func TestProgramsAreFiles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		facts       sandbox.Facts
		script, out string
	}{
		{sandbox.Facts{}, "command -v ls awk useradd; which -a ls; readlink -f /bin/sh /usr/bin/awk; ls -d /bin /sbin", "/usr/bin/ls\n/usr/bin/awk\n/usr/sbin/useradd\n/usr/bin/ls\n/bin/ls\n/usr/bin/dash\n/usr/bin/mawk\n/bin\n/sbin\n"},
		{sandbox.Facts{}, "dpkg -S /usr/bin/find; dpkg -L grep | sort; stat -c '%a %U' /usr/bin/passwd /etc/shadow; find / -xdev -perm -4000 -type f | wc -l", "findutils: /usr/bin/find\n/usr/bin/egrep\n/usr/bin/fgrep\n/usr/bin/grep\n/usr/bin/rgrep\n4755 root\n640 root\n9\n"},
		{sandbox.Facts{}, "[ -x /usr/bin/git ] && echo there; git --version; echo $?; rm /usr/bin/wget; wget; echo $?; cp /bin/echo /tmp/mine; /tmp/mine a b", "there\n127\n127\na b\n"},
		{sandbox.Facts{}, "apt-get remove -qq -y jq >/dev/null; command -v jq || echo gone; [ -e /usr/bin/jq ] || echo removed", "gone\nremoved\n"},
		{sandbox.Facts{Distro: "debian"}, "id admin; grep -c . /etc/apt/sources.list.d/debian.sources; grep ^_apt /etc/passwd; locale-gen en_US.UTF-8 >/dev/null; locale -a; update-locale LANG=en_US.UTF-8; cat /etc/default/locale", "uid=1000(admin) gid=1000(admin) groups=1000(admin),4(adm),20(dialout),24(cdrom),25(floppy),27(sudo),29(audio),30(dip),44(video),46(plugdev)\n5\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\nC\nC.utf8\nPOSIX\nen_US.utf8\nLANG=en_US.UTF-8\n"},
		{sandbox.Facts{Distro: "amzn"}, "readlink -f /bin/sh; rpm -qf /usr/bin/find | cut -d- -f1; command -v dnf apt-get; id ec2-user; stat -c %a /etc/shadow; ls /etc/yum.repos.d; localectl set-locale LANG=de_DE.UTF-8; cat /etc/locale.conf; adduser -m x && id -u x; logger hi; command -v gpg", "/usr/bin/bash\nfindutils\n/usr/bin/dnf\nuid=1000(ec2-user) gid=1000(ec2-user) groups=1000(ec2-user),4(adm),10(wheel),190(systemd-journal)\n0\namazonlinux.repo\nLANG=de_DE.UTF-8\n1001\n/usr/bin/gpg\n"},
		{sandbox.Facts{Distro: "rhel", Version: "9"}, "grep -c '^#\\?PermitRootLogin' /etc/ssh/sshd_config; ls /etc/yum.repos.d; command -v nmcli; getent group wheel | cut -d: -f1; grep SELINUX= /etc/selinux/config", "1\nredhat.repo\n/usr/bin/nmcli\nwheel\nSELINUX=enforcing\n"},
		{sandbox.Facts{}, "sed -i 's/^#PermitRootLogin.*/PermitRootLogin no/; s/^#MaxAuthTries 6/MaxAuthTries 3/' /etc/ssh/sshd_config; grep -cE '^(PermitRootLogin no|MaxAuthTries 3)$' /etc/ssh/sshd_config; sed -i 's/^PASS_MAX_DAYS.*/PASS_MAX_DAYS 90/' /etc/login.defs; grep -c '^PASS_MAX_DAYS 90' /etc/login.defs; sed -i 's/#SystemMaxUse=/SystemMaxUse=100M/' /etc/systemd/journald.conf; grep Max /etc/systemd/journald.conf | head -1", "2\n1\nSystemMaxUse=100M\n"},
	} {
		got := run(t, boot(t, sandbox.Options{Facts: c.facts}), sandbox.Exec{Line: c.script})
		if got.out != c.out {
			t.Errorf("%+v: %s\ngot status %d, output\n%serrors\n%swant output\n%s", c.facts, c.script, got.status, got.out, got.err, c.out)
		}
	}
}

// TestEveryProgramHasPackage runs through all programs of each distribution.
func TestEveryProgramHasPackage(t *testing.T) {
	t.Parallel()
	for distro, query := range map[string]string{"ubuntu": "cat /var/lib/dpkg/info/*.list", "debian": "cat /var/lib/dpkg/info/*.list", "amzn": "cat /var/lib/rpm/lists/*.list", "rhel": "cat /var/lib/rpm/lists/*.list"} {
		h := boot(t, sandbox.Options{Facts: sandbox.Facts{Distro: distro}})
		got := run(t, h, sandbox.Exec{Line: `for f in /usr/bin/* /usr/sbin/*; do [ -x "$f" ] || echo "$f cannot be executed"; done; ls -d /usr/bin/* /usr/sbin/* | sort >/tmp/a; ` + query + ` | grep bin/ | sort >/tmp/b; comm -3 /tmp/a /tmp/b; wc -l </tmp/a`})
		if lines := strings.Split(strings.TrimSpace(got.out), "\n"); len(lines) != 1 || len(lines[0]) < 3 || got.err != "" {
			t.Errorf("%s: got %q, errors %q, want only the number of several hundred programs", distro, got.out, got.err)
		}
	}
}

func TestProgramThatCannotRun(t *testing.T) {
	t.Parallel()
	h := boot(t, sandbox.Options{})
	if got := run(t, h, sandbox.Exec{Line: "python3 -c 'print(1)'; printf '#!/usr/bin/perl\\n' >/x; chmod +x /x; /x"}); got.status != 127 || !strings.Contains(got.err, "python3: this test machine cannot run this program") {
		t.Errorf("python3 = %+v, want status 127 and the reason", got)
	}
	h = boot(t, sandbox.Options{AnyCommand: true})
	if got := run(t, h, sandbox.Exec{Line: "git clone x"}); got.status != 0 {
		t.Errorf("git with AnyCommand = %+v, want success", got)
	}
	h = boot(t, sandbox.Options{Missing: []string{"tar"}})
	if got := run(t, h, sandbox.Exec{Line: "command -v tar; tar"}); got.status != 127 || got.out != "" {
		t.Errorf("a missing tar = %+v, want not found", got)
	}
}
