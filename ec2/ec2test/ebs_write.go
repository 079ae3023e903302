package ec2test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/bakestone-go/bakestone/internal/blockstore"
	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// Limits of writing snapshots, from AWS's documentation.
const (
	maxVolumeGiB    = 65536
	maxPending      = 100 // unfinished snapshots of an account
	uploadTimeout   = time.Hour
	blocksPerGiB    = 1 << 30 / blockstore.Size
	blockAlgorithm  = "SHA256"
	blockAggregator = "LINEAR"
)

// An upload is the state of a snapshot that is written by EBS direct.
type upload struct {
	timeout  time.Duration
	progress int                     // what the client reports, in percent
	base     blockstore.Disk         // of the parent
	written  blockstore.Disk         // replaced only under the region's lock
	busy     map[int]bool            // blocks being written
	full     int                     // blocks in all, once it is completed
	sealed   *completeSnapshotParams // of CompleteSnapshot; nil while blocks can be written
}

// unfinished reports whether s is written by EBS direct and not completed.
func (s *snapshot) unfinished() bool { return s.upload != nil && s.upload.sealed == nil }

// extend sets the time at which an unfinished snapshot fails.
func (c *call) extend(s *snapshot) {
	s.doneAt = c.now.Add(s.upload.timeout)
	c.server.willChange(s.id, "error", s.doneAt, c.now)
}

type ebsTag struct {
	Key   string
	Value string
}

type startSnapshotInput struct {
	VolumeSize       *int
	ParentSnapshotID string `json:"ParentSnapshotId"`
	Description      string
	ClientToken      string
	Encrypted        *bool
	KmsKeyArn        string
	Timeout          *int
	Tags             []ebsTag
}

type startSnapshotOutput struct {
	SnapshotID       string `json:"SnapshotId"`
	OwnerID          string `json:"OwnerId"`
	Status           string
	StartTime        float64 // seconds since 1970
	VolumeSize       int
	BlockSize        int
	Description      string   `json:",omitempty"`
	Tags             []ebsTag `json:",omitempty"`
	ParentSnapshotID string   `json:"ParentSnapshotId,omitempty"`
	KmsKeyArn        string   `json:",omitempty"`
	SseType          string   `json:",omitempty"`
}

func (c *call) startUpload(in *startSnapshotInput) (*startSnapshotOutput, *ec2query.Error) {
	params := *in
	params.ClientToken = ""
	canonical, encodeErr := json.Marshal(params) //nolint:gosec // G117: a client token is no secret, and is empty
	if encodeErr != nil {
		return nil, ec2query.Internal(encodeErr)
	}
	key := c.tokenKey(in.ClientToken)
	if known, ok := c.tokens[key]; ok && in.ClientToken != "" {
		if known.params != string(canonical) {
			return nil, ebsError("ConflictException", "", "The request uses the same client token as a previous, but non-identical request.")
		}
		if s, ok := c.snapshots.get(known.ids[0]); ok {
			return c.started(s, in), nil
		}
		return nil, ebsError("ConflictException", "", "The snapshot of the request with this client token has been deleted.")
	}
	t, err := in.check()
	if err != nil {
		return nil, err
	}
	s := &snapshot{
		volume: "vol-ffffffff", description: in.Description, sizeGiB: *in.VolumeSize, disk: c.server.newFixedRef(*in.VolumeSize), failure: "The snapshot was not completed in time",
		upload: &upload{timeout: uploadTimeout, written: make(blockstore.Disk), busy: make(map[int]bool)},
	}
	if in.Timeout != nil {
		s.upload.timeout = time.Duration(*in.Timeout) * time.Minute
	}
	var parent *snapshot
	if in.ParentSnapshotID != "" {
		if parent, err = c.parentOf(in); err != nil {
			return nil, err
		}
	}
	if s.kmsKey, err = c.uploadKey(in, parent); err != nil {
		return nil, err
	}
	s.encrypted = s.kmsKey != ""
	pending := 0
	for other := range c.snapshots.all() {
		if c.owns(&other.base) && other.unfinished() && other.status(c.now) == "pending" {
			pending++
		}
	}
	if pending >= maxPending {
		return nil, ebsError("ConcurrentLimitExceededException", "", "You have reached the limit of %d pending snapshots.", maxPending)
	}
	s.base = c.newBase(snapshotKind(), t)
	s.lineage = s.id
	c.snapshots.put(s)
	c.extend(s)
	if in.ClientToken != "" {
		c.tokens[key] = token{params: string(canonical), ids: []string{s.id}}
	}
	if parent != nil {
		s.lineage = parent.lineage
		from := c.diskOf(parent)
		c.afterwards(func(ctx context.Context) *ec2query.Error {
			base, err := c.server.blocksOf(ctx, parent.id, from)
			c.mu.Lock()
			defer c.mu.Unlock()
			if err != nil {
				c.snapshots.remove(s.id)
				delete(c.tokens, key)
				return err
			}
			s.upload.base = base
			return nil
		})
	}
	return c.started(s, in), nil
}

