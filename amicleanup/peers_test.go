package amicleanup_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// The same small account is cleaned three times on moto: keep the newest two
// of each role, and what is in use. ../docs/cleanup-peers.md explains the differences.
func TestBesidePeers(t *testing.T) {
	// The removals of each cleaner.
	for _, tc := range []struct {
		name  string
		clean func(t *testing.T, a *peerAccount)
		want  []string
	}{
		{"bakestone", cleanOurselves, []string{"api 1", "api 2", "db 1", "job 1", "web 4"}},
		{"amicleaner", cleanByAmicleaner, []string{"api 1", "api 1 arm64", "db 1", "db 4", "job 1", "web 2", "web 3", "web 4"}},
		{"custodian", cleanByCustodian, []string{"api 1", "api 1 arm64", "api 2", "db 1", "db 3", "db 4", "job 1", "web 2", "web 4"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := newPeerAccount(t)
			before := a.names()
			tc.clean(t, a)
			after := a.names()
			removed := slices.DeleteFunc(before, func(name string) bool { return slices.Contains(after, name) })
			if diff := cmp.Diff(tc.want, removed); diff != "" {
				t.Errorf("removed (-want +got):\n%s", diff)
			}
		})
	}
}

// peerImage is an image as moto's own list of images has it.
type peerImage struct {
	ID      string            `json:"ami_id"`
	Name    string            `json:"name"`
	Owner   string            `json:"owner_id"`
	Created string            `json:"creation_date"`
	Arch    string            `json:"architecture"`
	Virt    string            `json:"virtualization_type"`
	Tags    map[string]string `json:"tags"`
}

// peerImages returns the images of the account: the month of each by name.
func peerImages() []peerImage {
	var all []peerImage
	add := func(role, arch string, months ...int) {
		for _, month := range months {
			img := peerImage{
				ID: fmt.Sprintf("ami-%017x", len(all)+1), Name: fmt.Sprintf("%s %d", role, month), Owner: home, Arch: arch, Virt: "hvm",
				Created: time.Date(2026, time.Month(month), 1, 0, 0, 0, 0, time.UTC).Format("2006-01-02T15:04:05.000Z"),
				Tags:    map[string]string{"role": role, "env": "prod"},
			}
			if arch == "arm64" {
				img.Name += " arm64"
			}
			all = append(all, img)
		}
	}
	add("web", "x86_64", 1, 2, 3, 4, 5, 6)
	add("db", "x86_64", 1, 2, 3, 4, 5, 6)
	add("api", "x86_64", 1, 2, 3, 4)
	add("api", "arm64", 1)
	add("job", "x86_64", 1, 2, 3)
	all = append(all, peerImage{ID: "ami-00000000000000fff", Name: "by hand", Owner: home, Arch: "x86_64", Virt: "hvm", Created: "2026-01-01T00:00:00.000Z"})
	return all
}

// peerAccount is an account on a separate moto.
type peerAccount struct {
	t        *testing.T
	endpoint string
	cfg      aws.Config
	ec2      *awsec2.Client
	ids      map[string]string // by name
}

func newPeerAccount(t *testing.T) *peerAccount {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	images := peerImages()
	list, err := json.Marshal(images)
	if err != nil {
		t.Fatal(err)
	}
	// Moto reads its list once for each region, and parses the dates again.
	write("sitecustomize.py", `
import importlib.util
if importlib.util.find_spec("moto"):
    import moto.ec2.models.amis as amis
    parse = amis.parse_timestamp
    amis.parse_timestamp = lambda t: parse(t) if isinstance(t, str) else t
`)
	a := &peerAccount{t: t, ids: map[string]string{}}
	a.endpoint = testenv.Moto(t, "MOTO_AMIS_PATH="+write("images.json", string(list)), "PYTHONPATH="+dir)
	a.cfg = aws.Config{Region: where, BaseEndpoint: &a.endpoint, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}
	a.ec2 = awsec2.NewFromConfig(a.cfg)
	for _, img := range images {
		a.ids[img.Name] = img.ID
	}
	a.use()
	return a
}

