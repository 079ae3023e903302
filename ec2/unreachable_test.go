package ec2_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestUnreachable wants the fields to look at in the error of a machine that
// SSH does not reach.
func TestUnreachable(t *testing.T) {
	pair, _ := newKey(t)
	clock := clock.Scaled(1000)
	server := newServer(t, &ec2test.Options{Clock: clock})
	cloud := ec2.NewCloud(server.Config(testRegion), &ec2.CloudOptions{Dial: server.Dial, SourceAddress: server.SourceAddress, Clock: clock, NoCallLimits: true})
	for name, test := range map[string]struct {
		change  func(*ec2.Builder)
		refused bool
		want    []string
	}{
		"groups of others": {func(b *ec2.Builder) {
			b.Network.SecurityGroups, b.SSH.ConnectTimeout = []string{"default"}, time.Minute
		}, false,
			[]string{"no SSH connection within Builder.SSH.ConnectTimeout (1m0s)", "Builder.SSH.Address", "Builder.Network.SecurityGroups admits the baking host"}},
		"the login": {func(b *ec2.Builder) { b.SSH.User = "nobody" }, true, []string{"refused login as nobody", "set Builder.SSH.User"}},
		"the keys": {func(b *ec2.Builder) { b.SSH.Auth = []sshmachine.Auth{sshmachine.Signer(pair.Signer)} }, true,
			[]string{"refused login as ubuntu", "must have a key of Builder.SSH.Auth for the login ubuntu"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := ec2.Builder{Cloud: cloud, Source: ubuntu(), SSH: ec2.SSH{ConnectTimeout: 10 * time.Hour}}
			test.change(&b)
			_, err := bake.Bake(t.Context(), &bake.Options{Clock: clock}, &bake.Image{Name: "far", Builder: b})
			if err == nil {
				t.Fatal("it was reached")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q:\n%v", want, err)
				}
			}
			if _, refused := errors.AsType[*sshmachine.AuthError](err); refused != test.refused {
				t.Errorf("refused: %t, want %t: %v", refused, test.refused, err)
			}
			wantNothing(t, server)
		})
	}
}
