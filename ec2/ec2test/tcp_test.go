package ec2test_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// OpenSSH's client can log in to an instance's address with a key pair created
// by EC2.
func TestOpenSSHClient(t *testing.T) {
	program := testenv.Need(t, "ssh")
	if !loopbackRange() {
		t.Skip("needs all of 127.0.0.0/8 as loopback addresses")
	}
	srv, c := start(t, &ec2test.Options{Listen: true, Port: 42223})
	openGroup(t, c)
	key := must(c.CreateKeyPair(t.Context(), &awsec2.CreateKeyPairInput{KeyName: aws.String("plain"), KeyType: "ed25519"}))(t)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(*key.KeyMaterial), 0o600); err != nil {
		t.Fatal(err)
	}
	inst := run(t, c, *ubuntu(t, c).ImageId, func(in *awsec2.RunInstancesInput) { in.KeyName = aws.String("plain") })
	host := *describe(t, c, *inst.InstanceId).PublicIpAddress
	conn := must(srv.Dial(t.Context(), "tcp", host+":22"))(t) // waits for the boot
	_ = conn.Close()

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out []byte
	var err error
	for range 20 {
		out, err = exec.CommandContext(ctx, program, "-F", "none", "-i", file, "-p", "42223", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
			"-o", "UserKnownHostsFile="+filepath.Join(t.TempDir(), "hosts"), "-o", "LogLevel=ERROR", "ubuntu@"+host, "echo from $(whoami)").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "refused") {
			break
		}
		time.Sleep(50 * time.Millisecond) // the port opens just after the boot
	}
	if err != nil || strings.TrimSpace(string(out)) != "from ubuntu" {
		t.Errorf("ssh = %q, %v, want from ubuntu", out, err)
	}
}
