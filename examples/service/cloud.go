package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"runtime"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
)

// newEC2 starts an embedded EC2 that is some ten times faster than AWS. Time itself runs
// as usual, so that several processes can share it.
func newEC2(machinePort int) *ec2test.Server {
	return ec2test.New(&ec2test.Options{
		Listen: runtime.GOOS == "linux", Port: machinePort,
		Latency: ec2test.Latency{
			Call: 5 * time.Millisecond, Running: time.Second, Boot: time.Second, Stopped: 2 * time.Second,
			Terminated: time.Second, Snapshot: 4 * time.Second, Image: 5 * time.Second,
		},
	})
}

// serveEC2 serves an embedded EC2 until ctx ends.
func serveEC2(ctx context.Context, machinePort int, out io.Writer) error {
	if runtime.GOOS != "linux" {
		return bake.Invalid("-only-ec2", "machines have addresses of their own on Linux only")
	}
	server := newEC2(machinePort)
	defer server.Close()
	fmt.Fprintln(out, server.URL())
	<-ctx.Done()
	return nil
}

// openCloud opens the cloud that the flags name.
func openCloud(ctx context.Context, o options) (*demo.Demo, error) {
	where, region := o.ec2, o.region
	if where == "aws" {
		return demo.AWS(ctx, region)
	}
	if region == "" {
		region = "eu-west-1"
	}
	if where == "embedded" {
		server := newEC2(o.machinePort)
		cloud := ec2.NewCloud(server.Config(region), embeddedOptions(server.Dial, server.SourceAddress))
		return &demo.Demo{Cloud: cloud, Clock: clock.System(), Server: server}, nil
	}
	if u, err := url.Parse(where); err != nil || u.Scheme != "http" || u.Host == "" {
		return nil, bake.Invalid("-ec2", "want embedded, aws or the URL that -only-ec2 has printed, not %q", where)
	}
	cfg := aws.Config{Region: region, BaseEndpoint: aws.String(where), Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "none", "")}
	loopback := func(context.Context) (netip.Addr, error) { return netip.MustParseAddr("127.0.0.1"), nil }
	cloud := ec2.NewCloud(cfg, embeddedOptions(ec2test.DialPort(o.machinePort), loopback))
	return &demo.Demo{Cloud: cloud, Clock: clock.System()}, nil
}

// embeddedOptions are those for an embedded EC2, which is asked more often than AWS.
func embeddedOptions(
	dial func(ctx context.Context, network, address string) (net.Conn, error), source func(context.Context) (netip.Addr, error),
) *ec2.CloudOptions {
	const poll = 300 * time.Millisecond
	return &ec2.CloudOptions{Dial: dial, SourceAddress: source, PollInterval: poll, SettleTime: poll}
}

// builder returns the builder that removes what was made of images which are no longer in
// the catalog.
func builder(cloud *ec2.Cloud) func(context.Context, *bake.Record) (bake.Builder, error) {
	return func(context.Context, *bake.Record) (bake.Builder, error) { return ec2.Builder{Cloud: cloud}, nil }
}
