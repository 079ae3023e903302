package ec2

import (
	"errors"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/bakestone-go/bakestone/bake"
)

// A Builder bakes AMIs: it launches an instance of the source AMI and creates an
// AMI from the instance when the provisioners are done. Cloud is required, and so
// is Source unless Image.From is set.
type Builder struct {
	// Cloud is the account to bake in.
	Cloud *Cloud

	// Region is the region to bake in. Empty means Cloud's region.
	Region string

	// Source is the AMI to start from, or a Disk that becomes the AMI without an
	// instance. If nil, it is the artifact of Image.From.
	Source Source

	// AMIName names the AMI. It must be unique in every destination region; this
	// is checked before anything is created, and again before the instance is
	// stopped. Empty means the image's name, a space and the Unix time of the build,
	// or the build id if another AMI has that name.
	AMIName string

	// ReplaceAMI replaces the AMI named AMIName at each destination, after the
	// new one has passed its checks and has been copied. The name is free between
	// the calls that deregister the old AMI and register the new one. If the
	// second call fails, the old AMI is registered again, with a new id and its
	// tags, but without its launch permissions and deprecation time; an event
	// reports this. Replacing a protected AMI is an error. Sources with billing
	// codes cannot be used: see Capture.FromSnapshots.
	ReplaceAMI bool

	// Description is the AMI's description, at most 255 characters. Empty names the
	// image and the source.
	Description string

	// InstanceTypes are the instance types to bake on. If EC2 has no capacity for
	// one in any matching subnet, the next is tried. Empty means t3.small, or
	// t4g.small for an arm64 source.
	InstanceTypes []string

	// Spot requests spot instances. If nil, instances are on-demand. &Spot{}
	// requests spot and falls back to on-demand.
	Spot *Spot

	// CapacityWait is how long to keep trying all types and subnets, once a
	// minute, while EC2 has no capacity. Zero fails at once.
	CapacityWait time.Duration

	// Placement selects the hardware. The zero value is shared hardware.
	Placement Placement

	// Metadata configures the instance metadata service. The zero value requires
	// IMDSv2.
	Metadata Metadata

	// UnlimitedCredits lets a burstable instance use more CPU than it has earned,
	// which is charged. The zero value leaves it to the account's default.
	UnlimitedCredits Setting

	// EBSOptimized dedicates bandwidth to EBS on types that do not always do.
	EBSOptimized bool

	// Monitoring enables detailed monitoring, which is charged.
	Monitoring bool

	// Enclave enables AWS Nitro Enclaves.
	Enclave bool

	// StopOnShutdown stops the instance when its guest shuts down, for
	// provisioners that shut it down. By default it is terminated, so that an
	// abandoned instance ends itself.
	StopOnShutdown bool

	// Network selects the instance's subnet, addresses and security groups. The
	// zero value is the default VPC with a temporary security group.
	Network Network

	// SSH configures the login and the connection. The zero value connects to
	// port 22 with keys created for the build.
	SSH SSH

	// InstanceProfile is the name or ARN of an IAM instance profile for the
	// instance. Empty means none.
	InstanceProfile string

	// InstanceProfilePolicy is an IAM policy in JSON. A role with these
	// permissions and an instance profile for it exist as long as the instance.
	// It cannot be set together with InstanceProfile.
	InstanceProfilePolicy string

	// UserData is merged with Bakestone's own user data. Any cloud-init format is
	// accepted; that of Windows is an error. Both together are limited to 16 KiB, compressed if necessary.
	UserData []byte

	// BlockDevices change or add volumes. Other volumes of the source stay as
	// they are.
	BlockDevices []BlockDevice

	// Tags are added to every resource. Image.Tags take precedence.
	Tags map[string]string

	// SourceTags, if not nil, returns further tags of every resource, made from the
	// facts of the AMI that the bake starts from, such as its name. Tags and RunTags
	// take precedence. It is called once, before anything is created; an error or an
	// invalid tag ends the bake.
	SourceTags func(SourceImage) (map[string]string, error)

	// RunTags are added to the resources that exist only during the bake:
	// instance, volumes, network interface, security group, instance profile.
	// Tags take precedence. AMIs and snapshots do not get them.
	RunTags map[string]string

	// Capture configures how the AMI is created from the instance, and the AMI's
	// attributes. The zero value stops the instance and calls CreateImage.
	Capture Capture

	// Distribute lists the destinations the AMI is copied to after its checks,
	// and who may use it. The zero value keeps it in this region, for this
	// account.
	Distribute Distribution

	// GuestCleanup selects what is removed from the guest before the AMI is created.
	// The zero value removes keys, ids, histories, logs and temporary files.
	GuestCleanup GuestCleanup

	// ImageTimeout limits the wait for the AMI. Zero means one hour.
	ImageTimeout time.Duration
}

var (
	_ bake.Builder         = Builder{}
	_ bake.Finder          = Builder{}
	_ bake.ConflictChecker = Builder{}
	_ bake.InputDeclarer   = Builder{}
	_ builderFor           = Builder{}
)

const (
	defaultImageTimeout = time.Hour
	stateTimeout        = 10 * time.Minute // for the instance to stop
)

// A Setting turns a feature on or off, or leaves it to EC2.
type Setting int

// The settings.
const (
	Inherit  Setting = iota // the default of the account, the subnet or the AMI
	Enabled                 // on
	Disabled                // off
)

// amiName matches the AMI names that EC2 accepts.
var amiName = regexp.MustCompile(`^[a-zA-Z0-9()\[\]. /'@_\-]{3,128}$`)

const (
	mostTags        = 50
	longestTagKey   = 128
	longestTagValue = 256

	longestDescription = 255
	longestImageName   = 200 // fits into tags and descriptions
)

