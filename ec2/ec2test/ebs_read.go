package ec2test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/blockstore"
	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// How long tokens are valid, from "Frequently asked questions for EBS direct APIs".
const (
	blockTokenLife = 7 * 24 * time.Hour
	pageTokenLife  = time.Hour
)

// blockPageParams are the paging parameters of listing blocks.
type blockPageParams struct {
	MaxResults         *int
	NextToken          string
	StartingBlockIndex int
}

// The numbers of blocks in a page.
const (
	defaultBlockPage = 1000
	minBlockPage     = 100
	maxBlockPage     = 10000
)

// blockPage returns the first index of a page and its length. A page token belongs
// to what it was made for.
func (c *call) blockPage(p blockPageParams, of string) (first, length int, _ *ec2query.Error) {
	length = defaultBlockPage
	if p.MaxResults != nil {
		if *p.MaxResults < 0 || *p.MaxResults > maxBlockPage {
			return 0, 0, invalid(badValue, "Value (%d) for parameter MaxResults is invalid. It must be between %d and %d.", *p.MaxResults, minBlockPage, maxBlockPage)
		}
		length = max(*p.MaxResults, minBlockPage) // AWS returns at least so many
	}
	if p.StartingBlockIndex < 0 {
		return 0, 0, invalid(badValue, "Value (%d) for parameter StartingBlockIndex is invalid.", p.StartingBlockIndex)
	}
	if p.NextToken == "" {
		return p.StartingBlockIndex, length, nil
	}
	first, ok := c.openToken(p.NextToken, "page "+of)
	if !ok {
		return 0, 0, invalid(badPageToken, "The page token is not valid, or has expired.")
	}
	return first, length, nil
}

// newToken returns a token for an index that is valid for a while. It can be opened
// for the same purpose only.
func (c *call) newToken(index int, purpose string, life time.Duration) string {
	token := strconv.Itoa(index) + " " + strconv.FormatInt(c.now.Add(life).UnixMilli(), 36)
	return base64.StdEncoding.EncodeToString([]byte(token + " " + proof(token, purpose)))
}

// openToken returns the index of a token. It reports false if the token is not one
// for the purpose, or has expired.
func (c *call) openToken(text, purpose string) (index int, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(text)
	parts := strings.Split(string(raw), " ")
	if err != nil || len(parts) != 3 || parts[2] != proof(parts[0]+" "+parts[1], purpose) {
		return 0, false
	}
	index, indexErr := strconv.Atoi(parts[0])
	ends, timeErr := strconv.ParseInt(parts[1], 36, 64)
	return index, indexErr == nil && timeErr == nil && c.now.Before(time.UnixMilli(ends))
}

// proof ties a token to its purpose.
func proof(token, purpose string) string {
	sum := sha256.Sum256([]byte(token + " " + purpose))
	return hex.EncodeToString(sum[:10])
}

// blockToken returns the token with which a block can be read.
func (c *call) blockToken(s *snapshot, index int) string {
	return c.newToken(index, "block "+s.id, blockTokenLife)
}

// blockList is common to the responses that list blocks.
type blockList struct {
	ExpiryTime float64 // seconds since 1970
	VolumeSize int
	BlockSize  int
	NextToken  string `json:",omitempty"`
}

// blockList returns the common part of a response, and the indexes in the page.
func (c *call) blockList(s *snapshot, indexes []int, first, length int, of string) (blockList, []int) {
	out := blockList{ExpiryTime: seconds(c.now.Add(blockTokenLife)), VolumeSize: s.sizeGiB, BlockSize: blockstore.Size}
	at, _ := slices.BinarySearch(indexes, first)
	indexes = indexes[at:]
	if len(indexes) > length {
		out.NextToken = c.newToken(indexes[length], "page "+of, pageTokenLife)
		indexes = indexes[:length]
	}
	return out, indexes
}

type listSnapshotBlocksParams struct {
	SnapshotID string `ec2:"SnapshotId,required"`
	blockPageParams
}

type blockJSON struct {
	BlockIndex int
	BlockToken string
}

type listSnapshotBlocksOutput struct {
	Blocks []blockJSON
	blockList
}

func (c *call) listBlocks(in *listSnapshotBlocksParams, _ []byte) (*listSnapshotBlocksOutput, *ec2query.Error) {
	s, err := c.completedSnapshot(in.SnapshotID)
	if err != nil {
		return nil, err
	}
	first, length, err := c.blockPage(in.blockPageParams, s.id)
	if err != nil {
		return nil, err
	}
	out := &listSnapshotBlocksOutput{Blocks: []blockJSON{}}
	disk := c.diskOf(s)
	c.afterwards(func(ctx context.Context) *ec2query.Error {
		blocks, err := c.server.blocksOf(ctx, s.id, disk)
		if err != nil {
			return err
		}
		var page []int
		out.blockList, page = c.blockList(s, blocks.Indexes(), first, length, s.id)
		for _, index := range page {
			out.Blocks = append(out.Blocks, blockJSON{index, c.blockToken(s, index)})
		}
		return nil
	})
	return out, nil
}

type listChangedBlocksParams struct {
	FirstSnapshotID  string `ec2:"FirstSnapshotId"`
	SecondSnapshotID string `ec2:"SecondSnapshotId,required"`
	blockPageParams
}

