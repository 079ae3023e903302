package bake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
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
	var errs []error
	var created []*build
	for _, b := range builds {
		if from := of[b.img.From]; from != nil {
			b.record.From = from.record.Build
		}
		if b.hold != nil {
			continue
		}
		if err := b.createRecord(ctx); err != nil {
			errs = append(errs, b.named(err))
			break
		}
		created = append(created, b)
	}
	if len(errs) == 0 {
		return nil
	}
	for _, b := range builds {
		if b.hold != nil {
			b.hold.stop()
		}
	}
	for _, b := range created {
		errs = append(errs, b.named(s.Store.Delete(context.WithoutCancel(ctx), b.record.Build)))
	}
	return errors.Join(errs...)
}

// createRecord saves the first record of the build.
func (b *build) createRecord(ctx context.Context) error {
	if err := b.fillRecord(); err != nil {
		return err
	}
	sent := b.time().Now()
	first := b.record
	first.Revision, first.Lease = 1, b.lease(newOwner(b.Owner), 1)
	if err := b.Store.Save(ctx, &first); err != nil {
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