// Validate reports everything that is invalid in the Builder or in img, joined.
func (b Builder) Validate(img *bake.Image) error {
	var errs []error
	invalid := func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid("Builder."+field, format, args...))
	}
	if b.Cloud == nil {
		invalid("Cloud", "is required")
	} else if b.Region == "" && b.Cloud.Region() == "" {
		invalid("Region", "is required: the Cloud's configuration has none")
	} else if region, is := regionOfZone(b.place()); is {
		invalid("Region", "%s is an Availability Zone: its region is %s, and Network.AvailabilityZone selects the zone", b.place(), region)
	}
	switch {
	case b.Source == nil && img.From == nil:
		invalid("Source", "is required unless Image.From is set")
	case b.Source != nil && img.From != nil && b.disk() == nil:
		invalid("Source", "cannot be set together with Image.From")
	case b.Source != nil:
		if err := bake.ValidateValue(b.Source); err != nil {
			invalid("Source", "%w", err)
		}
	}
	if b.disk() != nil {
		errs = append(errs, b.validateDisk(img)...)
		b.Capture.FromSnapshots = true
	}
	if name := b.nameFor(img, "20060102t150405-abcdefgh"); !amiName.MatchString(name) {
		invalid("AMIName", `invalid name %q: EC2 accepts 3 to 128 letters, digits and ()[]. /'@_-`, name)
	}
	if n := utf8.RuneCountInString(img.Name); n > longestImageName {
		errs = append(errs, bake.Invalid("Image.Name", "is %d characters, want at most %d", n, longestImageName))
	}
	if n := utf8.RuneCountInString(b.Description); n > longestDescription {
		invalid("Description", "is %d characters, want at most %d", n, longestDescription)
	}
	errs = append(errs, b.validateInstanceTypes()...)
	errs = append(errs, b.validateSpot()...)
	errs = append(errs, b.validatePlacement()...)
	errs = append(errs, b.validateMetadata()...)
	errs = append(errs, b.validateNetwork()...)
	errs = append(errs, b.validateSSH()...)
	errs = append(errs, b.validateProfile()...)
	errs = append(errs, b.validateUserData()...)
	errs = append(errs, b.validateDevices()...)
	errs = append(errs, b.validateTags(img)...)
	errs = append(errs, b.validateGuestCleanup()...)
	errs = append(errs, b.validateReplace()...)
	errs = append(errs, b.validateCapture()...)
	errs = append(errs, b.validateDistribution()...)
	errs = append(errs, b.of(img).validatePublishers(img)...)
	if b.ImageTimeout < 0 {
		invalid("ImageTimeout", "must not be negative")
	}
	return errors.Join(append(errs, checkRedacted("Builder", b))...)
}

// zoneName matches the names of Availability Zones, which begin with their region.
var zoneName = regexp.MustCompile(`^([a-z]{2}(?:-[a-z]+)+-\d+)[a-z]$`)

// regionOfZone returns the region of an Availability Zone. It returns false if name is
// not one.
func regionOfZone(name string) (string, bool) {
	match := zoneName.FindStringSubmatch(name)
	if match == nil {
		return "", false
	}
	return match[1], true
}

// Conflicts reports that both images are AMIs with the same AMIName in the same
// account and region.
func (b Builder) Conflicts(img, other *bake.Image) error {
	b = b.of(img)
	with, ok := builderOf(other)
	if !ok || b.AMIName == "" || b.AMIName != with.AMIName || b.Cloud == nil || with.Cloud == nil {
		return nil
	}
	taken := with.allDestinations()
	for _, at := range b.allDestinations() {
		if slices.Contains(taken, at) {
			return bake.Invalid("Builder.AMIName", "image %[2]q has the same name %[1]q in %[3]s", b.AMIName, other.Name, at.Region)
		}
	}
	return nil
}

// A builderFor is a bake.Builder that bakes with a Builder of this package: that
// Builder, its address, or a struct that embeds it.
type builderFor interface {
	of(img *bake.Image) Builder
}

// builderOf returns the Builder of img, without the fields that img does not use.
// It returns false for images of other platforms.
func builderOf(img *bake.Image) (Builder, bool) {
	b, ok := bake.As[builderFor](img.Builder)
	if !ok {
		return Builder{}, false
	}
	return b.of(img), true
}

// nameFor returns the AMI's name. The default one ends in version.
func (b Builder) nameFor(img *bake.Image, version string) string {
	if b.AMIName != "" {
		return b.AMIName
	}
	return img.Name + " " + version
}

// Begin returns a new session.
func (b Builder) Begin(img *bake.Image, run *bake.Run) (bake.Session, error) {
	if b.Cloud == nil {
		return nil, bake.Invalid("Builder.Cloud", "is required")
	}
	return newSession(b.of(img), img, run), nil
}

// DeclareInputs declares the region and all fields, so that no build is continued with
// another Builder. Credentials are not among them, nor what funcs do.
func (b Builder) DeclareInputs(in *bake.Inputs) error {
	if b.Cloud != nil {
		in.Value("region", b.Cloud.region(b.Region).name)
	}
	type fields Builder // without this method
	in.Fields("builder", fields(b))
	return nil
}

// of returns the Builder without what img does not use: an image that is only
// provisioned has no AMI, and no AMI is copied to where it is baked.
func (b Builder) of(img *bake.Image) Builder {
	b.Distribute.Copies = b.withoutHome()
	if b.disk() != nil {
		b.Capture.FromSnapshots = true
	}
	if img.ProvisionOnly {
		b.AMIName, b.ReplaceAMI, b.Capture, b.Distribute = "", false, Capture{}, Distribution{}
	}
	return b
}
