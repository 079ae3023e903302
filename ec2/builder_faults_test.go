package ec2_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// attempts is how often a call is tried before its step fails.
const attempts = 8

// TestBakeWithEachCallFailing breaks each API call of a bake in turn: EC2 refuses
// it, fails, loses the response, or never responds, or the bake is canceled.
// Nothing may be left.
func TestBakeWithEachCallFailing(t *testing.T) {
	calls := callsOfBake(t, simple)
	if len(calls) < 12 {
		t.Fatalf("calls of a bake = %v, want 12 or more", calls)
	}
	breakCalls(t, calls, 1, simple)
}

// breakCalls bakes the image once for each call and fault.
func breakCalls(t *testing.T, calls []nthCall, every int, define func(*ec2.Cloud) *bake.Image) {
	t.Helper()
	fresh := func(t *testing.T) *ec2test.Server {
		t.Helper()
		server := newServer(t, nil)
		addProd(server, ec2test.Role{ARN: prodRole})
		return server
	}
	wantReached := func(t *testing.T, server *ec2test.Server, c nthCall) {
		t.Helper()
		// The number of reads depends on timing.
		if n := server.CallCount(c.action); n < c.nth && !reads(ec2test.Call{Action: c.action}) {
			t.Errorf("calls of %s = %d, want %d or more", c.action, n, c.nth)
		}
	}
	for i, c := range calls {
		faults := map[string]ec2test.Fault{
			"refused":  {Action: c.action, Nth: c.nth, Code: "UnauthorizedOperation"},
			"failing":  {Action: c.action, Nth: c.nth, Times: attempts, Code: "InternalError"},
			"lost":     {Action: c.action, Nth: c.nth, Times: attempts, When: ec2test.After},
			"hanging":  {Action: c.action, Nth: c.nth, Times: attempts, When: ec2test.Hang},
			"lost one": {Action: c.action, Nth: c.nth, When: ec2test.After},
		}
		for j, name := range slices.Sorted(maps.Keys(faults)) {
			fault := faults[name]
			if !chosen(i+j, every) {
				continue
			}
			t.Run(fmt.Sprintf("%s %d %s", c.action, c.nth, name), func(t *testing.T) {
				t.Parallel()
				// In a bubble, waiting for a call that hangs takes no real time.
				synctest.Test(t, func(t *testing.T) {
					server := fresh(t)
					defer server.Close()
					server.Fail(fault)
					wantCleanEndOf(t.Context(), t, server, cloudOptions(server), define)
					wantReached(t, server, c)
				})
			})
		}
		if !chosen(i, every) {
			continue
		}
		t.Run(fmt.Sprintf("%s %d cancel", c.action, c.nth), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := fresh(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var reached atomic.Bool // the server may not count a call whose client has gone
				server.Fail(ec2test.Fault{Action: c.action, Match: cancelAt(c.nth, func() {
					reached.Store(true)
					cancel()
				})})
				wantCleanEndOf(ctx, t, server, cloudOptions(server), define)
				if !reached.Load() && !reads(ec2test.Call{Action: c.action}) {
					t.Errorf("call %d of %s was not reached", c.nth, c.action)
				}
			})
		})
	}
}

// cancelAt returns a func that matches no call and calls cancel at its n-th use.
func cancelAt(n int, cancel func()) func(url.Values) bool {
	seen := 0
	return func(url.Values) bool {
		if seen++; seen == n {
			cancel()
		}
		return false
	}
}

// An nthCall is the n-th call of an action, starting at 1.
type nthCall struct {
	action string
	nth    int
}

// callsOfBake returns the calls of a successful bake.
func callsOfBake(t *testing.T, define func(*ec2.Cloud) *bake.Image) []nthCall {
	t.Helper()
	var calls []nthCall
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		addProd(server, ec2test.Role{ARN: prodRole})
		if _, err := bake.Bake(t.Context(), nil, define(newCloud(server))); err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		for _, c := range server.Calls() {
			count[c.Action]++
			calls = append(calls, nthCall{c.Action, count[c.Action]})
		}
	})
	return calls
}

// wantCleanEnd bakes the simple image. It checks that there is an artifact or an
// error that names the step, and that nothing is left after Destroy.
func wantCleanEnd(ctx context.Context, t *testing.T, server *ec2test.Server, o *ec2.CloudOptions) {
	t.Helper()
	wantCleanEndOf(ctx, t, server, o, simple)
}

