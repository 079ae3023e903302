package ebsdirect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	ebstypes "github.com/aws/aws-sdk-go-v2/service/ebs/types"
	"github.com/aws/smithy-go/middleware"
	"golang.org/x/sync/errgroup"
)

// ErrChanged is returned, wrapped, if a disk is not what it was when another process began
// to upload it.
var ErrChanged = errors.New("the disk has changed since its upload began")

// An Upload sends the blocks of a disk to a snapshot that was started.
type Upload struct {
	Snapshot string
	Source   Source

	// Blocks is the number of blocks of the volume.
	Blocks int64

	// Parent has the sums of the parent snapshot, so that only changes are sent. It is
	// nil if there is no parent.
	Parent *SumsReader

	// Sums is where the sums of the disk are written. It may be nil.
	Sums *SumsWriter

	// From is how far another process has come.
	From Progress

	// Save is called now and then with what has been sent, and at the end.
	Save func(context.Context, Progress) error
}

// Progress is how far an upload has come: all blocks before Next are written.
type Progress struct {
	Next    Index  `json:"next,omitempty"`
	Written int    `json:"written,omitempty"` // blocks
	Sum     string `json:"sum,omitempty"`     // of the blocks before Next
	Stats   Stats  `json:"stats,omitzero"`
}

// Stats count blocks.
type Stats struct {
	Sent    int `json:"sent"`    // by this process and earlier ones, each block once
	Same    int `json:"same"`    // not sent, since the parent has them
	Retries int `json:"retries"` // attempts that failed
}

// A Completed is an upload whose blocks are all written.
type Completed struct {
	Progress

	// Digest identifies the contents of the disk.
	Digest string

	linear string // the checksum for CompleteSnapshot
}

// The upload saves its progress after so many blocks or so much time.
const (
	saveBlocks = 512
	saveEvery  = 10 * time.Second
)

// job is a block on its way.
type job struct {
	number int // of the job
	index  Index
	data   []byte // nil for zeros
	parent *Sum   // of the parent's block
}

// sent is a job that is done.
type sent struct {
	job

	zero    bool
	sum     Sum
	same    bool
	retries int
}

// uploader is the state of an Upload that runs.
type uploader struct {
	Upload

	client  *Client
	buffers *buffers
	linear  hash.Hash // of the sums of the blocks that were written
	done    Progress
	checked bool // From.Sum was compared
}

// Run sends all blocks.
func (u Upload) Run(ctx context.Context, c *Client) (Completed, error) {
	if u.Sums == nil {
		u.Sums = NewSumsWriter(nil)
	}
	run := &uploader{Upload: u, client: c, buffers: newBuffers(), linear: sha256.New(), checked: u.From.Next == 0}
	defer run.buffers.release()
	run.done.Stats.Retries = u.From.Stats.Retries
	jobs, done := make(chan job), make(chan sent, MostParallel)
	group, working := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(jobs)
		return run.read(working, jobs)
	})
	senders, sending := errgroup.WithContext(working)
	for range MostParallel {
		senders.Go(func() error { return run.send(sending, jobs, done) })
	}
	group.Go(func() error {
		defer close(done)
		return senders.Wait()
	})
	err := run.collect(working, done)
	if err != nil {
		group.Go(func() error { return err }) // ends the others
		for range done {
		}
	}
	if groupErr := group.Wait(); err == nil || ctx.Err() == nil && groupErr != nil && !errors.Is(groupErr, err) {
		err = groupErr
	}
	if err != nil {
		return Completed{}, err
	}
	if err := run.check(); err != nil {
		return Completed{}, err
	}
	if err := run.save(ctx); err != nil {
		return Completed{}, err
	}
	return Completed{Progress: run.done, Digest: u.Sums.Digest(), linear: base64.StdEncoding.EncodeToString(run.linear.Sum(nil))}, nil
}

