package ec2test

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type imageXML struct {
	ID             string                   `xml:"imageId"`
	Location       string                   `xml:"imageLocation"`
	State          string                   `xml:"imageState"`
	Owner          string                   `xml:"imageOwnerId"`
	Created        string                   `xml:"creationDate"`
	Public         bool                     `xml:"isPublic"`
	Architecture   string                   `xml:"architecture"`
	Type           string                   `xml:"imageType"`
	OwnerAlias     string                   `xml:"imageOwnerAlias,omitempty"`
	Name           string                   `xml:"name"`
	Description    string                   `xml:"description,omitempty"`
	RootDeviceType string                   `xml:"rootDeviceType"`
	RootDevice     string                   `xml:"rootDeviceName"`
	Mappings       ec2query.Set[mappingXML] `xml:"blockDeviceMapping"`
	Virtualization string                   `xml:"virtualizationType"`
	Tags           *ec2query.Set[tagXML]    `xml:"tagSet,omitempty"`
	Hypervisor     string                   `xml:"hypervisor"`
	ENA            bool                     `xml:"enaSupport,omitempty"`
	SRIOV          string                   `xml:"sriovNetSupport,omitempty"`
	BootMode       string                   `xml:"bootMode,omitempty"`
	IMDS           string                   `xml:"imdsSupport,omitempty"`
	TPM            string                   `xml:"tpmSupport,omitempty"`
	Windows        string                   `xml:"platform,omitempty"` // "windows" or nothing
	Platform       string                   `xml:"platformDetails"`
	Usage          string                   `xml:"usageOperation"`
	Deprecation    string                   `xml:"deprecationTime,omitempty"`
	Protection     string                   `xml:"deregistrationProtection,omitempty"`
	LastLaunched   string                   `xml:"lastLaunchedTime,omitempty"`
	SourceInstance string                   `xml:"sourceInstanceId,omitempty"`
	SourceImage    string                   `xml:"sourceImageId,omitempty"`
	SourceRegion   string                   `xml:"sourceImageRegion,omitempty"`
	Reason         *stateReasonXML          `xml:"stateReason,omitempty"`
}

func (c *call) imageXML(i *image) imageXML {
	out := imageXML{
		ID: i.id, Location: i.location(), State: i.state(c.now), Owner: i.owner, Created: ec2query.FormatTime(i.created),
		Public: i.launch.all, Architecture: i.arch, Type: "machine", OwnerAlias: i.alias, Name: i.name, Description: i.description,
		RootDeviceType: "ebs", RootDevice: i.rootDevice, Mappings: ec2query.MapSet(i.mappings, mapping.xml),
		Virtualization: i.virtualization, Hypervisor: "xen", ENA: i.ena, SRIOV: i.sriov, BootMode: i.bootMode, IMDS: i.imds, TPM: i.tpm,
		Windows: windowsPlatform(i.platform), Platform: i.platform, Usage: i.usage, Deprecation: ec2query.FormatTime(i.deprecateAt),
		SourceInstance: i.sourceInstance, SourceImage: i.sourceImage, SourceRegion: i.sourceRegion,
	}
	if out.State == "failed" {
		out.Reason = i.failure
	}
	// Only the owner sees tags, protection and the last launch.
	if c.owns(&i.base) {
		out.Tags = i.tags.optional(c.now)
		out.Protection = i.protection(c.now)
		out.LastLaunched = ec2query.FormatTime(i.lastLaunched)
	}
	return out
}

// location returns the image's manifest location.
func (i *image) location() string { return cmp.Or(i.alias, i.owner) + "/" + i.name }

