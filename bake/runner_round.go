package bake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// A service is a Runner that serves.
type service struct {
	*Runner
	*settings

	bakes sync.WaitGroup

	mu       sync.Mutex
	ended    map[string]*Record // as last seen; only round uses it
	running  map[string]bool    // builds that this process works on
	graphs   int                // bakes at once
	failures map[string]failure
}

// A failure delays the next attempt at a build.
type failure struct {
	count int
	next  time.Time
}

// round looks at all records once and begins what is to be done. It does not wait.
func (s *service) round(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	records, err := s.records(ctx)
	if err != nil && ctx.Err() == nil {
		s.report(&Record{}, "read the records", err)
	}
	byBuild := map[string]*Record{}
	for _, rec := range records {
		byBuild[rec.Build] = rec
	}
	s.sightings.forget(func(build string) bool { return byBuild[build] != nil })
	maps.DeleteFunc(s.ended, func(build string, _ *Record) bool { return byBuild[build] == nil })
	for _, graph := range graphs(records, byBuild) {
		s.look(ctx, graph, byBuild)
	}
}

// records returns all records. It does not load those again that have ended.
func (s *service) records(ctx context.Context) ([]*Record, error) {
	builds, err := s.Store.List(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	records := make([]*Record, 0, len(builds))
	for _, build := range builds {
		rec := s.ended[build]
		if rec == nil {
			if rec, err = s.Store.Load(ctx, build); err != nil {
				if !errors.Is(err, ErrNoRecord) {
					errs = append(errs, err)
				}
				continue
			}
		}
		if rec.Ended() && rec.Lease.Owner == "" {
			s.ended[build] = rec
		}
		records = append(records, rec)
	}
	sortByAge(records)
	return records, errors.Join(errs...)
}

// graphs groups the records by their sources, oldest first.
func graphs(records []*Record, byBuild map[string]*Record) [][]*Record {
	var roots []string
	of := map[string][]*Record{}
	for _, rec := range records {
		root := rec
		for range deepest {
			from := byBuild[root.From]
			if from == nil {
				break
			}
			root = from
		}
		if of[root.Build] == nil {
			roots = append(roots, root.Build)
		}
		of[root.Build] = append(of[root.Build], rec)
	}
	list := make([][]*Record, 0, len(roots))
	for _, root := range roots {
		list = append(list, of[root])
	}
	return list
}

// look decides what to do with the records of a graph.
func (s *service) look(ctx context.Context, graph []*Record, byBuild map[string]*Record) {
	load := func(build string) (*Record, error) {
		if rec := byBuild[build]; rec != nil {
			return rec, nil
		}
		return nil, ErrNoRecord
	}
	now := s.Clock.Now()
	todo, free := false, true
	for _, rec := range graph {
		left, _ := s.remaining(rec, load) // also remembers its life sign
		free = left == 0 && free
		todo = todo || !rec.Ended() || rec.kept() && now.After(rec.Expires)
	}
	if !free {
		return
	}
	s.mu.Lock()
	busy := slices.ContainsFunc(graph, func(rec *Record) bool { return s.running[rec.Build] || now.Before(s.failures[rec.Build].next) })
	full := s.graphs >= cmp.Or(s.Parallel, defaultParallel)
	begin := todo && !busy && !full
	if begin {
		s.graphs++
		for _, rec := range graph {
			s.running[rec.Build] = true
		}
	}
	s.mu.Unlock()
	switch {
	case begin:
		s.bakes.Go(func() {
			err := guard(func() error { return s.workOn(ctx, graph) })
			s.done(ctx, graph, err)
		})
	case !todo && !busy:
		s.remove(ctx, graph)
	}
}

// done notes the end of the work on a graph. A failure of the work, not of a build, is
// reported and delays the next attempt.
func (s *service) done(ctx context.Context, graph []*Record, err error) {
	left := errors.Is(err, ErrLeased) || errors.Is(err, ErrSuspended) || errors.Is(err, ErrConflict)
	if err != nil && !left && ctx.Err() == nil {
		s.report(graph[0], "work on the build", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.graphs--
	f := failure{count: s.failures[graph[0].Build].count + 1}
	for _, rec := range graph {
		delete(s.running, rec.Build)
		delete(s.failures, rec.Build)
	}
	if err != nil && !left {
		const longest = 10 * time.Minute
		f.next = s.Clock.Now().Add(Retry{Delay: defaultPoll, MaxDelay: longest}.Wait(f.count))
		s.failures[graph[0].Build] = f
	}
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *service) report(rec *Record, what string, err error) {
	s.emit(Event{Kind: Message, Time: s.Clock.Now(), Image: rec.Image, Build: rec.Build, Text: what, Err: err.Error()})
}

// workOn bakes the images of a graph that are not ended, and removes what the others left.
// It returns errors of the work, not of builds that failed.
func (s *service) workOn(ctx context.Context, graph []*Record) error {
	definitions, err := s.images(ctx, graph[len(graph)-1].Labels)
	if err != nil {
		return err
	}
	var errs []error
	var images []*Image
	for _, rec := range graph {
		img := named(definitions, rec.Image)
		switch {
		case rec.Status == "" && img != nil && rec.Cancel == "":
			images = withSources(images, img)
		case !rec.Ended() || rec.kept() && s.Clock.Now().After(rec.Expires):
			errs = append(errs, s.undoRecord(ctx, img, rec))
		}
	}
	if len(images) == 0 {
		return errors.Join(errs...)
	}
	var resume []*Record
	for _, rec := range graph {
		if named(images, rec.Image) != nil && (rec.Status != "" || rec.Cancel == "") {
			resume = append(resume, rec)
		}
	}
	return errors.Join(append(errs, s.bakeGraph(ctx, resume, images))...)
}

// bakeGraph bakes images, of which some have records.
func (s *service) bakeGraph(ctx context.Context, resume []*Record, images []*Image) error {
	set := s.one(resume[0])
	set.Resume = resume
	if err := Validate(&set.Options, images...); err != nil {
		return err
	}
	set.begun = set.Clock.Now()
	results, err := set.bake(ctx, images)
	if results == nil {
		return err
	}
	// Events and records have the errors of builds. But one whose record has not ended
	// would be tried again at once.
	var errs []error
	for _, r := range results {
		if r.Status != StatusFailed {
			continue
		}
		if rec, err := set.load(ctx, r.Build); err == nil && !rec.Ended() {
			errs = append(errs, r.Err)
		}
	}
	return errors.Join(errs...)
}

// one returns the settings of the bake of rec, which share the observer and what was
// seen.
func (s *service) one(rec *Record) *settings {
	set := newSettings(&s.settings.Options)
	set.observing, set.sightings, set.impatient = s.observing, s.sightings, true
	set.Labels, set.Caller = rec.Labels, cmp.Or(rec.Caller, s.Caller)
	return set
}

// undoRecord removes what the build of rec left, if there is no definition or it has
// ended.
func (s *service) undoRecord(ctx context.Context, img *Image, rec *Record) error {
	reason := cmp.Or(rec.Cancel, rec.Error)
	if img == nil {
		reason = cmp.Or(reason, "the definition of the image is gone")
		if s.Builder == nil && len(rec.Steps) > 0 {
			return Invalid("Runner.Builder", "is required to remove build %s of %q, which has no definition", rec.Build, rec.Image)
		}
		img = &Image{Builder: noBuilder{}}
		if len(rec.Steps) > 0 {
			b, err := s.Builder(ctx, rec)
			if err != nil {
				return fmt.Errorf("builder of build %s: %w", rec.Build, err)
			}
			img.Builder = b
		}
	}
	set := s.one(rec)
	addSecrets(set.mask, img.Secrets...)
	err := set.undo(ctx, img, rec, reason)
	if errors.Is(err, ErrUndoSkipped) {
		return nil // an event and the record say so
	}
	return err
}

// remove deletes the records of a graph that has ended long ago.
func (s *service) remove(ctx context.Context, graph []*Record) {
	for _, rec := range graph {
		if s.Clock.Now().Sub(rec.Updated) < cmp.Or(s.Keep, defaultKeep) {
			return
		}
		delete(s.ended, rec.Build)
	}
	for _, rec := range graph {
		now, err := s.Store.Load(ctx, rec.Build)
		if errors.Is(err, ErrNoRecord) {
			continue
		}
		if err != nil || now.Revision != rec.Revision {
			return // another process has begun it again, as a source
		}
		if s.Archive != nil {
			if err := guard(func() error { return s.Archive(ctx, rec) }); err != nil {
				s.report(rec, "archive the record", err)
				return
			}
		}
		if err := s.Store.Delete(ctx, rec.Build); err != nil {
			s.report(rec, "delete the record", err)
			return
		}
		s.emit(Event{Kind: RecordRemoved, Time: s.Clock.Now(), Image: rec.Image, Build: rec.Build, Status: rec.Status})
	}
}

// noBuilder is the builder of a build that has run no step.
type noBuilder struct{}

func (noBuilder) Validate(*Image) error               { return nil }
func (noBuilder) Begin(*Image, *Run) (Session, error) { return &noSession{}, nil }

type noSession struct{}

func (*noSession) Launch() []Step                           { return nil }
func (*noSession) Connect(context.Context) (Machine, error) { return nil, errors.New("no machine") }
func (*noSession) Capture() []Step                          { return nil }
func (*noSession) EndCheck() []Step                         { return nil }
func (*noSession) Promote() []Step                          { return nil }
func (*noSession) Artifact() Artifact                       { return nil }
