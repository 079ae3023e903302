package ec2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/internal/ebsdirect"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// An uploadRecord records how far the upload of a disk has come.
type uploadRecord struct {
	Name     string             `json:"name,omitempty"`
	Parent   string             `json:"parent,omitempty"`  // snapshot
	Chosen   bool               `json:"chosen,omitempty"`  // the parent, or that there is none
	Attempt  int                `json:"attempt,omitempty"` // snapshots that were begun before
	Progress ebsdirect.Progress `json:"progress,omitzero"`
	Digest   string             `json:"digest,omitempty"` // of the contents, once they are all written
	Done     bool               `json:"done,omitempty"`
}

// unfinishedLife is how long EBS keeps an unfinished snapshot without new blocks.
const unfinishedLife = 24 * time.Hour

// diskSteps returns the steps of Capture of a session that makes the AMI of a disk.
func (s *session) diskSteps() []bake.Step {
	var steps []bake.Step
	if s.builder.AMIName != "" && !s.builder.ReplaceAMI {
		steps = append(steps, bake.Step{Name: "check image name", Do: s.checkNameAgain})
	}
	steps = append(steps,
		bake.Step{Name: uploadStep, Do: s.uploadDisks, Undo: s.discardSnapshots, Timeout: s.builder.uploadTimeout()},
		bake.Step{Name: "wait for snapshots", Do: s.waitSnapshots, Timeout: s.builder.imageTimeout()},
	)
	if s.builder.disk().Open != nil {
		steps = append(steps, bake.Step{Name: "read boot loaders", Do: s.readBootLoaders})
	}
	return append(steps,
		bake.Step{Name: "register image", Do: s.registerImage, Undo: s.discardImage},
		bake.Step{Name: "wait for image", Do: s.waitImage, Timeout: s.builder.imageTimeout()},
	)
}

const uploadStep = "upload disks"

// uploadTimeout limits an upload: a slow link needs hours.
func (b Builder) uploadTimeout() time.Duration { return max(b.imageTimeout(), unfinishedLife) }

// diskLaunch returns the steps of Launch of a session that makes the AMI of a disk.
func (s *session) diskLaunch() []bake.Step {
	steps := []bake.Step{{Name: "read disks", Do: s.readDisks}}
	if len(s.preflightChecks()) > 0 {
		steps = append(steps, bake.Step{Name: "check destinations", Do: s.checkDestinations})
	}
	return s.inAccount(steps...)
}

// diskDigest returns the digest of the disks, as it is in the tag of AMIs.
func (b Builder) diskDigest(ctx context.Context, img *bake.Image, run *bake.Run) (string, error) {
	s := newSession(b, img, run)
	err := s.withDisks(ctx, func(disks openDisks) error {
		for _, one := range disks.all {
			size, err := one.volumeSize()
			if err != nil {
				return err
			}
			source, err := one.source(size)
			if err != nil {
				return err
			}
			digest, err := ebsdirect.Digest(ctx, source)
			if err := errors.Join(err, one.unchanged()); err != nil {
				return fmt.Errorf("disk %s: %w", one.name, err)
			}
			s.Machine.Disks = append(s.Machine.Disks, disk{Device: one.device, SizeGiB: size, Upload: uploadRecord{Digest: digest}})
		}
		return nil
	})
	return s.digest(), err
}

// readDisks finds out what the disks are, and records it as the source.
func (s *session) readDisks(ctx context.Context) error {
	err := s.withDisks(ctx, func(disks openDisks) error { return s.lookAt(disks) })
	if err != nil {
		return err
	}
	s.sayBoot()
	return errors.Join(s.findSourceTags(), s.checkAMIDevices())
}

func (s *session) sayBoot() {
	s.run.Say("source is %s, %s, boot mode %s", s.Source.Name, s.Source.Architecture, cmp.Or(s.Machine.Boot, "known after the upload"))
}

// readBootLoaders finds out how a disk boots that was a stream, by reading its snapshot.
func (s *session) readBootLoaders(ctx context.Context) error {
	d := s.Machine.Disks[0]
	reader, err := s.region.ebs.NewReader(ctx, d.Snapshot)
	if err != nil {
		return explainRead(d.Snapshot, err)
	}
	boot, err := openDisk{contents: reader, head: reader}.findBoot(s.builder.disk().Architecture)
	if err != nil {
		return fmt.Errorf("disk %s %w", d.Upload.Name, err)
	}
	s.Source.Architecture, s.Machine.Boot = boot.architecture, cmp.Or(s.builder.Capture.BootMode, boot.mode)
	s.sayBoot()
	return nil
}

