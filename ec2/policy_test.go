package ec2_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// A definition is an image whose policy is compared with the calls of its bake.
type definition struct {
	name  string
	image func(*ec2.Cloud) *bake.Image
}

// definitionServer starts an EC2 on which all definitions can be baked.
func definitionServer(t *testing.T) (*ec2test.Server, *ec2.Cloud) {
	t.Helper()
	server, _ := freezingServer(t, ec2test.Options{Images: []ec2test.Image{{Name: "old", Owner: ec2.Canonical, IMDSv1: true}}})
	newTemplates(t, server, definitionPlaces()...)
	server.AddInstanceProfile("baker")
	allowPublic(t, server, testRegion)
	cloud := newCloud(server)
	openDefaultGroup(t, cloud)
	addKeyPair(t, cloud, "bakers")
	return server, cloud
}

// addKeyPair creates a key pair.
func addKeyPair(t *testing.T, cloud *ec2.Cloud, name string) {
	t.Helper()
	in := &awsec2.CreateKeyPairInput{KeyName: aws.String(name), KeyType: ec2types.KeyTypeEd25519}
	if _, err := cloud.Client("").CreateKeyPair(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

// definitionPlaces returns the places of multiRegion.
func definitionPlaces() []string {
	return []string{testRegion, "us-east-1", "us-west-2", prodAccount + "/" + testRegion}
}

// definitions returns images that together use every feature that needs permissions.
func definitions() []definition {
	old := ec2.Newest{Owners: []string{ec2.Canonical}, Name: "old"} // does not require IMDSv2
	return []definition{
		{"old source", func(cloud *ec2.Cloud) *bake.Image {
			img := simple(cloud)
			img.Builder = ec2.Builder{Cloud: cloud, Source: old}
			return img
		}},
		{"own network", func(cloud *ec2.Cloud) *bake.Image {
			img := simple(cloud)
			img.Builder = ec2.Builder{
				Cloud:   cloud,
				Source:  ec2.ParameterName("/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"),
				Capture: ec2.Capture{AllowIMDSv1: true}, InstanceTypes: []string{"t3.micro"}, SSH: ec2.SSH{KeyPair: "bakers"},
				Network: ec2.Network{
					VPC: ec2.ByFilter(ec2.Filters{"is-default": {"true"}}), AvailabilityZone: testRegion + "b", SecurityGroups: []string{"default"},
				},
				BlockDevices: []ec2.BlockDevice{{Encrypted: ec2.Enabled}}, InstanceProfile: "baker",
			}
			return img
		}},
		{"host key from the console", func(cloud *ec2.Cloud) *bake.Image {
			img := simple(cloud)
			img.Builder = ec2.Builder{Cloud: cloud, Source: old, SSH: ec2.SSH{ConsoleHostKey: true}}
			return img
		}},
		{"drivers", func(cloud *ec2.Cloud) *bake.Image {
			img := simple(cloud)
			img.Builder = ec2.Builder{Cloud: cloud, Source: old, Capture: ec2.Capture{ENA: true}}
			return img
		}},
		{"registered", func(cloud *ec2.Cloud) *bake.Image {
			img := simple(cloud)
			img.Builder = ec2.Builder{Cloud: cloud, Source: ubuntu(), Capture: ec2.Capture{FromSnapshots: true}}
			return img
		}},
		{"crash-consistent", func(cloud *ec2.Cloud) *bake.Image {
			img := simple(cloud)
			img.Builder = ec2.Builder{Cloud: cloud, Source: ubuntu(), Capture: ec2.Capture{CrashConsistent: true, AllowIMDSv1: true}}
			return img
		}},
		{"temporary profile", func(cloud *ec2.Cloud) *bake.Image {
			img := simple(cloud)
			img.Builder = ec2.Builder{Cloud: cloud, Source: old, InstanceProfilePolicy: readBucket}
			return img
		}},
		{"public", func(cloud *ec2.Cloud) *bake.Image {
			img := simple(cloud)
			public := ec2.Permissions{Public: true}
			img.Builder = ec2.Builder{
				Cloud: cloud, Source: old,
				Distribute: ec2.Distribution{LaunchPermissions: public, SnapshotPermissions: public},
			}
			return img
		}},
		{"copied and published", func(cloud *ec2.Cloud) *bake.Image {
			img := multiRegion(cloud)
			configure(img, func(b *ec2.Builder) { b.Source = old })
			img.Publishers = []bake.Publisher{
				ec2.SSMParameter{Name: "/images/" + rand.Text(), PlainText: true, NoOverwrite: true},
				ec2.LaunchTemplate{Name: "web", MakeDefault: true},
			}
			return img
		}},
	}
}

// TestPolicyMatchesCalls bakes, destroys and fails each definition, and checks
// that the policy allows exactly the calls made.
func TestPolicyMatchesCalls(t *testing.T) {
	t.Parallel()
	for _, d := range definitions() {
		t.Run(d.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, cloud := definitionServer(t)
				before := len(server.Calls())
				img := d.image(cloud)
				for _, account := range []string{mainAccount, prodAccount} {
					server.Fail(ec2test.Fault{Action: "PutParameter", Account: account, When: ec2test.After})
				}
				if _, err := bake.Bake(t.Context(), nil, img); err != nil {
					t.Fatal(err)
				}
				server.Mend()
				exerciseFailures(t, server, cloud, d)

				for account, cloud := range cloudsOf(cloud, img) {
					want := slices.DeleteFunc(actionsOf(server.Calls()[before:], account), neverCalled)
					got := slices.DeleteFunc(ec2.Policy(cloud, img).Actions(), neverCalled)
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("account %s (-calls +policy):\n%s", account, diff)
					}
				}
			})
		})
	}
}

