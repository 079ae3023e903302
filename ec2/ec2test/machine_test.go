package ec2test_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// dialBooted connects to port 22 of an instance once it has booted.
func dialBooted(t *testing.T, srv *ec2test.Server, host string) (net.Conn, error) {
	t.Helper()
	for {
		conn, err := srv.Dial(t.Context(), "tcp", net.JoinHostPort(host, "22"))
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return conn, err
		}
		time.Sleep(time.Second) // in a bubble of synctest
	}
}

// fakeMachines are machines that write their instance id to each connection and
// append what they read to the file /written on their disk.
type fakeMachines struct {
	mu     sync.Mutex
	booted map[string]*fakeGuest
	boots  int
}

type fakeDisk struct {
	kind  *fakeMachines
	mu    sync.Mutex
	files map[string]string
}

func (m *fakeMachines) Disk(_ context.Context, img ec2test.Image) (ec2test.Disk, error) {
	return &fakeDisk{kind: m, files: map[string]string{"/etc/image": img.Name}}, nil
}

func (d *fakeDisk) Clone(context.Context) (ec2test.Disk, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &fakeDisk{kind: d.kind, files: maps.Clone(d.files)}, nil
}

func (d *fakeDisk) ReadFile(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	text, ok := d.files[name]
	if !ok {
		return nil, os.ErrNotExist
	}
	return []byte(text), nil
}

func (*fakeMachines) Blank(context.Context, int) (ec2test.Disk, error) {
	return nil, errors.ErrUnsupported
}

func (*fakeGuest) Attach(ec2test.AttachedDisk) error { return nil }

func (*fakeGuest) Detach(string) error { return nil }

// Load reads /written from the first block of a disk, where Blocks stores it.
func (m *fakeMachines) Load(_ context.Context, _ int, contents ec2test.Blocks) (ec2test.Disk, error) {
	d := &fakeDisk{kind: m, files: map[string]string{}}
	return d, contents(func(offset int64, data []byte) error {
		if offset == 0 {
			d.files["/written"] = string(bytes.TrimRight(data, "\x00"))
		}
		return nil
	})
}

func (d *fakeDisk) Blocks(_ context.Context, write func(int64, []byte) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	data := make([]byte, blockSize)
	copy(data, d.files["/written"])
	return write(0, data)
}

func (d *fakeDisk) Grow(_ context.Context, sizeGiB int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files["/size"] = strconv.Itoa(sizeGiB)
	return nil
}

func (*fakeDisk) Files() ([]ec2test.File, error) { return nil, errors.ErrUnsupported }

func (*fakeDisk) Close() error { return nil }

type fakeGuest struct {
	spec    ec2test.MachineSpec
	disk    *fakeDisk
	reboots chan struct{}
}

func (d *fakeDisk) Boot(_ context.Context, spec ec2test.MachineSpec) (ec2test.Guest, error) {
	k := d.kind
	g := &fakeGuest{spec: spec, disk: d, reboots: make(chan struct{}, 8)}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.booted[spec.InstanceID] = g
	k.boots++
	return g, nil
}

func (m *fakeMachines) guest(id string) *fakeGuest {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.booted[id]
}

func (g *fakeGuest) ServeConn(_ context.Context, conn net.Conn) {
	defer conn.Close()
	if _, err := io.WriteString(conn, g.spec.InstanceID+"\n"); err != nil {
		return
	}
	text, err := io.ReadAll(conn)
	if err == nil {
		g.disk.mu.Lock()
		g.disk.files["/written"] += string(text)
		g.disk.mu.Unlock()
	}
}

func (g *fakeGuest) Console() []byte { return []byte("booted " + g.spec.InstanceID) }

func (g *fakeGuest) Reboot(context.Context) error {
	g.reboots <- struct{}{}
	return nil
}

func (*fakeGuest) Close() error { return nil }

func newFakeMachines() *fakeMachines { return &fakeMachines{booted: map[string]*fakeGuest{}} }

