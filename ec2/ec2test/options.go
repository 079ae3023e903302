package ec2test

import (
	"log/slog"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// Options say what kind of EC2 the server is. A nil *Options and the zero
// value are the same: everything happens at once and nothing fails.
type Options struct {
	// Account is the account of a caller whose access key names no other. Empty
	// is "123456789012".
	Account string

	// AccessKeys is which account an access key belongs to. Keys that are not
	// in it belong to Account, except those that ConfigFor makes. Any secret is
	// accepted: signatures are not verified.
	AccessKeys map[string]string

	// Regions are the regions that are enabled. Empty is the seventeen that
	// every AWS account has. A call to another region is refused with
	// OptInRequired.
	Regions []string

	// NoDefaultVPC gives every account and region a VPC that is not the
	// default, with the same subnets.
	NoDefaultVPC bool

	// IPv6 gives every subnet an IPv6 network, from which an instance that asks
	// for it gets an address. Off, as in a default VPC of AWS, none has one.
	IPv6 bool

	// Clock is the time of the whole EC2 and of its machines. Nil is real time.
	Clock clock.Clock

	// Latency is how long everything takes. The zero value is no time at all;
	// Realistic is typical of AWS.
	Latency Latency

	// Consistency is how long a new resource, or a changed tag, is not yet
	// seen: it is missing from descriptions, and naming its id gives the
	// NotFound error of its kind. Zero is at once.
	Consistency time.Duration

	// ConsistencySeed makes that uneven, as it is in AWS, where not every call is
	// answered from the same place: a new resource is then seen by every other
	// call or so, and missing from the next, until Consistency has passed. The
	// seed decides which; zero is off.
	ConsistencySeed uint64

	// Throttle gives every account and region AWS's documented token buckets
	// for requests and resources; an empty one answers RequestLimitExceeded.
	Throttle bool

	// Commands are commands of every machine, in addition to those that the
	// machine kind has. The name is what a shell would call.
	Commands map[string]Command

	// MachineLimits bounds each machine in memory. The zero value has defaults.
	MachineLimits MachineLimits

	// Machines is how instances boot. Nil is a sandbox in memory: a shell and a
	// file system of its own for each instance.
	Machines MachineKind

	// Images are vendors' images in addition to the ones that every server has.
	Images []Image

	// Listen opens a real TCP port for each booted instance, on Linux: the
	// instance then has an address of its own in 127.0.0.0/8 as its public
	// address, and ssh and other programs reach it there on Port. Off, machines
	// are reached through Server.Dial only, on every system and without a port.
	Listen bool

	// Port is the TCP port of every instance with Listen. Zero is 2222.
	Port int

	// Logger receives what the server and its machines do. Nil discards it.
	Logger *slog.Logger
}

// Latency is how long EC2 takes. A zero field takes no time.
type Latency struct {
	Call        time.Duration // every API call
	Running     time.Duration // pending to running
	Boot        time.Duration // running, or rebooted, to answering SSH
	Stopped     time.Duration // stopping to stopped
	Terminated  time.Duration // shutting-down to terminated
	Snapshot    time.Duration // snapshot pending to completed
	SnapshotGiB time.Duration // the same, in addition for each GiB
	Image       time.Duration // image pending to available, after its snapshots began
	ImageGiB    time.Duration // the same, in addition for each GiB
	Refresh     time.Duration // instance refresh in progress to successful
	UsageReport time.Duration // image usage report pending to available

	PublicAccess time.Duration // a change of block public access for AMIs
}

// Realistic is how long AWS typically takes for a small Linux image. A bake
// with these takes some minutes; see Scaled and NewVirtual.
func Realistic() Latency {
	return Latency{
		Call:        50 * time.Millisecond,
		Running:     8 * time.Second,
		Boot:        12 * time.Second,
		Stopped:     20 * time.Second,
		Terminated:  15 * time.Second,
		Snapshot:    60 * time.Second,
		SnapshotGiB: 3 * time.Second,
		Image:       70 * time.Second,
		ImageGiB:    3 * time.Second,
		Refresh:     10 * time.Minute,
		UsageReport: time.Minute,

		PublicAccess: 5 * time.Minute,
	}
}

func (l Latency) snapshot(sizeGiB int) time.Duration {
	return l.Snapshot + time.Duration(sizeGiB)*l.SnapshotGiB
}

func (l Latency) image(sizeGiB int) time.Duration {
	return max(l.Image+time.Duration(sizeGiB)*l.ImageGiB, l.snapshot(sizeGiB))
}

const (
	defaultAccount = "123456789012"
	defaultPort    = 2222
)

func defaultRegions() []string {
	return []string{
		"ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
		"ca-central-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3",
		"sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
	}
}

// withDefaults is a copy of o in which every field is set.
func (o *Options) withDefaults() Options {
	var full Options
	if o != nil {
		full = *o
	}
	if full.Account == "" {
		full.Account = defaultAccount
	}
	if len(full.Regions) == 0 {
		full.Regions = defaultRegions()
	}
	if full.Clock == nil {
		full.Clock = clock.System()
	}
	if full.Port == 0 {
		full.Port = defaultPort
	}
	if full.Logger == nil {
		full.Logger = slog.New(slog.DiscardHandler)
	}
	return full
}
