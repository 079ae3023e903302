package ec2test

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// The Recycle Bin keeps images and snapshots that were removed for as long as
// a retention rule says. A rule works at once here; AWS's first one takes up
// to half an hour.

// binned is a resource in the Recycle Bin.
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
	tags        []binTag // any of them; none is the whole region
	except      []binTag
}

// A binTag is a tag of a rule; an empty value is any.
type binTag struct {
	Key   string `json:"ResourceTagKey"`
	Value string `json:"ResourceTagValue,omitempty"`
}

func (t binTag) on(of tags, now time.Time) bool {
	value, ok := of.get(now, t.Key)
	return ok && (t.Value == "" || t.Value == value)
}

// retention is how long the caller's rules keep a resource; zero is not at
// all. Of several rules the longest wins.
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

// bin moves what was removed to the Recycle Bin, and tells whether a rule
// wants it there.
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

// emptyBins forgets what has been in the Recycle Bin for long enough.
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

// binnedXML is what the answers about all that is in the Recycle Bin share.
type binnedXML struct {
	Description string `xml:"description,omitempty"`
	Entered     string `xml:"recycleBinEnterTime"`
	Leaves      string `xml:"recycleBinExitTime"`
}

func (b *binEntry[T]) xml(description string) binnedXML {
	return binnedXML{description, ec2query.FormatTime(b.entered), ec2query.FormatTime(b.leaves)}
}

// listBin lists what of one kind is in the Recycle Bin.
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

// restoreImage needs the image's snapshots to be there, as EC2's documentation
// of the Recycle Bin says. Launch permissions come back with the image.
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
	if err := c.checkImageName(img.name); err != nil {
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

// managedByBackup tells whether a resource belongs to AWS Backup, which marks
// it by tags that nobody else can set.
func managedByBackup(of tags) bool {
	for key := range of {
		if strings.HasPrefix(key, "aws:backup:") {
			return true
		}
	}
	return false
}