// write connects to port 22 of an instance and appends a line to its /written.
func write(t *testing.T, srv *ec2test.Server, host, line string) {
	t.Helper()
	conn := must(srv.Dial(t.Context(), "tcp", net.JoinHostPort(host, "22")))(t)
	if _, err := io.WriteString(conn, line); err != nil {
		t.Fatal(err)
	}
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		t.Fatal("connection has no CloseWrite")
	}
	if err := half.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestDial(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	srv, c := start(t, &ec2test.Options{
		Clock: clock, Machines: newFakeMachines(), Latency: ec2test.Latency{Running: 8 * time.Second, Boot: 12 * time.Second},
	})
	group := *must(c.DescribeSecurityGroups(t.Context(), nil))(t).SecurityGroups[0].GroupId
	inst := run(t, c, *ubuntu(t, c).ImageId, nil)
	dial := func(addr string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		conn, err := srv.Dial(ctx, "tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	private := net.JoinHostPort(*inst.PrivateIpAddress, "22")
	// The default group denies all incoming connections.
	if err := dial(private); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial through a closed group = %v, want context.DeadlineExceeded", err)
	}
	must(c.AuthorizeSecurityGroupIngress(t.Context(), &awsec2.AuthorizeSecurityGroupIngressInput{
		GroupId: aws.String(group), IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), CidrIp: aws.String("127.0.0.1/32"),
	}))(t)
	for _, step := range []struct {
		after time.Duration
		want  error
	}{{0, syscall.ECONNREFUSED}, {19 * time.Second, syscall.ECONNREFUSED}, {time.Second, nil}} {
		clock.Advance(step.after)
		if err := dial(private); !errors.Is(err, step.want) {
			t.Errorf("Dial %v later = %v, want %v", step.after, err, step.want)
		}
	}
	now := describe(t, c, *inst.InstanceId)
	for addr, want := range map[string]error{
		net.JoinHostPort(*now.PublicIpAddress, "22"): nil,
		net.JoinHostPort(*now.PublicDnsName, "22"):   nil,
		net.JoinHostPort(*now.PrivateDnsName, "22"):  nil,
		net.JoinHostPort(*now.PublicIpAddress, "80"): syscall.ECONNREFUSED,
		"172.31.99.99:22": syscall.EHOSTUNREACH,
		"example.com:22":  syscall.EHOSTUNREACH,
	} {
		if err := dial(addr); !errors.Is(err, want) {
			t.Errorf("Dial(%s) = %v, want %v", addr, err, want)
		}
	}
	conn := must(srv.Dial(t.Context(), "tcp", private))(t)
	must(c.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{*inst.InstanceId}}))(t)
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("ReadAll from a terminated instance: %v", err)
	}
	if err := dial(private); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("Dial of a terminated instance = %v, want EHOSTUNREACH", err)
	}
}

// openGroup allows connections from the test to instances of the default group.
func openGroup(t *testing.T, c *awsec2.Client) {
	t.Helper()
	must(c.AuthorizeSecurityGroupIngress(t.Context(), &awsec2.AuthorizeSecurityGroupIngressInput{
		GroupName: aws.String("default"), IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), CidrIp: aws.String("127.0.0.0/8"),
	}))(t)
}

func TestDisks(t *testing.T) {
	machines := newFakeMachines()
	srv, c := start(t, &ec2test.Options{Machines: machines})
	openGroup(t, c)
	image := *ubuntu(t, c).ImageId
	for _, layer := range []string{"one", "two"} {
		inst := run(t, c, image, nil)
		write(t, srv, *inst.PrivateIpAddress, layer+" ")
		made := must(c.CreateImage(t.Context(), &awsec2.CreateImageInput{InstanceId: inst.InstanceId, Name: aws.String(layer + " layer")}))(t)
		write(t, srv, *inst.PrivateIpAddress, "later")
		image = *made.ImageId
	}
	inst := run(t, c, image, nil)
	for _, id := range []string{image, *inst.InstanceId} {
		if got := must(srv.ReadFile(id, "/written"))(t); string(got) != "one two " {
			t.Errorf("ReadFile(%s) = %q, want what both layers wrote", id, got)
		}
	}
	// A disk survives a stop and start, and copies of the image contain it.
	write(t, srv, *inst.PrivateIpAddress, "three")
	must(c.StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: []string{*inst.InstanceId}}))(t)
	must(c.StartInstances(t.Context(), &awsec2.StartInstancesInput{InstanceIds: []string{*inst.InstanceId}}))(t)
	if got := must(srv.ReadFile(*inst.InstanceId, "/written"))(t); string(got) != "one two three" {
		t.Errorf("ReadFile after a restart = %q, want what all layers wrote", got)
	}
	west := client(srv.Config("us-west-2"))
	copied := must(west.CopyImage(t.Context(), &awsec2.CopyImageInput{
		Name: aws.String("copy"), SourceImageId: aws.String(image), SourceRegion: aws.String(region),
	}))(t)
	if got := must(srv.ReadFile(*copied.ImageId, "/written"))(t); string(got) != "one two " {
		t.Errorf("ReadFile of the copy = %q, want what both layers wrote", got)
	}
	if _, err := srv.ReadFile(image, "/nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ReadFile of a missing file = %v, want os.ErrNotExist", err)
	}
}

