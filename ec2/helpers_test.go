package ec2_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net"
	"net/mail"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

const testRegion = "eu-west-1"

// long reports whether the long form of the tests runs.
func long() bool { return os.Getenv("BAKESTONE_LONG") != "" }

// chosen reports whether the short form of a test has its case n: one of every few.
func chosen(n, every int) bool { return long() || n%every == 0 }

// newServer starts an EC2 and stops it when the test ends.
func newServer(t testing.TB, o *ec2test.Options) *ec2test.Server {
	t.Helper()
	server := ec2test.New(o)
	t.Cleanup(server.Close)
	return server
}

// cloudOptions returns options for a server in memory. Its tests run in synctest
// bubbles, where waiting takes no time.
func cloudOptions(server *ec2test.Server) *ec2.CloudOptions {
	return &ec2.CloudOptions{Dial: server.Dial, SourceAddress: server.SourceAddress, NoCallLimits: true}
}

func newCloud(server *ec2test.Server) *ec2.Cloud {
	return ec2.NewCloud(server.Config(testRegion), cloudOptions(server))
}

func ubuntu() ec2.Newest {
	return ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"}
}

// simple returns an image with one script and one file.
func simple(cloud *ec2.Cloud) *bake.Image {
	return &bake.Image{
		Name:    "simple",
		Builder: ec2.Builder{Cloud: cloud, Source: ubuntu()},
		Provisioners: []bake.Provisioner{
			provision.Script{Content: `echo "made with $GREETING" >/etc/made`, Sudo: true, Env: map[string]string{"GREETING": "care"}},
			provision.File{Content: "a page\n", Dest: "/var/www/index.html", Sudo: true, Mode: 0o640},
		},
		Tags: map[string]string{"team": "web"},
	}
}

// amiOf returns the AMI of a result.
func amiOf(t testing.TB, r *bake.Result) *ec2.AMI {
	t.Helper()
	ami, err := ec2.AMIOf(r.Artifact)
	if err != nil {
		t.Fatalf("AMIOf(%v) = %v", r.Artifact, err)
	}
	return ami
}

// wantNoLeftovers checks that the server has only what it started with.
func wantNoLeftovers(t *testing.T, server *ec2test.Server) {
	t.Helper()
	if left := server.Leftovers(); len(left) > 0 {
		t.Errorf("Leftovers() = %v, want none", left)
	}
}

// wantNoLaunch checks that no instance was launched.
func wantNoLaunch(t *testing.T, server *ec2test.Server) {
	t.Helper()
	if n := server.CallCount("RunInstances"); n > 0 {
		t.Errorf("calls of RunInstances = %d, want 0", n)
	}
}

// wantFile checks the content of a file in an AMI.
func wantFile(t *testing.T, server *ec2test.Server, id, path, want string) {
	t.Helper()
	if got, err := server.ReadFile(id, path); err != nil || string(got) != want {
		t.Errorf("ReadFile(%s, %s) = %q, %v, want %q", id, path, got, err, want)
	}
}

// callsOf returns the calls of an action.
func callsOf(calls []ec2test.Call, action string) []ec2test.Call {
	return slices.DeleteFunc(slices.Clone(calls), func(c ec2test.Call) bool { return c.Action != action })
}

// reads reports whether a call changes nothing.
func reads(c ec2test.Call) bool {
	return strings.HasPrefix(c.Action, "Describe") || strings.HasPrefix(c.Action, "Get")
}

// resourcesOf returns the resources of some types.
func resourcesOf(server *ec2test.Server, types ...string) []ec2test.Resource {
	return server.Resources(func(r ec2test.Resource) bool { return slices.Contains(types, r.Type) })
}

// destroy removes the artifact of a bake, if there is one.
func destroy(t testing.TB, a bake.Artifact) {
	t.Helper()
	if a == nil {
		return
	}
	if err := a.Destroy(t.Context()); err != nil {
		t.Errorf("Destroy() error = %v", err)
	}
}

// placesOf returns the places of an artifact, sorted: a region, or
// "account/region" for another account.
func placesOf(a bake.Artifact) []string { return slices.Sorted(maps.Keys(a.IDs())) }

// configure changes the Builder of an image.
func configure(img *bake.Image, f func(*ec2.Builder)) *bake.Image {
	b, _ := img.Builder.(ec2.Builder)
	f(&b)
	img.Builder = b
	return img
}

// wantError checks that the call failed with an error that contains all texts.
func wantError(t testing.TB, call string, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s() error = %v, want one that contains %q", call, err, text)
		}
	}
}

