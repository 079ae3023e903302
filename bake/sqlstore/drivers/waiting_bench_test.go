package drivers_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/sqlstore"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// A countingStore counts saves.
type countingStore struct {
	bake.Store

	saves atomic.Int64
}

func (s *countingStore) Save(ctx context.Context, r *bake.Record) error {
	s.saves.Add(1)
	return s.Store.Save(ctx, r)
}

// BenchmarkWaitingRecords begins to bake a thousand images, of which one is baked at a
// time. It reports how long it takes until the first begins, and how many records are saved
// per minute while the others wait.
func BenchmarkWaitingRecords(b *testing.B) {
	stores := map[string]func() bake.Store{
		"dir": func() bake.Store { return bake.DirStore(b.TempDir()) },
		"sqlite": func() bake.Store {
			return open(b, "sqlite", sqliteFile(b), &sqlstore.Options{Dialect: sqlstore.SQLite})
		},
	}
	postgres := testenv.Postgres(b)
	tables := 0
	stores["postgres"] = func() bake.Store {
		tables++
		return open(b, "pgx", postgres, &sqlstore.Options{Table: fmt.Sprint("bench_", tables)})
	}
	for name, fresh := range stores {
		b.Run(name, func(b *testing.B) {
			var first, renewals float64
			for b.Loop() {
				f, r := waitWithRecords(b, fresh())
				first, renewals = first+f.Seconds(), renewals+r
			}
			b.ReportMetric(first/float64(b.N)*1000, "ms-to-begin")
			b.ReportMetric(renewals/float64(b.N), "saves/min")
		})
	}
}

func waitWithRecords(b *testing.B, inner bake.Store) (first time.Duration, perMinute float64) {
	b.Helper()
	const images, lease = 1000, 6 * time.Second // renewed every two seconds
	memory := baketest.NewBuilder(nil)
	store := &countingStore{Store: inner}
	ctx, cancel := context.WithCancelCause(b.Context())
	defer cancel(nil)
	enough := errors.New("enough")
	began := time.Now()
	var all []*bake.Image
	for i := range images {
		all = append(all, &bake.Image{Name: fmt.Sprint("web", i), Builder: memory, ProvisionOnly: true, Provisioners: []bake.Provisioner{
			bake.ProvisionFunc{Name: "wait", Version: "1", Do: func(ctx context.Context, _ bake.Machine) error {
				first = time.Since(began)
				time.Sleep(2 * lease) // the first renewals
				before, at := store.saves.Load(), time.Now()
				time.Sleep(2 * lease)
				// As with the default lease, which is renewed every 20 seconds.
				perMinute = float64(store.saves.Load()-before) / time.Since(at).Minutes() * lease.Seconds() / time.Minute.Seconds()
				cancel(enough)
				return context.Cause(ctx)
			}},
		}})
	}
	if _, err := bake.Bake(ctx, &bake.Options{Store: store, Parallel: 1, Lease: lease}, all...); !errors.Is(err, enough) {
		b.Errorf("Bake() = %v, want %v", err, enough)
	}
	return first, perMinute
}
