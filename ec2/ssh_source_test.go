package ec2_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestSourceAddressChanged changes the baking host's address after its security group
// was created. The group must admit the new one, unless EC2 refuses that.
func TestSourceAddressChanged(t *testing.T) {
	for name, refused := range map[string]bool{"followed": false, "refused": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := ec2test.New(&ec2test.Options{Latency: ec2test.Realistic()})
				defer server.Close()
				lookups := 0
				cloud := ec2.NewCloud(server.Config(testRegion), &ec2.CloudOptions{Dial: server.Dial, SourceAddress: func(ctx context.Context) (netip.Addr, error) {
					if lookups++; lookups == 1 {
						return netip.MustParseAddr("203.0.113.9"), nil
					}
					return server.SourceAddress(ctx)
				}})
				if refused {
					server.Fail(ec2test.Fault{Action: "AuthorizeSecurityGroupIngress", Nth: 2, Times: -1, Code: "UnauthorizedOperation"})
				}
				began := time.Now()
				said := false
				results, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
					said = said || strings.Contains(e.Text, "the baking host's address is now [")
				}}, simple(cloud))
				if !said {
					t.Error("no event says that the address changed")
				}
				if refused {
					wantError(t, "Bake", err, "no SSH connection")
				} else if took := time.Since(began); err != nil || took > 10*time.Minute {
					t.Errorf("Bake() error = %v after %v, want nil after at most 10m", err, took)
				}
				destroy(t, results[0].Artifact)
				wantNoLeftovers(t, server)
			})
		})
	}
}
