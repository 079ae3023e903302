package ec2_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// launches returns the attempts to launch, each as market, type, zone and result.
func launches(t *testing.T, server *ec2test.Server, cloud *ec2.Cloud) []string {
	t.Helper()
	subnets, err := cloud.Client("").DescribeSubnets(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	zones := map[string]string{}
	for _, s := range subnets.Subnets {
		zones[*s.SubnetId] = strings.TrimPrefix(*s.AvailabilityZone, testRegion)
	}
	var list []string
	for _, c := range callsOf(server.Calls(), "RunInstances") {
		market := ""
		if c.Params.Get("InstanceMarketOptions.MarketType") == "spot" {
			market = "spot "
		}
		result := c.Code
		if result == "" {
			result = "launched"
		}
		list = append(list, fmt.Sprintf("%s%s %s %s", market, c.Params.Get("InstanceType"), zones[c.Params.Get("SubnetId")], result))
	}
	return list
}

func TestLaunchCandidates(t *testing.T) {
	types := []string{"c7i.large", "m7i.large"}
	full := ec2test.Fault{InstanceType: "c7i.large"}
	for name, test := range map[string]struct {
		change func(*ec2.Builder)
		market func(*ec2test.Server)
		want   []string
		err    string
	}{
		"capacity": {want: []string{"c7i.large a launched"}},
		"no capacity in a zone": {
			market: func(s *ec2test.Server) { s.SetCapacity("c7i.large", "eu-west-1a", 0) },
			want:   []string{"c7i.large a InsufficientInstanceCapacity", "c7i.large b launched"},
		},
		"no capacity for a type": {
			market: func(s *ec2test.Server) { s.Fail(full) },
			want: []string{
				"c7i.large a InsufficientInstanceCapacity", "c7i.large b InsufficientInstanceCapacity",
				"c7i.large c InsufficientInstanceCapacity", "m7i.large a launched",
			},
		},
		"type not in a zone": {
			market: func(s *ec2test.Server) { s.Fail(ec2test.Fault{Zone: "eu-west-1a", Code: "Unsupported"}) },
			want:   []string{"c7i.large a Unsupported", "c7i.large b launched"},
		},
		"quota exceeded": {
			market: func(s *ec2test.Server) {
				s.Fail(ec2test.Fault{InstanceType: "c7i.large", Code: "VcpuLimitExceeded"})
			},
			want: []string{"c7i.large a VcpuLimitExceeded", "m7i.large a launched"},
		},
		"full subnet": {
			market: func(s *ec2test.Server) {
				s.Fail(ec2test.Fault{Zone: "eu-west-1a", Code: "InsufficientFreeAddressesInSubnet"})
				s.Fail(full)
			},
			want: []string{
				"c7i.large a InsufficientFreeAddressesInSubnet", "c7i.large b InsufficientInstanceCapacity",
				"c7i.large c InsufficientInstanceCapacity", "m7i.large b launched",
			},
		},
		"one zone": {
			change: func(b *ec2.Builder) { b.Network.AvailabilityZone = "eu-west-1b" },
			market: func(s *ec2test.Server) { s.Fail(full) },
			want:   []string{"c7i.large b InsufficientInstanceCapacity", "m7i.large b launched"},
		},
		"no capacity anywhere": {
			change: func(b *ec2.Builder) { b.Network.AvailabilityZone = "eu-west-1b" },
			market: func(s *ec2test.Server) { s.Fail(full); s.SetQuota(ec2test.OnDemand, 0) },
			want:   []string{"c7i.large b VcpuLimitExceeded", "m7i.large b VcpuLimitExceeded"},
			err:    "launch instance: no capacity: c7i.large in eu-west-1b (subnet-",
		},
		"invalid type": {
			change: func(b *ec2.Builder) { b.InstanceTypes = []string{"t4g.small", "t3.small"} },
			market: func(s *ec2test.Server) { // preflight may not check it
				s.Fail(ec2test.Fault{Action: "DescribeInstanceTypes", Code: "UnauthorizedOperation", Times: -1})
			},
			want: []string{"t4g.small a InvalidParameterValue"},
			err:  "architecture",
		},
		"spot": {
			change: func(b *ec2.Builder) { b.Spot = &ec2.Spot{} },
			want:   []string{"spot c7i.large a launched"},
		},
		"no spot capacity": {
			change: func(b *ec2.Builder) { b.Spot = &ec2.Spot{} },
			market: func(s *ec2test.Server) { s.SetQuota(ec2test.Spot, 0) },
			want:   []string{"spot c7i.large a MaxSpotInstanceCountExceeded", "c7i.large a launched"},
		},
		"spot above MaxPrice": {
			change: func(b *ec2.Builder) { b.Spot = &ec2.Spot{MaxPrice: "0.03"}; b.Network.AvailabilityZone = "eu-west-1a" },
			market: func(s *ec2test.Server) {
				if err := s.SetSpotPrice("c7i.large", "eu-west-1a", 0.04); err != nil {
					panic(err)
				}
			},
			want: []string{"spot c7i.large a SpotMaxPriceTooLow", "spot m7i.large a launched"},
		},
		"spot only": {
			change: func(b *ec2.Builder) { b.Spot = &ec2.Spot{Only: true} },
			market: func(s *ec2test.Server) { s.SetQuota(ec2test.Spot, 0) },
			want:   []string{"spot c7i.large a MaxSpotInstanceCountExceeded"},
			err:    "no capacity: spot c7i.large in eu-west-1a",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				cloud := newCloud(server)
				if test.market != nil {
					test.market(server)
				}
				b := ec2.Builder{Cloud: cloud, Source: ubuntu(), InstanceTypes: types}
				if test.change != nil {
					test.change(&b)
				}
				var messages []string
				results, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
					if e.Kind == bake.Message && e.Step == "launch instance" {
						messages = append(messages, e.Text)
					}
				}}, &bake.Image{Name: "placed", Builder: b})
				if diff := cmp.Diff(test.want, launches(t, server, cloud)); diff != "" {
					t.Errorf("launches (-want +got):\n%s", diff)
				}
				if test.err == "" && (len(messages) != len(test.want) || !strings.HasPrefix(messages[len(messages)-1], "i-")) {
					t.Errorf("messages = %q, want one for each of %d refusals and one for the instance", messages, len(test.want)-1)
				}
				switch {
				case test.err == "" && err != nil:
					t.Fatal(err)
				case test.err == "":
					destroy(t, results[0].Artifact)
				default:
					wantError(t, "Bake", err, test.err)
				}
				wantNoLeftovers(t, server)
			})
		})
	}
}

