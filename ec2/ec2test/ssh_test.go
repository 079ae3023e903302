package ec2test_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// login generates a client key and a host key. It returns user data that installs
// them and the configuration of a client that accepts only that host key.
func login(t *testing.T) (userData string, config *ssh.ClientConfig) {
	t.Helper()
	client, host := must(sshmachine.NewKeyPair(""))(t), must(sshmachine.NewKeyPair(""))(t)
	indent := func(s string) string { return "    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ") }
	text := "#cloud-config\nssh_keys:\n  ed25519_private: |\n" + indent(host.Private.Reveal()) +
		"\n  ed25519_public: " + host.AuthorizedKey +
		"\nssh_authorized_keys:\n  - " + client.AuthorizedKey + "\n"
	return base64.StdEncoding.EncodeToString([]byte(text)), &ssh.ClientConfig{
		User: "ubuntu", Auth: []ssh.AuthMethod{ssh.PublicKeys(client.Signer)}, HostKeyCallback: ssh.FixedHostKey(host.Signer.PublicKey()),
	}
}

// connect logs in to an instance.
func connect(t *testing.T, srv *ec2test.Server, host string, config *ssh.ClientConfig) *ssh.Client {
	t.Helper()
	conn := must(srv.Dial(t.Context(), "tcp", host+":22"))(t)
	sc, chans, reqs, err := ssh.NewClientConn(conn, host+":22", config)
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(sc, chans, reqs)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// sh runs a command line and returns its output and exit status.
func sh(t *testing.T, client *ssh.Client, line string) (string, int) {
	t.Helper()
	session := must(client.NewSession())(t)
	defer session.Close()
	out, err := session.CombinedOutput(line)
	if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
		return strings.TrimSpace(string(out)), exit.ExitStatus()
	}
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.TrimSpace(string(out)), 0
}

func TestMachineOverSSH(t *testing.T) {
	srv, c := start(t, &ec2test.Options{Commands: map[string]ec2test.Command{
		"apt-get": func(_ context.Context, p *ec2test.Process) int {
			if _, err := io.WriteString(p.Stdout, "apt-get "+strings.Join(p.Args[1:], "+")+"\n"); err != nil {
				return 1
			}
			return 0
		},
	}})
	openGroup(t, c)
	data, config := login(t)
	with := func(in *awsec2.RunInstancesInput) { in.UserData = aws.String(data) }
	inst := run(t, c, *ubuntu(t, c).ImageId, with)
	client := connect(t, srv, *inst.PrivateIpAddress, config)
	for _, test := range []struct {
		line   string
		want   string
		status int
	}{
		{"whoami", "ubuntu", 0},
		{"echo $((6*7)) | sed s/4/four/", "four2", 0},
		{"apt-get install nginx", "apt-get install+nginx", 0},
		{"mkdir -p web && echo hello > web/page && cat web/page", "hello", 0},
		{"exit 3", "", 3},
		{"hostname", strings.Split(*describe(t, c, *inst.InstanceId).PrivateDnsName, ".")[0], 0},
		{"uname -m", "x86_64", 0},
		{". /etc/os-release && echo $ID $VERSION_ID", "ubuntu 24.04", 0},
	} {
		if got, status := sh(t, client, test.line); got != test.want || status != test.status {
			t.Errorf("%s: output %q, status %d, want %q, %d", test.line, got, status, test.want, test.status)
		}
	}
	if _, status := sh(t, client, "no-such-command"); status != 127 {
		t.Errorf("status of an unknown command = %d, want 127", status)
	}
	if got := must(srv.ReadFile(*inst.InstanceId, "/home/ubuntu/web/page"))(t); string(got) != "hello\n" {
		t.Errorf("ReadFile = %q, want hello", got)
	}

	// A machine booted from its image has the file and accepts another key.
	made := must(c.CreateImage(t.Context(), &awsec2.CreateImageInput{InstanceId: inst.InstanceId, Name: aws.String("page")}))(t)
	data, config = login(t)
	second := run(t, c, *made.ImageId, with)
	client = connect(t, srv, *second.PrivateIpAddress, config)
	if got, _ := sh(t, client, "cat web/page"); got != "hello" {
		t.Errorf("file in the next layer = %q, want hello", got)
	}
}

func TestShutdownOverSSH(t *testing.T) {
	srv, c := start(t, nil)
	openGroup(t, c)
	data, config := login(t)
	inst := run(t, c, *ubuntu(t, c).ImageId, func(in *awsec2.RunInstancesInput) {
		in.UserData, in.InstanceInitiatedShutdownBehavior = aws.String(data), ec2types.ShutdownBehaviorTerminate
	})
	client := connect(t, srv, *inst.PrivateIpAddress, config)
	session := must(client.NewSession())(t)
	_ = session.Run("sudo shutdown -P now") // may fail because the connection ends
	for range 6000 {
		if describe(t, c, *inst.InstanceId).State.Name == "terminated" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("instance is not terminated after its shutdown")
}

func TestRebootOverSSH(t *testing.T) {
	srv, c := start(t, nil)
	openGroup(t, c)
	data, config := login(t)
	inst := run(t, c, *ubuntu(t, c).ImageId, func(in *awsec2.RunInstancesInput) { in.UserData = aws.String(data) })
	client := connect(t, srv, *inst.PrivateIpAddress, config)
	before, _ := sh(t, client, "cat /proc/sys/kernel/random/boot_id; touch kept")
	must(c.RebootInstances(t.Context(), &awsec2.RebootInstancesInput{InstanceIds: []string{*inst.InstanceId}}))(t)
	if err := client.Wait(); err == nil {
		t.Log("Wait returned no error")
	}
	for range 6000 {
		conn, err := srv.Dial(t.Context(), "tcp", fmt.Sprint(*inst.PrivateIpAddress, ":22"))
		if err == nil {
			_ = conn.Close()
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	client = connect(t, srv, *inst.PrivateIpAddress, config)
	after, _ := sh(t, client, "cat /proc/sys/kernel/random/boot_id; ls kept")
	if before == after || !strings.HasSuffix(after, "kept") {
		t.Errorf("boot id before reboot = %q, then %q, want another and the file kept", before, after)
	}
}