func (s *session) lookAt(disks openDisks) error {
	d, c := s.builder.disk(), s.builder.Capture
	first := disks.all[0]
	boot, err := first.findBoot(cmp.Or(d.Architecture, disks.architecture))
	if err != nil {
		return fmt.Errorf("disk %s %w", first.name, err)
	}
	s.Source = SourceImage{
		ID: first.name, Name: first.name, Region: s.region.name, Architecture: boot.architecture, RootDevice: d.rootDevice(),
		Login: cmp.Or(d.Login, s.builder.SSH.User, disks.login),
	}
	if s.Source.Login == "" && needsLogin(s.image) {
		return bake.Invalid("Disk.Login", "is required for checks: the login of %s is unknown", first.name)
	}
	s.Machine = machineRecord{ENA: true, Boot: cmp.Or(c.BootMode, boot.mode)}
	for _, one := range disks.all {
		size, err := one.volumeSize()
		if err != nil {
			return err
		}
		volume := SourceVolume{Device: one.device, SizeGiB: size, Type: string(ec2types.VolumeTypeGp3), Encrypted: d.encrypts()}
		s.Source.Volumes = append(s.Source.Volumes, volume)
		s.Machine.Disks = append(s.Machine.Disks, disk{
			Device: one.device, Type: volume.Type, SizeGiB: size, Upload: uploadRecord{Name: one.name},
		})
	}
	return nil
}

func (d Disk) encrypts() bool { return d.Encrypted == Enabled || d.KMSKey != "" }

// needsLogin reports whether checks log in to an instance of the AMI.
func needsLogin(img *bake.Image) bool {
	for _, c := range img.Checks {
		if _, without := bake.As[bake.ArtifactChecker](c); !without {
			return true
		}
	}
	return false
}

