package testenv_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// A recorder is a testing.TB that records how Need ends the test.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Skipf(format string, args ...any) {
	r.skipped = fmt.Sprintf(format, args...)
	panic(r)
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	panic(r)
}

func TestNeed(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "oven"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, require, tool string
		skipped, failed     string
	}{
		{name: "found", tool: "oven"},
		{name: "found and required", require: "oven", tool: "oven"},
		{name: "missing", tool: "kiln", skipped: "needs kiln"},
		{name: "missing and another required", require: "oven,kilns", tool: "kiln", skipped: "needs kiln"},
		{name: "missing and required", require: "oven, kiln", tool: "kiln", failed: "kiln is required by BAKESTONE_REQUIRE"},
		{name: "moto without Python", require: "moto", tool: "moto", failed: "moto is required"},
		{name: "AWS client missing", require: "awscli", tool: "awscli", failed: "awscli is required"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("PATH", bin)
			t.Setenv("BAKESTONE_PYTHON", "")
			t.Setenv("BAKESTONE_REQUIRE", test.require)
			got := &recorder{TB: t}
			func() {
				defer func() {
					if r := recover(); r != nil && r != any(got) {
						panic(r)
					}
				}()
				if path, want := testenv.Need(got, test.tool), filepath.Join(bin, "oven"); path != want {
					t.Errorf("Need(%s) = %q, want %q", test.tool, path, want)
				}
			}()
			if !strings.Contains(got.skipped, test.skipped) || (got.skipped == "") != (test.skipped == "") {
				t.Errorf("Need(%s) skipped with %q, want %q", test.tool, got.skipped, test.skipped)
			}
			if !strings.Contains(got.failed, test.failed) || (got.failed == "") != (test.failed == "") {
				t.Errorf("Need(%s) failed with %q, want %q", test.tool, got.failed, test.failed)
			}
		})
	}
}

func TestSSHD(t *testing.T) {
	server := testenv.SSHD(t, nil)
	client := dial(t, server)

	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.Output("echo baked; id -un")
	if want := "baked\n" + server.User + "\n"; err != nil || string(out) != want {
		t.Errorf("command output %q, %v, want %q", out, err, want)
	}
	files, err := sftp.NewClient(client)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	if _, err := files.Stat(filepath.Join(server.Dir, "client_key")); err != nil {
		t.Errorf("Stat over SFTP: %v", err)
	}
	if key, err := ssh.ParsePrivateKey(server.ClientKeyPEM); err != nil {
		t.Errorf("ClientKeyPEM: %v", err)
	} else if got, want := ssh.FingerprintSHA256(key.PublicKey()), ssh.FingerprintSHA256(server.Signer.PublicKey()); got != want {
		t.Errorf("ClientKeyPEM has fingerprint %s, want Signer's %s", got, want)
	}
}

func TestSSHDOptions(t *testing.T) {
	first := testenv.SSHD(t, nil)
	hostKey, err := os.ReadFile(filepath.Join(first.Dir, "host_key"))
	if err != nil {
		t.Fatal(err)
	}
	server := testenv.SSHD(t, &testenv.SSHDOptions{
		AuthorizedKeys: []ssh.PublicKey{first.Signer.PublicKey()},
		HostKeyPEM:     hostKey,
		NoSFTP:         true,
		Config:         []string{"ForceCommand echo forced"},
	})
	// The second server accepts the first one's client key and has its host key.
	first.Addr = server.Addr
	client := dial(t, first)
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := session.Output("echo free"); err != nil || string(out) != "forced\n" {
		t.Errorf("command output %q, %v, want that of ForceCommand", out, err)
	}
	if files, err := sftp.NewClient(client); err == nil {
		_ = files.Close()
		t.Error("SFTP works with NoSFTP, want an error")
	}
}

// Drop also ends processes that left the session's process group. The server
// accepts logins after Drop and after Stop and Start.
func TestSSHDDropAndRestart(t *testing.T) {
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("needs /proc to find the session's processes")
	}
	testenv.Need(t, "setsid")
	server := testenv.SSHD(t, nil)
	pids := filepath.Join(server.Dir, "pids")
	session, err := dial(t, server).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start("setsid sh -c 'echo $$ >>" + pids + "; exec sleep 600' & echo $$ >>" + pids + "; exec sleep 600"); err != nil {
		t.Fatal(err)
	}
	running := waitForPIDs(t, pids, 2)
	server.Drop()
	err = session.Wait()
	if missing := (*ssh.ExitMissingError)(nil); !errors.As(err, &missing) {
		t.Errorf("session.Wait after Drop = %v, want ssh.ExitMissingError", err)
	}
	for _, pid := range running {
		if alive(pid) {
			t.Errorf("process %d is alive after Drop", pid)
		}
	}
	dial(t, server)

	server.Stop()
	var dialer net.Dialer
	if conn, err := dialer.DialContext(t.Context(), "tcp", server.Addr); err == nil {
		_ = conn.Close()
		t.Error("Dial after Stop succeeded, want an error")
	}
	server.Start(t)
	dial(t, server)
}