// cloudsOf returns the Clouds of an image's bake and copies, by account.
func cloudsOf(cloud *ec2.Cloud, img *bake.Image) map[string]*ec2.Cloud {
	clouds := map[string]*ec2.Cloud{mainAccount: cloud}
	if b, ok := img.Builder.(ec2.Builder); ok {
		for _, c := range b.Distribute.Copies {
			if c.Cloud != nil {
				clouds[prodAccount] = c.Cloud
			}
		}
	}
	return clouds
}

const mainAccount = "123456789012" // of ec2test

// exerciseFailures fails bakes late and loses responses of creating calls, so
// that everything is searched for and undone.
func exerciseFailures(t *testing.T, server *ec2test.Server, cloud *ec2.Cloud, d definition) {
	t.Helper()
	planted := errors.New("planted")
	fails := bake.PublisherFunc{Do: func(_ context.Context, a bake.Artifact) error {
		return errors.Join(planted, a.Destroy(t.Context()))
	}}
	img := d.image(cloud)
	if b, ok := img.Builder.(ec2.Builder); ok && len(b.Distribute.Copies) > 0 {
		server.Fail(ec2test.Fault{Action: "CopyImage", Account: prodAccount, Denied: &ec2test.Denial{Resource: "arn:aws:ec2:eu-west-1::image/*"}})
		results, err := bake.Bake(t.Context(), nil, img)
		if err == nil {
			t.Error("Bake() with a denied copy: error = nil")
		}
		server.Mend()
		destroy(t, results[0].Artifact)
	}
	img = d.image(cloud)
	img.Publishers = []bake.Publisher{fails}
	if _, err := bake.Bake(t.Context(), nil, img); !errors.Is(err, planted) {
		t.Errorf("Bake() with a failing publisher: error = %v, want %v", err, planted)
	}
	server.Mend()
	server.Fail(ec2test.Fault{Action: "RunInstances", Denied: &ec2test.Denial{Resource: deniedSubnet}})
	if _, err := bake.Bake(t.Context(), nil, d.image(cloud)); err == nil {
		t.Error("Bake() with a denied launch: error = nil")
	}
	server.Mend()
	refused := errors.New("refused")
	img = setDistribution(d.image(cloud), func(d *ec2.Distribution) { d.AllOrNothing = true })
	img.Checks = []bake.Check{bake.CheckFunc{Do: func(context.Context, bake.Machine) error { return refused }}}
	if _, err := bake.Bake(t.Context(), nil, img); !errors.Is(err, refused) {
		t.Errorf("Bake() with a failing check: error = %v, want %v", err, refused)
	}
	if b, ok := img.Builder.(ec2.Builder); ok && len(b.Distribute.Copies) > 0 {
		img.Checks = nil
		server.Fail(ec2test.Fault{Action: "EnableImageDeprecation", Region: "us-west-2", Code: "UnauthorizedOperation", Times: -1})
		if _, err := bake.Bake(t.Context(), nil, img); err == nil {
			t.Error("Bake() with a denied deprecation: error = nil")
		}
		server.Mend()
	}
	for _, action := range []string{"CreateSecurityGroup", "RunInstances", "CreateImage", "RegisterImage"} {
		server.Fail(ec2test.Fault{Action: action, When: ec2test.After, Times: attempts})
		if server.CallCount(action) > 0 {
			if _, err := bake.Bake(t.Context(), nil, d.image(cloud)); err == nil {
				t.Errorf("Bake() with lost responses of %s: error = nil", action)
			}
		}
		server.Mend()
	}
}

