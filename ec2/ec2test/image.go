package ec2test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type image struct {
	base

	alias          string // of the owner
	name           string
	description    string
	arch           string
	virtualization string
	bootMode       string
	imds           string
	tpm            string
	ena            bool
	sriov          string
	rootDevice     string
	platform       string // details
	usage          string // operation
	mappings       []mapping

	doneAt         time.Time
	failure        *stateReasonXML // why it fails at doneAt; nil when it does not
	disabled       bool
	deprecateAt    time.Time
	protected      bool
	cooldown       bool
	protectedUntil time.Time // the end of the cooldown after protection was lifted
	lastLaunched   time.Time
	launch         permissions

	sourceInstance string
	sourceImage    string
	sourceRegion   string
}

func (i *image) state(now time.Time) string {
	switch {
	case now.Before(i.doneAt):
		return "pending"
	case i.failure != nil:
		return "failed"
	case i.disabled:
		return "disabled"
	}
	return "available"
}

func (i *image) deprecated(now time.Time) bool {
	return !i.deprecateAt.IsZero() && !now.Before(i.deprecateAt)
}

// protection is the value of the attribute deregistrationProtection.
func (i *image) protection(now time.Time) string {
	switch {
	case i.protected && i.cooldown:
		return "enabled-with-cooldown"
	case i.protected:
		return "enabled-without-cooldown"
	case now.Before(i.protectedUntil):
		return "disabled after " + ec2query.FormatTime(i.protectedUntil)
	}
	return "disabled"
}

func (i *image) uses(snapshotID string) bool {
	return slices.ContainsFunc(i.mappings, func(m mapping) bool { return m.EBS != nil && m.EBS.SnapshotID == snapshotID })
}

func (i *image) rootSnapshot(r *region) *snapshot {
	for _, m := range i.mappings {
		if m.Device == i.rootDevice && m.EBS != nil {
			if s, ok := r.snapshots.get(m.EBS.SnapshotID); ok {
				return s
			}
		}
	}
	return nil
}

// mayLaunch tells whether the caller may see and use the image.
func (c *call) mayLaunch(i *image) bool { return c.owns(&i.base) || c.admits(&i.launch) }

// usableImage is an image that the caller may launch, by id.
func (c *call) usableImage(id string) (*image, *ec2query.Error) {
	if err := imageKind().check(id); err != nil {
		return nil, err
	}
	i, ok := c.images.get(id)
	if !ok || !c.mayLaunch(i) || !c.isVisible(&i.base) {
		return nil, imageKind().missing(id)
	}
	return i, nil
}

// ownImage is an image of the caller, by id. What belongs to others and can be
// seen is refused as not the caller's.
func (c *call) ownImage(id string) (*image, *ec2query.Error) {
	i, err := c.usableImage(id)
	if err != nil {
		return nil, err
	}
	if !c.owns(&i.base) {
		return nil, ec2query.Errorf("AuthFailure", "Not authorized for image:%s", id)
	}
	return i, nil
}

// nameKey is where region.names keeps the id of the image with a name.
func nameKey(account, name string) string { return account + " " + name }

// checkImageName refuses a name that EC2 would, or that the caller has given
// to another image of the region.
func (c *call) checkImageName(name string) *ec2query.Error {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("()[] ./-'@_", r)
	}
	if len(name) < 3 || len(name) > 128 || strings.IndexFunc(name, func(r rune) bool { return !plain(r) }) >= 0 {
		return ec2query.Errorf("InvalidAMIName.Malformed", "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, "+
			"'(', ')', '[', ']', ' ', '.', '/', '-', ''', '@' and '_'")
	}
	if id, taken := c.imageNames[nameKey(c.account, name)]; taken {
		return ec2query.Errorf("InvalidAMIName.Duplicate", "AMI name %s is already in use by AMI %s", name, id)
	}
	return nil
}

func (r *region) addImage(i *image) {
	r.images.put(i)
	r.imageNames[nameKey(i.owner, i.name)] = i.id
	end := "available"
	if i.failure != nil {
		end = "failed"
	}
	if i.doneAt.After(i.created) {
		r.server.willChange(i.id, end, i.doneAt, i.created)
	}
	for _, id := range i.snapshots() {
		r.imagesBySnapshot[id] = append(r.imagesBySnapshot[id], i)
	}
}

func (r *region) dropImage(i *image) {
	r.images.remove(i.id)
	delete(r.imageNames, nameKey(i.owner, i.name))
	for _, id := range i.snapshots() {
		left := slices.DeleteFunc(r.imagesBySnapshot[id], func(user *image) bool { return user == i })
		if r.imagesBySnapshot[id] = left; len(left) == 0 {
			delete(r.imagesBySnapshot, id)
		}
	}
}

