package ec2_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestRestartAfterEachStep repeats each step in another process, of definitions
// that together have every step that changes something. There must be one AMI in
// each place, and nothing else.
func TestRestartAfterEachStep(t *testing.T) {
	for _, d := range []struct {
		name    string
		builder func(cloud, prod *ec2.Cloud) ec2.Builder
	}{
		{"replaced", func(_, prod *ec2.Cloud) ec2.Builder { return replacing(threeCopies(prod)) }},
		{"snapshots, only copies", func(_, prod *ec2.Cloud) ec2.Builder {
			return ec2.Builder{
				Capture:      ec2.Capture{FromSnapshots: true},
				BlockDevices: []ec2.BlockDevice{{Device: "/dev/sdf", SizeGiB: 1}},
				SSH:          ec2.SSH{ConsoleHostKey: true},
				Distribute:   ec2.Distribution{Copies: threeCopies(prod), OnlyCopies: true},
			}
		}},
		{"replaced, snapshots, only copies", func(_, prod *ec2.Cloud) ec2.Builder {
			return ec2.Builder{
				AMIName: "web", ReplaceAMI: true, Capture: ec2.Capture{FromSnapshots: true, CrashConsistent: true},
				Spot: &ec2.Spot{}, Distribute: ec2.Distribution{Copies: threeCopies(prod), OnlyCopies: true},
			}
		}},
		{"spot", func(_, _ *ec2.Cloud) ec2.Builder { return ec2.Builder{Spot: &ec2.Spot{}} }},
		{"crash-consistent", func(_, _ *ec2.Cloud) ec2.Builder {
			return ec2.Builder{Capture: ec2.Capture{CrashConsistent: true}}
		}},
		// The first type has no capacity for the first call of RunInstances, but
		// has some when the other process starts.
		{"capacity", func(_, _ *ec2.Cloud) ec2.Builder {
			return ec2.Builder{InstanceTypes: []string{"m7i.large", "t3.small"}}
		}},
	} {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			baketest.ConformRestarts(t, func(t *testing.T) baketest.Platform {
				t.Helper()
				server, _ := freezingServer(t, ec2test.Options{})
				server.Publish(ec2test.Image{Name: "web", Private: true})
				t.Cleanup(func() { wantCreatedOnce(t, server) })
				if d.name == "capacity" {
					server.Fail(ec2test.Fault{Action: "RunInstances", Code: "InsufficientInstanceCapacity"})
				}
				cloud := newCloud(server)
				b := d.builder(cloud, cloud.Assume(ec2.Role{ARN: prodRole}))
				b.Cloud, b.Source = cloud, ubuntu()
				return baketest.Platform{Builder: b, Existing: server.Leftovers}
			}, &baketest.ConformOptions{Run: synctest.Test})
		})
	}
}

// threeCopies returns copies in two regions and in prod's account.
func threeCopies(prod *ec2.Cloud) []ec2.Copy {
	return []ec2.Copy{{Region: "us-east-1"}, {Region: "us-west-2", KMSKey: "alias/west"}, {Region: testRegion, Cloud: prod}}
}

// replacing returns a Builder that uses most features of a promotion.
func replacing(copies []ec2.Copy) ec2.Builder {
	return ec2.Builder{
		AMIName: "web", ReplaceAMI: true, InstanceProfilePolicy: readBucket,
		Capture: ec2.Capture{ENA: true},
		Distribute: ec2.Distribution{
			Copies: copies, Protection: ec2.Protected, DeprecateAfter: 90 * 24 * time.Hour,
			LaunchPermissions: ec2.Permissions{Accounts: []string{friend}},
		},
	}
}

// A promotion replaces an AMI. It has the session's record from before.
type promotion struct {
	server  *ec2test.Server
	builder ec2.Builder
	run     *bake.Run
	session bake.Session
	record  []byte // nil until the promotion
}

func newPromotion(t *testing.T) *promotion {
	t.Helper()
	server := roleServer(t, nil)
	server.Publish(ec2test.Image{Name: "web", Private: true})
	cloud := newCloud(server)
	p := &promotion{server: server, builder: replacing(threeCopies(cloud.Assume(ec2.Role{ARN: prodRole})))}
	p.builder.Cloud, p.builder.Source = cloud, ubuntu()
	p.run = bake.NewRun("b-1", "web", nil, nil)
	p.begin(t)
	p.do(t, p.session.Launch())
	p.do(t, p.session.Capture())
	p.do(t, p.session.Promote()[:1])
	var err error
	if p.record, err = json.Marshal(p.session); err != nil {
		t.Fatal(err)
	}
	return p
}