// read passes the blocks of the disk on, and zeros where only the parent has data.
func (u *uploader) read(ctx context.Context, jobs chan<- job) error {
	number := 0
	pass := func(j job) error {
		j.number = number
		number++
		select {
		case jobs <- j:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for {
		data := u.buffers.get()
		index, err := u.Source.Next(ctx, data)
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return err
		}
		if !end && int64(index) >= u.Blocks {
			return fmt.Errorf("block %d is behind the end of the volume, which has %d", index, u.Blocks)
		}
		for p := u.Parent; p != nil && !p.done && (end || p.next < index); {
			if err := pass(job{index: p.next}); err != nil {
				return err
			}
			if err := p.advance(); err != nil {
				return err
			}
		}
		if end {
			return nil
		}
		j := job{index: index, data: data}
		if p := u.Parent; p != nil && !p.done && p.next == index {
			sum := p.sum
			j.parent = &sum
			if err := p.advance(); err != nil {
				return err
			}
		}
		if err := pass(j); err != nil {
			return err
		}
	}
}

// send sends the blocks that must be sent.
func (u *uploader) send(ctx context.Context, jobs <-chan job, done chan<- sent) error {
	zero := sha256.Sum256(zeros)
	for j := range jobs {
		s := sent{job: j, zero: j.data == nil, sum: zero}
		data := zeros
		if !s.zero {
			data = j.data
			s.sum = sha256.Sum256(data)
		}
		s.same = j.parent != nil && *j.parent == s.sum
		if !s.same && j.index >= u.From.Next {
			var err error
			if s.retries, err = u.put(ctx, j.index, data, s.sum); err != nil {
				return fmt.Errorf("write block %d of %s: %w", j.index, u.Snapshot, err)
			}
		}
		if !s.zero {
			u.buffers.put(j.data)
			s.data = nil
		}
		select {
		case done <- s:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// put sends a block.
func (u *uploader) put(ctx context.Context, index Index, data []byte, sum Sum) (retries int, err error) {
	checksum := base64.StdEncoding.EncodeToString(sum[:])
	attempts := 0
	err = u.client.repeat(ctx, func(ctx context.Context) error {
		out, err := u.client.api.PutSnapshotBlock(ctx, &ebs.PutSnapshotBlockInput{
			SnapshotId: aws.String(u.Snapshot), BlockIndex: aws.Int32(index), BlockData: bytes.NewReader(data), DataLength: aws.Int32(BlockSize),
			Checksum: aws.String(checksum), ChecksumAlgorithm: ebstypes.ChecksumAlgorithmChecksumAlgorithmSha256,
			Progress: aws.Int32(int32(min(int64(index)*100/max(u.Blocks, 1), 99))), //nolint:gosec // a percentage
		})
		attempts += 1
		if err != nil {
			return err
		}
		attempts += attemptsOf(out.ResultMetadata) - 1
		if got := aws.ToString(out.Checksum); got != checksum {
			return &damagedError{fmt.Sprintf("EBS received a block with the checksum %q, want %q", got, checksum)}
		}
		return nil
	})
	return attempts - 1, err
}

// attemptsOf returns the number of attempts that a call of the SDK made.
func attemptsOf(m middleware.Metadata) int {
	results, ok := retry.GetAttemptResults(m)
	if !ok {
		return 1
	}
	return max(len(results.Results), 1)
}

// collect puts what was sent in order, and saves the progress.
func (u *uploader) collect(ctx context.Context, done <-chan sent) error {
	early := map[int]sent{}
	next, saved, savedAt := 0, 0, u.client.clock.Now()
	for s := range done {
		early[s.number] = s
		for {
			s, ok := early[next]
			if !ok {
				break
			}
			delete(early, next)
			next++
			if err := u.add(s); err != nil {
				return err
			}
		}
		if now := u.client.clock.Now(); u.done.Stats.Sent >= saved+saveBlocks || u.done.Stats.Sent > saved && now.Sub(savedAt) >= saveEvery {
			saved, savedAt = u.done.Stats.Sent, now
			if err := u.save(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// add counts a block, in the order of the disk.
func (u *uploader) add(s sent) error {
	if s.index >= u.From.Next {
		if err := u.check(); err != nil {
			return err
		}
	}
	if !s.zero {
		u.Sums.Add(s.index, s.sum)
	}
	u.done.Stats.Retries += s.retries
	if s.same {
		u.done.Stats.Same++
	} else {
		u.done.Stats.Sent++
		u.done.Written++
		_, _ = u.linear.Write(s.sum[:]) // a hash never fails
	}
	u.done.Next = s.index + 1
	return nil
}

// check compares the blocks that another process has sent with those of the disk, once
// they have been read again.
func (u *uploader) check() error {
	if u.checked {
		return nil
	}
	u.checked = true
	if u.sum() != u.From.Sum || u.done.Written != u.From.Written {
		return fmt.Errorf("%w: %d blocks before block %d, want %d as they were", ErrChanged, u.done.Written, u.From.Next, u.From.Written)
	}
	return nil
}

// sum identifies the blocks so far, and which of them were written.
func (u *uploader) sum() string {
	sum := sha256.Sum256([]byte(u.Sums.Digest() + " " + hex.EncodeToString(u.linear.Sum(nil))))
	return hex.EncodeToString(sum[:])
}

// save reports the progress, unless blocks are still compared with those that another
// process has sent.
func (u *uploader) save(ctx context.Context) error {
	if u.Save == nil || !u.checked || u.done.Next < u.From.Next {
		return nil
	}
	u.done.Sum = u.sum()
	return u.Save(ctx, u.done)
}
