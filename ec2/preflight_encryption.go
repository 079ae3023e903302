package ec2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// EC2 refuses to share an AMI that is encrypted with an AWS managed key, and to make
// any encrypted AMI public. Both would fail only after the whole bake, so this file
// finds out beforehand which key encrypts each volume: the one that is set, that of
// the source's snapshot if the account owns it, or the account's default key. See
// "Encryption outcomes" in the EBS User Guide.

// A volumeKey describes the encryption of a volume of the AMI or of a copy.
type volumeKey struct {
	field     string // the field that sets the key
	encrypted bool   // even if the account does not encrypt by default
	key       string // empty means that of the snapshot, or else the account's default key
	snapshot  string // the snapshot that the volume is created from, if it may be encrypted
}

// volumeKeys returns the encryption of the AMI's volumes where it is baked.
func (s *session) volumeKeys() []volumeKey {
	var keys []volumeKey
	given := map[string]bool{}
	add := func(field string, d BlockDevice, snapshot string) {
		keys = append(keys, volumeKey{
			"Builder." + field + "[" + d.Device + "].KMSKey",
			d.Encrypted == Enabled || d.KMSKey != "" || snapshot != "", d.KMSKey, cmp.Or(d.Snapshot, snapshot),
		})
	}
	sources := map[string]string{} // encrypted snapshots by device
	for _, v := range s.Source.Volumes {
		if v.Encrypted {
			sources[v.Device] = v.Snapshot
		}
	}
	for _, d := range s.builder.BlockDevices {
		device := cmp.Or(d.Device, s.Source.RootDevice)
		given[device] = true
		if !d.Omit && !s.omits(device) {
			add("BlockDevices", d, sources[device])
		}
	}
	devices := make([]string, 0, 1+len(s.Source.Volumes))
	devices = append(devices, s.Source.RootDevice) // the only one that is known if the source is not baked yet
	for _, v := range s.Source.Volumes {
		devices = append(devices, v.Device)
	}
	slices.Sort(devices)
	for _, device := range slices.Compact(devices) {
		if given[device] || s.omits(device) {
			continue
		}
		d := BlockDevice{Device: device}
		if device == s.Source.RootDevice {
			d.Device = ""
		}
		add("BlockDevices", d, sources[device])
	}
	if d := s.builder.disk(); d != nil {
		keys = []volumeKey{{field: "Disk.KMSKey", encrypted: d.encrypts(), key: d.KMSKey}}
	}
	for _, d := range s.builder.Capture.Devices {
		if !d.Omit && d.Snapshot != "" {
			add("Capture.Devices", d.BlockDevice, "")
		}
	}
	return keys
}

// checkEncryption checks that the encryption of the AMI and of its copies lets them be
// shared and copied as they are to be.
func (s *session) checkEncryption(ctx context.Context) error {
	b, d := s.builder, s.builder.Distribute
	field := "" // that makes it public
	switch {
	case d.LaunchPermissions.Public:
		field = "Builder.Distribute.LaunchPermissions.Public"
	case d.SnapshotPermissions.Public:
		field = "Builder.Distribute.SnapshotPermissions.Public"
	}
	keys, encrypted := s.volumeKeys(), false
	for _, k := range keys {
		on, err := s.region.isEncrypted(ctx, k)
		if err != nil {
			return s.unchecked(ctx, k.field+" in "+s.region.name, err)
		}
		encrypted = encrypted || on
	}
	var errs []error
	if encrypted && (b.isPulled() || d.shares() && !d.OnlyCopies) {
		home := &CopyError{Region: s.region.name}
		public := field
		if d.OnlyCopies {
			public = ""
		}
		errs = append(errs, s.checkKeys(ctx, s.region, home, public, keys))
	}
	for i, c := range d.Copies {
		if !d.shares() {
			break
		}
		r := s.copyRegion(i)
		place, err := s.errorAt(ctx, Destination{c.Region, b.cloudOf(c)})
		if err != nil {
			continue // checkCopy reports it
		}
		k := volumeKey{
			field:     fmt.Sprintf("Builder.Distribute.Copies[%d].KMSKey", c.index),
			encrypted: encrypted || c.Encrypted == Enabled || c.KMSKey != "", key: c.KMSKey,
		}
		errs = append(errs, s.checkKeys(ctx, r, place, field, []volumeKey{k}))
	}
	return errors.Join(errs...)
}

// checkKeys reports the volumes at one destination whose encryption prevents sharing.
// public is the field that makes the AMI public there, if any.
func (s *session) checkKeys(ctx context.Context, r *region, place *CopyError, public string, keys []volumeKey) error {
	var errs []error
	for _, k := range keys {
		on, err := r.isEncrypted(ctx, k)
		if err == nil && on && public != "" {
			reason := "the AMI would be encrypted"
			if !k.encrypted && k.snapshot == "" {
				reason = "the account encrypts all new volumes in this region"
			}
			return place.with(bake.Invalid(public, "%s, and encrypted images cannot be public", reason))
		}
		managed := false
		if err == nil && on {
			managed, err = r.managesKey(ctx, k)
		}
		switch {
		case err != nil:
			errs = append(errs, s.unchecked(ctx, k.field+" in "+r.name, err))
		case managed:
			errs = append(errs, place.with(bake.Invalid(k.field, "the AMI would be encrypted with EBS's AWS managed key, so other accounts could neither use nor copy it: "+
				"set a customer managed key that they may use")))
		}
	}
	return errors.Join(errs...)
}

