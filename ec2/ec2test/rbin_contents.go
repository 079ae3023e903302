package ec2test

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// The Recycle Bin keeps deleted images and snapshots for the period of a
// retention rule. Rules apply at once; AWS's first one takes up to half an
// hour.

// binEntry is a resource in the Recycle Bin.
type binEntry[T record] struct {
	base

	resource T
	entered  time.Time
	leaves   time.Time
}

// binRule is a retention rule.
type binRule struct {
	base

	resource    string // EC2_IMAGE or EBS_SNAPSHOT
	description string
	days        int
	tags        []binTag // applies to resources with any of them; none means all
	except      []binTag
}

// A binTag is a tag in a rule. An empty value matches any.
type binTag struct {
	Key   string `json:"ResourceTagKey"`
	Value string `json:"ResourceTagValue,omitempty"`
}

func (t binTag) on(of tags, now time.Time) bool {
	value, ok := of.get(now, t.Key)
	return ok && (t.Value == "" || t.Value == value)
}

// retention returns how long the caller's rules keep a resource. The longest
// period wins; zero means not at all.
func (c *call) retention(resource string, of tags) time.Duration {
	days := 0
	has := func(t binTag) bool { return t.on(of, c.now) }
	for rule := range c.binRules.all() {
		switch {
		case rule.resource != resource || !c.owns(&rule.base):
		case len(rule.tags) > 0 && !slices.ContainsFunc(rule.tags, has):
		case slices.ContainsFunc(rule.except, has):
		default:
			days = max(days, rule.days)
		}
	}
	return time.Duration(days) * 24 * time.Hour
}

// moveToBin moves a deleted resource to the Recycle Bin, and reports whether a
// rule applies to it.
func moveToBin[T record](c *call, t *table[*binEntry[T]], resource string, what T) bool {
	keep := c.retention(resource, what.meta().tags)
	if keep == 0 {
		return false
	}
	b := *what.meta()
	b.seq = c.server.nextSeq()
	t.put(&binEntry[T]{base: b, resource: what, entered: c.now, leaves: c.now.Add(keep)})
	return true
}

// emptyBins removes resources whose retention period has passed.
func (r *region) emptyBins(now time.Time) {
	for b := range r.imageBin.all() {
		if !now.Before(b.leaves) {
			r.imageBin.remove(b.id)
		}
	}
	for b := range r.snapshotBin.all() {
		if !now.Before(b.leaves) {
			r.snapshotBin.remove(b.id)
			r.discard(b.resource)
		}
	}
}

// binnedXML is common to all resources in the Recycle Bin.
type binnedXML struct {
	Description string `xml:"description,omitempty"`
	Entered     string `xml:"recycleBinEnterTime"`
	Leaves      string `xml:"recycleBinExitTime"`
}

func (b *binEntry[T]) xml(description string) binnedXML {
	return binnedXML{description, ec2query.FormatTime(b.entered), ec2query.FormatTime(b.leaves)}
}

// listBin lists the resources of one kind in the Recycle Bin.
func listBin[T record, X any](c *call, t *table[*binEntry[T]], q query[*binEntry[T]], xml func(*binEntry[T]) X) (ec2query.Set[X], string, *ec2query.Error) {
	c.emptyBins(c.now)
	items, next, err := find(c, t, q)
	return ec2query.MapSet(items, xml), next, err
}

type binImageXML struct {
	ID   string `xml:"imageId"`
	Name string `xml:"name"`
	binnedXML
}

type listImagesInBinInput struct {
	ImageID []string `ec2:"ImageId"`
	pageParams
}

type listImagesInBinOutput struct {
	Images ec2query.Set[binImageXML] `xml:"imageSet"`
	Next   string                    `xml:"nextToken,omitempty"`
}

func (c *call) listImagesInBin(in *listImagesInBinInput) (*listImagesInBinOutput, *ec2query.Error) {
	of := query[*binEntry[*image]]{kind: imageKind(), ids: in.ImageID, page: in.pageParams, limits: pageLimits{1, math.MaxInt}}
	images, next, err := listBin(c, &c.imageBin, of, func(b *binEntry[*image]) binImageXML {
		return binImageXML{b.id, b.resource.name, b.xml(b.resource.description)}
	})
	return &listImagesInBinOutput{images, next}, err
}

// restoreImage requires the image's snapshots to exist, as the EC2 user guide
// says. The image returns with its launch permissions.
func (c *call) restoreImage(in *imageIDInput) (*ec2query.Return, *ec2query.Error) {
	c.emptyBins(c.now)
	b, err := lookup(c, &c.imageBin, imageKind(), in.ImageID)
	if err != nil {
		return nil, err
	}
	img := b.resource
	for _, id := range img.snapshots() {
		if _, ok := c.snapshots.get(id); !ok {
			return nil, snapshotKind().missing(id)
		}
	}
	if err := c.checkImageName(img.name, img.description); err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	c.imageBin.remove(b.id)
	c.addImage(img)
	return ec2query.Done(), nil
}

type binSnapshotXML struct {
	ID     string `xml:"snapshotId"`
	Volume string `xml:"volumeId"`
	binnedXML
}

type listSnapshotsInBinInput struct {
	SnapshotID []string `ec2:"SnapshotId"`
	pageParams
}

type listSnapshotsInBinOutput struct {
	Snapshots ec2query.Set[binSnapshotXML] `xml:"snapshotSet"`
	Next      string                       `xml:"nextToken,omitempty"`
}

func (c *call) listSnapshotsInBin(in *listSnapshotsInBinInput) (*listSnapshotsInBinOutput, *ec2query.Error) {
	of := query[*binEntry[*snapshot]]{kind: snapshotKind(), ids: in.SnapshotID, page: in.pageParams}
	snapshots, next, err := listBin(c, &c.snapshotBin, of, func(b *binEntry[*snapshot]) binSnapshotXML {
		return binSnapshotXML{b.id, b.resource.volume, b.xml(b.resource.description)}
	})
	return &listSnapshotsInBinOutput{snapshots, next}, err
}

type restoredSnapshotXML struct {
	ID          string `xml:"snapshotId"`
	Volume      string `xml:"volumeId"`
	Status      string `xml:"status"`
	Started     string `xml:"startTime"`
	Progress    string `xml:"progress"`
	Owner       string `xml:"ownerId"`
	Size        int    `xml:"volumeSize"`
	Description string `xml:"description"`
	Encrypted   bool   `xml:"encrypted"`
}

func (c *call) restoreSnapshot(in *snapshotIDInput) (*restoredSnapshotXML, *ec2query.Error) {
	c.emptyBins(c.now)
	b, err := lookup(c, &c.snapshotBin, snapshotKind(), in.SnapshotID)
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	c.snapshotBin.remove(b.id)
	c.snapshots.put(b.resource)
	s := c.snapshotXML(b.resource)
	return &restoredSnapshotXML{s.ID, s.Volume, s.Status, s.Started, s.Progress, s.Owner, s.Size, s.Description, s.Encrypted}, nil
}

// managedByBackup reports whether AWS Backup manages a resource. Its tags are
// reserved.
func managedByBackup(of tags) bool {
	for key := range of {
		if strings.HasPrefix(key, "aws:backup:") {
			return true
		}
	}
	return false
}
