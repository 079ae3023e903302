package ec2test

import (
	"cmp"
	"context"
	"net"
	"strconv"
	"time"

	"github.com/bakestone-go/bakestone/internal/blockstore"
	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type snapshot struct {
	base

	volume      string // id
	description string
	sizeGiB     int
	encrypted   bool
	kmsKey      string
	doneAt      time.Time
	failure     string  // if not empty, the copy fails at doneAt
	copied      bool    // from another snapshot
	lineage     string  // id of the first volume or snapshot whose blocks it shares
	upload      *upload // of EBS direct; nil for others
	disk        *diskRef
	vendor      bool // the disk is shared by the vendor's images in all regions
	vendorImage Image
	shares      permissions
	lock        *snapshotLock
}

func (s *snapshot) completed(now time.Time) bool { return s.failure == "" && !now.Before(s.doneAt) }

func (s *snapshot) status(now time.Time) string {
	switch {
	case now.Before(s.doneAt):
		return "pending"
	case s.failure != "":
		return "error"
	}
	return "completed"
}

func (s *snapshot) progress(now time.Time) string {
	switch s.status(now) {
	case "completed":
		return "100%"
	case "error":
		return "0%"
	}
	if s.unfinished() {
		return s.upload.uploaded()
	}
	part := int(100 * float64(now.Sub(s.created)) / float64(s.doneAt.Sub(s.created)))
	if part == 0 {
		return "" // EC2 omits 0%
	}
	return strconv.Itoa(part) + "%"
}

// diskOf returns the snapshot's disk. A vendor's disk is created on first use.
func (r *region) diskOf(s *snapshot) *diskRef {
	if s.disk == nil {
		s.disk = r.server.vendorDisk(s.vendorImage)
	}
	return s.disk
}

// readable reports whether the caller may create volumes from s.
func (c *call) readable(s *snapshot) bool {
	if c.owns(&s.base) {
		return true
	}
	if c.blocksPublicSnapshots(s.owner, c.now) {
		return c.admitsByName(&s.shares)
	}
	return c.admits(&s.shares)
}

func (c *call) readableSnapshot(id string) (*snapshot, *ec2query.Error) {
	if err := snapshotKind().check(id); err != nil {
		return nil, err
	}
	s, ok := c.snapshots.get(id)
	if !ok || !c.readable(s) || !c.isVisible(&s.base) {
		return nil, snapshotKind().missing(id)
	}
	return s, nil
}

type snapshotXML struct {
	ID          string                `xml:"snapshotId"`
	Volume      string                `xml:"volumeId"`
	Status      string                `xml:"status"`
	Message     string                `xml:"statusMessage,omitempty"`
	Started     string                `xml:"startTime"`
	Completed   string                `xml:"completionTime,omitempty"`
	Progress    string                `xml:"progress"`
	Owner       string                `xml:"ownerId"`
	Size        int                   `xml:"volumeSize"`
	FullSize    int64                 `xml:"fullSnapshotSizeInBytes"`
	Description string                `xml:"description"`
	Encrypted   bool                  `xml:"encrypted"`
	KMSKey      string                `xml:"kmsKeyId,omitempty"`
	Tier        string                `xml:"storageTier"`
	Tags        *ec2query.Set[tagXML] `xml:"tagSet,omitempty"`
}

func (c *call) snapshotXML(s *snapshot) snapshotXML {
	out := snapshotXML{
		ID: s.id, Volume: s.volume, Status: s.status(c.now), Started: ec2query.FormatTime(s.created), Progress: s.progress(c.now),
		Owner: s.owner, Size: s.sizeGiB, FullSize: s.fullSize(), Description: s.description,
		Encrypted: s.encrypted, KMSKey: s.kmsKey, Tier: "standard",
	}
	switch out.Status {
	case "completed":
		out.Completed = cmp.Or(ec2query.FormatTime(s.doneAt), out.Started)
	case "error":
		out.Message = s.failure
	}
	if c.owns(&s.base) {
		out.Tags = s.tags.optional(c.now)
	}
	return out
}

// fullSize returns the bytes of the blocks with data. Of other snapshots it is an
// estimate.
func (s *snapshot) fullSize() int64 {
	switch {
	case s.unfinished():
		return int64(len(s.upload.written)) * blockstore.Size
	case s.upload != nil:
		return int64(s.upload.full) * blockstore.Size
	}
	return int64(s.sizeGiB) << 30 / 4
}

func snapshotFilters() filters[*snapshot] {
	return filters[*snapshot]{
		"snapshot-id":  func(_ *call, s *snapshot) []string { return one(s.id) },
		"volume-id":    func(_ *call, s *snapshot) []string { return one(s.volume) },
		"volume-size":  func(_ *call, s *snapshot) []string { return one(strconv.Itoa(s.sizeGiB)) },
		"status":       func(c *call, s *snapshot) []string { return one(s.status(c.now)) },
		"progress":     func(c *call, s *snapshot) []string { return one(s.progress(c.now)) },
		"start-time":   func(_ *call, s *snapshot) []string { return one(ec2query.FormatTime(s.created)) },
		"description":  func(_ *call, s *snapshot) []string { return one(s.description) },
		"encrypted":    func(_ *call, s *snapshot) []string { return truth(s.encrypted) },
		"owner-id":     func(_ *call, s *snapshot) []string { return one(s.owner) },
		"owner-alias":  func(*call, *snapshot) []string { return nil },
		"storage-tier": func(*call, *snapshot) []string { return one("standard") },
	}
}

type describeSnapshotsInput struct {
	Filter       []filterParam
	Owner        []string
	RestorableBy []string
	SnapshotID   []string `ec2:"SnapshotId"`
	pageParams
}

type describeSnapshotsOutput struct {
	Snapshots ec2query.Set[snapshotXML] `xml:"snapshotSet"`
	Next      string                    `xml:"nextToken,omitempty"`
}

func (c *call) describeSnapshots(in *describeSnapshotsInput) (*describeSnapshotsOutput, *ec2query.Error) {
	items, next, err := find(c, &c.snapshots, query[*snapshot]{
		kind: snapshotKind(), ids: in.SnapshotID, filters: in.Filter, known: c.server.known.snapshots,
		idName: "snapshot-id", page: in.pageParams,
		scope: c.readable,
		omit: func(s *snapshot) bool {
			return !c.matchesOwner(s.owner, "", in.Owner) || !c.matchesSharing(&s.shares, s.owner, in.RestorableBy)
		},
	})
	return &describeSnapshotsOutput{Next: next, Snapshots: ec2query.MapSet(items, c.snapshotXML)}, err
}

type createSnapshotInput struct {
	VolumeID         string `ec2:"VolumeId,required"`
	Description      string
	TagSpecification []tagSpecification
}

func (c *call) createSnapshot(in *createSnapshotInput) (*snapshotXML, *ec2query.Error) {
	v, err := lookup(c, &c.volumes, volumeKind(), in.VolumeID)
	if err != nil {
		return nil, err
	}
	specs, err := tagSpecs(in.TagSpecification, "snapshot")
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	s := c.takeSnapshot(v, in.Description, specs["snapshot"])
	c.afterwards(func(ctx context.Context) *ec2query.Error { return ec2query.Internal(s.disk.copyFrom(ctx, v.disk)) })
	out := c.snapshotXML(s)
	out.Status, out.Progress, out.Completed = "pending", "", ""
	return &out, nil
}

// takeSnapshot creates a snapshot of a volume. The caller must fill its disk
// afterwards.
func (c *call) takeSnapshot(v *volume, description string, t tags) *snapshot {
	s := &snapshot{
		base: c.newBase(snapshotKind(), t), volume: v.id, lineage: cmp.Or(v.lineage, v.id), description: description,
		sizeGiB: v.sizeGiB, encrypted: v.encrypted, kmsKey: v.kmsKey, disk: c.server.newFixedRef(v.sizeGiB),
		doneAt: c.now.Add(c.server.opts.Latency.snapshot(v.sizeGiB)),
	}
	c.snapshots.put(s)
	c.server.willChange(s.id, "completed", s.doneAt, c.now)
	return s
}

type snapshotIDInput struct {
	SnapshotID string `ec2:"SnapshotId,required"`
}

func (c *call) deleteSnapshot(in *snapshotIDInput) (*ec2query.Return, *ec2query.Error) {
	s, err := lookup(c, &c.snapshots, snapshotKind(), in.SnapshotID)
	if err != nil {
		return nil, err
	}
	if img := c.imageUsing(s); img != nil {
		return nil, ec2query.Errorf("InvalidSnapshot.InUse", "The snapshot %s is currently in use by %s", s.id, img.id)
	}
	if err := c.mayDelete(s); err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	c.dropSnapshot(s)
	return ec2query.Done(), nil
}

// mayDelete refuses to delete a snapshot that is locked or managed by AWS
// Backup. The error code for a lock is not documented.
func (c *call) mayDelete(s *snapshot) *ec2query.Error {
	switch {
	case s.locked(c.now):
		return ec2query.Errorf("OperationNotPermitted", "The snapshot %s is locked and cannot be deleted", s.id)
	case managedByBackup(s.tags):
		return ec2query.Errorf("InvalidParameterValue", "This snapshot is managed by the AWS Backup service and cannot be deleted via EC2 APIs. "+
			"If you wish to delete this snapshot, please do so via the Backup console.")
	}
	return nil
}

func (c *call) dropSnapshot(s *snapshot) {
	c.snapshots.remove(s.id)
	if s.unfinished() {
		s.disk.fill(nil, net.ErrClosed)
		return
	}
	if !moveToBin(c, &c.snapshotBin, "EBS_SNAPSHOT", s) {
		c.discard(s)
	}
}

// discard closes the disk of a deleted snapshot. A vendor's disk belongs to the
// server.
func (r *region) discard(s *snapshot) {
	if !s.vendor {
		r.server.closeDisk(s.disk, nil)
	}
}

// imageUsing returns an image that uses the snapshot, or nil.
func (r *region) imageUsing(s *snapshot) *image {
	if users := r.imagesBySnapshot[s.id]; len(users) > 0 {
		return users[0]
	}
	return nil
}