// uploadDisks writes all disks to snapshots.
func (s *session) uploadDisks(ctx context.Context) error {
	s.nameImage()
	err := s.withDisks(ctx, func(disks openDisks) error {
		if len(disks.all) != len(s.Machine.Disks) {
			return fmt.Errorf("%d disks, want %d as before", len(disks.all), len(s.Machine.Disks))
		}
		for i, one := range disks.all {
			if err := s.uploadDisk(ctx, i, one); err != nil {
				return fmt.Errorf("disk %s: %w", one.name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.resumed = false
	s.Source.ID = s.digest()
	return nil
}

// digest identifies the contents of all disks.
func (s *session) digest() string {
	all := ebsdirect.NewSumsWriter(nil)
	for i, d := range s.Machine.Disks {
		all.Add(int32(i), sumOf(d.Device, d.SizeGiB, d.Upload.Digest))
	}
	return diskDigest + all.Digest()
}

// diskDigest precedes the digest of disks in the tag that names the source.
const diskDigest = "sha256:"

// uploadDisk writes a disk to a snapshot. A snapshot that another process has begun is
// continued, or replaced if that is no longer possible.
func (s *session) uploadDisk(ctx context.Context, i int, one openDisk) error {
	up := &s.Machine.Disks[i].Upload
	if up.Done {
		return nil
	}
	continued := s.Machine.Disks[i].Snapshot != ""
	err := s.tryUpload(ctx, i, one)
	again := errors.Is(err, ebsdirect.ErrChanged) || errors.Is(err, errNoSums) || isUnusable(err)
	if continued && again && !one.stream {
		s.run.Say("the upload of %s begins again: %v", one.name, err)
		if err := s.abandonUpload(ctx, i); err != nil {
			return err
		}
		return s.tryUpload(ctx, i, one)
	}
	return err
}

// isUnusable reports that a snapshot is gone, or cannot be written any more.
func isUnusable(err error) bool {
	return ebsdirect.IsUnusable(err) || awsapi.Code(err) == "ResourceNotFoundException"
}

// abandonUpload deletes the snapshot that was begun for a disk.
func (s *session) abandonUpload(ctx context.Context, i int) error {
	d := &s.Machine.Disks[i]
	own, err := s.region.ownSnapshots(ctx, s.run.ID, []string{d.Snapshot})
	if err != nil {
		return err
	}
	if err := s.region.deleteSnapshots(ctx, own); err != nil {
		return err
	}
	s.run.Removed("snapshot", d.Snapshot)
	d.Snapshot, d.Upload = "", uploadRecord{Name: d.Upload.Name, Attempt: d.Upload.Attempt + 1}
	return s.run.Checkpoint(ctx)
}

// tryUpload starts a snapshot, writes the disk to it and completes it.
func (s *session) tryUpload(ctx context.Context, i int, one openDisk) (err error) {
	d := &s.Machine.Disks[i]
	up := &d.Upload
	if err := s.chooseParent(ctx, i); err != nil {
		return err
	}
	if err := s.startUpload(ctx, i); err != nil {
		return err
	}
	sums := blockSums(s.builder.disk().BlockSums)
	parent, err := sums.open(up.Parent)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoSums, err)
	}
	if parent != nil {
		defer parent.Close()
	}
	written, err := sums.create()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, written.discard()) }()
	upload := ebsdirect.Upload{
		Snapshot: d.Snapshot, Blocks: int64(d.SizeGiB) << 30 / ebsdirect.BlockSize, Sums: written.writer, From: up.Progress,
	}
	if upload.Source, err = one.source(d.SizeGiB); err != nil {
		return err
	}
	if parent != nil {
		if upload.Parent, err = ebsdirect.NewSumsReader(parent); err != nil {
			return err
		}
	}
	total := upload.Blocks
	upload.Save = func(ctx context.Context, p ebsdirect.Progress) error {
		up.Progress = p
		s.run.Emit(bake.Event{Kind: bake.Progressed, Resource: bake.Resource{Kind: "snapshot", ID: d.Snapshot}, Done: int64(p.Next) * complete / total, Total: complete})
		return s.run.Checkpoint(ctx)
	}
	done, err := upload.Run(ctx, s.region.ebs)
	if err != nil {
		return err
	}
	if err := s.sameDisk(ctx, one, d.SizeGiB, done.Digest); err != nil {
		return err
	}
	up.Digest = done.Digest
	if err := s.completeUpload(ctx, d.Snapshot, done); err != nil {
		return err
	}
	up.Done = true
	s.run.Say("%s is written to %s: %d blocks sent, %d as in %s, %d attempts repeated", one.name, d.Snapshot,
		done.Stats.Sent, done.Stats.Same, cmp.Or(up.Parent, "no parent"), done.Stats.Retries)
	return written.keep(d.Snapshot)
}

// sameDisk reports a disk that changed while it was read.
func (s *session) sameDisk(ctx context.Context, one openDisk, sizeGiB int32, digest string) error {
	if err := one.unchanged(); err != nil {
		return err
	}
	if !one.rereads {
		return nil
	}
	source, err := one.source(sizeGiB)
	if err != nil {
		return err
	}
	again, err := ebsdirect.Digest(ctx, source)
	if err == nil && again != digest {
		return errDiskChanged
	}
	return err
}

// startUpload starts the snapshot of a disk, unless it exists. The token makes the call
// return the snapshot that an earlier process has started.
func (s *session) startUpload(ctx context.Context, i int) error {
	d := &s.Machine.Disks[i]
	if d.Snapshot != "" {
		return nil
	}
	disk := s.builder.disk()
	tags := s.imageTags()
	var encrypted *bool
	if disk.Encrypted != Inherit {
		encrypted = aws.Bool(disk.Encrypted == Enabled)
	}
	start := func(parent string) (string, error) {
		return s.region.ebs.Start(ctx, ebsdirect.Start{
			SizeGiB: int64(d.SizeGiB), Parent: parent, Description: s.description(), Tags: tags,
			Token:     fmt.Sprintf("%s-%d-%d", s.run.ID, i, d.Upload.Attempt),
			Encrypted: encrypted, KMSKey: disk.KMSKey, Timeout: unfinishedLife,
		})
	}
	if err := s.run.Checkpoint(ctx); err != nil { // what the snapshot is made with
		return err
	}
	id, err := start(d.Upload.Parent)
	if err != nil && d.Upload.Parent != "" && awsapi.Permanent(err) && ctx.Err() == nil {
		s.run.Say("everything is sent, since %s cannot be the parent: %v", d.Upload.Parent, err)
		d.Upload = uploadRecord{Name: d.Upload.Name, Chosen: true, Attempt: d.Upload.Attempt + 1}
		if err := s.run.Checkpoint(ctx); err != nil {
			return err
		}
		id, err = start("")
	}
	if err != nil {
		s.Machine.Refused = awsapi.Rejected(err) && len(s.Machine.snapshots()) == 0
		return fmt.Errorf("start snapshot: %w", disk.explainStart(err))
	}
	d.Snapshot, s.Machine.Refused = id, false
	s.run.Created("snapshot", id)
	return s.run.Checkpoint(ctx)
}

// explainStart says what to do about a snapshot whose encryption EBS refuses.
func (d Disk) explainStart(err error) error {
	switch {
	case ebsdirect.IsUnusableKey(err) && d.KMSKey == "":
		return bake.Invalid("Disk.KMSKey", "EBS cannot use the account's default key: %w", err)
	case ebsdirect.IsUnusableKey(err):
		return bake.Invalid("Disk.KMSKey", "EBS cannot use %s for these credentials: it must be enabled, in the region, and its key policy must allow this account: %w", d.KMSKey, err)
	case d.Encrypted == Disabled && awsapi.Permanent(err):
		return bake.Invalid("Disk.Encrypted", "is Disabled, but the account may encrypt all new snapshots in the region: %w", err)
	}
	return err
}

// completeUpload seals a snapshot. After an error it may be sealed nevertheless, by an
// attempt whose response was lost.
func (s *session) completeUpload(ctx context.Context, id string, done ebsdirect.Completed) error {
	err := s.region.ebs.Complete(ctx, id, done)
	if err == nil || ctx.Err() != nil {
		return err
	}
	sealed := false
	lookErr := s.region.eachSnapshot(ctx, filter("snapshot-id", id), func(snap ec2types.Snapshot) {
		sealed = snap.State == ec2types.SnapshotStateCompleted && aws.ToString(snap.SnapshotId) == id
	})
	if lookErr == nil && sealed {
		return nil
	}
	return fmt.Errorf("complete snapshot %s: %w", id, err)
}