func TestMotoAndAWSCLI(t *testing.T) {
	t.Setenv("AWS_PROFILE", "of-the-user")
	endpoint := testenv.Moto(t)
	aws := testenv.AWSCLI(t, &testenv.AWSCLIOptions{Endpoint: endpoint, Region: "eu-west-1"})
	out, err := aws("ec2", "describe-availability-zones", "--query", "AvailabilityZones[0].RegionName", "--output", "text")
	if err != nil || strings.TrimSpace(out) != "eu-west-1" {
		t.Errorf("describe-availability-zones = %q, %v, want eu-west-1", out, err)
	}
	_, err = aws("ec2", "describe-images", "--image-ids", "ami-0123456789abcdef0")
	refused, isRefused := errors.AsType[*testenv.AWSError](err)
	if !isRefused || refused.Status == 0 || !strings.Contains(refused.Stderr, "InvalidAMIID.NotFound") || !strings.Contains(err.Error(), "describe-images") {
		t.Errorf("describe-images of an unknown image = %v, want InvalidAMIID.NotFound", err)
	}
	if _, err := aws("ec2", "describe-nothing"); !errors.As(err, &refused) || !strings.Contains(refused.Stderr, "usage: ") {
		t.Errorf("unknown command = %v, want an AWSError with the usage", err)
	}
	// --region applies only to its command.
	for _, region := range []string{"us-west-2", "eu-west-1"} {
		args := []string{"ec2", "describe-availability-zones", "--query", "AvailabilityZones[0].RegionName", "--output", "text"}
		if region == "us-west-2" {
			args = append(args, "--region", region)
		}
		if out, err := aws(args...); err != nil || strings.TrimSpace(out) != region {
			t.Errorf("describe-availability-zones in %s = %q, %v", region, out, err)
		}
	}
}

func dial(t *testing.T, server *testenv.Server) *ssh.Client {
	t.Helper()
	client, err := server.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// waitForPIDs waits until the file at path lists n process ids.
func waitForPIDs(t *testing.T, path string, n int) []int {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		text, _ := os.ReadFile(path)
		if strings.Count(string(text), "\n") < n {
			continue
		}
		var pids []int
		for field := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
		return pids
	}
	t.Fatalf("the session did not start %d processes", n)
	return nil
}

// alive reports whether a process exists and is not a zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// Changes to one guest do not affect another.
func TestGuest(t *testing.T) {
	run := func(server *testenv.Server, command string) string {
		t.Helper()
		session, err := dial(t, server).NewSession()
		if err != nil {
			t.Fatal(err)
		}
		out, err := session.CombinedOutput(command)
		if err != nil {
			t.Errorf("%s: %v", command, err)
		}
		return strings.TrimSpace(string(out))
	}
	one, two := testenv.Guest(t, nil), testenv.Guest(t, &testenv.GuestOptions{AskSudo: true})
	if got := run(one, "sudo -n sh -c 'id -u; echo changed >/etc/motd; rm /etc/hostname'"); got != "0" {
		t.Errorf("id -u with sudo = %q, want 0", got)
	}
	if got := run(two, "ls /etc/hostname; cat /etc/motd; sudo -n true 2>/dev/null || echo asks"); !strings.HasPrefix(got, "/etc/hostname") || strings.Contains(got, "changed") || !strings.HasSuffix(got, "asks") {
		t.Errorf("output of the other guest = %q, want an unchanged /etc and a sudo that asks", got)
	}
	if got := run(two, "echo "+testenv.GuestPassword+" | sudo -S -p '' id -u"); got != "0" {
		t.Errorf("id -u with sudo and the password = %q, want 0", got)
	}
	for name := range strings.FieldsSeq(run(one, "ps -e -o comm=")) {
		if !slices.Contains([]string{"bash", "ps", "sh", "sshd"}, name) {
			t.Errorf("process %q is visible in the guest, want only its own", name)
		}
	}
}
