package ec2test

import (
	"log/slog"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// Options configure a server. With the zero value everything happens at once
// and nothing fails; nil options mean the zero value.
type Options struct {
	// Account is the account of callers whose access key belongs to no other.
	// Empty means "123456789012".
	Account string

	// AccessKeys maps access keys to accounts. Other keys belong to Account,
	// except those of [Server.ConfigFor] and of assumed roles. Any secret key
	// is accepted, since signatures are not verified.
	AccessKeys map[string]string

	// Regions are the enabled regions. Empty means the seventeen that are
	// enabled by default in AWS. Calls to other regions fail with
	// OptInRequired.
	Regions []string

	// NoDefaultVPC makes every account's VPC a non-default one, with the same
	// subnets.
	NoDefaultVPC bool

	// IPv6 gives every subnet an IPv6 network, so that instances can have IPv6
	// addresses. By default subnets have none, as in AWS's default VPC.
	IPv6 bool

	// Clock tells time to the server and its machines. If nil, the system clock
	// is used.
	Clock clock.Clock

	// Latency is how long operations take. The zero value means no time; see
	// [Realistic].
	Latency Latency

	// Consistency is how long new resources and changed tags stay invisible.
	// Describe calls omit a resource until then, and its id is not found. Zero
	// means they are visible at once.
	Consistency time.Duration

	// ConsistencySeed makes visibility random during Consistency, as in AWS,
	// where calls reach different replicas: about every second call sees a new
	// resource. The seed makes the choice reproducible. Zero means new
	// resources stay invisible until Consistency has passed.
	ConsistencySeed uint64

	// Throttle limits the rate of calls with AWS's documented token buckets for
	// requests and resources, per account and region. Calls beyond the limit
	// fail with RequestLimitExceeded.
	Throttle bool

	// Commands are additional commands of the sandbox machines, by name. They
	// take precedence over the built-in ones. Other machine kinds ignore them.
	Commands map[string]Command

	// AnyCommand makes commands that the sandbox machines lack succeed without
	// effect. [Server.CommandRuns] lists them. By default they fail with status
	// 127. Commands in directories of their own, such as /opt, are not affected.
	AnyCommand bool

	// MissingCommands are built-in commands that the sandbox machines lack.
	MissingCommands []string

	// Packages describes packages that the simulated package managers install: their
	// versions and files. They install any other package as well, without files.
	Packages map[string]Package

	// Ports are the TCP ports on which services listen while they are active, by
	// the service's name: "web". They replace the usual ones of well-known services.
	Ports map[string][]int

	// URLs are the contents of what curl and wget download on the sandbox machines,
	// by URL. Other URLs of the same hosts do not exist, and other hosts cannot be
	// resolved.
	URLs map[string]string

	// MachineLimits bounds each sandbox machine. The zero value has defaults.
	// Other machine kinds ignore it.
	MachineLimits MachineLimits

	// Machines implements the machines of the instances. If nil, each instance
	// is a sandbox in memory, with a shell and a file system.
	Machines MachineKind

	// Images are images of vendors in addition to those every server has.
	Images []Image

	// Listen makes every booted instance listen on a real TCP port, so that ssh
	// and other programs can reach it. Its public address is then its own
	// address in 127.0.0.0/8, which requires Linux. Without Listen, machines
	// are reached through [Server.Dial], on any system.
	Listen bool

	// Port is the TCP port of instances with Listen. Zero means 2222. A security
	// group admits connections to it by a rule for this port or for port 22; other
	// connections are closed at once.
	Port int

	// Logger receives the log of the server and its machines. If nil, logs are
	// discarded.
	Logger *slog.Logger
}

// Latency is how long operations take. Zero fields take no time.
type Latency struct {
	Call        time.Duration // each API call
	Running     time.Duration // from pending to running
	Boot        time.Duration // from running, or a reboot, to accepting SSH connections
	Stopped     time.Duration // from stopping to stopped
	Terminated  time.Duration // from shutting-down to terminated
	Optimized   time.Duration // from a volume's modification to completed
	Attached    time.Duration // from attaching a volume to attached, and from detaching to available
	Snapshot    time.Duration // from a snapshot's creation to completed
	SnapshotGiB time.Duration // added to Snapshot for each GiB
	Image       time.Duration // from an image's creation to available; at least the time of its snapshots
	ImageGiB    time.Duration // added to Image for each GiB
	Refresh     time.Duration // at least, from an instance refresh's start to its end
	UsageReport time.Duration // from an image usage report's creation to available

	PublicAccess time.Duration // from a change of block public access for AMIs to its effect
}

// Realistic returns typical latencies of AWS for a small Linux image. A bake
// then takes minutes of the server's clock, which may run fast: see
// [clock.Scaled] and [clock.NewVirtual].
func Realistic() Latency {
	return Latency{
		Call:        50 * time.Millisecond,
		Running:     8 * time.Second,
		Boot:        12 * time.Second,
		Stopped:     20 * time.Second,
		Terminated:  15 * time.Second,
		Optimized:   5 * time.Minute,
		Attached:    2 * time.Second,
		Snapshot:    60 * time.Second,
		SnapshotGiB: 3 * time.Second,
		Image:       70 * time.Second,
		ImageGiB:    3 * time.Second,
		Refresh:     30 * time.Second,
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

// withDefaults returns a copy of o with all fields set.
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
