package ec2_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// attempts is how often the scheduler tries a call: a fault of all of them.
const attempts = 8

// TestBakeWithEachCallFailing breaks, in turn, each API call that a good bake makes:
// refused before it took effect, lost after it did, never answered; and
// cancels the bake at each. Whatever happens, nothing of the build is left.
func TestBakeWithEachCallFailing(t *testing.T) {
	calls := callsOfABake(t, simple)
	if len(calls) < 12 {
		t.Fatalf("a bake made only %d calls: %v", len(calls), calls)
	}
	breakCalls(t, calls, simple)
}

// breakCalls bakes the image many times, with one of the calls broken each time.
func breakCalls(t *testing.T, calls []nthCall, define func(*ec2.Cloud) *bake.Image) {
	t.Helper()
	fresh := func(t *testing.T) *ec2test.Server {
		t.Helper()
		server := newServer(t, nil)
		addProd(server, ec2test.Role{ARN: prodRole})
		return server
	}
	for _, c := range calls {
		faults := map[string]ec2test.Fault{
			"refused":  {Action: c.action, Nth: c.nth, Code: "UnauthorizedOperation"},
			"failing":  {Action: c.action, Nth: c.nth, Times: attempts, Code: "InternalError"},
			"lost":     {Action: c.action, Nth: c.nth, Times: attempts, When: ec2test.After},
			"hanging":  {Action: c.action, Nth: c.nth, Times: attempts, When: ec2test.Hang},
			"lost one": {Action: c.action, Nth: c.nth, When: ec2test.After},
		}
		for name, fault := range faults {
			t.Run(fmt.Sprintf("%s %d %s", c.action, c.nth, name), func(t *testing.T) {
				t.Parallel()
				// What hangs costs no time in a bubble.
				synctest.Test(t, func(t *testing.T) {
					server := fresh(t)
					defer server.Close()
					server.Fail(fault)
					wantCleanEndOf(t.Context(), t, server, cloudOptions(server), define)
					time.Sleep(time.Minute) // the SDK fetches credentials in a goroutine of its own
				})
			})
		}
		t.Run(fmt.Sprintf("%s %d cancel", c.action, c.nth), func(t *testing.T) {
			t.Parallel()
			server := fresh(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			server.Fail(ec2test.Fault{Action: c.action, Match: cancelAt(c.nth, cancel)})
			wantCleanEndOf(ctx, t, server, cloudOptions(server), define)
		})
	}
}

// cancelAt matches no call, but cancels at the n-th that it is asked about.
func cancelAt(n int, cancel func()) func(url.Values) bool {
	seen := 0
	return func(url.Values) bool {
		if seen++; seen == n {
			cancel()
		}
		return false
	}
}

type nthCall struct {
	action string
	nth    int
}

// callsOfABake lists the calls of a bake that goes well.
func callsOfABake(t *testing.T, define func(*ec2.Cloud) *bake.Image) []nthCall {
	t.Helper()
	server := newServer(t, nil)
	addProd(server, ec2test.Role{ARN: prodRole})
	if _, err := bake.Bake(t.Context(), nil, define(newCloud(server))); err != nil {
		t.Fatal(err)
	}
	var calls []nthCall
	count := map[string]int{}
	for _, c := range server.Calls() {
		count[c.Action]++
		calls = append(calls, nthCall{c.Action, count[c.Action]})
	}
	return calls
}

// wantCleanEnd bakes the simple image, and wants either an artifact or an error
// that names the step, and in the end an empty EC2.
func wantCleanEnd(ctx context.Context, t *testing.T, server *ec2test.Server, o *ec2.CloudOptions) {
	t.Helper()
	wantCleanEndOf(ctx, t, server, o, simple)
}

// wantCleanEndOf is the same for another image.
func wantCleanEndOf(ctx context.Context, t *testing.T, server *ec2test.Server, o *ec2.CloudOptions, define func(*ec2.Cloud) *bake.Image) {
	t.Helper()
	o.CallTimeout = 200 * time.Millisecond
	// On this clock a step has a second, and what is limited to minutes less.
	options := &bake.Options{StepTimeout: time.Minute, Clock: clock.Scaled(60)}
	results, err := bake.Bake(ctx, options, define(ec2.NewCloud(server.Config(testRegion), o)))
	server.Mend()
	var named *bake.Error
	switch {
	case err != nil && (!errors.As(err, &named) || named.Step == "" || named.Image == ""):
		t.Errorf("the error does not name image and step: %v", err)
	case err == nil && results[0].Artifact == nil:
		t.Error("neither an error nor an artifact")
	case results[0].Artifact != nil:
		destroy(t, results[0].Artifact)
	}
	wantNoLeftovers(t, server)
}

// TestBakeWithBrokenSSH cuts and hangs the connections to the machine
// after every tenth of what it says, and cancels there.
func TestBakeWithBrokenSSH(t *testing.T) {
	whole := &breakingDialer{}
	server := newServer(t, nil)
	o := cloudOptions(server)
	whole.dial, o.Dial = server.Dial, whole.Dial
	if _, err := bake.Bake(t.Context(), nil, simple(ec2.NewCloud(server.Config(testRegion), o))); err != nil {
		t.Fatal(err)
	}
	const parts = 10
	for _, how := range []string{"cut", "hang", "cancel"} {
		for part := range parts {
			t.Run(fmt.Sprintf("%s at %d of %d", how, part, parts), func(t *testing.T) {
				t.Parallel()
				server := newServer(t, nil)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				broken := &breakingDialer{dial: server.Dial, at: max(1, whole.read*part/parts), how: how, cancel: cancel}
				o := cloudOptions(server)
				o.Dial = broken.Dial
				wantCleanEnd(ctx, t, server, o)
				if !broken.broke() {
					t.Error("nothing was broken")
				}
			})
		}
	}
}

// A breakingDialer counts what all its connections read together, and breaks
// them for good when that is as much as at.
type breakingDialer struct {
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	at     int // 0 is never
	how    string
	cancel func()

	mu   sync.Mutex
	read int
}

func (d *breakingDialer) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.how == "cut" && d.broke() {
		return nil, errors.New("no route to host")
	}
	conn, err := d.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &breakingConn{Conn: conn, by: d, closed: make(chan struct{})}, nil
}

