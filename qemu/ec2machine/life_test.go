//go:build linux

package ec2machine_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/guest"
)

// long reports whether the long form of the tests runs.
func long() bool { return os.Getenv("BAKESTONE_LONG") != "" }

// must returns the result of a call that must succeed.
func must[T any](out T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// A lab launches instances and logs in to them.
type lab struct {
	*testing.T
	srv      *ec2test.Server
	ec2      *awsec2.Client
	keys     guest.Keys
	userData string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	srv, _ := start(t, t.TempDir())
	l := &lab{T: t, srv: srv, ec2: awsec2.NewFromConfig(srv.Config(region))}
	run := bake.RunFromContext(t.Context())
	if err := errors.Join(l.keys.AddHostKeys(run), l.keys.AddClientKeys(run)); err != nil {
		t.Fatal(err)
	}
	document, err := guest.UserData{Keys: l.keys, RootLogin: true, Boundary: "lab", Expires: time.Now().Add(time.Hour)}.Document()
	if err != nil {
		t.Fatal(err)
	}
	l.userData = base64.StdEncoding.EncodeToString([]byte(document))
	must(l.ec2.AuthorizeSecurityGroupIngress(t.Context(), &awsec2.AuthorizeSecurityGroupIngressInput{
		GroupName: aws.String("default"), IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), CidrIp: aws.String("0.0.0.0/0"),
	}))(t)
	return l
}

// image returns the id of the newest image with a name.
func (l *lab) image(name string) string {
	l.Helper()
	out := must(l.ec2.DescribeImages(l.Context(), &awsec2.DescribeImagesInput{Filters: []types.Filter{{Name: aws.String("name"), Values: []string{name}}}}))(l.T)
	if len(out.Images) == 0 {
		l.Fatalf("no image %q", name)
	}
	return *out.Images[0].ImageId
}

// launch starts an instance of an image.
func (l *lab) launch(image string, change func(*awsec2.RunInstancesInput)) string {
	l.Helper()
	in := &awsec2.RunInstancesInput{
		ImageId: &image, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1), UserData: &l.userData,
		Placement: &types.Placement{AvailabilityZone: aws.String(region + "a")},
	}
	if change != nil {
		change(in)
	}
	return *must(l.ec2.RunInstances(l.Context(), in))(l.T).Instances[0].InstanceId
}

