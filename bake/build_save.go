package bake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// save writes the record to the store, if there is one, even if ctx has ended:
// another process cleans up from it.
func (b *build) save(ctx context.Context) error {
	if b.hold == nil {
		return nil
	}
	if err := b.fillRecord(); err != nil {
		return err
	}
	if err := b.hold.save(context.WithoutCancel(ctx), b.record); err != nil {
		return fmt.Errorf("save the record: %w", err)
	}
	return nil
}

// saveNamed saves the record. Its error names the image.
func (b *build) saveNamed(ctx context.Context) error { return b.named(b.save(ctx)) }

// releaseNamed saves the record without the lease. Its error names the image.
func (b *build) releaseNamed(ctx context.Context) error {
	if b.hold == nil {
		return nil
	}
	if err := b.fillRecord(); err != nil {
		b.hold.stop()
		return b.named(err)
	}
	if err := b.hold.release(context.WithoutCancel(ctx), b.record); err != nil {
		return b.named(fmt.Errorf("save the record: %w", err))
	}
	return nil
}

// named returns err as an Error that names the image.
func (b *build) named(err error) error {
	if err == nil {
		return nil
	}
	return &Error{Image: b.img.Name, Err: err, mask: b.mask}
}

// fillRecord writes the state of the build into the record.
func (b *build) fillRecord() error {
	var err error
	b.record.Updated = b.Clock.Now()
	if b.change != "" && b.begunAgain == "" {
		return nil // it is still the record of the other definition
	}
	if !b.undoing {
		b.record.Builder, b.record.Definition, b.record.Planned = b.img.builderType(), b.definition(), len(b.stages)
	}
	b.fillSteps()
	if b.record.Session, err = json.Marshal(b.session); err != nil {
		return fmt.Errorf("record the session: %w", err)
	}
	if b.check != nil {
		if b.record.Check, err = json.Marshal(b.check); err != nil {
			return fmt.Errorf("record the check session: %w", err)
		}
	}
	if a := b.finalArtifact(); a != nil {
		data, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("record the artifact: %w", err)
		}
		b.record.Artifact = &ArtifactRecord{ID: a.ID(), IDs: a.IDs(), Data: data}
	}
	return nil
}

func (b *build) fillSteps() {
	b.record.Steps = b.record.Steps[:0]
	for _, s := range b.stages {
		if s.record.State == "" {
			continue
		}
		step := s.record
		step.Name = b.run.Redact(step.Name)
		b.record.Steps = append(b.record.Steps, step)
	}
}

// createRecords saves the first record of each build that has none, before anything is
// created on a platform. If it fails, it removes those it has saved.
func (s *settings) createRecords(ctx context.Context, builds []*build, of map[*Image]*build) error {
	if s.Store == nil {
		return nil
	}
	var created []*build
	for _, b := range builds {
		if from := of[b.img.From]; from != nil {
			b.record.From = from.record.Build
		}
		if b.hold == nil {
			created = append(created, b)
		}
	}
	var failed atomic.Bool
	err := eachOf(created, func(b *build) error {
		if failed.Load() {
			return nil
		}
		err := b.named(b.createRecord(ctx))
		failed.CompareAndSwap(false, err != nil)
		return err
	})
	for _, b := range builds {
		b.hold.wait(true)
	}
	if err == nil {
		s.covers.set(builds[len(builds)-1].hold) // it is perhaps the last to end
		return nil
	}
	for _, b := range builds {
		if b.hold != nil {
			b.hold.stop()
		}
	}
	// A Save that failed may have stored the record nevertheless.
	gone := eachOf(created, func(b *build) error {
		if b.record.Revision == 0 {
			return nil
		}
		err := s.Store.Delete(context.WithoutCancel(ctx), b.record.Build)
		if b.hold == nil {
			return nil // the error of Save says more
		}
		return b.named(err)
	})
	return errors.Join(err, gone)
}

// saveAtOnce limits the saves of first records that run at once.
const saveAtOnce = 16

// eachOf calls do for all builds, some at once, and joins the errors.
func eachOf(builds []*build, do func(*build) error) error {
	errs := make([]error, len(builds))
	var all errgroup.Group
	all.SetLimit(saveAtOnce)
	for i, b := range builds {
		all.Go(func() error {
			errs[i] = do(b)
			return nil
		})
	}
	_ = all.Wait() // the errors are in errs
	return errors.Join(errs...)
}

// createRecord saves the first record of the build.
func (b *build) createRecord(ctx context.Context) error {
	if err := b.fillRecord(); err != nil {
		return err
	}
	sent := b.now()
	first := b.record
	first.Revision, first.Lease = 1, b.lease(b.owner, 1)
	b.record.Revision = first.Revision
	err := b.Store.Save(ctx, &first)
	if errors.Is(err, ErrConflict) { // perhaps with itself: the response of a first attempt was lost
		b.record.Revision = 0
		if stored, loadErr := b.Store.Load(ctx, first.Build); loadErr == nil && stored.Lease.Owner == b.owner {
			b.record.Revision, err = first.Revision, nil
		}
	}
	if err != nil {
		return fmt.Errorf("save the record: %w", err)
	}
	b.own(b.settings.hold(ctx, &first, sent))
	return nil
}

// own makes h the hold of the build, whose events then have greater numbers than those
// of earlier owners.
func (b *build) own(h *hold) {
	const mostEvents = 32 // bits
	b.hold = h
	if h != nil {
		b.events = (h.token - 1) << mostEvents
	}
}

// fingerprint identifies the image together with its source artifact.
func fingerprint(img *Image, source Artifact) string {
	if img.Fingerprint == "" {
		return ""
	}
	text := img.Fingerprint + "\n"
	if source != nil {
		text += "from " + source.ID() + "\n"
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// recordText returns the text of err for the record.
func (b *build) recordText(err error) string {
	const longest = 64 << 10
	return shorten(b.run.Redact(errorText(err)), longest)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