// describeMachine returns a step that stores the description of the running instance in seen.
func describeMachine(cloud *ec2.Cloud, seen *ec2types.Instance) bake.Step {
	return bake.Step{Name: "describe machine", At: bake.BeforeCapture, Do: func(ctx context.Context) error {
		out, err := cloud.Client("").DescribeInstances(ctx, &awsec2.DescribeInstancesInput{
			Filters: []ec2types.Filter{{Name: aws.String("instance-state-name"), Values: []string{"running"}}},
		})
		if err == nil {
			*seen = out.Reservations[0].Instances[0]
		}
		return err
	}}
}

// A dialRecorder records the addresses that are dialed.
type dialRecorder struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu     sync.Mutex
	dialed []string
}

func (r *dialRecorder) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	r.mu.Lock()
	r.dialed = append(r.dialed, addr)
	r.mu.Unlock()
	return r.dial(ctx, network, addr)
}

func (r *dialRecorder) addresses() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.dialed)
}

// paramsOf returns the parameters of the first call of an action.
func paramsOf(t *testing.T, server *ec2test.Server, action string) url.Values {
	t.Helper()
	calls := callsOf(server.Calls(), action)
	if len(calls) == 0 {
		t.Fatalf("calls of %s = 0, want 1 or more", action)
	}
	return calls[0].Params
}

// realistic starts an EC2 with AWS's latencies, for use in a synctest bubble.
func realistic(o ec2test.Options) (*ec2test.Server, *ec2.Cloud) {
	o.Latency = ec2test.Realistic()
	server := ec2test.New(&o)
	return server, ec2.NewCloud(server.Config(testRegion), &ec2.CloudOptions{Dial: server.Dial, SourceAddress: server.SourceAddress})
}

// ourConfig is the part of the user data that Bakestone adds.
type ourConfig struct {
	Keys       map[string]string `json:"ssh_keys"`
	Authorized []string          `json:"ssh_authorized_keys"`
}

// parts unpacks user data as cloud-init does and returns the type and body of each part.
func parts(t testing.TB, userData string) (types, bodies []string) {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(userData)
	if err != nil {
		t.Fatal(err)
	}
	message, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	reader := multipart.NewReader(message.Body, params["boundary"])
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return types, bodies
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, part))
		if err != nil {
			t.Fatal(err)
		}
		types, bodies = append(types, part.Header.Get("Content-Type")), append(bodies, string(body))
	}
}

// cloudConfig returns the part of the user data that Bakestone adds: the last
// one, after the caller's.
func cloudConfig(t testing.TB, userData string) ourConfig {
	t.Helper()
	types, bodies := parts(t, userData)
	at := len(types) - 1
	for types[at] != "text/cloud-config" {
		at--
	}
	var config ourConfig
	if err := json.Unmarshal([]byte(strings.TrimPrefix(bodies[at], "#cloud-config\n")), &config); err != nil {
		t.Fatal(err)
	}
	return config
}

// setDistribution changes the Distribution of an image.
func setDistribution(img *bake.Image, f func(*ec2.Distribution)) *bake.Image {
	return configure(img, func(b *ec2.Builder) { f(&b.Distribute) })
}

// roleServer starts an EC2 with a second account that a role can reach.
func roleServer(t *testing.T, o *ec2test.Options) *ec2test.Server {
	t.Helper()
	server := newServer(t, o)
	addProd(server, ec2test.Role{ARN: prodRole})
	return server
}

// addProd adds a second account with its role, and the keys of copies.
func addProd(server *ec2test.Server, role ec2test.Role) {
	server.AddRole(role)
	server.AddKey(testRegion, "alias/images")
	server.AddKey("us-west-2", "alias/west")
	server.AddKeyFor(prodAccount, testRegion, "alias/prod")
}