func TestGuestPower(t *testing.T) {
	for behaviour, want := range map[ec2types.ShutdownBehavior]string{"stop": "stopped", "terminate": "terminated"} {
		t.Run(want, func(t *testing.T) {
			machines := newFakeMachines()
			srv, c := start(t, &ec2test.Options{Machines: machines})
			openGroup(t, c)
			inst := run(t, c, *ubuntu(t, c).ImageId, func(in *awsec2.RunInstancesInput) { in.InstanceInitiatedShutdownBehavior = behaviour })
			write(t, srv, *inst.PrivateIpAddress, "up") // waits for the boot
			guest := machines.guest(*inst.InstanceId)
			guest.spec.Power(ec2test.Restart)
			<-guest.reboots
			guest.spec.Power(ec2test.PowerOff)
			// The server reacts asynchronously.
			for string(describe(t, c, *inst.InstanceId).State.Name) != want {
				time.Sleep(time.Millisecond)
			}
			if reason := *describe(t, c, *inst.InstanceId).StateReason.Code; reason != "Client.InstanceInitiatedShutdown" {
				t.Errorf("state reason = %s, want Client.InstanceInitiatedShutdown", reason)
			}
			out := must(c.GetConsoleOutput(t.Context(), &awsec2.GetConsoleOutputInput{InstanceId: inst.InstanceId}))(t)
			if out.Output == nil {
				t.Error("GetConsoleOutput returned no output")
			}
		})
	}
}

func TestCreateImageReboot(t *testing.T) {
	machines := newFakeMachines()
	srv, c := start(t, &ec2test.Options{Machines: machines})
	openGroup(t, c)
	inst := run(t, c, *ubuntu(t, c).ImageId, nil)
	write(t, srv, *inst.PrivateIpAddress, "a")
	for name, boots := range map[string]int{"with": 1, "without": 0} {
		before := machines.boots
		must(c.CreateImage(t.Context(), &awsec2.CreateImageInput{
			InstanceId: inst.InstanceId, Name: aws.String(name), NoReboot: aws.Bool(name == "without"),
		}))(t)
		write(t, srv, *inst.PrivateIpAddress, "b")
		if got := machines.boots - before; got != boots {
			t.Errorf("CreateImage %s reboot booted the machine %d times, want %d", name, got, boots)
		}
	}
}

func TestListen(t *testing.T) {
	if _, err := net.InterfaceAddrs(); err != nil || !loopbackRange() {
		t.Skip("needs all of 127.0.0.0/8 as loopback addresses")
	}
	const port = 42222
	srv, c := start(t, &ec2test.Options{Machines: newFakeMachines(), Listen: true, Port: port})
	openGroup(t, c)
	image := *ubuntu(t, c).ImageId
	for range 2 {
		inst := describe(t, c, *run(t, c, image, nil).InstanceId)
		write(t, srv, *inst.PrivateIpAddress, "") // waits for the boot
		var conn net.Conn
		var err error
		for range 6000 { // until the port is open
			if conn, err = new(net.Dialer).DialContext(t.Context(), "tcp", net.JoinHostPort(*inst.PublicIpAddress, "42222")); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil {
			t.Fatal(err)
		}
		line := make([]byte, len(*inst.InstanceId))
		if _, err := io.ReadFull(conn, line); err != nil || string(line) != *inst.InstanceId {
			t.Errorf("connection to %s read %q, %v, want its id", *inst.InstanceId, line, err)
		}
		_ = conn.Close()
	}
}

// loopbackRange reports whether all of 127.0.0.0/8 are loopback addresses, as on
// Linux.
func loopbackRange() bool {
	l, err := net.Listen("tcp", "127.77.0.1:0") //nolint:noctx // does not block
	if err != nil {
		return false
	}
	return l.Close() == nil && strings.HasPrefix(l.Addr().String(), "127.77.")
}
