// Package journal keeps the events of builds, so that every process of a service can show
// them: while another process bakes, from any event on, and after a restart.
//
//	events := journal.Dir("events")
//	writer := journal.NewWriter(ctx, events, nil)
//	runner := &bake.Runner{Options: &bake.Options{Store: store, Observe: writer.Observe}, …}
//	err := runner.Serve(ctx)
//	err = errors.Join(err, writer.Close())
//
// Someone who watches a build reads the journal, also in the process that bakes, so that
// nothing depends on where it happens:
//
//	watch := &journal.Follower{Events: events, Records: store, Build: build, After: lastSeen}
//	for {
//		news, err := watch.Next(ctx)
//		…
//	}
//
// The number of an event tells where to continue. Events are written a few times a second,
// so those of the last moment before a kill are missing, for everyone who watches; the
// step that they belong to is run again under new numbers. The records of builds, not the
// journal, tell the state of a build for certain.
//
// Package bake masks secrets in its events, so a journal contains none.
package journal

import (
	"context"

	"github.com/bakestone-go/bakestone/bake"
)

// A Store keeps events. It must be safe for concurrent use, and usable by any number of
// processes. Function Dir returns one, and package sqlstore has another. Package baketest
// has a conformance suite.
type Store interface {
	// Append adds events of a build, in the order of their numbers. An event whose number
	// is not greater than that of an earlier one may be left out: it comes from a process
	// that has lost the build. The events may be lost if the system crashes.
	Append(ctx context.Context, build string, events []bake.Event) error

	// Read returns the events of a build with numbers greater than after, in their order,
	// at most limit of them. No events are not an error.
	Read(ctx context.Context, build string, after int64, limit int) ([]bake.Event, error)

	// Delete removes the events of a build. It succeeds if there are none.
	Delete(ctx context.Context, build string) error
}
