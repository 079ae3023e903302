package bake_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// livingStore holds one record, which its owner may renew.
type livingStore struct {
	bake.Store

	record *bake.Record
	renews bool
	err    error
}

func (s *livingStore) Load(_ context.Context, build string) (*bake.Record, error) {
	switch {
	case s.err != nil:
		return nil, s.err
	case s.record == nil || s.record.Build != build:
		return nil, bake.ErrNoRecord
	}
	if s.renews {
		s.record.Revision++
	}
	copied := *s.record
	return &copied, nil
}

func TestLiving(t *testing.T) {
	const build = "20260101t000000-aaaaaaaa"
	lease := bake.Lease{Owner: "a", Token: 1, Length: time.Minute, Until: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)} // its clock is wrong
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		store *livingStore
		want  bool
		took  time.Duration
	}{
		"renewed":    {&livingStore{record: &bake.Record{Build: build, Lease: lease}, renews: true}, true, time.Minute},
		"dead":       {&livingStore{record: &bake.Record{Build: build, Lease: lease}}, false, time.Minute},
		"free":       {&livingStore{record: &bake.Record{Build: build}}, false, 0},
		"ended":      {&livingStore{record: &bake.Record{Build: build, Lease: lease, Status: bake.StatusBaked}}, false, 0},
		"unknown":    {&livingStore{}, false, 0},
		"unreadable": {&livingStore{err: broken}, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				living := bake.Living(test.store)
				began := time.Now()
				got, err := living(t.Context(), build)
				if got != test.want || !errors.Is(err, test.store.err) {
					t.Errorf("Living() = %v, %v, want %v, %v", got, err, test.want, test.store.err)
				}
				if took := time.Since(began).Truncate(time.Second); took != test.took {
					t.Errorf("Living() took %v, want %v", took, test.took)
				}
				if name != "dead" {
					return
				}
				began = time.Now()
				if again, err := living(t.Context(), build); again || err != nil || time.Since(began) > 0 {
					t.Errorf("Living() again = %v, %v after %v, want false at once", again, err, time.Since(began))
				}
			})
		})
	}
}
