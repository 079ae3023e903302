package drivers_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/journal"
	"github.com/bakestone-go/bakestone/bake/sqlstore"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// open opens a store as a process does.
func open(t testing.TB, driver, source string, o *sqlstore.Options) *sqlstore.Store {
	t.Helper()
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	store, err := sqlstore.New(db, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}

func TestPostgreSQLConforms(t *testing.T) {
	source := testenv.Postgres(t)
	var tables atomic.Int64
	baketest.ConformStore(t, func(t *testing.T) func() bake.Store {
		t.Helper()
		o := &sqlstore.Options{Table: fmt.Sprint("public.records_", tables.Add(1))}
		return func() bake.Store { return open(t, "pgx", source, o) }
	})
}

func openJournal(t *testing.T, driver, source string, o *sqlstore.Options) journal.Store {
	t.Helper()
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	events, err := sqlstore.NewJournal(db, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := events.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	return events
}

func TestJournalsConform(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		baketest.ConformJournal(t, func(t *testing.T) func() journal.Store {
			t.Helper()
			source := sqliteFile(t)
			return func() journal.Store {
				return openJournal(t, "sqlite", source, &sqlstore.Options{Dialect: sqlstore.SQLite})
			}
		})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		source := testenv.Postgres(t)
		var tables atomic.Int64
		baketest.ConformJournal(t, func(t *testing.T) func() journal.Store {
			t.Helper()
			o := &sqlstore.Options{Table: fmt.Sprint("events_", tables.Add(1))}
			return func() journal.Store { return openJournal(t, "pgx", source, o) }
		})
	})
}

// TestCreateTableAtOnce creates tables in several processes at once, as replicas do that
// start together.
func TestCreateTableAtOnce(t *testing.T) {
	source := testenv.Postgres(t)
	for round := range 20 {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				db, err := sql.Open("pgx", source)
				if err != nil {
					t.Error(err)
					return
				}
				defer db.Close()
				store, err := sqlstore.New(db, &sqlstore.Options{Table: fmt.Sprint("at_once_", round)})
				if err == nil {
					err = store.CreateTable(t.Context())
				}
				if err != nil {
					t.Errorf("CreateTable: %v", err)
				}
			})
		}
		all.Wait()
	}
}

func sqliteFile(t testing.TB) string {
	t.Helper()
	path := filepath.ToSlash(filepath.Join(t.TempDir(), "records.db"))
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"
}

func TestSQLiteConforms(t *testing.T) {
	baketest.ConformStore(t, func(t *testing.T) func() bake.Store {
		t.Helper()
		source := sqliteFile(t)
		return func() bake.Store { return open(t, "sqlite", source, &sqlstore.Options{Dialect: sqlstore.SQLite}) }
	})
}

func TestNewValidates(t *testing.T) {
	db, err := sql.Open("sqlite", sqliteFile(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, table := range []string{"a b", "a;DROP TABLE b", `"a"`, "a.b.c", "1a", "A"} {
		if _, err := sqlstore.New(db, &sqlstore.Options{Table: table}); err == nil || !strings.Contains(err.Error(), "Options.Table") {
			t.Errorf("New with table %q = %v, want an invalid table", table, err)
		}
	}
	if _, err := sqlstore.New(db, &sqlstore.Options{Dialect: 9}); err == nil {
		t.Error("New with an unknown dialect = nil, want an error")
	}
	if _, err := sqlstore.New(nil, nil); err == nil {
		t.Error("New without a database = nil, want an error")
	}
	// A table that another program made is not taken for records.
	store := open(t, "sqlite", sqliteFile(t), &sqlstore.Options{Dialect: sqlstore.SQLite, Table: "other"})
	if _, err := store.Load(t.Context(), "20260102t030405-abcdefgh"); !errors.Is(err, bake.ErrNoRecord) {
		t.Errorf("Load = %v, want %v", err, bake.ErrNoRecord)
	}
}