func (c *call) started(s *snapshot, in *startSnapshotInput) *startSnapshotOutput {
	out := &startSnapshotOutput{
		SnapshotID: s.id, OwnerID: s.owner, Status: s.status(c.now), StartTime: seconds(s.created), VolumeSize: s.sizeGiB, BlockSize: blockstore.Size,
		Description: s.description, Tags: in.Tags, ParentSnapshotID: in.ParentSnapshotID, KmsKeyArn: s.kmsKey,
	}
	if s.encrypted {
		out.SseType = "sse-kms"
	}
	return out
}

// seconds returns a time as JSON timestamps have it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// check validates the parameters that need no lookup, and returns the tags.
func (in *startSnapshotInput) check() (tags, *ec2query.Error) {
	switch {
	case in.VolumeSize == nil:
		return nil, invalid(badValue, "The request must contain the parameter VolumeSize")
	case *in.VolumeSize < 1 || *in.VolumeSize > maxVolumeGiB:
		return nil, invalid(badVolumeSize, "Value (%d) for parameter VolumeSize is invalid. It must be between 1 and %d GiB.", *in.VolumeSize, maxVolumeGiB)
	case in.Timeout != nil && (*in.Timeout < 10 || *in.Timeout > 4320):
		return nil, invalid(badValue, "Value (%d) for parameter Timeout is invalid. It must be between 10 and 4320 minutes.", *in.Timeout)
	case len(in.ClientToken) > 255:
		return nil, invalid(badValue, "The client token must have at most 255 characters.")
	case utf8.RuneCountInString(in.Description) > 255:
		return nil, invalid(badValue, "The description must have at most 255 characters.")
	case in.ParentSnapshotID != "" && in.Encrypted != nil:
		return nil, invalid(badValue, "ParentSnapshotId and Encrypted cannot be specified in the same request.")
	}
	list := make([]tagParam, 0, len(in.Tags))
	t := make(tags, len(in.Tags))
	for _, tag := range in.Tags {
		list = append(list, tagParam{tag.Key, &tag.Value})
		t[tag.Key] = tagValue{value: tag.Value}
	}
	if err := checkTags(list); err != nil {
		return nil, invalid(badTag, "%s", err.Message)
	}
	return t, nil
}

// parentOf returns the parent snapshot, of which the caller must be the owner.
func (c *call) parentOf(in *startSnapshotInput) (*snapshot, *ec2query.Error) {
	parent, err := c.completedSnapshot(in.ParentSnapshotID)
	switch {
	case err != nil:
		return nil, err
	case !c.owns(&parent.base):
		return nil, ebsError("AccessDeniedException", foreignAccount, "The parent snapshot '%s' belongs to another account.", parent.id)
	case *in.VolumeSize < parent.sizeGiB:
		return nil, invalid(badVolumeSize, "The volume size must be at least that of the parent snapshot, which is %d GiB.", parent.sizeGiB)
	}
	return parent, nil
}

