package ec2_test

import (
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

const testRegion = "eu-west-1"

// newServer is an EC2 that ends with the test.
func newServer(t testing.TB, o *ec2test.Options) *ec2test.Server {
	t.Helper()
	server := ec2test.New(o)
	t.Cleanup(server.Close)
	return server
}

// quick are the options of a cloud whose waits are as short as can be.
func quick(server *ec2test.Server) *ec2.CloudOptions {
	return &ec2.CloudOptions{
		Dial:          server.Dial,
		SourceAddress: server.SourceAddress,
		PollInterval:  5 * time.Millisecond,
		SettleTime:    5 * time.Millisecond,
		MaxRetryDelay: time.Millisecond,
		NoCallLimits:  true,
	}
}

func newCloud(server *ec2test.Server) *ec2.Cloud {
	return ec2.NewCloud(server.Config(testRegion), quick(server))
}

func ubuntu() ec2.Newest {
	return ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"}
}

// simple is an image with one script and one file in it.
func simple(cloud *ec2.Cloud) *bake.Image {
	return &bake.Image{
		Name:    "simple",
		Builder: ec2.Builder{Cloud: cloud, Source: ubuntu()},
		Provisioners: []bake.Provisioner{
			provision.Script{Inline: []string{`echo "made with $GREETING" >/etc/made`}, Sudo: true, Env: map[string]string{"GREETING": "care"}},
			provision.File{Content: "a page\n", Dest: "/var/www/index.html", Sudo: true, Mode: 0o640},
		},
		Tags: map[string]string{"team": "web"},
	}
}

func wantNothing(t *testing.T, server *ec2test.Server) {
	t.Helper()
	if left := server.Leftovers(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