// actionsOf returns the actions that an account called, as a policy names them,
// without GetCallerIdentity, which needs no permission.
func actionsOf(calls []ec2test.Call, account string) []string {
	var seen []string
	for _, c := range calls {
		service := "ec2"
		switch {
		case c.Action == "GetCallerIdentity" || c.Account != account:
			continue
		case c.Action == "AssumeRole" || c.Action == "DecodeAuthorizationMessage":
			service = "sts"
		case strings.Contains(c.Action, "Role") || strings.Contains(c.Action, "InstanceProfile"):
			service = "iam"
		case isEBSDirect(c.Action):
			service = "ebs"
		case c.Action == "DescribeKey":
			service = "kms"
		case c.Params == nil || strings.HasSuffix(c.Action, "Parameter"):
			service = "ssm"
		}
		seen = append(seen, service+":"+c.Action)
	}
	slices.Sort(seen)
	return slices.Compact(seen)
}

// neverCalled reports whether an action is needed by other calls, but not called
// itself: to set tags, to pass a role, and to let EBS use a key. The default key is
// looked up only for an encrypted AMI. TestPolicyResources checks those of keys.
func neverCalled(action string) bool {
	return action == "ec2:CreateTags" || action == "ec2:GetEbsDefaultKmsKeyId" || action == "iam:PassRole" || strings.HasPrefix(action, "iam:Tag") || strings.HasPrefix(action, "kms:")
}

// TestPolicyCoversEveryCall finds the API calls in the package's source, and
// checks that each is in the policy of some definition or of a Reaper.
func TestPolicyCoversEveryCall(t *testing.T) {
	var known []string
	_, cloud := definitionServer(t)
	for _, d := range definitions() {
		img := d.image(cloud)
		for _, action := range ec2.Policy(cloud, img).Actions() {
			_, name, _ := strings.Cut(action, ":")
			known = append(known, name)
		}
	}
	for _, action := range (&ec2.Reaper{Clouds: []*ec2.Cloud{cloud}}).IAMPolicy().Actions() {
		_, name, _ := strings.Cut(action, ":")
		known = append(known, name)
	}
	for _, action := range scripted().IAMPolicy(testRegion).Actions() { // TestRefreshPolicy compares it
		_, name, _ := strings.Cut(action, ":")
		known = append(known, name)
	}
	calls := testenv.SDKCalls(t, "client|ssm|iam|kms|sts|scaling", ".")
	if len(calls) < 20 {
		t.Fatalf("calls in the source = %v, want 20 or more", calls)
	}
	for _, name := range calls {
		if name != "GetCallerIdentity" && !slices.Contains(known, name) {
			t.Errorf("%s is called, but not in any definition's policy: complete policy_table.go and definitions", name)
		}
	}
}

