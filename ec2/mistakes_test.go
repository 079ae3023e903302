package ec2_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

// mistakesPage lists errors of common mistakes, beside what the first version printed.
const mistakesPage = "../docs/mistakes.md"

// A noSuchHost is a network whose name server knows no host.
type noSuchHost struct{}

func (noSuchHost) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, &net.DNSError{Err: "no such host", Name: r.URL.Host, IsNotFound: true}
}

// TestMistakes bakes definitions with common mistakes. Each error names the field and
// the remedy; docs/mistakes.md has them.
func TestMistakes(t *testing.T) {
	page, err := os.ReadFile(mistakesPage)
	if err != nil {
		t.Fatal(err)
	}
	varying := strings.NewReplacer("\n", " ", "\t", "", "`", "'")
	random := regexp.MustCompile(`(RequestID: |ami-|\.bakestone\.|127\.0\.0\.1:|the working directory |since )[^\s,:]+`)
	type definition struct {
		img    *bake.Image
		b      *ec2.Builder
		server *ec2test.Server
	}
	none := func(d definition, p bake.Provisioner) { d.img.Provisioners = []bake.Provisioner{p} }
	for _, m := range []struct {
		mistake string
		make    func(definition)
	}{
		{"region misspelled", func(d definition) {
			cfg := d.server.Config("eu-wset-1")
			cfg.BaseEndpoint, cfg.HTTPClient = nil, &http.Client{Transport: noSuchHost{}}
			d.b.Cloud = ec2.NewCloud(cfg, cloudOptions(d.server))
		}},
		{"owner by name", func(d definition) { d.b.Source = ec2.Newest{Owners: []string{"canonical"}, Name: "ubuntu/*"} }},
		{"source deprecated", func(d definition) {
			d.server.Publish(ec2test.Image{Owner: ec2.Canonical, Name: "ubuntu/old", Deprecated: time.Now().Add(-time.Hour)})
			d.b.Source = ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/old"}
		}},
		{"instance type misspelled", func(d definition) { d.b.InstanceTypes = []string{"t3.mirco"} }},
		{"instance type of another architecture", func(d definition) { d.b.InstanceTypes = []string{"t4g.micro"} }},
		{"no credentials", func(d definition) {
			cfg := d.server.Config(testRegion)
			for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"} {
				t.Setenv(name, "")
			}
			t.Setenv("HOME", t.TempDir())
			t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			found, err := config.LoadDefaultConfig(t.Context(), config.WithSharedConfigFiles(nil), config.WithSharedCredentialsFiles(nil))
			if err != nil {
				t.Fatal(err)
			}
			cfg.Credentials = found.Credentials
			d.b.Cloud = ec2.NewCloud(cfg, cloudOptions(d.server))
		}},
		{"credentials expired", func(d definition) {
			d.server.Fail(ec2test.Fault{Action: "DescribeImages", Code: "RequestExpired", Times: -1})
		}},
		{"file of root without sudo", func(d definition) { none(d, provision.File{Content: "x", Dest: "/etc/motd"}) }},
		{"home of another login", func(d definition) { none(d, provision.File{Content: "x", Dest: "~app/app.conf"}) }},
		{"script missing", func(d definition) { none(d, provision.Script{Path: "scripts/setup.sh"}) }},
		{"endpoint without Dial", func(d definition) {
			d.b.SSH.ConnectTimeout = 200 * time.Millisecond
			o := cloudOptions(d.server)
			o.Dial = nil
			d.b.Cloud = ec2.NewCloud(d.server.Config(testRegion), o)
		}},
		{"check without a name", func(d definition) {
			d.img.Checks = []bake.Check{bake.CheckFunc{Do: func(context.Context, bake.Machine) error { return errors.New("no") }}}
		}},
	} {
		t.Run(m.mistake, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, &ec2test.Options{Regions: []string{testRegion}})
				img := simple(newCloud(server))
				configure(img, func(b *ec2.Builder) { m.make(definition{img, b, server}) })
				_, err := bake.Bake(t.Context(), nil, img)
				if err == nil {
					t.Fatal("Bake() = nil, want an error")
				}
				text := random.ReplaceAllString(varying.Replace(err.Error()), "$1…")
				_, row, found := strings.Cut(string(page), "\n| "+m.mistake+" | ")
				row, _, _ = strings.Cut(row, "\n")
				_, row, _ = strings.Cut(row, " | `")
				want := strings.TrimSuffix(row, "…` |") // the rest is the network's
				if want == row {
					want = strings.TrimSuffix(row, "` |")
					found = found && want == text
				}
				if !found || !strings.HasPrefix(text, want) {
					t.Errorf("%s has for %q\n%s\nBake() = \n%s", mistakesPage, m.mistake, want, text)
				}
			})
		})
	}
}