// TestCapacityWait retries until there is capacity or CapacityWait elapses.
func TestCapacityWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		for _, test := range []struct {
			refusals int
			wait     time.Duration
			ok       bool
		}{{4, 5 * time.Minute, true}, {4, 90 * time.Second, false}} {
			server.Mend()
			server.Fail(ec2test.Fault{Zone: "eu-west-1a", Times: test.refusals})
			_, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "waiting", Builder: ec2.Builder{
				Cloud: cloud, Source: ubuntu(), Network: ec2.Network{AvailabilityZone: "eu-west-1a"}, CapacityWait: test.wait,
			}})
			if (err == nil) != test.ok || err != nil && !errors.Is(err, ec2.ErrNoCapacity) {
				t.Errorf("Bake() with %d refusals and CapacityWait %v: error = %v, want success: %t", test.refusals, test.wait, err, test.ok)
			}
		}
	})
}

// TestLaunchRetryAfterTermination terminates instances before they run, as EC2
// does when it cannot start an instance after all.
func TestLaunchRetryAfterTermination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			failing int
			want    []string
		}{
			{1, []string{"t3.small a launched", "t3.small b launched"}},
			{9, []string{"t3.small a launched", "t3.small b launched", "t3.small c launched"}},
		} {
			server := newServer(t, nil)
			cloud := newCloud(server)
			left, options := test.failing, &bake.Options{}
			options.Observe = func(e bake.Event) {
				if e.Kind != bake.ResourceCreated || e.Resource.Kind != "instance" {
					return
				}
				if left--; left >= 0 {
					if err := server.TerminateInstance(e.Resource.ID); err != nil {
						t.Error(err)
					}
				}
			}
			results, err := bake.Bake(t.Context(), options, simple(cloud))
			if fails := test.failing > len(test.want); (err != nil) != fails || fails && !strings.Contains(err.Error(), "wait for instance: ") {
				t.Errorf("Bake() with %d terminated instances: error = %v, want success: %t", test.failing, err, !fails)
			}
			if diff := cmp.Diff(test.want, launches(t, server, cloud)); diff != "" {
				t.Errorf("launches (-want +got):\n%s", diff)
			}
			destroy(t, results[0].Artifact)
			wantNoLeftovers(t, server)
		}
	})
}

// TestLaunchClientTokens checks that each candidate has another client token, and
// a repeated call the same one.
func TestLaunchClientTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		server.SetCapacity("t3.small", "eu-west-1a", 0)
		server.Fail(ec2test.Fault{Action: "RunInstances", Nth: 2, When: ec2test.After}) // lose its response
		if _, err := bake.Bake(t.Context(), nil, simple(newCloud(server))); err != nil {
			t.Fatal(err)
		}
		var tokens []string
		for _, c := range callsOf(server.Calls(), "RunInstances") {
			tokens = append(tokens, c.Params.Get("ClientToken"))
		}
		if len(tokens) != 3 || tokens[0] == tokens[1] || tokens[1] != tokens[2] || slices.Contains(tokens, "") || len(tokens[0]) > 64 {
			t.Errorf("client tokens = %q, want one for the first candidate and another one twice for the second", tokens)
		}
	})
}