// use makes resources that use images.
func (a *peerAccount) use() {
	a.t.Helper()
	ctx := a.t.Context()
	check := func(err error) {
		a.t.Helper()
		if err != nil {
			a.t.Fatal(err)
		}
	}
	id := func(name string) *string { return aws.String(a.ids[name]) }
	for _, name := range []string{"web 1", "api 4"} {
		_, err := a.ec2.RunInstances(ctx, &awsec2.RunInstancesInput{ImageId: id(name), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: "t3.micro"})
		check(err)
	}
	template := func(name string, images ...string) {
		_, err := a.ec2.CreateLaunchTemplate(ctx, &awsec2.CreateLaunchTemplateInput{
			LaunchTemplateName: &name, LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: id(images[0])},
		})
		check(err)
		for _, image := range images[1:] {
			_, err := a.ec2.CreateLaunchTemplateVersion(ctx, &awsec2.CreateLaunchTemplateVersionInput{
				LaunchTemplateName: &name, LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: id(image)},
			})
			check(err)
		}
	}
	template("lonely", "web 2")
	template("pinned", "web 3", "web 6")
	_, err := a.ec2.ModifyLaunchTemplate(ctx, &awsec2.ModifyLaunchTemplateInput{LaunchTemplateName: aws.String("pinned"), DefaultVersion: aws.String("2")})
	check(err)
	scaling := autoscaling.NewFromConfig(a.cfg)
	for name, image := range map[string]string{"attached": "db 2", "loose": "db 3"} {
		_, err := scaling.CreateLaunchConfiguration(ctx, &autoscaling.CreateLaunchConfigurationInput{LaunchConfigurationName: &name, ImageId: id(image), InstanceType: aws.String("t3.micro")})
		check(err)
	}
	group := func(name string, in autoscaling.CreateAutoScalingGroupInput) {
		in.AutoScalingGroupName, in.MinSize, in.MaxSize, in.AvailabilityZones = &name, aws.Int32(0), aws.Int32(1), []string{where + "a"}
		_, err := scaling.CreateAutoScalingGroup(ctx, &in)
		check(err)
	}
	group("old", autoscaling.CreateAutoScalingGroupInput{LaunchConfigurationName: aws.String("attached")})
	group("new", autoscaling.CreateAutoScalingGroupInput{LaunchTemplate: &scalingtypes.LaunchTemplateSpecification{LaunchTemplateName: aws.String("pinned"), Version: aws.String("1")}})
	_, err = ssm.NewFromConfig(a.cfg).PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String("/db/ami"), Value: id("db 4"), Type: "String", DataType: aws.String("aws:ec2:image")})
	check(err)
}

// names returns the sorted names of the account's images.
func (a *peerAccount) names() []string {
	a.t.Helper()
	out, err := a.ec2.DescribeImages(a.t.Context(), &awsec2.DescribeImagesInput{Owners: []string{"self"}})
	if err != nil {
		a.t.Fatal(err)
	}
	var names []string
	for _, img := range out.Images {
		names = append(names, *img.Name)
	}
	slices.Sort(names)
	return names
}

// Calls that moto lacks: instance refreshes, and filters of parameters.
type (
	motoScaling    struct{}
	motoParameters struct{ *ssm.Client }
)

func (motoScaling) DescribeInstanceRefreshes(context.Context, *autoscaling.DescribeInstanceRefreshesInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeInstanceRefreshesOutput, error) {
	return &autoscaling.DescribeInstanceRefreshesOutput{}, nil
}

func (m motoParameters) DescribeParameters(ctx context.Context, in *ssm.DescribeParametersInput, opts ...func(*ssm.Options)) (*ssm.DescribeParametersOutput, error) {
	in.ParameterFilters = nil
	return m.Client.DescribeParameters(ctx, in, opts...)
}

func cleanOurselves(t *testing.T, a *peerAccount) {
	t.Helper()
	target := amicleanup.Connect(a.cfg, &amicleanup.ConnectOptions{NoCallLimits: true})
	target.Config = fakeConfig(target.Config, motoScaling{}, motoParameters{ssm.NewFromConfig(a.cfg)})
	c := &amicleanup.Cleaner{
		SettleTime: atOnce,
		Targets:    []amicleanup.Target{target},
		Policy: amicleanup.Policy{
			Group: amicleanup.ByTag("role"),
			Keep:  []amicleanup.Rule{amicleanup.Newest(2), amicleanup.InUse(inuse.Standard()...)},
		},
	}
	if _, err := c.Apply(t.Context(), mustPlan(t, c)); err != nil {
		t.Error(err)
	}
}

func cleanByAmicleaner(t *testing.T, a *peerAccount) {
	t.Helper()
	program := testenv.Need(t, "amicleaner")
	args := []string{"--mapping-key", "tags", "--mapping-values", "role", "env", "--keep-previous", "2", "--force-delete"}
	// It ends at a group of no instances that has a launch template.
	if out, err := a.run(program, args...); err == nil || !strings.Contains(out, "LaunchConfigurationNames") {
		t.Fatalf("beside a group with a launch template: %v\n%s", err, out)
	}
	_, err := autoscaling.NewFromConfig(a.cfg).DeleteAutoScalingGroup(t.Context(), &autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: aws.String("new")})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := a.run(program, args...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func cleanByCustodian(t *testing.T, a *peerAccount) {
	t.Helper()
	program := testenv.Need(t, "custodian")
	dir := t.TempDir()
	policy := filepath.Join(dir, "policy.yml")
	text := `
policies:
  - name: keep-two
    resource: ami
    filters:
      - "tag:role": present
      - type: reduce
        group-by: "tag:role"
        sort-by: CreationDate
        order: desc
        discard: 2
      - type: unused
        value: true
    actions:
      - type: deregister
        delete-snapshots: true
`
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := a.run(program, "run", "--output-dir", filepath.Join(dir, "out"), "--cache", "", "--region", where, policy); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// run runs another cleaner on the account, and returns what it says.
func (a *peerAccount) run(program string, args ...string) (string, error) {
	a.t.Helper()
	cmd := exec.CommandContext(a.t.Context(), program, args...)
	home := a.t.TempDir()
	cmd.Env = append(os.Environ(),
		"HOME="+home, "AWS_CONFIG_FILE="+filepath.Join(home, "config"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(home, "credentials"),
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_DEFAULT_REGION="+where, "AWS_ENDPOINT_URL="+a.endpoint,
		"AWS_EC2_METADATA_DISABLED=true", "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1", "TERM=dumb")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
