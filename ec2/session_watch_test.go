package ec2_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

// A silentDialer is a network on which hosts can fall silent: their connections
// receive nothing more, and dialing them gets no answer.
type silentDialer struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu     sync.Mutex
	silent map[string]chan struct{} // by address; closed when it falls silent
}

func (d *silentDialer) host(addr string) chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.silent == nil {
		d.silent = map[string]chan struct{}{}
	}
	if d.silent[addr] == nil {
		d.silent[addr] = make(chan struct{})
	}
	return d.silent[addr]
}

// silence makes all hosts that have been dialed fall silent.
func (d *silentDialer) silence() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, silent := range d.silent {
		select {
		case <-silent:
		default:
			close(silent)
		}
	}
}

func (d *silentDialer) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	silent := d.host(addr)
	select {
	case <-silent:
		<-ctx.Done()
		return nil, ctx.Err()
	default:
	}
	conn, err := d.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &silentConn{Conn: conn, silent: silent, closed: make(chan struct{})}, nil
}

type silentConn struct {
	net.Conn
	silent chan struct{}
	once   sync.Once
	closed chan struct{}
}

func (c *silentConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	select {
	case <-c.silent:
		<-c.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (c *silentConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// TestInstanceEndedDuringCommand ends the instance while a provisioner runs, without a
// sign on its connection. The command must end within seconds, with EC2's reason; an
// instance that EC2 ended must be replaced.
func TestInstanceEndedDuringCommand(t *testing.T) {
	terminate := func(ctx context.Context, _ *ec2test.Server, c *awsec2.Client, id string) error {
		_, err := c.TerminateInstances(ctx, &awsec2.TerminateInstancesInput{InstanceIds: []string{id}})
		return err
	}
	for name, test := range map[string]struct {
		end  func(ctx context.Context, server *ec2test.Server, c *awsec2.Client, id string) error
		spot *ec2.Spot
		want []string // in the error; none if another launch succeeds
	}{
		"terminated": {end: terminate, want: []string{"instance i-", " is ", "Client.UserInitiatedShutdown"}},
		"stopped": {end: func(ctx context.Context, _ *ec2test.Server, c *awsec2.Client, id string) error {
			_, err := c.StopInstances(ctx, &awsec2.StopInstancesInput{InstanceIds: []string{id}})
			return err
		}, want: []string{"instance i-", " is stop", "Client.UserInitiatedShutdown"}},
		"reclaimed": {end: func(_ context.Context, server *ec2test.Server, _ *awsec2.Client, id string) error {
			return server.Reclaim(id)
		}, spot: &ec2.Spot{}},
		"failed": {end: func(_ context.Context, server *ec2test.Server, _ *awsec2.Client, id string) error {
			return server.TerminateInstance(id)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := ec2test.New(&ec2test.Options{Latency: ec2test.Realistic()})
				defer server.Close()
				network := &silentDialer{dial: server.Dial}
				cloud := ec2.NewCloud(server.Config(testRegion), &ec2.CloudOptions{Dial: network.Dial, SourceAddress: server.SourceAddress})
				var instance string
				options := &bake.Options{Observe: func(e bake.Event) {
					if e.Kind == bake.ResourceCreated && e.Resource.Kind == "instance" {
						instance = e.Resource.ID
					}
				}}
				runs := 0
				img := simple(cloud)
				configure(img, func(b *ec2.Builder) { b.Spot = test.spot })
				img.Provisioners = append(img.Provisioners, bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
					if runs++; runs > 1 {
						return m.Run(ctx, bake.Sh("true"))
					}
					network.silence()
					if err := test.end(ctx, server, cloud.Client(""), instance); err != nil {
						t.Error(err)
					}
					began := time.Now()
					err := m.Run(ctx, bake.Sh("true"))
					if took := time.Since(began); took > 20*time.Second {
						t.Errorf("Run() took %v after the end of the instance, want at most 20s", took)
					}
					return err
				}})
				results, err := bake.Bake(t.Context(), options, img)
				if len(test.want) == 0 && (err != nil || runs != 2) {
					t.Errorf("Bake() error = %v after %d launches, want nil after 2", err, runs)
				}
				if len(test.want) > 0 {
					wantError(t, "Bake", err, test.want...)
				}
				destroy(t, results[0].Artifact)
				wantNoLeftovers(t, server)
			})
		})
	}
}

// TestInstanceEndedBeforeLogin ends the instance by a hardware failure before it
// accepts connections. Another must be launched within seconds.
func TestInstanceEndedBeforeLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := ec2test.New(&ec2test.Options{Latency: ec2test.Realistic()})
		defer server.Close()
		var ended time.Time
		var first, lost string // the address
		var instance string
		cloud := ec2.NewCloud(server.Config(testRegion), &ec2.CloudOptions{SourceAddress: server.SourceAddress, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if first == "" {
				first, lost, ended = addr, instance, time.Now()
				if err := server.TerminateInstance(instance); err != nil {
					t.Error(err)
				}
			}
			if addr == first {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return server.Dial(ctx, network, addr)
		}})
		restarted := false
		results, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
			if e.Kind == bake.ResourceCreated && e.Resource.Kind == "instance" {
				instance = e.Resource.ID
			}
			if e.Kind == bake.BuildRestarted {
				restarted = true
				if took := time.Since(ended); took > 20*time.Second {
					t.Errorf("launched again %v after the end of the instance, want at most 20s", took)
				}
				if want := "instance " + lost + " is "; !strings.Contains(e.Err, want) || !strings.Contains(e.Err, "Server.InternalError") {
					t.Errorf("error of the first launch = %q, want one that contains %q and the reason", e.Err, want)
				}
			}
		}}, simple(cloud))
		if err != nil || !restarted {
			t.Errorf("Bake() error = %v, restarted %t, want nil, true", err, restarted)
		}
		destroy(t, results[0].Artifact)
		wantNoLeftovers(t, server)
	})
}

