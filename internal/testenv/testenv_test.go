package testenv_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// outcome is a testing.TB that remembers how Need ended it.
type outcome struct {
	testing.TB
	skipped, failed string
}

func (o *outcome) Skipf(format string, args ...any) {
	o.skipped = fmt.Sprintf(format, args...)
	panic(o)
}

func (o *outcome) Fatalf(format string, args ...any) {
	o.failed = fmt.Sprintf(format, args...)
	panic(o)
}

func TestNeed(t *testing.T) {
	present := t.TempDir()
	if err := os.WriteFile(filepath.Join(present, "oven"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, require, tool string
		skipped, failed     string
	}{
		{name: "present", tool: "oven"},
		{name: "present and required", require: "oven", tool: "oven"},
		{name: "absent", tool: "kiln", skipped: "needs kiln"},
		{name: "absent while another is required", require: "oven,kilns", tool: "kiln", skipped: "needs kiln"},
		{name: "absent and required", require: "oven, kiln", tool: "kiln", failed: "kiln is required by BAKESTONE_REQUIRE"},
		{name: "no interpreter for moto", require: "moto", tool: "moto", failed: "moto is required"},
		{name: "no client", require: "awscli", tool: "awscli", failed: "awscli is required"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("PATH", present)
			t.Setenv("BAKESTONE_PYTHON", "")
			t.Setenv("BAKESTONE_REQUIRE", test.require)
			got := &outcome{TB: t}
			func() {
				defer func() {
					if r := recover(); r != nil && r != any(got) {
						panic(r)
					}
				}()
				if path := testenv.Need(got, test.tool); path != filepath.Join(present, "oven") {
					t.Errorf("Need = %q", path)
				}
			}()
			if !strings.Contains(got.skipped, test.skipped) || (got.skipped == "") != (test.skipped == "") {
				t.Errorf("skipped with %q, want %q", got.skipped, test.skipped)
			}
			if !strings.Contains(got.failed, test.failed) || (got.failed == "") != (test.failed == "") {
				t.Errorf("failed with %q, want %q", got.failed, test.failed)
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
		t.Errorf("the command said %q, %v; want %q", out, err, want)
	}
	files, err := sftp.NewClient(client)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	if _, err := files.Stat(filepath.Join(server.Dir, "client_key")); err != nil {
		t.Errorf("SFTP: %v", err)
	}
	if key, err := ssh.ParsePrivateKey(server.ClientKeyPEM); err != nil {
		t.Errorf("ClientKeyPEM: %v", err)
	} else if got, want := ssh.FingerprintSHA256(key.PublicKey()), ssh.FingerprintSHA256(server.Signer.PublicKey()); got != want {
		t.Errorf("ClientKeyPEM is %s, Signer %s", got, want)
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
	// The first server's key and host key open the second server too.
	first.Addr = server.Addr
	client := dial(t, first)
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := session.Output("echo free"); err != nil || string(out) != "forced\n" {
		t.Errorf("the command said %q, %v", out, err)
	}
	if files, err := sftp.NewClient(client); err == nil {
		_ = files.Close()
		t.Error("SFTP works without its subsystem")
	}
}

// A session's processes end with Drop, those that left its process group too;
// the server takes another login, and after Stop and Start one more.
func TestSSHDDropAndRestart(t *testing.T) {
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("sessions are found in /proc")
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
	running := awaitPIDs(t, pids, 2)
	server.Drop()
	err = session.Wait()
	if missing := (*ssh.ExitMissingError)(nil); !errors.As(err, &missing) {
		t.Errorf("the client learnt how the dropped session ended: %v", err)
	}
	for _, pid := range running {
		if alive(pid) {
			t.Errorf("process %d outlived Drop", pid)
		}
	}
	dial(t, server)

	server.Stop()
	var dialer net.Dialer
	if conn, err := dialer.DialContext(t.Context(), "tcp", server.Addr); err == nil {
		_ = conn.Close()
		t.Error("the stopped server takes connections")
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
		t.Errorf("aws said %q, %v", out, err)
	}
	_, err = aws("ec2", "describe-images", "--image-ids", "ami-0123456789abcdef0")
	refused, isRefused := errors.AsType[*testenv.AWSError](err)
	if !isRefused || refused.Status == 0 || !strings.Contains(refused.Stderr, "InvalidAMIID.NotFound") || !strings.Contains(err.Error(), "describe-images") {
		t.Errorf("an unknown image: %v", err)
	}
	if _, err := aws("ec2", "describe-nothing"); !errors.As(err, &refused) || !strings.Contains(refused.Stderr, "usage: ") {
		t.Errorf("an unknown command: %v", err)
	}
	// A region is that of its command.
	for _, region := range []string{"us-west-2", "eu-west-1"} {
		args := []string{"ec2", "describe-availability-zones", "--query", "AvailabilityZones[0].RegionName", "--output", "text"}
		if region == "us-west-2" {
			args = append(args, "--region", region)
		}
		if out, err := aws(args...); err != nil || strings.TrimSpace(out) != region {
			t.Errorf("in %s aws said %q, %v", region, out, err)
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

func awaitPIDs(t *testing.T, path string, n int) []int {
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
	t.Fatal("the session has not started its processes")
	return nil
}

func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// A guest is changed without a trace in another one.
func TestGuest(t *testing.T) {
	out := func(server *testenv.Server, command string) string {
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
	if got := out(one, "sudo -n sh -c 'id -u; echo changed >/etc/motd; rm /etc/hostname'"); got != "0" {
		t.Errorf("sudo said %q", got)
	}
	if got := out(two, "ls /etc/hostname; cat /etc/motd; sudo -n true 2>/dev/null || echo asks"); !strings.HasPrefix(got, "/etc/hostname") || strings.Contains(got, "changed") || !strings.HasSuffix(got, "asks") {
		t.Errorf("the other guest said %q", got)
	}
	if got := out(two, "echo "+testenv.GuestPassword+" | sudo -S -p '' id -u"); got != "0" {
		t.Errorf("sudo with the password said %q", got)
	}
	if got := out(one, "ps -e -o comm= | sort -u | tr '\\n' ' '"); got != "ps sh sort sshd tr" && got != "bash ps sort sshd tr" {
		t.Errorf("it sees the processes %q", got)
	}
}
