package ec2_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

// failing returns an image whose script writes a file and fails.
func failing(cloud *ec2.Cloud) *bake.Image {
	return &bake.Image{
		Name:         "failing",
		Builder:      ec2.Builder{Cloud: cloud, Source: ubuntu()},
		Provisioners: []bake.Provisioner{provision.Shell("echo trace >trace", "echo went wrong >&2", "exit 3")},
	}
}

// failingCheck returns an image whose script writes a file and whose check fails.
func failingCheck(cloud *ec2.Cloud) *bake.Image {
	img := failing(cloud)
	img.Provisioners = []bake.Provisioner{provision.Shell("echo trace >trace")}
	img.Checks = []bake.Check{bake.CheckFunc{Do: provision.Shell("echo went wrong >&2", "exit 3").Provision}}
	return img
}

func TestKeepMachine(t *testing.T) {
	t.Run("provisioner fails", func(t *testing.T) { keepMachine(t, failing) })
	t.Run("check fails", func(t *testing.T) { keepMachine(t, failingCheck) })
}

// keepMachine connects to the machine that a failed bake has kept, and undoes the
// build.
func keepMachine(t *testing.T, failing func(*ec2.Cloud) *bake.Image) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		store := bake.DirStore(t.TempDir())
		options := &bake.Options{OnFailure: bake.KeepMachine, Store: store}
		results, err := bake.Bake(t.Context(), options, failing(cloud))
		var exit *bake.ExitError
		if !errors.As(err, &exit) || exit.Status != 3 || !strings.Contains(err.Error(), "went wrong") {
			t.Fatalf("Bake() error = %v, want exit status 3 and the last lines of output", err)
		}
		kept := results[0].Kept
		if kept == nil {
			t.Fatal("Kept = nil, want a machine")
		}
		if instances := resourcesOf(server, "instance"); len(instances) != 1 || instances[0].ID != kept.Machine {
			t.Errorf("instances = %v, want only %s", instances, kept.Machine)
		}
		hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(kept.HostKey))
		if err != nil {
			t.Fatal(err)
		}
		m, err := sshmachine.Connect(t.Context(), &sshmachine.Config{
			Addr: kept.Address, User: kept.User, HostKey: sshmachine.FixedHostKey(hostKey), Dial: server.Dial,
			Auth: []sshmachine.Auth{sshmachine.PrivateKey([]byte(kept.Key.Reveal()), bake.Secret{})},
		})
		if err != nil {
			t.Fatal(err)
		}
		if trace, err := bake.Output(t.Context(), m, bake.Sh("cat trace")); err != nil || trace != "trace" {
			t.Errorf("Output(cat trace) = %q, %v, want %q", trace, err, "trace")
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if text := kept.String(); !strings.Contains(text, kept.Machine) || !strings.Contains(text, "ssh ubuntu@") || strings.Contains(text, "PRIVATE") {
			t.Errorf("Kept.String() = %q, want the machine and an ssh command without the key", text)
		}

		images := server.Resources(func(r ec2test.Resource) bool {
			return (r.Type == "image" || r.Type == "snapshot") && r.Tags[ec2.TagBuild] != ""
		})
		if len(images) > 0 {
			t.Errorf("images of the failed build = %v, want none", images)
		}

		rec, err := store.Load(t.Context(), results[0].Build)
		if err != nil {
			t.Fatal(err)
		}
		if err := bake.Undo(t.Context(), options, failing(cloud), rec); err != nil {
			t.Fatal(err)
		}
		wantNoLeftovers(t, server)
	})
}

// TestAbandonedInstanceShutsDown abandons a machine that was rebooted. At its
// expiry the guest must shut down, which terminates the instance.
func TestAbandonedInstanceShutsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := clock.NewVirtual(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
		server := newServer(t, &ec2test.Options{Clock: clock})
		o := cloudOptions(server)
		cloud := ec2.NewCloud(server.Config(testRegion), o)
		img := failing(cloud)
		img.Provisioners = append([]bake.Provisioner{bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
			return m.Reboot(ctx, nil)
		}}}, img.Provisioners...)
		results, err := bake.Bake(t.Context(), &bake.Options{OnFailure: bake.KeepMachine, Lifetime: 2 * time.Hour, Clock: atStart{clock}}, img)
		if results == nil || results[0].Kept == nil {
			t.Fatalf("Bake() error = %v, want a kept machine", err)
		}
		running := func() int { return len(resourcesOf(server, "instance")) }
		clock.Advance(119 * time.Minute)
		if n := running(); n != 1 {
			t.Errorf("instances before the expiry = %d, want 1", n)
		}
		clock.Advance(3 * time.Minute)
		for range 500 {
			if running() == 0 {
				return
			}
			time.Sleep(10 * time.Millisecond) // the guest shuts down in another goroutine
		}
		t.Errorf("instances after the expiry = %d, want 0", running())
	})
}

// An atStart shows virtual time, but sleeps in real time.
type atStart struct{ *clock.Virtual }

func (atStart) Sleep(ctx context.Context, d time.Duration) error {
	return clock.System().Sleep(ctx, d)
}