type changedBlockJSON struct {
	BlockIndex       int
	FirstBlockToken  string `json:",omitempty"`
	SecondBlockToken string `json:",omitempty"`
}

type listChangedBlocksOutput struct {
	ChangedBlocks []changedBlockJSON
	blockList
}

// listChangedBlocks compares the data of two snapshots. Whether AWS also lists
// blocks that were written again with the same data is not documented.
func (c *call) listChangedBlocks(in *listChangedBlocksParams, _ []byte) (*listChangedBlocksOutput, *ec2query.Error) {
	if in.FirstSnapshotID == "" {
		return nil, invalid(badValue, "The request must contain the parameter FirstSnapshotId")
	}
	one, err := c.completedSnapshot(in.FirstSnapshotID)
	if err != nil {
		return nil, err
	}
	two, err := c.completedSnapshot(in.SecondSnapshotID)
	if err != nil {
		return nil, err
	}
	if one.lineage != two.lineage {
		return nil, invalid(unrelatedSnapshots, "The snapshots '%s' and '%s' are not of the same volume or lineage.", one.id, two.id)
	}
	first, length, err := c.blockPage(in.blockPageParams, one.id+" "+two.id)
	if err != nil {
		return nil, err
	}
	out := &listChangedBlocksOutput{ChangedBlocks: []changedBlockJSON{}}
	oneDisk, twoDisk := c.diskOf(one), c.diskOf(two)
	c.afterwards(func(ctx context.Context) *ec2query.Error {
		before, err := c.server.blocksOf(ctx, one.id, oneDisk)
		if err != nil {
			return err
		}
		after, err := c.server.blocksOf(ctx, two.id, twoDisk)
		if err != nil {
			return err
		}
		var page []int
		out.blockList, page = c.blockList(two, changed(before, after), first, length, one.id+" "+two.id)
		for _, index := range page {
			block := changedBlockJSON{BlockIndex: index}
			if before[index] != nil {
				block.FirstBlockToken = c.blockToken(one, index)
			}
			if after[index] != nil {
				block.SecondBlockToken = c.blockToken(two, index)
			}
			out.ChangedBlocks = append(out.ChangedBlocks, block)
		}
		return nil
	})
	return out, nil
}

// changed returns the indexes of the blocks that differ, in order.
func changed(before, after blockstore.Disk) []int {
	all := maps.Clone(before)
	if all == nil {
		all = make(blockstore.Disk)
	}
	maps.Copy(all, after)
	maps.DeleteFunc(all, func(index int, _ *blockstore.Block) bool {
		a, b := before[index], after[index]
		return a != nil && b != nil && a.Sum() == b.Sum()
	})
	return all.Indexes()
}

type getSnapshotBlockParams struct {
	SnapshotID string `ec2:"SnapshotId,required"`
	BlockIndex int
	BlockToken string `ec2:"BlockToken,required"`
}

type getSnapshotBlockOutput struct {
	DataLength        int    `json:"x-amz-Data-Length"`
	Checksum          string `json:"x-amz-Checksum"`
	ChecksumAlgorithm string `json:"x-amz-Checksum-Algorithm"`
	BlockData         []byte
}

func (o *getSnapshotBlockOutput) headers() map[string]string {
	return map[string]string{
		"x-amz-Data-Length": strconv.Itoa(o.DataLength), "x-amz-Checksum": o.Checksum, "x-amz-Checksum-Algorithm": o.ChecksumAlgorithm,
	}
}

func (o *getSnapshotBlockOutput) payload() []byte { return o.BlockData }

func (c *call) getBlock(in *getSnapshotBlockParams, _ []byte) (*getSnapshotBlockOutput, *ec2query.Error) {
	s, err := c.completedSnapshot(in.SnapshotID)
	if err != nil {
		return nil, err
	}
	if in.BlockIndex < 0 || in.BlockIndex >= s.sizeGiB*blocksPerGiB {
		return nil, invalid(badBlock, "The block index %d is not in the volume, which has %d blocks.", in.BlockIndex, s.sizeGiB*blocksPerGiB)
	}
	if index, ok := c.openToken(in.BlockToken, "block "+s.id); !ok || index != in.BlockIndex {
		return nil, invalid(badBlockToken, "The block token is not valid for block %d of the snapshot '%s', or has expired.", in.BlockIndex, s.id)
	}
	out := &getSnapshotBlockOutput{DataLength: blockstore.Size, ChecksumAlgorithm: blockAlgorithm}
	disk := c.diskOf(s)
	c.afterwards(func(ctx context.Context) *ec2query.Error {
		blocks, err := c.server.blocksOf(ctx, s.id, disk)
		if err != nil {
			return err
		}
		block := blocks[in.BlockIndex]
		if block == nil {
			return invalid(badBlock, "The block %d of the snapshot '%s' has no data.", in.BlockIndex, s.id)
		}
		out.BlockData = make([]byte, blockstore.Size)
		if readErr := c.server.blocks.Read(block, out.BlockData); readErr != nil {
			return ebsError("InternalServerException", "", "%v", readErr)
		}
		sum := block.Sum()
		out.Checksum = base64.StdEncoding.EncodeToString(sum[:])
		return nil
	})
	return out, nil
}