// wantCleanEndOf does the same as wantCleanEnd for another image.
func wantCleanEndOf(ctx context.Context, t *testing.T, server *ec2test.Server, o *ec2.CloudOptions, define func(*ec2.Cloud) *bake.Image) {
	t.Helper()
	o.CallTimeout = 200 * time.Millisecond
	options := &bake.Options{StepTimeout: time.Minute}
	results, err := bake.Bake(ctx, options, define(ec2.NewCloud(server.Config(testRegion), o)))
	server.Mend()
	var named *bake.Error
	switch {
	case err != nil && (!errors.As(err, &named) || named.Step == "" || named.Image == ""):
		t.Errorf("Bake() error = %v, want one that names image and step", err)
	case err == nil && results[0].Artifact == nil:
		t.Error("Bake() returned neither an error nor an artifact")
	case results[0].Artifact != nil:
		destroy(t, results[0].Artifact)
	}
	wantNoLeftovers(t, server)
}

// TestBakeWithBrokenSSH cuts or hangs the connections to the machine, or cancels
// the bake, after each tenth of the bytes that the machine sends.
func TestBakeWithBrokenSSH(t *testing.T) {
	whole := &breakingDialer{}
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		o := cloudOptions(server)
		whole.dial, o.Dial = server.Dial, whole.Dial
		if _, err := bake.Bake(t.Context(), nil, simple(ec2.NewCloud(server.Config(testRegion), o))); err != nil {
			t.Fatal(err)
		}
	})
	const parts = 10
	for _, how := range []string{"cut", "hang", "cancel"} {
		for part := range parts {
			t.Run(fmt.Sprintf("%s at %d of %d", how, part, parts), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					server := newServer(t, nil)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					broken := &breakingDialer{dial: server.Dial, at: max(1, whole.read*part/parts), how: how, cancel: cancel}
					o := cloudOptions(server)
					o.Dial = broken.Dial
					wantCleanEnd(ctx, t, server, o)
					if !broken.broke() {
						t.Error("the connection was not broken")
					}
				})
			})
		}
	}
}

// A breakingDialer counts the bytes that all its connections read, and breaks
// the connections for good after the given number.
type breakingDialer struct {
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	at     int // bytes; zero means never
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
		_ = c.Close()
		return 0, io.ErrUnexpectedEOF
	case "hang":
		<-c.closed
		return 0, net.ErrClosed
	default:
		c.by.cancel()
		return n, err
	}
}

// TestRefusalAfterLostResponse loses the response of a call and refuses its
// repetition, as if credentials had expired. The first call took effect.
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
			synctest.Test(t, func(t *testing.T) {
				server := roleServer(t, nil)
				server.Fail(ec2test.Fault{Action: action, When: ec2test.After})
				server.Fail(ec2test.Fault{Action: action, Code: "UnauthorizedOperation", Times: -1})
				wantCleanEndOf(t.Context(), t, server, cloudOptions(server), define)
			})
		})
	}
}

// TestUndoRetry fails each call that removes a bad AMI and its copies, until the
// first attempt to undo has failed.
func TestUndoRetry(t *testing.T) {
	for _, action := range []string{
		"TerminateInstances", "DeleteSecurityGroup", "DeregisterImage", "DisableImageDeregistrationProtection", "DeleteSnapshot",
		"DescribeImages", "DescribeSnapshots", "DescribeInstances", "DeleteRole", "DeleteInstanceProfile",
	} {
		for name, fault := range map[string]ec2test.Fault{
			"failing":   {Code: "InternalError"},
			"throttled": {Code: "RequestLimitExceeded"},
			"lost":      {When: ec2test.After},
		} {
			t.Run(action+" "+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					server := roleServer(t, nil)
					img := multiRegion(newCloud(server))
					configure(img, func(b *ec2.Builder) { b.InstanceProfilePolicy = readBucket })
					fault.Action, fault.Times = action, attempts
					if !strings.Contains(action, "Role") && !strings.Contains(action, "Profile") { // IAM is global
						fault.Account, fault.Region = mainAccount, testRegion
					}
					at := bake.AfterPromote
					if action == "TerminateInstances" {
						at = bake.BeforeCapture // later the instance is gone
					}
					var before int
					img.Steps = []bake.Step{{Name: "late", At: at, Do: func(context.Context) error {
						before = server.CallCount(action)
						server.Fail(fault)
						return errors.New("too late")
					}}}
					_, err := bake.Bake(t.Context(), nil, img)
					wantError(t, "Bake", err, "late: too late")
					if server.CallCount(action) == before {
						t.Errorf("calls of %s while the build is undone = 0, want 1 or more", action)
					}
					wantNoLeftovers(t, server)
				})
			})
		}
	}
}