func imageFilters() filters[*image] {
	eachEBS := func(get func(*ebsParams) string) func(*call, *image) []string {
		return func(_ *call, i *image) []string {
			var out []string
			for _, m := range i.mappings {
				if m.EBS != nil {
					out = append(out, get(m.EBS))
				}
			}
			return out
		}
	}
	return filters[*image]{
		"architecture":      func(_ *call, i *image) []string { return one(i.arch) },
		"boot-mode":         func(_ *call, i *image) []string { return one(i.bootMode) },
		"creation-date":     func(_ *call, i *image) []string { return one(ec2query.FormatTime(i.created)) },
		"description":       func(_ *call, i *image) []string { return one(i.description) },
		"ena-support":       func(_ *call, i *image) []string { return truth(i.ena) },
		"hypervisor":        func(*call, *image) []string { return one("xen") },
		"image-id":          func(_ *call, i *image) []string { return one(i.id) },
		"image-type":        func(*call, *image) []string { return one("machine") },
		"is-public":         func(_ *call, i *image) []string { return truth(i.launch.all) },
		"kernel-id":         func(*call, *image) []string { return nil },
		"manifest-location": func(_ *call, i *image) []string { return one(i.location()) },
		"product-code":      func(*call, *image) []string { return nil },
		"product-code.type": func(*call, *image) []string { return nil },
		"ramdisk-id":        func(*call, *image) []string { return nil },
		"state-reason-code": func(c *call, i *image) []string {
			if i.state(c.now) != "failed" {
				return nil
			}
			return one(i.failure.Code)
		},
		"state-reason-message": func(c *call, i *image) []string {
			if i.state(c.now) != "failed" {
				return nil
			}
			return one(i.failure.Message)
		},
		"sriov-net-support":   func(_ *call, i *image) []string { return one(i.sriov) },
		"tpm-support":         func(_ *call, i *image) []string { return one(i.tpm) },
		"imds-support":        func(_ *call, i *image) []string { return one(i.imds) },
		"usage-operation":     func(_ *call, i *image) []string { return one(i.usage) },
		"name":                func(_ *call, i *image) []string { return one(i.name) },
		"owner-alias":         func(_ *call, i *image) []string { return one(i.alias) },
		"owner-id":            func(_ *call, i *image) []string { return one(i.owner) },
		"platform":            func(_ *call, i *image) []string { return platformOf(i.platform) },
		"image-allowed":       func(*call, *image) []string { return one("true") },
		"platform-details":    func(_ *call, i *image) []string { return one(i.platform) },
		"root-device-name":    func(_ *call, i *image) []string { return one(i.rootDevice) },
		"root-device-type":    func(*call, *image) []string { return one("ebs") },
		"source-image-id":     func(_ *call, i *image) []string { return one(i.sourceImage) },
		"source-image-region": func(_ *call, i *image) []string { return one(i.sourceRegion) },
		"source-instance-id":  func(_ *call, i *image) []string { return one(i.sourceInstance) },
		"state":               func(c *call, i *image) []string { return one(i.state(c.now)) },
		"virtualization-type": func(_ *call, i *image) []string { return one(i.virtualization) },
		"block-device-mapping.device-name": func(_ *call, i *image) []string {
			out := make([]string, 0, len(i.mappings))
			for _, m := range i.mappings {
				out = append(out, m.Device)
			}
			return out
		},
		"block-device-mapping.snapshot-id": eachEBS(func(e *ebsParams) string { return e.SnapshotID }),
		"block-device-mapping.volume-type": eachEBS(func(e *ebsParams) string { return e.VolumeType }),
		"block-device-mapping.volume-size": eachEBS(func(e *ebsParams) string { return intText(e.VolumeSize) }),
		"block-device-mapping.encrypted": eachEBS(func(e *ebsParams) string {
			return strconv.FormatBool(e.Encrypted != nil && *e.Encrypted)
		}),
		"block-device-mapping.delete-on-termination": eachEBS(func(e *ebsParams) string {
			return strconv.FormatBool(e.DeleteOnTermination != nil && *e.DeleteOnTermination)
		}),
	}
}

func intText(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

type describeImagesInput struct {
	ExecutableBy      []string
	Filter            []filterParam
	ImageID           []string `ec2:"ImageId"`
	Owner             []string
	IncludeDeprecated bool
	IncludeDisabled   bool
	pageParams
}

type describeImagesOutput struct {
	Images ec2query.Set[imageXML] `xml:"imagesSet"`
	Next   string                 `xml:"nextToken,omitempty"`
}

func (c *call) describeImages(in *describeImagesInput) (*describeImagesOutput, *ec2query.Error) {
	for _, owner := range in.Owner {
		if !isAccount(owner) && !slices.Contains([]string{"self", "amazon", "aws-marketplace", "aws-backup-vault"}, owner) {
			return nil, ec2query.Errorf("InvalidUserID.Malformed", "Invalid user id: %q", owner)
		}
	}
	items, next, err := find(c, &c.images, query[*image]{
		kind: imageKind(), ids: in.ImageID, filters: in.Filter, known: c.server.known.images,
		idName: "image-id", page: in.pageParams, limits: pageLimits{1, 1000},
		scope: c.mayLaunch,
		omit: func(i *image) bool {
			mine := c.owns(&i.base)
			return !c.matchesOwner(i.owner, i.alias, in.Owner) || !c.matchesSharing(&i.launch, i.owner, in.ExecutableBy) ||
				i.deprecated(c.now) && !mine && !in.IncludeDeprecated ||
				i.disabled && (!mine || !in.IncludeDisabled)
		},
	})
	return &describeImagesOutput{Next: next, Images: ec2query.MapSet(items, c.imageXML)}, err
}

// windowsPlatform returns EC2's platform for platform details: "windows", or "" for all
// others.
func windowsPlatform(details string) string {
	if strings.HasPrefix(details, "Windows") {
		return "windows"
	}
	return ""
}