// awaitState waits until an instance has a state, and returns its description.
func (l *lab) awaitState(id string, state types.InstanceStateName) types.Instance {
	l.Helper()
	for {
		out := must(l.ec2.DescribeInstances(l.Context(), &awsec2.DescribeInstancesInput{InstanceIds: []string{id}}))(l.T)
		if i := out.Reservations[0].Instances[0]; i.State.Name == state {
			return i
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// login connects to an instance at its present address. Its host key must be the pinned one.
func (l *lab) login(id string, change func(*sshmachine.Config)) bake.Machine {
	l.Helper()
	config := &sshmachine.Config{
		Addr: net.JoinHostPort(*l.awaitState(id, types.InstanceStateNameRunning).PublicIpAddress, "22"), User: "root", Dial: l.srv.Dial,
	}
	if change != nil {
		change(config)
	}
	if err := l.keys.Complete(config); err != nil {
		l.Fatal(err)
	}
	m, err := sshmachine.Connect(l.Context(), config)
	if err != nil {
		l.Fatalf("login to %s: %v\n%s", id, err, l.srv.Console(id))
	}
	l.Cleanup(func() { _ = m.Close() })
	return m
}

// sh runs a script on a machine and returns its output.
func (l *lab) sh(m bake.Machine, script string) string {
	l.Helper()
	out, err := bake.Output(l.Context(), m, bake.Sh(script))
	if err != nil {
		l.Fatalf("%s: %v", script, err)
	}
	return out
}

const bootID = "cat /proc/sys/kernel/random/boot_id"

// diskOf prints the name of the disk of a volume once the guest has found it.
func diskOf(volume string) string {
	return fmt.Sprintf(`for i in $(seq 100); do
	for each in /sys/block/vd*; do
		[ "$(cat $each/serial)" != %q ] || { echo ${each##*/}; exit; }
	done
	sleep 0.1
done
exit 1`, strings.ReplaceAll(volume, "-", "")[:20]) // all that virtio shows
}

// TestInstanceLife attaches, enlarges and detaches a volume of a running instance, stops and
// starts it, and in the long form reboots it.
func TestInstanceLife(t *testing.T) {
	l := newLab(t)
	id := l.launch(l.image("small debian"), nil)
	m := l.login(id, nil)
	first := l.sh(m, "echo kept >/srv/kept; sync; "+bootID)
	volume := *must(l.ec2.CreateVolume(t.Context(), &awsec2.CreateVolumeInput{AvailabilityZone: aws.String(region + "a"), Size: aws.Int32(1)}))(t).VolumeId
	attach := func(device string) {
		t.Helper()
		must(l.ec2.AttachVolume(t.Context(), &awsec2.AttachVolumeInput{InstanceId: &id, VolumeId: &volume, Device: &device}))(t)
	}
	attach("/dev/sdf")
	name := l.sh(m, diskOf(volume))
	l.sh(m, "echo rows | dd of=/dev/"+name+" conv=fsync 2>/dev/null")
	must(l.ec2.ModifyVolume(t.Context(), &awsec2.ModifyVolumeInput{VolumeId: &volume, Size: aws.Int32(2)}))(t)
	if got := l.sh(m, "for i in $(seq 100); do [ $(cat /sys/block/"+name+"/size) = 2097152 ] || break; sleep 0.1; done; cat /sys/block/"+name+"/size"); got != "4194304" {
		t.Errorf("the guest sees a volume of %s sectors, want 2 GiB", got)
	}
	must(l.ec2.DetachVolume(t.Context(), &awsec2.DetachVolumeInput{VolumeId: &volume}))(t)
	l.sh(m, "! test -e /dev/"+name)
	attach("/dev/sdg")
	l.sh(m, `grep -q rows /dev/$(`+diskOf(volume)+`)`)

	before := *l.awaitState(id, types.InstanceStateNameRunning).PublicIpAddress
	must(l.ec2.StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: []string{id}}))(t)
	if i := l.awaitState(id, types.InstanceStateNameStopped); i.PublicIpAddress != nil {
		t.Errorf("stopped instance has the address %s", *i.PublicIpAddress)
	}
	must(l.ec2.StartInstances(t.Context(), &awsec2.StartInstancesInput{InstanceIds: []string{id}}))(t)
	m = l.login(id, nil) // the host key is the same
	if got := *l.awaitState(id, types.InstanceStateNameRunning).PublicIpAddress; got == before {
		t.Errorf("address after the start = %s, as before", got)
	}
	l.sh(m, `grep -q kept /srv/kept && grep -q rows /dev/$(`+diskOf(volume)+`)`)
	second := l.sh(m, bootID)
	if second == first {
		t.Error("the guest was not booted again")
	}
	if !long() {
		return
	}
	must(l.ec2.RebootInstances(t.Context(), &awsec2.RebootInstancesInput{InstanceIds: []string{id}}))(t)
	for third := second; third == second; {
		out, err := bake.Output(t.Context(), l.login(id, nil), bake.Sh(`grep -q kept /srv/kept && grep -q rows /dev/$(`+diskOf(volume)+`) && `+bootID))
		if err == nil {
			third = out
		} else if _, failed := errors.AsType[*bake.ExitError](err); failed {
			t.Fatal(err)
		}
	}
	// A guest that has panicked does not release a volume.
	m = l.login(id, nil)
	_ = m.Run(t.Context(), bake.Sh("echo 1 >/proc/sys/kernel/sysrq; (sleep 0.5; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &"))
	for !strings.Contains(l.srv.Console(id), "Kernel panic") {
		time.Sleep(50 * time.Millisecond)
	}
	_, err := l.ec2.DetachVolume(t.Context(), &awsec2.DetachVolumeInput{VolumeId: &volume}, func(o *awsec2.Options) { o.RetryMaxAttempts = 1 })
	if err == nil || !strings.Contains(err.Error(), "the guest has not released /dev/sdg within") {
		t.Errorf("DetachVolume from a guest that has panicked = %v", err)
	}
}