func (d *breakingDialer) broke() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at > 0 && d.read >= d.at
}

type breakingConn struct {
	net.Conn
	by     *breakingDialer
	once   sync.Once
	closed chan struct{}
}

func (c *breakingConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (c *breakingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.by.mu.Lock()
	c.by.read += n
	c.by.mu.Unlock()
	if !c.by.broke() {
		return n, err
	}
	switch c.by.how {
	case "cut":
		_ = c.Close() // that is the point
		return 0, io.ErrUnexpectedEOF
	case "hang":
		<-c.closed
		return 0, net.ErrClosed
	default:
		c.by.cancel()
		return n, err
	}
}

// What is refused after an attempt whose answer was lost may have been done: by
// then the credentials had expired, say.
func TestRefusalAfterLostResponse(t *testing.T) {
	profiled := func(cloud *ec2.Cloud) *bake.Image {
		img := multiRegion(cloud)
		configure(img, func(b *ec2.Builder) { b.InstanceProfilePolicy = readBucket })
		return img
	}
	snaps := func(cloud *ec2.Cloud) *bake.Image { return captured(cloud, ec2.Capture{FromSnapshots: true}) }
	for action, define := range map[string]func(*ec2.Cloud) *bake.Image{
		"RunInstances": simple, "CreateImage": simple, "CreateSecurityGroup": simple, "CopyImage": profiled,
		"CreateRole": profiled, "CreateInstanceProfile": profiled, "CreateSnapshots": snaps, "RegisterImage": snaps,
	} {
		t.Run(action, func(t *testing.T) {
			server := roleServer(t, nil)
			server.Fail(ec2test.Fault{Action: action, When: ec2test.After})
			server.Fail(ec2test.Fault{Action: action, Code: "UnauthorizedOperation", Times: -1})
			wantCleanEndOf(t.Context(), t, server, cloudOptions(server), define)
		})
	}
}

// TestUndoRetry fails every call with which a bad AMI and its copies are
// removed, so long that one attempt at the undo is lost: the next one does it.
func TestUndoRetry(t *testing.T) {
	for _, action := range []string{
		"TerminateInstances", "DeleteSecurityGroup", "DeregisterImage", "DisableImageDeregistrationProtection", "DeleteSnapshot",
		"DescribeImages", "DescribeSnapshots", "DescribeInstances", "DeleteRole", "DeleteInstanceProfile", "AssumeRole",
	} {
		for name, fault := range map[string]ec2test.Fault{
			"failing":   {Code: "InternalError"},
			"throttled": {Code: "RequestLimitExceeded"},
			"lost":      {When: ec2test.After},
		} {
			t.Run(action+" "+name, func(t *testing.T) {
				t.Parallel()
				server := roleServer(t, nil)
				img := multiRegion(newCloud(server))
				configure(img, func(b *ec2.Builder) { b.InstanceProfilePolicy = readBucket })
				fault.Action, fault.Times = action, attempts
				if !strings.Contains(action, "Role") && !strings.Contains(action, "Profile") { // which are of no region
					fault.Account, fault.Region = "123456789012", testRegion
				}
				img.Steps = []bake.Step{{Name: "late", At: bake.AfterPromote, Do: func(context.Context) error {
					server.Fail(fault)
					return errors.New("too late")
				}}}
				_, err := bake.Bake(t.Context(), fastOptions(), img)
				if err == nil || !strings.Contains(err.Error(), "late: too late") {
					t.Errorf("error %v", err)
				}
				wantNoLeftovers(t, server)
			})
		}
	}
}
