// Package demo gives an example the cloud it bakes in: real AWS, or the
// embedded EC2 with its time running fast. It is not part of the library.
package demo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// Main runs an example until it ends or is interrupted: an interrupted bake
// cleans up before it ends.
func Main(name string, run func(ctx context.Context, args []string, out io.Writer) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Speed is how much faster than real the embedded EC2's time runs.
const Speed = 60

// A Demo is a cloud, and the clock to bake by.
type Demo struct {
	Cloud  *ec2.Cloud
	Clock  clock.Clock
	Server *ec2test.Server // nil on AWS
}

// Open reads the flags of an example, to which it adds -aws and -region, and
// opens AWS or Embedded as they say.
func Open(ctx context.Context, flags *flag.FlagSet, args []string, commands map[string]ec2test.Command) (*Demo, error) {
	onAWS := flags.Bool("aws", false, "bake on AWS, with the usual configuration")
	region := flags.String("region", "", "region to bake in")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	return Choose(ctx, *onAWS, *region, commands)
}

// Choose is AWS or Embedded.
func Choose(ctx context.Context, onAWS bool, region string, commands map[string]ec2test.Command) (*Demo, error) {
	if onAWS {
		return AWS(ctx, region)
	}
	return Embedded(region, commands), nil
}

// AWS is the caller's own account, by the SDK's usual configuration.
func AWS(ctx context.Context, region string) (*Demo, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(region))
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return nil, errors.New("-aws needs a region: give -region or set AWS_REGION")
	}
	return &Demo{Cloud: ec2.NewCloud(cfg, nil), Clock: clock.System()}, nil
}

// Embedded is an EC2 in this process, with realistic waits that pass fast. The
// commands are those that its machines know besides the usual small ones.
func Embedded(region string, commands map[string]ec2test.Command) *Demo {
	if region == "" {
		region = "eu-west-1"
	}
	clock := clock.Scaled(Speed)
	server := ec2test.New(&ec2test.Options{Clock: clock, Latency: ec2test.Realistic(), Commands: commands})
	return Over(server, region, clock)
}

// Over is a cloud on a server that the caller made.
func Over(server *ec2test.Server, region string, clock clock.Clock) *Demo {
	return &Demo{
		Cloud: ec2.NewCloud(server.Config(region), &ec2.CloudOptions{
			Dial:          server.Dial,
			SourceAddress: server.SourceAddress,
			Clock:         clock,
			CallTimeout:   Speed * time.Minute, // our own work takes real time
		}),
		Clock:  clock,
		Server: server,
	}
}

// Close ends the embedded EC2.
func (d *Demo) Close() {
	if d.Server != nil {
		d.Server.Close()
	}
}
