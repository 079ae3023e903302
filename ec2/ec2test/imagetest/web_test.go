package imagetest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test/imagetest"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/provision/check"
)

// Web is an ordinary definition, as a user would write it.
func Web(cloud *ec2.Cloud, token bake.Secret) *bake.Image {
	return &bake.Image{
		Name: "web",
		Builder: ec2.Builder{
			Cloud: cloud, Source: ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"},
			Distribute: ec2.Distribution{
				Copies: ec2.CopyTo("us-east-1"), LaunchPermissions: ec2.Permissions{Accounts: []string{"210987654321"}}, DeprecateAfter: 90 * 24 * time.Hour,
			},
		},
		Provisioners: []bake.Provisioner{
			provision.Packages{Install: []string{"nginx"}},
			provision.File{Dest: "/etc/nginx/conf.d/web.conf", Content: "gzip on;\n", Sudo: true},
			provision.Script{Content: "#!/bin/sh -e\necho \"$TOKEN\" | sha256sum >/etc/web.token.sha256\n", Secrets: map[string]bake.Secret{"TOKEN": token}, Sudo: true},
			provision.Service{Name: "nginx", Enable: true},
		},
		Checks: []bake.Check{check.All(check.Package{Name: "nginx"}, check.Service{Name: "nginx", Enabled: true}, check.Port{Number: 80})},
	}
}

// TestWeb is what a user writes to test all of Web.
func TestWeb(t *testing.T) {
	env := imagetest.Start(t, nil)
	web := env.Bake(Web(env.Cloud, bake.NewSecret("t0ken-of-web")))
	web.Golden("testdata/web.txt")
	if found := web.Find("t0ken-of-web"); found != nil {
		t.Errorf("the token is in %v", found)
	}
	if ran := web.Ran("nginx"); ran != nil || web.Packages()["nginx"] == "" || web.Services()["nginx.service"] != "enabled" {
		t.Errorf("packages %v, services %v, nginx ran as %q", web.Packages(), web.Services(), ran)
	}
	if f := web.Stat("/etc/nginx/conf.d/web.conf"); f.String() != "-rw-r--r-- root:root /etc/nginx/conf.d/web.conf" {
		t.Errorf("web.conf is %v", f)
	}
	copied := env.Image(web.Artifact.IDs()["us-east-1"])
	if ami := copied.AMI(); ami.Public || !slices.Equal(ami.SharedWith, []string{"210987654321"}) || ami.Deprecated.IsZero() {
		t.Errorf("copy = %+v, want it shared and deprecated", ami)
	}
}