// begin starts a session as a new process does, from the record if there is one.
func (p *promotion) begin(t *testing.T) {
	t.Helper()
	var err error
	if p.session, err = p.builder.Begin(&bake.Image{Name: "web", Builder: p.builder}, p.run); err != nil {
		t.Fatal(err)
	}
	if p.record != nil {
		if err := json.Unmarshal(p.record, p.session); err != nil {
			t.Fatal(err)
		}
	}
}

// do runs steps that must succeed.
func (p *promotion) do(t *testing.T, steps []bake.Step) {
	t.Helper()
	for _, step := range steps {
		if err := step.Do(t.Context()); err != nil {
			t.Fatalf("%s: %v", step.Name, err)
		}
	}
}

// finish ends a successful build, and counts the resources that stay.
func (p *promotion) finish(t *testing.T) map[string]int {
	t.Helper()
	for _, step := range slices.Backward(slices.Concat(p.session.Launch(), p.session.Capture(), p.session.Promote())) {
		if step.Undo == nil {
			continue
		}
		if err := step.Undo(t.Context(), bake.Succeeded); err != nil {
			t.Errorf("undo %s: %v", step.Name, err)
		}
	}
	exists := map[string]int{"places": len(p.session.Artifact().IDs())}
	if ami, ok := p.session.Artifact().(*ec2.AMI); ok {
		for _, id := range ami.Snapshots {
			out, err := p.builder.Cloud.Client("").DescribeSnapshotAttribute(t.Context(), &awsec2.DescribeSnapshotAttributeInput{
				SnapshotId: aws.String(id), Attribute: ec2types.SnapshotAttributeNameCreateVolumePermission,
			})
			if err != nil {
				t.Error(err)
				continue
			}
			exists["accounts that may read a snapshot"] += len(out.CreateVolumePermissions)
		}
	}
	for _, r := range p.server.Resources(nil) {
		exists[fmt.Sprintf("%s %q in %s/%s", r.Type, r.Name, r.Account, r.Region)]++
	}
	return exists
}

// TestRestartDuringPromotion ends the process after each changing call of a
// promotion. Another process, without a record of the call, must complete it.
func TestRestartDuringPromotion(t *testing.T) {
	var calls []ec2test.Call
	var want map[string]int
	synctest.Test(t, func(t *testing.T) {
		whole := newPromotion(t)
		before := len(whole.server.Calls())
		whole.do(t, whole.session.Promote()[1:])
		calls = whole.server.Calls()[before:]
		want = whole.finish(t)
	})
	changes := regexp.MustCompile(`^(Copy|Register|Deregister|Delete|Modify|Enable)`)
	count, tried := map[string]int{}, 0
	for _, c := range calls {
		key := c.Account + " " + c.Region + " " + c.Action
		if count[key]++; !changes.MatchString(c.Action) {
			continue
		}
		tried++
		fault := ec2test.Fault{Action: c.Action, Region: c.Region, Account: c.Account, Nth: count[key], When: ec2test.After, Times: -1}
		t.Run(fmt.Sprintf("%s %d", key, count[key]), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPromotion(t)
				p.server.Fail(fault)
				if err := p.session.Promote()[1].Do(t.Context()); err == nil {
					t.Fatal("Promote() without responses: error = nil")
				}
				p.server.Mend()
				p.begin(t)
				p.do(t, p.session.Promote()[1:])
				if diff := cmp.Diff(want, p.finish(t)); diff != "" {
					t.Errorf("resources (-want +got):\n%s", diff)
				}
				if err := p.session.Artifact().Destroy(t.Context()); err != nil {
					t.Error(err)
				}
				wantNoLeftovers(t, p.server)
			})
		})
	}
	const least = 30
	if tried < least {
		t.Errorf("changing calls = %d, want %d or more", tried, least)
	}
}

// wantCreatedOnce checks that calls without a client token created nothing twice.
func wantCreatedOnce(t *testing.T, server *ec2test.Server) {
	t.Helper()
	made := map[string]int{}
	for _, c := range server.Calls() {
		if c.Code == "" {
			made[c.Action]++
		}
	}
	for _, action := range []string{"CreateSecurityGroup", "CreateRole", "CreateInstanceProfile", "CreateImage", "CreateSnapshots"} {
		if made[action] > 1 {
			t.Errorf("successful calls of %s = %d, want at most 1", action, made[action])
		}
	}
}
