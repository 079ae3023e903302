package ec2test

import (
	"cmp"
	"context"
	"fmt"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// A copySource is a copy of a snapshot to be copied, for use after its region
// is unlocked.
type copySource struct {
	snapshot

	keyStatus keyStatus // whether the caller can decrypt it
}

// copySource returns a snapshot as the source of a copy.
func (c *call) copySource(s *snapshot) copySource {
	source := copySource{*s, c.statusOfKey(s.kmsKey)}
	source.disk = c.diskOf(s)
	return source
}

// check refuses an unencrypted copy of an encrypted snapshot.
func (s *copySource) check(encrypted *bool) *ec2query.Error {
	if s.encrypted && encrypted != nil && !*encrypted {
		return ec2query.Errorf("InvalidRequest", "Snapshot %s is encrypted. Creating an unencrypted copy from an encrypted snapshot is not supported.", s.id)
	}
	return nil
}

type copySnapshotInput struct {
	SourceRegion      string `ec2:"SourceRegion,required"`
	SourceSnapshotID  string `ec2:"SourceSnapshotId,required"`
	DestinationRegion string
	Description       string
	Encrypted         *bool
	KmsKeyID          string `ec2:"KmsKeyId"`
	PresignedURL      string `ec2:"PresignedUrl"`
	TagSpecification  []tagSpecification
}

type copySnapshotOutput struct {
	ID   string               `xml:"snapshotId"`
	Tags ec2query.Set[tagXML] `xml:"tagSet"`
}

func (c *call) copySnapshot(in *copySnapshotInput) (*copySnapshotOutput, *ec2query.Error) {
	specs, err := tagSpecs(in.TagSpecification, "snapshot")
	if err != nil {
		return nil, err
	}
	if in.DestinationRegion != "" && in.DestinationRegion != c.name {
		return nil, ec2query.InvalidValue("destinationRegion", in.DestinationRegion, "The call must be sent to the destination region.")
	}
	from := c.server.region(in.SourceRegion)
	if from == nil {
		return nil, ec2query.InvalidValue("sourceRegion", in.SourceRegion, "")
	}
	var source copySource
	err = c.lockedIn(from, func() *ec2query.Error {
		there := &call{region: from, account: c.account, now: c.now}
		s, err := there.readableSnapshot(in.SourceSnapshotID)
		if err != nil {
			return err
		}
		if !s.completed(c.now) {
			return ec2query.Errorf("IncorrectState", "Snapshot %s is not in the completed state", s.id)
		}
		source = there.copySource(s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := source.check(in.Encrypted); err != nil {
		return nil, err
	}
	if in.KmsKeyID != "" && !source.encrypted && !truthOf(in.Encrypted) && !c.keyring(c.account).byDefault {
		return nil, ec2query.Errorf("InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	if err := c.copySlots(1); err != nil {
		return nil, err
	}
	description := cmp.Or(in.Description, fmt.Sprintf("[Copied %s from %s]", source.id, from.name))
	s := c.cloneSnapshot(&source, description, specs["snapshot"], in.Encrypted, in.KmsKeyID)
	return &copySnapshotOutput{ID: s.id, Tags: s.tags.set(c.now)}, nil
}

// mostCopies is AWS's limit on an account's concurrent snapshot copies into a
// region.
const mostCopies = 20

// copySlots fails if n more copies would exceed mostCopies.
func (c *call) copySlots(n int) *ec2query.Error {
	for s := range c.snapshots.all() {
		if s.copied && c.owns(&s.base) && s.status(c.now) == "pending" {
			n++
		}
	}
	if n > mostCopies {
		return ec2query.Errorf("ResourceLimitExceeded", "Too many snapshot copies in progress. The limit is %d for this destination region.", mostCopies)
	}
	return nil
}

// cloneSnapshot copies a snapshot, possibly from another region, into this one.
// An unusable key makes the copy fail when it ends.
func (c *call) cloneSnapshot(source *copySource, description string, t tags, encrypted *bool, key string) *snapshot {
	s := &snapshot{
		base: c.newBase(snapshotKind(), t), volume: "vol-ffffffff", description: description,
		sizeGiB: source.sizeGiB, copied: true, disk: c.server.newFixedRef(source.sizeGiB),
		doneAt: c.now.Add(c.server.opts.Latency.snapshot(source.sizeGiB)),
	}
	var trouble keyStatus
	s.kmsKey, trouble = c.encryption(source.encrypted || truthOf(encrypted), key)
	s.encrypted = s.kmsKey != ""
	end := "completed"
	switch {
	case source.keyStatus != keyUsable:
		s.failure = source.keyStatus.message(source.kmsKey)
	case trouble != keyUsable:
		s.failure = trouble.message(s.kmsKey)
	}
	if s.failure != "" {
		end = "error"
	}
	s.lineage = s.id
	c.snapshots.put(s)
	c.server.willChange(s.id, end, s.doneAt, c.now)
	c.afterwards(func(ctx context.Context) *ec2query.Error { return ec2query.Internal(s.disk.copyFrom(ctx, source.disk)) })
	return s
}