// TestPolicyResources checks the resources and conditions of a policy.
func TestPolicyResources(t *testing.T) {
	cloud := newCloud(newServer(t, nil))
	img := simple(cloud)
	img.Builder = ec2.Builder{
		Cloud: cloud, Source: ec2.ParameterName("/aws/service/canonical/ami"), InstanceProfile: "baker",
		BlockDevices: []ec2.BlockDevice{{KMSKey: "arn:aws:kms:eu-west-1:1:key/k"}},
	}
	img.Publishers = []bake.Publisher{ec2.SSMParameter{Name: "/images/web"}}
	doc := ec2.Policy(cloud, img, img)
	var back iampolicy.Document
	if err := json.Unmarshal([]byte(doc.String()), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(doc, &back); diff != "" {
		t.Errorf("policy after a JSON round trip (-want +got):\n%s", diff)
	}
	sids := map[string]bool{}
	for _, s := range doc.Statement {
		if sids[s.Sid] || s.Effect != "Allow" || !regexp.MustCompile(`^[A-Za-z0-9]+$`).MatchString(s.Sid) {
			t.Errorf("statement = %+v, want Allow with a unique alphanumeric Sid", s)
		}
		sids[s.Sid] = true
		for _, action := range s.Action {
			unrestricted := strings.HasPrefix(action, "ec2:Describe") || action == "sts:DecodeAuthorizationMessage"
			if got := slices.Equal(s.Resource, []string{"*"}); got != unrestricted {
				t.Errorf("resources of %s = %v, want all: %t", action, s.Resource, unrestricted)
			}
		}
	}
	for _, test := range []struct{ action, resource, condition string }{
		{"ec2:TerminateInstances", "arn:aws:ec2:eu-west-1:*:instance/*", "aws:ResourceTag/bakestone:build"},
		{"ec2:DeregisterImage", "arn:aws:ec2:eu-west-1::image/*", "aws:ResourceTag/bakestone:build"},
		{"ec2:RunInstances", "arn:aws:ec2:eu-west-1:*:instance/*", "aws:RequestTag/bakestone:build"},
		{"ec2:DeleteTags", "arn:aws:ec2:eu-west-1::image/*", "aws:TagKeys"},
		{"ssm:GetParameter", "arn:aws:ssm:eu-west-1::parameter/aws/service/canonical/ami", ""},
		{"ssm:PutParameter", "arn:aws:ssm:eu-west-1:*:parameter/images/web", ""},
		{"kms:DescribeKey", "arn:aws:kms:eu-west-1:1:key/k", "map[]"}, // not only through EC2
		{"kms:CreateGrant", "arn:aws:kms:eu-west-1:1:key/k", "kms:GrantIsForAWSResource"},
		{"iam:GetInstanceProfile", "arn:aws:iam::*:instance-profile/*baker", ""},
		{"iam:PassRole", "arn:aws:iam::*:role/*", "iam:PassedToService"},
	} {
		if !slices.ContainsFunc(doc.Statement, func(s iampolicy.Statement) bool {
			return slices.Contains(s.Action, test.action) && slices.Contains(s.Resource, test.resource) &&
				strings.Contains(fmt.Sprint(s.Condition), test.condition)
		}) {
			t.Errorf("Policy() does not allow %s on %s with condition %q:\n%s", test.action, test.resource, test.condition, doc)
		}
	}
	if empty := ec2.Policy(newCloud(newServer(t, nil)), img); len(empty.Statement) > 0 {
		t.Errorf("Policy() of an unused Cloud = %s, want an empty one", empty)
	}
}

// A policyPublisher is a publisher of another package that has a policy.
type policyPublisher struct{ bake.PublisherFunc }

func (policyPublisher) IAMPolicy(regions ...string) *iampolicy.Document {
	return &iampolicy.Document{Statement: []iampolicy.Statement{
		{Sid: "Remove", Effect: "Allow", Action: []string{"ec2:DisableImage"}, Resource: regions},
	}}
}

// TestPolicyOfPublishers checks that the policy of another package's publisher is
// in that of the baking account, for the AMI's regions there, and in no other.
func TestPolicyOfPublishers(t *testing.T) {
	cloud := newCloud(newServer(t, nil))
	img := multiRegion(cloud)
	img.Publishers = []bake.Publisher{policyPublisher{}}
	prod := cloudsOf(cloud, img)[prodAccount]
	i := slices.IndexFunc(ec2.Policy(cloud, img).Statement, func(s iampolicy.Statement) bool { return s.Action[0] == "ec2:DisableImage" })
	if i < 0 {
		t.Fatalf("Policy() lacks ec2:DisableImage:\n%s", ec2.Policy(cloud, img))
	}
	got := ec2.Policy(cloud, img).Statement[i]
	if diff := cmp.Diff([]string{testRegion, "us-east-1", "us-west-2"}, got.Resource); diff != "" {
		t.Errorf("regions (-want +got):\n%s", diff)
	}
	if slices.Contains(ec2.Policy(prod, img).Actions(), "ec2:DisableImage") {
		t.Errorf("Policy() of the other account allows ec2:DisableImage:\n%s", ec2.Policy(prod, img))
	}
}
