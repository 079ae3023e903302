package ec2_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
)

// TestBakeOnMoto bakes on moto, an independent EC2, with OpenSSH's sshd in place
// of the instance. A motoTransport supplies what moto lacks.
func TestBakeOnMoto(t *testing.T) {
	cloud := motoCloud(t)
	dest := t.TempDir() + "/page"
	const page = "baked over moto\n"
	img := &bake.Image{
		Name: "moto",
		Builder: ec2.Builder{
			Cloud:         cloud,
			Source:        ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd/*amd64*"},
			InstanceTypes: []string{"t3.small"},
			SSH:           ec2.SSH{User: "root"},
			GuestCleanup:  ec2.GuestCleanup{Off: true}, // the guest is this very host
		},
		Provisioners: []bake.Provisioner{
			provision.File{Content: page, Dest: dest},
			provision.Shell("grep -q moto " + dest),
		},
		Checks: []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, m bake.Machine) error {
			return m.Run(ctx, bake.Sh("test -f "+dest))
		}}},
		Tags: map[string]string{"team": "web"},
	}
	results, err := bake.Bake(t.Context(), nil, img)
	if err != nil {
		t.Fatal(err)
	}
	ami := amiOf(t, results[0])
	client := cloud.Client("")
	images, err := client.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{ImageIds: []string{ami.ImageID}})
	if err != nil {
		t.Fatal(err)
	}
	tags := map[string]string{}
	for _, tag := range images.Images[0].Tags {
		tags[*tag.Key] = *tag.Value
	}
	if tags["team"] != "web" || tags[ec2.TagBuild] != results[0].Build || tags[ec2.TagExpires] != "" {
		t.Errorf("tags of the AMI = %v, want the image's and the build's", tags)
	}
	destroy(t, ami)
	wantMotoEmpty(t, client)
}

// motoCloud starts moto and returns an account there.
func motoCloud(t *testing.T) *ec2.Cloud {
	t.Helper()
	cloud, _ := motoAccount(t)
	return cloud
}

// motoAccount starts moto and returns an account there and the transport of its calls.
func motoAccount(t *testing.T) (*ec2.Cloud, *motoTransport) {
	t.Helper()
	testenv.Need(t, "sshd")
	endpoint := testenv.Moto(t)
	transport := &motoTransport{t: t}
	cfg := aws.Config{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(endpoint),
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient:   &http.Client{Transport: transport},
	}
	return ec2.NewCloud(cfg, &ec2.CloudOptions{
		Dial:          transport.dial,
		SourceAddress: func(context.Context) (netip.Addr, error) { return netip.MustParseAddr("192.0.2.1"), nil },
		PollInterval:  10 * time.Millisecond,
		SettleTime:    10 * time.Millisecond,
	}), transport
}

// TestDistributeOnMoto bakes as much of TestRealisticDefinition as moto implements.
// docs/moto.md lists the rest.
func TestDistributeOnMoto(t *testing.T) {
	cloud := motoCloud(t)
	const region = "us-west-2"
	for _, name := range []string{"", region} {
		newTemplate(t, cloud.Client(name))
	}
	manifest := filepath.Join(t.TempDir(), "manifest.json")
	img := &bake.Image{
		Name: "moto",
		Builder: ec2.Builder{
			Cloud:         cloud,
			Source:        ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd/*amd64*"},
			InstanceTypes: []string{"t3.small"},
			SSH:           ec2.SSH{User: "root"},
			AMIName:       "shop",
			Description:   "the shop",
			GuestCleanup:  ec2.GuestCleanup{Off: true}, // the guest is this very host
			Distribute: ec2.Distribution{
				Copies:              ec2.CopyTo(region),
				LaunchPermissions:   ec2.Permissions{Accounts: []string{friend}},
				SnapshotPermissions: ec2.Permissions{Accounts: []string{friend}},
				Attempts:            1,
			},
		},
		Publishers: []bake.Publisher{
			ec2.SSMParameter{Name: "/images/shop", PlainText: true},
			ec2.LaunchTemplate{Name: "web", MakeDefault: true},
			ec2.PackerManifest{Path: manifest},
		},
		Tags: map[string]string{"team": "shop"},
	}
	results, err := bake.Bake(t.Context(), nil, img)
	if err != nil {
		t.Fatal(err)
	}
	ami := amiOf(t, results[0])
	for place, id := range ami.IDs() {
		client := cloud.Client(place)
		image := describe(t, cloud, place, id)
		if *image.Name != "shop" || *image.Description != "the shop" {
			t.Errorf("%s: name and description of the AMI = %q, %q, want %q, %q", place, *image.Name, *image.Description, "shop", "the shop")
		}
		if got := launchPermissions(t, cloud, place, id); len(got) != 1 || got[0] != friend {
			t.Errorf("%s: launch permissions = %v, want %s", place, got, friend)
		}
		if newest := versions(t, client); *newest[len(newest)-1].LaunchTemplateData.ImageId != id {
			t.Errorf("%s: launch template versions = %+v, want the newest to launch %s", place, newest, id)
		}
		out, err := ssm.NewFromConfig(cloud.Config(place)).GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/images/shop")})
		if err != nil || *out.Parameter.Value != id {
			t.Errorf("%s: GetParameter() = %+v, %v, want %s", place, out, err, id)
		}
	}
	destroy(t, ami)
	wantMotoEmpty(t, cloud.Client(""))
	wantMotoEmpty(t, cloud.Client(region))
}

// wantMotoEmpty checks that no instance, image or security group is left.
func wantMotoEmpty(t *testing.T, client *awsec2.Client) {
	t.Helper()
	instances, err := client.DescribeInstances(t.Context(), &awsec2.DescribeInstancesInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range instances.Reservations {
		for _, i := range r.Instances {
			if i.State.Name != "terminated" {
				t.Errorf("state of instance %s = %s, want terminated", *i.InstanceId, i.State.Name)
			}
		}
	}
	images, err := client.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{"self"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(images.Images) > 0 {
		t.Errorf("images left = %d, want 0", len(images.Images))
	}
	groups, err := client.DescribeSecurityGroups(t.Context(), &awsec2.DescribeSecurityGroupsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups.SecurityGroups {
		if *g.GroupName != "default" {
			t.Errorf("security group %s is left", *g.GroupName)
		}
	}
}

// A motoTransport supplies what moto lacks. It drops the tags of snapshots, which
// moto's CreateImage refuses, and starts an sshd for each instance.
type motoTransport struct {
	t *testing.T

	mu   sync.Mutex
	addr string
	seen []string // actions
}

// actions returns the actions called since forget, sorted.
func (m *motoTransport) actions() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := slices.Clone(m.seen)
	slices.Sort(seen)
	return slices.Compact(seen)
}

func (m *motoTransport) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = nil
}

func (m *motoTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("X-Amz-Target") != "" {
		return http.DefaultTransport.RoundTrip(r) // JSON: not EC2
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.seen = append(m.seen, form.Get("Action"))
	m.mu.Unlock()
	switch form.Get("Action") {
	case "CreateImage":
		for _, n := range []string{"1", "2"} {
			if prefix := "TagSpecification." + n + "."; form.Get(prefix+"ResourceType") == "snapshot" {
				dropAll(form, prefix)
			}
		}
	case "RunInstances":
		addr := startGuest(m.t, form.Get("UserData"))
		m.mu.Lock()
		m.addr = addr
		m.mu.Unlock()
	}
	text := form.Encode()
	r = r.Clone(r.Context())
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	return http.DefaultTransport.RoundTrip(r)
}

// dropAll deletes the parameters with the prefix.
func dropAll(form url.Values, prefix string) {
	for name := range form {
		if strings.HasPrefix(name, prefix) {
			delete(form, name)
		}
	}
}

// startGuest starts an sshd with the keys of the user data, as cloud-init would,
// and returns its address.
func startGuest(t testing.TB, userData string) string {
	t.Helper()
	config := cloudConfig(t, userData)
	client, _, _, _, err := ssh.ParseAuthorizedKey([]byte(config.Authorized[0]))
	if err != nil {
		t.Error(err)
		return ""
	}
	return testenv.SSHD(t, &testenv.SSHDOptions{
		HostKeyPEM:     []byte(config.Keys["ed25519_private"]),
		AuthorizedKeys: []ssh.PublicKey{client},
	}).Addr
}

func (m *motoTransport) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	m.mu.Lock()
	addr := m.addr
	m.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// TestReplaceOnMoto bakes twice under one name, and then without ReplaceAMI.
func TestReplaceOnMoto(t *testing.T) {
	cloud := motoCloud(t)
	img := &bake.Image{Name: "moto", Builder: ec2.Builder{
		Cloud: cloud, Source: ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd/*amd64*"},
		SSH: ec2.SSH{User: "root"}, AMIName: "the name", ReplaceAMI: true, GuestCleanup: ec2.GuestCleanup{Off: true},
	}}
	var last bake.Artifact
	for range 2 {
		results, err := bake.Bake(t.Context(), nil, img)
		if err != nil {
			t.Fatal(err)
		}
		if last != nil && last.ID() == results[0].Artifact.ID() {
			t.Errorf("ID of the second AMI = %s, want another than that of the first", last.ID())
		}
		last = results[0].Artifact
	}
	configure(img, func(b *ec2.Builder) { b.ReplaceAMI = false })
	_, err := bake.Bake(t.Context(), nil, img)
	wantError(t, "Bake", err, `"the name" is already the name of `+last.ID())
	destroy(t, last)
	wantMotoEmpty(t, cloud.Client(""))
}
