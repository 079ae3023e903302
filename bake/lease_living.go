package bake

import (
	"context"
	"errors"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// Living returns a func that reports whether a process is at work on a build according
// to store, as for the Reaper of package ec2. A build lives while its lease has an owner
// who renews it. Since the clocks of processes may differ, the func looks twice, one
// lease apart, before it reports that an owner is dead, and remembers that until the
// record changes, or the one that covers it. A build that is not in the store, has ended, or is free does not live.
func Living(store Store) func(ctx context.Context, build string) (bool, error) {
	system := clock.System()
	seen := &sightings{}
	return func(ctx context.Context, build string) (bool, error) {
		var last lifeSign
		for {
			rec, err := store.Load(ctx, build)
			switch {
			case errors.Is(err, ErrNoRecord):
				return false, nil
			case err != nil:
				return false, err
			case rec.Ended() || rec.Lease.Owner == "":
				return false, nil
			}
			now := system.Now()
			sees, err := sign(rec, func(build string) (*Record, error) { return store.Load(ctx, build) })
			switch {
			case err != nil:
				return false, err
			case last.revision > 0 && sees != last:
				return true, nil
			}
			last = sees
			left := rec.Lease.Length - now.Sub(seen.of(rec, sees, now))
			if left <= 0 {
				return false, nil
			}
			if err := system.Sleep(ctx, left+time.Millisecond); err != nil {
				return false, err
			}
		}
	}
}