// uploadKey returns the key of a new snapshot, or "" if it is not encrypted, as in
// "Encryption outcomes for EBS direct APIs".
func (c *call) uploadKey(in *startSnapshotInput, parent *snapshot) (string, *ec2query.Error) {
	byDefault := c.keyring(c.account).byDefault
	switch {
	case parent != nil && in.KmsKeyArn != "":
		return "", invalid(badValue, "KmsKeyArn cannot be specified with a parent snapshot, which determines the key.")
	case parent != nil && parent.encrypted:
		return parent.kmsKey, nil
	case parent != nil && byDefault:
		return "", invalid(badValue, "Encryption by default is enabled, but the parent snapshot '%s' is not encrypted. Copy it first.", parent.id)
	case parent != nil:
		return "", nil
	case in.Encrypted != nil && !*in.Encrypted && (byDefault || in.KmsKeyArn != ""):
		return "", invalid(badValue, "Encrypted cannot be false with KmsKeyArn or encryption by default.")
	case in.KmsKeyArn != "" && in.Encrypted == nil && !byDefault:
		return "", invalid(badValue, "KmsKeyArn requires Encrypted.")
	}
	key, trouble := c.encryption(truthOf(in.Encrypted), in.KmsKeyArn)
	if trouble != keyUsable {
		return "", invalid(badKey, "%s", trouble.message(key))
	}
	return key, nil
}

type putSnapshotBlockParams struct {
	SnapshotID        string `ec2:"SnapshotId,required"`
	BlockIndex        int
	DataLength        int
	Progress          *int
	Checksum          string `ec2:"Checksum,required"`
	ChecksumAlgorithm string `ec2:"ChecksumAlgorithm,required"`
}

type putSnapshotBlockOutput struct {
	Checksum          string `json:"x-amz-Checksum"`
	ChecksumAlgorithm string `json:"x-amz-Checksum-Algorithm"`
}

func (o *putSnapshotBlockOutput) headers() map[string]string {
	return map[string]string{"x-amz-Checksum": o.Checksum, "x-amz-Checksum-Algorithm": o.ChecksumAlgorithm}
}

// writable returns an unfinished snapshot of the caller.
func (c *call) writable(id string) (*snapshot, *ec2query.Error) {
	s, err := c.accessible(id)
	switch {
	case err != nil:
		return nil, err
	case !c.owns(&s.base):
		return nil, ebsError("AccessDeniedException", foreignAccount, "The snapshot '%s' belongs to another account.", id)
	case s.upload == nil || s.status(c.now) != "pending":
		return nil, invalid(badSnapshot, "The snapshot '%s' cannot be written. It is in the %s state.", id, s.status(c.now))
	}
	return s, nil
}

