package ec2_test

import (
	"testing"

	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestRestartMakesNothingTwice has another process do each step again, of
// definitions that together have every step that makes or changes something:
// there is one AMI in each place then, and nothing else.
func TestRestartMakesNothingTwice(t *testing.T) {
	copies := func(prod *ec2.Cloud) []ec2.Copy {
		return []ec2.Copy{{Region: "us-east-1"}, {Region: "us-west-2", KMSKey: "alias/west"}, {Region: testRegion, Cloud: prod}}
	}
	for _, d := range []struct {
		name    string
		builder func(cloud, prod *ec2.Cloud) ec2.Builder
	}{
		{"replaced", func(_, prod *ec2.Cloud) ec2.Builder {
			return ec2.Builder{
				AMIName: "web", ReplaceAMI: true, InstanceProfilePolicy: readBucket,
				Capture: ec2.Capture{ENA: true},
				Distribute: ec2.Distribution{
					Copies: copies(prod), Protection: ec2.Protected, DeprecateAfter: 1e15,
					LaunchPermissions: ec2.Permissions{Accounts: []string{friend}},
				},
			}
		}},
		{"of snapshots, only copies", func(_, prod *ec2.Cloud) ec2.Builder {
			return ec2.Builder{
				Capture:      ec2.Capture{FromSnapshots: true},
				BlockDevices: []ec2.BlockDevice{{Device: "/dev/sdf", SizeGiB: 1}},
				SSH:          ec2.SSH{ConsoleHostKey: true},
				Distribute:   ec2.Distribution{Copies: copies(prod), OnlyCopies: true},
			}
		}},
		{"replaced, of snapshots, only copies", func(_, prod *ec2.Cloud) ec2.Builder {
			return ec2.Builder{
				AMIName: "web", ReplaceAMI: true, Capture: ec2.Capture{FromSnapshots: true, CrashConsistent: true},
				Spot: &ec2.Spot{}, Distribute: ec2.Distribution{Copies: copies(prod), OnlyCopies: true},
			}
		}},
		{"spot", func(_, _ *ec2.Cloud) ec2.Builder { return ec2.Builder{Spot: &ec2.Spot{}} }},
		{"crash-consistent", func(_, _ *ec2.Cloud) ec2.Builder {
			return ec2.Builder{Capture: ec2.Capture{CrashConsistent: true}}
		}},
		// The first of them has no capacity for the first call of RunInstances,
		// and has some when the other process begins.
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
				t.Cleanup(func() { onceEach(t, server) })
				if d.name == "capacity" {
					server.Fail(ec2test.Fault{Action: "RunInstances", Code: "InsufficientInstanceCapacity"})
				}
				cloud := newCloud(server)
				b := d.builder(cloud, cloud.Assume(ec2.Role{ARN: prodRole}))
				b.Cloud, b.Source = cloud, ubuntu()
				return baketest.Platform{Builder: b, Existing: server.Leftovers, Clock: ec2test.Scaled(50)}
			})
		})
	}
}

// onceEach wants that no call that knows no client token has made anything twice.
func onceEach(t *testing.T, server *ec2test.Server) {
	t.Helper()
	made := map[string]int{}
	for _, c := range server.Calls() {
		if c.Code == "" {
			made[c.Action]++
		}
	}
	for _, action := range []string{"CreateSecurityGroup", "CreateRole", "CreateInstanceProfile", "CreateImage", "CreateSnapshots"} {
		if made[action] > 1 {
			t.Errorf("%s was called %d times with success", action, made[action])
		}
	}
}
