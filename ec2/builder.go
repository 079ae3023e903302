package ec2

import (
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Builder bakes AMIs: it launches an instance of the source, and makes an
// image of it once the provisioners have changed it. Cloud is required, and
// Source unless the image is made From another one.
type Builder struct {
	// Cloud is the account to bake in.
	Cloud *Cloud

	// Region is where. Empty is the Cloud's.
	Region string

	// Source is the AMI to start from. Nil takes the artifact of Image.From.
	Source Source

	// AMIName names the AMI; it must be unique in its account and region, which
	// is looked at before anything is created, in every place.
	// Empty is the image's name, a space, and the Unix time of the build.
	AMIName string

	// ReplaceAMI replaces the AMI that has the name AMIName, in every place, once
	// the new one has passed its checks and has been copied. Between the call
	// that deregisters the old one and the one that registers the new, nobody has
	// the name; if the latter fails, the old AMI is registered again, with a new
	// id and its tags, but without its launch permissions and deprecation time, and
	// the event says so. An old AMI that is protected is an error. Sources with billing codes
	// cannot be used: see Capture.FromSnapshots.
	ReplaceAMI bool

	// Description is the AMI's, 255 bytes at most. Empty says what it was baked
	// from.
	Description string

	// InstanceType is what to bake on. Empty is t3.small, or t4g.small for a
	// source of architecture arm64.
	InstanceType string

	// InstanceTypes, in place of InstanceType, are tried one after the other
	// when EC2 has no capacity, each in every subnet that matches.
	InstanceTypes []string

	// Spot asks for spot instances. Nil is on-demand; &Spot{} is spot, and
	// on-demand where there are none.
	Spot *Spot

	// CapacityWait is how long to go on when EC2 has no capacity for any of the
	// types in any of the subnets; all are tried again every minute. Zero fails
	// at once.
	CapacityWait time.Duration

	// Placement says on which hardware to launch. The zero value is any.
	Placement Placement

	// Metadata is how the instance reaches its metadata service. The zero value
	// requires IMDSv2.
	Metadata Metadata

	// UnlimitedCredits says whether a burstable type may use more CPU than it
	// has earned, for money. The zero value is what the account says.
	UnlimitedCredits Choice

	// EBSOptimized dedicates bandwidth to EBS on types that do not always do.
	EBSOptimized bool

	// Monitoring turns on detailed monitoring, which is charged.
	Monitoring bool

	// Enclave prepares the instance for AWS Nitro Enclaves.
	Enclave bool

	// StopOnShutdown stops the instance when its guest shuts down, for a
	// provisioner that must do so itself. By default it is terminated, so that
	// a guest whose bake has died ends itself for good.
	StopOnShutdown bool

	// User is the login of the source. Empty takes what the source says: the
	// tag that this package sets, or what its vendor is known to use.
	User string

	// VPC and Subnet say where to launch. The zero values are the default VPC
	// and all of its subnets. Of several subnets that match, the one with most
	// free addresses is tried first, and the others when EC2 has no capacity
	// there.
	VPC    Match
	Subnet Match

	// AvailabilityZone narrows the subnets: "eu-west-1a".
	AvailabilityZone string

	// PublicIP says whether the instance gets a public address. The zero value
	// is what its subnet does.
	PublicIP Choice

	// IPv6 gives the instance an IPv6 address of its subnet.
	IPv6 bool

	// PrivateIP is the private IPv4 address to take. The zero value is any. Its
	// subnet is then the only one to try.
	PrivateIP netip.Addr

	// Address says which address to connect to. The zero value is the public
	// one, or the private one of an instance without.
	Address Address

	// SecurityGroups are ids ("sg-…") or names of existing groups. Without any,
	// a temporary group is made that lets SSH in from SSHFrom and nothing else.
	SecurityGroups []string

	// SecurityGroupFilters select existing groups by filters, in place of
	// SecurityGroups: all that match, of the VPC of the instance.
	SecurityGroupFilters Filters

	// SSHFrom is who may reach the temporary group's SSH port. Empty is the
	// baking host's address alone.
	SSHFrom []netip.Prefix

	// SSH says how to reach the instance. The zero value is port 22 of Address,
	// with keys made for the build.
	SSH SSH

	// InstanceProfile is the name or ARN of an IAM instance profile for the
	// instance. Empty is none.
	InstanceProfile string

	// InstanceProfilePolicy, in place of InstanceProfile, is an IAM policy as
	// JSON: a role with these rights, and a profile for it, exist for as long as
	// the instance does.
	InstanceProfilePolicy string

	// UserData is given to the instance together with what we need in it: any
	// form that cloud-init takes. EC2 takes 16 KiB of both; if they are longer,
	// they are compressed.
	UserData []byte

	// UserDataFile, in place of UserData, is a file on the baking host.
	UserDataFile string

	// BlockDevices change or add volumes. Those of the source that are not
	// named stay as they are.
	BlockDevices []BlockDevice

	// Tags are set on everything that is created, besides Image.Tags, which win.
	Tags map[string]string

	// RunTags are set, besides Tags, on what is there for the bake only:
	// instance, volumes, network interface, security group, instance profile. An
	// AMI and its snapshots do not get them.
	RunTags map[string]string

	// Capture says how the AMI is taken of the instance, and what it says of
	// itself. The zero value stops the instance and has EC2 make the image.
	Capture Capture

	// Distribute says where the AMI is copied to once its checks have passed, and
	// who may use it. The zero value leaves it here, for this account.
	Distribute Distribution

	// Hygiene says what is removed from the guest before the AMI is made. The
	// zero value removes keys, ids, histories, logs and temporary files.
	Hygiene Hygiene

	// SudoPassword is given to sudo when it wants one.
	SudoPassword bake.Secret

	// BootTimeout bounds the time from launch until SSH answers. Zero is ten
	// minutes.
	BootTimeout time.Duration

	// ImageTimeout bounds the wait for the AMI. Zero is one hour.
	ImageTimeout time.Duration
}

var (
	_ bake.Builder         = Builder{}
	_ bake.Finder          = Builder{}
	_ bake.ConflictChecker = Builder{}
	_ builderFor           = Builder{}
)

const (
	defaultBootTimeout  = 10 * time.Minute
	defaultImageTimeout = time.Hour
	stateTimeout        = 10 * time.Minute // of an instance that stops or terminates
)

// Choice is Yes, No, or Default: whatever EC2 does by itself.
type Choice int

// The choices.
const (
	Default Choice = iota
	Yes
	No
)

// amiName is EC2's rule for the name of an image.
var amiName = regexp.MustCompile(`^[a-zA-Z0-9()\[\]. /'@_\-]{3,128}$`)

const (
	mostTags        = 50
	ourTags         = 9
	longestTagKey   = 128
	longestTagValue = 256

	longestDescription = 255
	longestImageName   = 200 // so that it fits into tags and descriptions
)

// Validate reports, joined, what is wrong with the Builder and with img for it.
func (b Builder) Validate(img *bake.Image) error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid("Builder."+field, format, args...))
	}
	if b.Cloud == nil {
		wrong("Cloud", "is required")
	} else if b.Region == "" && b.Cloud.Region() == "" {
		wrong("Region", "is required: the Cloud's configuration names none")
	}
	switch {
	case b.Source == nil && img.From == nil:
		wrong("Source", "is required unless Image.From is set")
	case b.Source != nil && img.From != nil:
		wrong("Source", "cannot be set together with Image.From")
	case b.Source != nil:
		if err := bake.ValidateValue(b.Source); err != nil {
			wrong("Source", "%w", err)
		}
	}
	if name := b.nameFor(img, time.Unix(1e10, 0)); !amiName.MatchString(name) {
		wrong("AMIName", `%q: EC2 takes 3 to 128 letters, digits and ()[]. /'@_-`, name)
	}
	if len(img.Name) > longestImageName {
		errs = append(errs, bake.Invalid("Image.Name", "has %d bytes, of %d at most", len(img.Name), longestImageName))
	}
	if n := len(b.Description); n > longestDescription {
		wrong("Description", "has %d bytes, of %d at most", n, longestDescription)
	}
	errs = append(errs, b.validateInstanceTypes()...)
	errs = append(errs, b.validateSpot()...)
	errs = append(errs, b.validatePlacement()...)
	errs = append(errs, b.validateMetadata()...)
	errs = append(errs, b.validateNetwork()...)
	errs = append(errs, b.validateAddress()...)
	errs = append(errs, b.validateSecurityGroups()...)
	errs = append(errs, b.validateSSH()...)
	errs = append(errs, b.validateProfile()...)
	errs = append(errs, b.validateUserData()...)
	errs = append(errs, b.validateDevices()...)
	errs = append(errs, b.validateTags(img)...)
	errs = append(errs, b.validateHygiene()...)
	errs = append(errs, b.validateReplace()...)
	errs = append(errs, b.validateCapture()...)
	errs = append(errs, b.validateDistribution()...)
	errs = append(errs, b.validatePublishers(img)...)
	if b.BootTimeout < 0 || b.ImageTimeout < 0 {
		wrong("BootTimeout", "no timeout may be negative")
	}
	return errors.Join(errs...)
}

