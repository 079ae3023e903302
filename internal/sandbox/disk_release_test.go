package sandbox_test

import (
	"encoding/binary"
	"io"
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/internal/sandbox"
)

func TestDistributions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		facts       sandbox.Facts
		script, out string
		status      int
	}{
		{sandbox.Facts{}, `. /etc/os-release; echo $ID $ID_LIKE $VERSION_ID $VERSION_CODENAME "$NAME|$VERSION"; . /etc/lsb-release; echo $DISTRIB_CODENAME "$DISTRIB_DESCRIPTION"`, "ubuntu debian 24.04 noble Ubuntu|24.04.2 LTS (Noble Numbat)\nnoble Ubuntu 24.04 LTS\n", 0},
		{sandbox.Facts{Version: "22.04"}, "lsb_release -cs; lsb_release -is -rs; lsb_release -a; cat /etc/debian_version", "jammy\nUbuntu\n22.04\nDistributor ID:\tUbuntu\nDescription:\tUbuntu 22.04 LTS\nRelease:\t22.04\nCodename:\tjammy\nbookworm/sid\n", 0},
		{sandbox.Facts{Arch: "aarch64"}, "dpkg --print-architecture; uname -m", "arm64\naarch64\n", 0},
		{sandbox.Facts{Distro: "debian"}, `. /etc/os-release; echo $ID $VERSION_CODENAME "$NAME|$PRETTY_NAME"; cat /etc/debian_version; dpkg --print-architecture; lsb_release -sc`, "debian trixie Debian GNU/Linux|Debian GNU/Linux 13 (trixie)\n13.1\namd64\ntrixie\n", 0},
		{sandbox.Facts{Distro: "amzn"}, `. /etc/os-release; echo $ID $ID_LIKE $VERSION_ID "$NAME|$PLATFORM_ID"; cat /etc/system-release; sh -c 'a=(1 2); echo ${a[1]}'; dpkg --print-architecture`, "amzn fedora 2023 Amazon Linux|platform:al2023\nAmazon Linux release 2023 (Amazon Linux)\n2\n", 127},
		{sandbox.Facts{Distro: "rocky", Version: "9.4", Name: "Rocky Linux 9.4 (Blue Onyx)"}, `. /etc/os-release; echo "$NAME|$ID_LIKE"; cat /etc/redhat-release`, "Rocky Linux|rhel centos fedora\nRocky Linux 9.4 (Blue Onyx)\n", 0},
		{sandbox.Facts{}, "echo 'export FROM_PROFILE=yes' >/etc/profile.d/x.sh; bash -lc 'echo $FROM_PROFILE'; su - ubuntu -c 'echo $FROM_PROFILE; ls -A'; sudo -i sh -c 'echo $FROM_PROFILE'; bash -c 'echo [$FROM_PROFILE]'", "yes\nyes\n.bash_logout\n.bashrc\n.profile\nyes\n[]\n", 0},
	} {
		got := run(t, boot(t, sandbox.Options{Facts: c.facts}), sandbox.Exec{Line: c.script})
		if got.out != c.out || got.status != c.status {
			t.Errorf("%+v: %s\ngot status %d, output %q, errors %q\nwant status %d, output %q", c.facts, c.script, got.status, got.out, got.err, c.status, c.out)
		}
	}
}

func TestMissingCommandIsReported(t *testing.T) {
	t.Parallel()
	h := boot(t, sandbox.Options{Missing: []string{"apt-get"}})
	got := run(t, h, sandbox.Exec{Line: "apt-get install -y nginx; sudo apt-get update; xargs apt-get </dev/null; frobnicate"})
	if !strings.Contains(got.err, "apt-get: not found") || got.status != 127 {
		t.Errorf("apt-get: got %+v, want it not found", got)
	}
	console := h.Console()
	if n := strings.Count(console, "apt-get is not installed"); n != 1 || strings.Contains(console, "frobnicate") {
		t.Errorf("Console() = %q, want one line about apt-get and none about frobnicate", console)
	}
}

func TestSSHConnection(t *testing.T) {
	t.Parallel()
	_, c := login(t, sandbox.Options{})
	out, err := session(t, c).Output("echo $SSH_CONNECTION; echo $SSH_CLIENT")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(out), "\n")
	if len(strings.Fields(lines[0])) != 4 || len(strings.Fields(lines[1])) != 3 || strings.Contains(lines[0], ":") {
		t.Errorf("SSH_CONNECTION and SSH_CLIENT = %q, want address port address port, and three fields", out)
	}
}

// TestSFTPOpenMode opens a file as OpenSSH's scp does, with the permissions in the
// request.
func TestSFTPOpenMode(t *testing.T) {
	t.Parallel()
	h, c := login(t, sandbox.Options{})
	channel, requests, err := c.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	if ok, err := channel.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"})); !ok || err != nil {
		t.Fatal(ok, err)
	}
	call := func(kind byte, fields any) {
		t.Helper()
		body := append([]byte{kind}, ssh.Marshal(fields)...)
		if err := binary.Write(channel, binary.BigEndian, uint32(len(body))); err != nil { //nolint:gosec // a short message
			t.Fatal(err)
		}
		if _, err := channel.Write(body); err != nil {
			t.Fatal(err)
		}
		var size uint32
		if err := binary.Read(channel, binary.BigEndian, &size); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, channel, int64(size)); err != nil {
			t.Fatal(err)
		}
	}
	call(1, struct{ Version uint32 }{3})
	type open struct {
		ID                  uint32
		Name                string
		Pflags, Flags, Mode uint32
	}
	call(3, open{1, "x.sh", 0x1a, 4, 0o100755})
	call(3, open{2, "secret", 0x1a, 4, 0o100600})
	for name, want := range map[string]fs.FileMode{"x.sh": 0o755, "secret": 0o600} {
		info, err := h.FS().Stat("/home/ubuntu/" + name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("Stat(%s) = %v, %v, want mode %o", name, info, err, want)
		}
	}
}
