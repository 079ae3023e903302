package ec2_test

import (
	"bytes"
	"testing"
	"testing/synctest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
)

func TestBakedImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		results, err := bake.Bake(t.Context(), nil, simple(newCloud(server)))
		if err != nil {
			t.Fatal(err)
		}
		ami := amiOf(t, results[0])
		for path, want := range map[string]string{"/etc/made": "made with care\n", "/var/www/index.html": "a page\n"} {
			wantFile(t, server, ami.ImageID, path, want)
		}
		if keys, err := server.ReadFile(ami.ImageID, "/home/ubuntu/.ssh/authorized_keys"); bytes.Contains(keys, []byte("ssh-")) {
			t.Errorf("authorized_keys of the AMI = %q, %v, want no key", keys, err)
		}
		if ami.Region != testRegion || ami.Login != "ubuntu" || ami.Architecture != "x86_64" || len(ami.Snapshots) != 1 || ami.Source.Owner != ec2.Canonical {
			t.Errorf("AMI = %+v, want an Ubuntu for x86_64 with one snapshot in %s", ami, testRegion)
		}
		left := server.Resources(nil)
		if len(left) != 2 {
			t.Fatalf("resources = %v, want the image and its snapshot", left)
		}
		for _, r := range left {
			if r.Tags["team"] != "web" || r.Tags[ec2.TagBuild] != results[0].Build || r.Tags[ec2.TagImage] != "simple" || r.Tags[ec2.TagExpires] != "" {
				t.Errorf("tags of %s = %v, want the image's and the build's without %s", r, r.Tags, ec2.TagExpires)
			}
		}
	})
}