// shares reports whether other accounts may use the AMI.
func (d Distribution) shares() bool {
	return !d.LaunchPermissions.isZero() || !d.SnapshotPermissions.isZero()
}

// isPulled reports whether another account copies the AMI.
func (b Builder) isPulled() bool {
	return slices.ContainsFunc(b.Distribute.Copies, func(c Copy) bool { return b.cloudOf(c) != b.Cloud })
}

// isEncrypted reports whether EC2 encrypts a volume.
func (r *region) isEncrypted(ctx context.Context, k volumeKey) (bool, error) {
	if k.encrypted {
		return true, nil
	}
	if k.snapshot != "" {
		if key, err := r.snapshotKey(ctx, k.snapshot); err != nil || key != "" {
			return true, err
		}
	}
	return r.lookups.answers.get(ctx, "encryption", r.encryptsAll)
}

func (r *region) encryptsAll(ctx context.Context) (bool, error) {
	out, err := r.client.GetEbsEncryptionByDefault(ctx, &awsec2.GetEbsEncryptionByDefaultInput{})
	if err != nil {
		return false, err
	}
	return out.EbsEncryptionByDefault != nil && *out.EbsEncryptionByDefault, nil
}

// managesKey reports whether AWS manages the key that encrypts a volume.
func (r *region) managesKey(ctx context.Context, k volumeKey) (bool, error) {
	key := k.key
	if key == "" && k.snapshot != "" {
		var err error
		if key, err = r.snapshotKey(ctx, k.snapshot); err != nil {
			return false, err
		}
	}
	if key == "" {
		var err error
		if key, err = r.defaultKey(ctx); err != nil {
			return false, err
		}
	}
	if strings.HasSuffix(key, "alias/aws/ebs") {
		return true, nil
	}
	facts, err := r.describeKey(ctx, key)
	return facts.managed, err
}

// defaultKey returns the account's default key, an ARN or an alias.
func (r *region) defaultKey(ctx context.Context) (string, error) {
	facts, err := r.lookups.keys.get(ctx, "", func(ctx context.Context) (keyFacts, error) {
		out, err := r.client.GetEbsDefaultKmsKeyId(ctx, &awsec2.GetEbsDefaultKmsKeyIdInput{})
		if err != nil {
			return keyFacts{}, err
		}
		return keyFacts{name: aws.ToString(out.KmsKeyId)}, nil
	})
	return facts.name, err
}

// snapshotKey returns the key of a snapshot that the account owns; empty if it is not
// encrypted or another account's, whose key EC2 replaces with the default one.
func (r *region) snapshotKey(ctx context.Context, id string) (string, error) {
	facts, err := r.lookups.keys.get(ctx, "snapshot "+id, func(ctx context.Context) (keyFacts, error) {
		out, err := r.client.DescribeSnapshots(ctx, &awsec2.DescribeSnapshotsInput{OwnerIds: []string{Self}, Filters: Filters{"snapshot-id": {id}}.list()})
		if err != nil || len(out.Snapshots) == 0 {
			return keyFacts{}, err
		}
		return keyFacts{name: aws.ToString(out.Snapshots[0].KmsKeyId)}, nil
	})
	return facts.name, err
}

// keyFacts is what is known of a KMS key.
type keyFacts struct {
	name    string
	problem string // why EBS cannot use it; empty if it can
	managed bool   // by AWS
}

// describeKey looks up a KMS key.
func (r *region) describeKey(ctx context.Context, key string) (keyFacts, error) {
	return r.lookups.keys.get(ctx, "key "+key, func(ctx context.Context) (keyFacts, error) {
		ctx, stop := clock.WithTimeout(ctx, r.clock, r.callTimeout)
		defer stop()
		out, err := r.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(key)})
		if api, ok := errors.AsType[smithy.APIError](err); ok && (api.ErrorCode() == "NotFoundException" || api.ErrorCode() == "InvalidArnException") {
			return keyFacts{problem: api.ErrorMessage()}, nil
		}
		if err != nil {
			return keyFacts{}, err
		}
		facts := keyFacts{name: key}
		switch k := out.KeyMetadata; {
		case k == nil:
			return facts, errors.New("KMS returned no metadata")
		case !k.Enabled:
			facts.problem = fmt.Sprintf("key state is %s", k.KeyState)
		case k.KeySpec != "" && k.KeySpec != "SYMMETRIC_DEFAULT":
			facts.problem = fmt.Sprintf("key spec is %s, but EBS needs a symmetric key", k.KeySpec)
		default:
			facts.managed = k.KeyManager == kmstypes.KeyManagerTypeAws
		}
		return facts, nil
	})
}
