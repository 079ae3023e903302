// Package demo opens the cloud that an example bakes in: AWS, or an embedded EC2
// on which time runs fast. It is not part of the library.
package demo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"golang.org/x/term"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/bake/signals"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// Main runs an example and exits with the status that ExitCode returns. An interrupt, a
// termination or a closed terminal cancels ctx; a canceled bake cleans up before it
// returns. A second signal hurries it.
func Main(name string, run func(ctx context.Context, args []string, out io.Writer) error) {
	ctx, stop := signals.Context(context.Background(), &signals.Options{Received: func(s os.Signal, n int) {
		if term.IsTerminal(int(os.Stdout.Fd())) {
			return // its view shows the clean-up, and a further line would move it
		}
		next := "; again to hurry"
		if n > 1 {
			next = " in a hurry; again to leave everything as it is"
		}
		fmt.Fprintf(os.Stderr, "\n%s: %v: cleaning up%s\n", name, s, next)
	}})
	err := run(ctx, os.Args[1:], os.Stdout)
	code := ExitCode(ctx, err)
	stop()
	if code != Succeeded {
		fmt.Fprintf(os.Stderr, "%s: %s\n", name, Text(err))
		os.Exit(code)
	}
}

// Speed is how much faster time runs on the embedded EC2.
const Speed = 60

// A Demo is the cloud that an example bakes in, and the clock to bake with.
type Demo struct {
	Cloud  *ec2.Cloud
	Clock  clock.Clock
	Server *ec2test.Server // nil on AWS
}

// Open adds the flags -aws and -region to flags, parses args, and opens AWS or an
// embedded EC2 with the given commands. For the latter it prints to the flags'
// output that time runs fast.
func Open(ctx context.Context, flags *flag.FlagSet, args []string, commands map[string]ec2test.Command) (*Demo, error) {
	onAWS := flags.Bool("aws", false, "bake on AWS, with the default configuration of the AWS SDK")
	region := flags.String("region", "", "`name` of the region to bake in (default eu-west-1 on the embedded EC2)")
	if err := Parse(flags, args); err != nil {
		return nil, err
	}
	if !*onAWS {
		fmt.Fprintf(flags.Output(), "Baking on an embedded EC2, where time runs %d times faster.\n\n", Speed)
	}
	return Choose(ctx, *onAWS, *region, commands)
}

// Choose calls AWS or Embedded.
func Choose(ctx context.Context, onAWS bool, region string, commands map[string]ec2test.Command) (*Demo, error) {
	if onAWS {
		return AWS(ctx, region)
	}
	return Embedded(region, commands), nil
}

// AWS opens the account of the SDK's default configuration.
func AWS(ctx context.Context, region string) (*Demo, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(region))
	if err != nil {
		return nil, fmt.Errorf("load AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return nil, &usageError{errors.New("no AWS region: set -region or AWS_REGION")}
	}
	return &Demo{Cloud: ec2.NewCloud(cfg, nil), Clock: clock.System()}, nil
}

// Embedded starts an EC2 in this process, with realistic latencies. Its machines
// have the given commands in addition to the built-in ones. An empty region is
// eu-west-1.
func Embedded(region string, commands map[string]ec2test.Command) *Demo {
	if region == "" {
		region = "eu-west-1"
	}
	clock := clock.Scaled(Speed)
	server := ec2test.New(&ec2test.Options{Clock: clock, Latency: ec2test.Realistic(), Commands: commands})
	return New(server, region, clock)
}

// New returns a Demo on a server whose clock is clock.
func New(server *ec2test.Server, region string, clock clock.Clock) *Demo {
	return &Demo{
		Cloud: ec2.NewCloud(server.Config(region), &ec2.CloudOptions{
			Dial:          server.Dial,
			SourceAddress: server.SourceAddress,
			Clock:         clock,
			CallTimeout:   Speed * time.Minute, // the baking host is not faster
		}),
		Clock:  clock,
		Server: server,
	}
}

// Close stops the embedded EC2.
func (d *Demo) Close() {
	if d.Server != nil {
		d.Server.Close()
	}
}