func (c *call) putBlock(in *putSnapshotBlockParams, data []byte) (*putSnapshotBlockOutput, *ec2query.Error) {
	s, err := c.writable(in.SnapshotID)
	if err != nil {
		return nil, err
	}
	switch {
	case !s.unfinished():
		return nil, invalid(badSnapshot, "The snapshot '%s' has been completed.", s.id)
	case in.BlockIndex < 0 || in.BlockIndex >= s.sizeGiB*blocksPerGiB:
		return nil, invalid(badBlock, "The block index %d is not in the volume, which has %d blocks.", in.BlockIndex, s.sizeGiB*blocksPerGiB)
	case in.DataLength != blockstore.Size:
		return nil, invalid(badValue, "Value (%d) for parameter DataLength is invalid. The only supported size is %d bytes.", in.DataLength, blockstore.Size)
	case in.ChecksumAlgorithm != blockAlgorithm:
		return nil, invalid(badValue, "Value (%s) for parameter ChecksumAlgorithm is invalid. The only supported algorithm is %s.", in.ChecksumAlgorithm, blockAlgorithm)
	case in.Progress != nil && (*in.Progress < 0 || *in.Progress > 100):
		return nil, invalid(badValue, "Value (%d) for parameter Progress is invalid. It must be between 0 and 100.", *in.Progress)
	case len(data) != blockstore.Size:
		return nil, invalid(badValue, "Failed to read block data")
	case s.upload.busy[in.BlockIndex]:
		return nil, invalid(conflictingBlock, "The block %d is being written by another request.", in.BlockIndex)
	}
	up := s.upload
	up.busy[in.BlockIndex] = true
	c.extend(s)
	c.afterwards(func(context.Context) *ec2query.Error {
		var block *blockstore.Block
		var writeErr error
		sum := sha256.Sum256(data)
		matches := base64.StdEncoding.EncodeToString(sum[:]) == in.Checksum
		if matches {
			block, writeErr = c.server.blocks.PutSummed(data, sum)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(up.busy, in.BlockIndex)
		switch {
		case !matches:
			return invalid(badValue, "The checksum does not match the data of block %d.", in.BlockIndex)
		case writeErr != nil:
			return ebsError("InternalServerException", "", "%v", writeErr)
		}
		up.written[in.BlockIndex] = block
		if in.Progress != nil {
			up.progress = *in.Progress
		}
		return nil
	})
	return &putSnapshotBlockOutput{in.Checksum, blockAlgorithm}, nil
}

type completeSnapshotParams struct {
	SnapshotID                string `ec2:"SnapshotId,required"`
	ChangedBlocksCount        *int   `ec2:"ChangedBlocksCount,required"`
	Checksum                  string
	ChecksumAlgorithm         string
	ChecksumAggregationMethod string
}

func (p *completeSnapshotParams) equals(other *completeSnapshotParams) bool {
	return *p.ChangedBlocksCount == *other.ChangedBlocksCount && p.Checksum == other.Checksum
}

type completeSnapshotOutput struct {
	Status string
}

// completeUpload seals a snapshot. That a wrong count or checksum is reported at
// once, and leaves the snapshot writable, is a guess. So is that a call may be
// repeated, for example after a lost response.
func (c *call) completeUpload(in *completeSnapshotParams, _ []byte) (*completeSnapshotOutput, *ec2query.Error) {
	s, err := c.accessible(in.SnapshotID)
	if err != nil {
		return nil, err
	}
	if s.upload != nil && s.upload.sealed != nil && c.owns(&s.base) && s.upload.sealed.equals(in) {
		return &completeSnapshotOutput{s.status(c.now)}, nil
	}
	if s, err = c.writable(in.SnapshotID); err != nil {
		return nil, err
	}
	up := s.upload
	written := up.written.Indexes()
	sum := up.written.Sum(written)
	switch {
	case !s.unfinished():
		return nil, invalid(badSnapshot, "The snapshot '%s' has been completed with other parameters.", s.id)
	case len(up.busy) > 0:
		return nil, invalid(conflictingBlock, "Blocks of the snapshot '%s' are being written.", s.id)
	case *in.ChangedBlocksCount != len(written):
		return nil, invalid(badValue, "Value (%d) for parameter ChangedBlocksCount is invalid. %d blocks were written.", *in.ChangedBlocksCount, len(written))
	case in.Checksum == "":
	case in.ChecksumAlgorithm != blockAlgorithm:
		return nil, invalid(badValue, "Value (%s) for parameter ChecksumAlgorithm is invalid. A checksum requires %s.", in.ChecksumAlgorithm, blockAlgorithm)
	case in.ChecksumAggregationMethod != blockAggregator:
		return nil, invalid(badValue, "Value (%s) for parameter ChecksumAggregationMethod is invalid. A checksum requires %s.", in.ChecksumAggregationMethod, blockAggregator)
	case in.Checksum != base64.StdEncoding.EncodeToString(sum[:]):
		return nil, invalid(badValue, "The checksum does not match the blocks that were written.")
	}
	for _, value := range []string{in.ChecksumAlgorithm, in.ChecksumAggregationMethod} {
		if !slices.Contains([]string{"", blockAlgorithm, blockAggregator}, value) {
			return nil, invalid(badValue, "Value (%s) for a parameter of the checksum is invalid.", value)
		}
	}
	contents := maps.Clone(up.base)
	if contents == nil {
		contents = make(blockstore.Disk, len(up.written))
	}
	maps.Copy(contents, up.written)
	up.sealed, up.full, up.base, up.written = in, len(contents), nil, nil
	s.disk.fillBlocks(contents)
	s.failure, s.doneAt = "", c.now.Add(c.server.opts.Latency.snapshot(s.sizeGiB))
	c.server.willChange(s.id, "completed", s.doneAt, c.now)
	return &completeSnapshotOutput{"pending"}, nil
}

// uploaded returns the progress of an unfinished snapshot as EC2 shows it.
func (u *upload) uploaded() string {
	if u.progress == 0 {
		return ""
	}
	return fmt.Sprintf("%d%%", u.progress)
}