// snapshots are the ids of the image's snapshots, each once.
func (i *image) snapshots() []string {
	var ids []string
	for _, m := range i.mappings {
		if m.EBS != nil && m.EBS.SnapshotID != "" && !slices.Contains(ids, m.EBS.SnapshotID) {
			ids = append(ids, m.EBS.SnapshotID)
		}
	}
	return ids
}

type stateReasonXML struct {
	Code    string `xml:"code"`
	Message string `xml:"message"`
}

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
	Tags           ec2query.Set[tagXML]     `xml:"tagSet"`
	Hypervisor     string                   `xml:"hypervisor"`
	ENA            bool                     `xml:"enaSupport,omitempty"`
	SRIOV          string                   `xml:"sriovNetSupport,omitempty"`
	BootMode       string                   `xml:"bootMode,omitempty"`
	IMDS           string                   `xml:"imdsSupport,omitempty"`
	TPM            string                   `xml:"tpmSupport,omitempty"`
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
		ID: i.id, Location: i.owner + "/" + i.name, State: i.state(c.now), Owner: i.owner, Created: ec2query.FormatTime(i.created),
		Public: i.launch.all, Architecture: i.arch, Type: "machine", OwnerAlias: i.alias, Name: i.name, Description: i.description,
		RootDeviceType: "ebs", RootDevice: i.rootDevice, Mappings: ec2query.MapSet(i.mappings, mapping.xml),
		Virtualization: i.virtualization, Hypervisor: "xen", ENA: i.ena, SRIOV: i.sriov, BootMode: i.bootMode, IMDS: i.imds, TPM: i.tpm,
		Platform: i.platform, Usage: i.usage, Deprecation: ec2query.FormatTime(i.deprecateAt),
		SourceInstance: i.sourceInstance, SourceImage: i.sourceImage, SourceRegion: i.sourceRegion,
	}
	if i.alias != "" {
		out.Location = i.alias + "/" + i.name
	}
	if out.State == "failed" {
		out.Reason = i.failure
	}
	// Tags, protection and the last launch are the owner's own knowledge.
	if c.owns(&i.base) {
		out.Tags = i.tags.set(c.now)
		out.Protection = i.protection(c.now)
		out.LastLaunched = ec2query.FormatTime(i.lastLaunched)
	}
	return out
}

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
		"architecture":        func(_ *call, i *image) []string { return one(i.arch) },
		"boot-mode":           func(_ *call, i *image) []string { return one(i.bootMode) },
		"creation-date":       func(_ *call, i *image) []string { return one(ec2query.FormatTime(i.created)) },
		"description":         func(_ *call, i *image) []string { return one(i.description) },
		"ena-support":         func(_ *call, i *image) []string { return truth(i.ena) },
		"hypervisor":          func(*call, *image) []string { return one("xen") },
		"image-id":            func(_ *call, i *image) []string { return one(i.id) },
		"image-type":          func(*call, *image) []string { return one("machine") },
		"is-public":           func(_ *call, i *image) []string { return truth(i.launch.all) },
		"name":                func(_ *call, i *image) []string { return one(i.name) },
		"owner-alias":         func(_ *call, i *image) []string { return one(i.alias) },
		"owner-id":            func(_ *call, i *image) []string { return one(i.owner) },
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
		unlists: func(i *image) bool {
			mine := c.owns(&i.base)
			return !c.matchesOwner(i.owner, i.alias, in.Owner) || !c.matchesSharing(&i.launch, i.owner, in.ExecutableBy) ||
				i.deprecated(c.now) && !mine && !in.IncludeDeprecated ||
				i.disabled && (!mine || !in.IncludeDisabled)
		},
	})
	return &describeImagesOutput{Next: next, Images: ec2query.MapSet(items, c.imageXML)}, err
}

// FailImage makes an image that is still pending fail, as when EC2 can not
// finish its snapshots.
func (s *Server) FailImage(id, reason string) error {
	for _, r := range s.existing() {
		r.mu.Lock()
		i, ok := r.images.get(id)
		now := s.now()
		pending := ok && i.state(now) == "pending"
		if pending {
			i.failure, i.doneAt = &stateReasonXML{"Client.InvalidSnapshot.NotFound", reason}, now
			s.willChange(i.id, "failed", now, now)
		}
		r.mu.Unlock()
		if ok && !pending {
			return fmt.Errorf("image %s is not pending", id)
		}
		if ok {
			return nil
		}
	}
	return fmt.Errorf("no image has the id %q", id)
}
