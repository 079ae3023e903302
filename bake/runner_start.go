package bake

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// A Request asks for bakes; see Runner.Start.
type Request struct {
	// ID, if not empty, identifies the request: repeated, it starts nothing again, in any
	// process, as long as the records exist. It is chosen by the caller, and unique in the
	// store: "alice/7f3c".
	ID string

	// Images names the images to bake. Their sources are baked with them.
	Images []string

	// Labels are in the records, and tell Runner.Images which definitions to return.
	Labels map[string]string

	// Caller is Options.Caller for these bakes, and Record.Caller.
	Caller string
}

// ErrRequestChanged is returned, wrapped, for a Request with the ID of an earlier one that
// had other labels, another caller or other sources.
var ErrRequestChanged = errors.New("another request had this id")

// Start records the bakes that are requested, for the first Runner that is free, and
// returns their records, sources first. It succeeds also while no Runner runs. The
// definitions are validated before anything is recorded. If Start fails halfway, a request
// with an ID can be repeated to record the rest.
func (r *Runner) Start(ctx context.Context, req Request) ([]*Record, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	all, err := r.images(ctx, req.Labels)
	if err != nil {
		return nil, err
	}
	var images []*Image
	for _, name := range req.Images {
		img := named(all, name)
		if img == nil {
			return nil, &Error{Image: name, Err: errors.New("no definition of this image")}
		}
		images = withSources(images, img)
	}
	if err := Validate(r.Options, images...); err != nil {
		return nil, err
	}
	records := make([]*Record, 0, len(images))
	builds := map[*Image]string{}
	now := clock.OrSystem(r.Options.Clock).Now()
	for _, img := range images {
		rec := &Record{
			Version: RecordVersion, Revision: 1, Build: newBuildID(now), Image: img.Name,
			Labels: maps.Clone(req.Labels), Caller: cmp.Or(req.Caller, r.Options.Caller), From: builds[img.From], Created: now.UTC(),
		}
		if req.ID != "" {
			rec.Build = requestBuildID(req.ID, img.Name)
		}
		if rec, err = r.create(ctx, rec); err != nil {
			return records, &Error{Image: img.Name, Err: err}
		}
		builds[img] = rec.Build
		records = append(records, rec)
	}
	select {
	case r.kick <- struct{}{}:
	default:
	}
	return records, nil
}

// create saves the first revision of rec. If the same request has saved it before, it
// returns the record as it is now.
func (r *Runner) create(ctx context.Context, rec *Record) (*Record, error) {
	for {
		err := r.Options.Store.Save(ctx, rec)
		if err == nil {
			return rec, nil
		}
		if !errors.Is(err, ErrConflict) {
			return nil, fmt.Errorf("save the record: %w", err)
		}
		earlier, err := r.Options.Store.Load(ctx, rec.Build)
		switch {
		case errors.Is(err, ErrNoRecord) && ctx.Err() == nil: // deleted meanwhile
			continue
		case err != nil:
			return nil, fmt.Errorf("load the record: %w", err)
		case earlier.Image != rec.Image || earlier.From != rec.From || earlier.Caller != rec.Caller || !maps.Equal(earlier.Labels, rec.Labels):
			return nil, fmt.Errorf("%w: build %s", ErrRequestChanged, rec.Build)
		}
		return earlier, nil
	}
}

// requestBuildID returns the id of the build of an image for a request. It is as long as
// that of newBuildID.
func requestBuildID(request, image string) string {
	sum := sha256.Sum256([]byte(strconv.Itoa(len(request)) + " " + request + image))
	return requestPrefix + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:requestDigest*5/8]))
}

// images returns the definitions for the labels, with their sources.
func (r *Runner) images(ctx context.Context, labels map[string]string) (images []*Image, err error) {
	var given []*Image
	err = guard(func() (err error) {
		given, err = r.Images(ctx, labels)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("definitions: %w", err)
	}
	for _, img := range given {
		images = withSources(images, img)
	}
	for _, img := range images {
		if named(images, img.Name) != img {
			return nil, fmt.Errorf("definitions: %w", &Error{Image: img.Name, Err: Invalid("Runner.Images", "returned two images of this name, perhaps as the source of another one")})
		}
	}
	return images, nil
}

func named(images []*Image, name string) *Image {
	for _, img := range images {
		if img != nil && img.Name == name {
			return img
		}
	}
	return nil
}

// withSources adds img after its sources, each once.
func withSources(images []*Image, img *Image) []*Image {
	var chain []*Image
	for at := img; at != nil && len(chain) <= deepest; at = at.From {
		chain = append([]*Image{at}, chain...)
	}
	for _, at := range chain {
		if named(images, at.Name) != at {
			images = append(images, at)
		}
	}
	return images
}