// Conflicts reports that both images are AMIs with the same AMIName in the same
// account and region.
func (b Builder) Conflicts(img, other *bake.Image) error {
	b = b.of(img)
	with, ok := builderOf(other)
	if !ok || b.AMIName == "" || b.AMIName != with.AMIName || b.Cloud == nil || with.Cloud == nil {
		return nil
	}
	taken := with.places()
	for _, at := range b.places() {
		if slices.Contains(taken, at) {
			return bake.Invalid("Builder.AMIName", "%q is that of the image %q, too, in %s", b.AMIName, other.Name, at.Region)
		}
	}
	return nil
}

// A builderFor is a bake.Builder that bakes with a Builder of this package: that
// Builder, its address, or a struct that embeds it.
type builderFor interface {
	of(img *bake.Image) Builder
}

// builderOf returns the Builder that bakes img, as far as img uses it. It is false
// for images of other platforms.
func builderOf(img *bake.Image) (Builder, bool) {
	b, ok := bake.As[builderFor](img.Builder)
	if !ok {
		return Builder{}, false
	}
	return b.of(img), true
}

// nameFor is the AMI's name.
func (b Builder) nameFor(img *bake.Image, now time.Time) string {
	if b.AMIName != "" {
		return b.AMIName
	}
	return img.Name + " " + strconv.FormatInt(now.Unix(), 10)
}

// Begin starts a build.
func (b Builder) Begin(img *bake.Image, run *bake.Run) (bake.Session, error) {
	if b.Cloud == nil {
		return nil, bake.Invalid("Builder.Cloud", "is required")
	}
	return &session{builder: b.of(img), image: img, run: run, region: b.Cloud.region(b.Region)}, nil
}

// of returns the Builder without the fields that img does not use: an image that
// is only provisioned has no AMI.
func (b Builder) of(img *bake.Image) Builder {
	if img.ProvisionOnly {
		b.AMIName, b.ReplaceAMI, b.Capture, b.Distribute = "", false, Capture{}, Distribution{}
	}
	return b
}