// TestInstanceStoppedOnPurpose stops an instance in ways that a build may want. No
// command may fail for it.
func TestInstanceStoppedOnPurpose(t *testing.T) {
	restart := func(cloud *ec2.Cloud, id string) bake.ProvisionFunc {
		return bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
			ids := []string{id}
			client := cloud.Client("")
			if _, err := client.StopInstances(ctx, &awsec2.StopInstancesInput{InstanceIds: ids}); err != nil {
				return err
			}
			if err := awsec2.NewInstanceStoppedWaiter(client).Wait(ctx, &awsec2.DescribeInstancesInput{InstanceIds: ids}, time.Hour); err != nil {
				return err
			}
			time.Sleep(time.Minute)
			if _, err := client.StartInstances(ctx, &awsec2.StartInstancesInput{InstanceIds: ids}); err != nil {
				return err
			}
			return m.Run(ctx, bake.Sh("sleep 30"))
		}}
	}
	for name, provisioner := range map[string]func(*ec2.Cloud, string) bake.Provisioner{
		"stopped and started": func(cloud *ec2.Cloud, id string) bake.Provisioner { return restart(cloud, id) },
		"rebooted":            func(*ec2.Cloud, string) bake.Provisioner { return provision.Reboot{} },
		"shut down by a command": func(*ec2.Cloud, string) bake.Provisioner {
			return bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
				err := m.Run(ctx, &bake.Cmd{Line: "shutdown -h now; sleep 600", Sudo: true})
				if !errors.Is(err, bake.ErrDisconnected) {
					t.Errorf("Run(shutdown) = %v, want an error that wraps %v", err, bake.ErrDisconnected)
				}
				return nil
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server, cloud := realistic(ec2test.Options{})
				defer server.Close()
				var instance string
				options := &bake.Options{Observe: func(e bake.Event) {
					if e.Kind == bake.ResourceCreated && e.Resource.Kind == "instance" {
						instance = e.Resource.ID
					}
				}}
				img := configure(simple(cloud), func(b *ec2.Builder) {
					b.StopOnShutdown, b.SSH.Address, b.GuestCleanup.Off = true, ec2.PrivateAddress, true
				})
				img.Provisioners = append(img.Provisioners, bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
					return provisioner(cloud, instance).Provision(ctx, m)
				}})
				results, err := bake.Bake(t.Context(), options, img)
				if err != nil {
					t.Errorf("Bake() error = %v, want nil", err)
				}
				destroy(t, results[0].Artifact)
				wantNoLeftovers(t, server)
			})
		})
	}
}

// TestInstanceEndedWhileReached ends the instance, or cancels the bake, while another
// program uses the machine. The program's context must end, and no goroutine may stay.
func TestInstanceEndedWhileReached(t *testing.T) {
	for _, how := range []string{"terminated", "canceled"} {
		t.Run(how, func(t *testing.T) {
			goroutines := runtime.NumGoroutine()
			server := ec2test.New(nil)
			defer server.Close()
			o := cloudOptions(server)
			o.PollInterval, o.SettleTime = 50*time.Millisecond, 50*time.Millisecond // a listener for the other program keeps this test out of a bubble
			cloud := ec2.NewCloud(server.Config(testRegion), o)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var instance string
			options := &bake.Options{Observe: func(e bake.Event) {
				if e.Kind == bake.ResourceCreated && e.Resource.Kind == "instance" {
					instance = e.Resource.ID
				}
			}}
			img := simple(cloud)
			img.Provisioners = append(img.Provisioners, bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
				return bake.ReachSSH(ctx, m, func(ctx context.Context, _ bake.SSHAccess) error {
					if how == "canceled" {
						cancel()
					} else if _, err := cloud.Client("").TerminateInstances(ctx, &awsec2.TerminateInstancesInput{InstanceIds: []string{instance}}); err != nil {
						t.Error(err)
					}
					<-ctx.Done()
					return ctx.Err()
				})
			}})
			_, err := bake.Bake(ctx, options, img)
			want := "instance " + instance + " is "
			if how == "canceled" {
				want = context.Canceled.Error()
			}
			wantError(t, "Bake", err, want)
			if ended := errors.Is(err, bake.ErrMachineEnded); ended != (how == "terminated") {
				t.Errorf("errors.Is(%v, bake.ErrMachineEnded) = %v", err, ended)
			}
			wantNoLeftovers(t, server)
			server.Close()
			wantNoMore(t, "goroutines", runtime.NumGoroutine, goroutines)
		})
	}
}
