package ec2test_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

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

// A rule for the port on which instances listen admits, a rule for port 22 does
// too, and other connections end at once.
func TestListenPortRules(t *testing.T) {
	if !loopbackRange() {
		t.Skip("needs all of 127.0.0.0/8 as loopback addresses")
	}
	const port = 42224
	srv, c := start(t, &ec2test.Options{Listen: true, Port: port})
	id := *run(t, c, *ubuntu(t, c).ImageId, nil).InstanceId
	host := *describe(t, c, id).PublicIpAddress
	_ = must(srv.DialInstance(t.Context(), id))(t).Close() // waits for the boot
	greeting := func() (string, error) {
		var conn net.Conn
		for {
			var err error
			if conn, err = new(net.Dialer).DialContext(t.Context(), "tcp", net.JoinHostPort(host, strconv.Itoa(port))); err == nil {
				break
			}
			if !errors.Is(err, syscall.ECONNREFUSED) {
				return "", err
			}
			time.Sleep(10 * time.Millisecond) // the port opens just after the boot
		}
		defer func() { _ = conn.Close() }()
		line, err := bufio.NewReader(conn).ReadString('\n')
		return line, err
	}
	if line, err := greeting(); err == nil {
		t.Errorf("connection through a closed group read %q, want an error", line)
	}
	for _, admitted := range []int32{port, 22} {
		rule := []ec2types.IpPermission{{
			IpProtocol: aws.String("tcp"), FromPort: aws.Int32(admitted), ToPort: aws.Int32(admitted),
			IpRanges: []ec2types.IpRange{{CidrIp: aws.String("127.0.0.0/8")}},
		}}
		must(c.AuthorizeSecurityGroupIngress(t.Context(), &awsec2.AuthorizeSecurityGroupIngressInput{GroupName: aws.String("default"), IpPermissions: rule}))(t)
		if line, err := greeting(); err != nil || !strings.HasPrefix(line, "SSH-2.0") {
			t.Errorf("connection with a rule for port %d read %q, %v, want SSH-2.0", admitted, line, err)
		}
		_ = must(srv.Dial(t.Context(), "tcp", net.JoinHostPort(host, strconv.Itoa(port))))(t).Close()
		must(c.RevokeSecurityGroupIngress(t.Context(), &awsec2.RevokeSecurityGroupIngressInput{GroupName: aws.String("default"), IpPermissions: rule}))(t)
	}
}

func TestDialPort(t *testing.T) {
	if _, err := ec2test.DialPort(0)(t.Context(), "tcp", "192.0.2.1:22"); err == nil || !strings.Contains(err.Error(), "not a machine of an embedded EC2") {
		t.Errorf("dial 192.0.2.1:22: %v, want that it is no machine", err)
	}
	listener := must(new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0"))(t)
	defer listener.Close()
	port := must(netip.ParseAddrPort(listener.Addr().String()))(t).Port()
	_ = must(ec2test.DialPort(int(port))(t.Context(), "tcp", "127.0.0.1:22"))(t).Close()
}