// describe returns the description of an AMI.
func describe(t *testing.T, cloud *ec2.Cloud, region, id string) ec2types.Image {
	t.Helper()
	out, err := cloud.Client(region).DescribeImages(t.Context(), &awsec2.DescribeImagesInput{ImageIds: []string{id}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Images[0]
}

// launchPermissions returns who may launch an AMI.
func launchPermissions(t *testing.T, cloud *ec2.Cloud, region, id string) []string {
	t.Helper()
	out, err := cloud.Client(region).DescribeImageAttribute(t.Context(), &awsec2.DescribeImageAttributeInput{
		ImageId: aws.String(id), Attribute: ec2types.ImageAttributeNameLaunchPermission,
	})
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, p := range out.LaunchPermissions {
		list = append(list, aws.ToString(p.UserId)+aws.ToString(p.OrganizationArn)+aws.ToString(p.OrganizationalUnitArn)+string(p.Group))
	}
	return list
}

// volumePermissions returns who may create volumes from a snapshot.
func volumePermissions(t *testing.T, cloud *ec2.Cloud, region, id string) []string {
	t.Helper()
	out, err := cloud.Client(region).DescribeSnapshotAttribute(t.Context(), &awsec2.DescribeSnapshotAttributeInput{
		SnapshotId: aws.String(id), Attribute: ec2types.SnapshotAttributeNameCreateVolumePermission,
	})
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, p := range out.CreateVolumePermissions {
		list = append(list, aws.ToString(p.UserId)+string(p.Group))
	}
	return list
}

// owner returns the configuration of the account that owns a place of AMI.IDs.
func owner(server *ec2test.Server, place string) aws.Config {
	account, region, other := strings.Cut(place, "/")
	if !other {
		return server.Config(place)
	}
	return server.ConfigFor(account, region)
}

// newTemplate creates the launch template "web".
func newTemplate(t *testing.T, client *awsec2.Client) {
	t.Helper()
	_, err := client.CreateLaunchTemplate(t.Context(), &awsec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("web"),
		LaunchTemplateData: &ec2types.RequestLaunchTemplateData{
			ImageId: aws.String("ami-00000000000000000"), InstanceType: "m5.large",
			MetadataOptions: &ec2types.LaunchTemplateInstanceMetadataOptionsRequest{HttpTokens: "required"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// newTemplates creates the launch template "web" in each place.
func newTemplates(t *testing.T, server *ec2test.Server, places ...string) {
	t.Helper()
	for _, place := range places {
		newTemplate(t, awsec2.NewFromConfig(owner(server, place)))
	}
}

// versions returns the versions of the launch template "web". On ec2test, the
// newest comes first.
func versions(t *testing.T, client *awsec2.Client) []ec2types.LaunchTemplateVersion {
	t.Helper()
	out, err := client.DescribeLaunchTemplateVersions(t.Context(), &awsec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateName: aws.String("web")})
	if err != nil {
		t.Fatal(err)
	}
	return out.LaunchTemplateVersions
}

// takeName creates an AMI with the name "web" in a place.
func takeName(t *testing.T, server *ec2test.Server, place string, protect bool) {
	t.Helper()
	client := awsec2.NewFromConfig(owner(server, place))
	vendors, err := client.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{ec2.Canonical}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := client.CopyImage(t.Context(), &awsec2.CopyImageInput{
		Name: aws.String("web"), SourceImageId: vendors.Images[0].ImageId, SourceRegion: aws.String(client.Options().Region),
	})
	if err != nil {
		t.Fatal(err)
	}
	if protect {
		_, err := client.EnableImageDeregistrationProtection(t.Context(), &awsec2.EnableImageDeregistrationProtectionInput{ImageId: out.ImageId, WithCooldown: aws.Bool(true)})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// putParameter sets an SSM parameter to "another".
func putParameter(t *testing.T, server *ec2test.Server, place, name string) {
	t.Helper()
	_, err := ssm.NewFromConfig(owner(server, place)).PutParameter(t.Context(), &ssm.PutParameterInput{
		Name: aws.String(name), Value: aws.String("another"), Type: ssmtypes.ParameterTypeString,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// openDefaultGroup opens the default security group to all addresses.
func openDefaultGroup(t *testing.T, cloud *ec2.Cloud) {
	t.Helper()
	groups, err := cloud.Client("").DescribeSecurityGroups(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	openSSH(t, cloud, groups.SecurityGroups[0].GroupId, "0.0.0.0/0")
}

// openSSH opens port 22 of a security group to a network.
func openSSH(t *testing.T, cloud *ec2.Cloud, group *string, cidr string) {
	t.Helper()
	_, err := cloud.Client("").AuthorizeSecurityGroupIngress(t.Context(), &awsec2.AuthorizeSecurityGroupIngressInput{
		GroupId: group, IpProtocol: aws.String("tcp"), CidrIp: aws.String(cidr), FromPort: aws.Int32(22), ToPort: aws.Int32(22),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// allowPublic turns off the block of public access to AMIs in the places.
func allowPublic(t *testing.T, server *ec2test.Server, places ...string) {
	t.Helper()
	for _, place := range places {
		if _, err := awsec2.NewFromConfig(owner(server, place)).DisableImageBlockPublicAccess(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// A frozenStore keeps the record as it was when a process died.
type frozenStore struct {
	bake.Store // also saves to it, unless nil

	begun string // freezes when this step has begun

	mu     sync.Mutex
	record bake.Record
	frozen bool
}

func (s *frozenStore) Save(ctx context.Context, r *bake.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.frozen {
		s.record = *r
		s.record.Steps, s.record.Session = slices.Clone(r.Steps), slices.Clone(r.Session)
		last := r.Steps[max(0, len(r.Steps)-1):]
		s.frozen = len(last) > 0 && last[0].Name == s.begun && last[0].State == bake.StepBegun
	}
	if s.Store == nil {
		return nil
	}
	return s.Store.Save(ctx, r)
}

func (s *frozenStore) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = true
}

// load returns the record of the process that died.
func (s *frozenStore) load(t *testing.T) *bake.Record {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.frozen {
		t.Fatal("the process did not die")
	}
	return &s.record
}
