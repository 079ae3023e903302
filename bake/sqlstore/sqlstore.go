// Package sqlstore keeps the records and events of builds in tables of PostgreSQL or SQLite,
// through database/sql, for services of any number of processes:
//
//	db, err := sql.Open("pgx", "postgres://bakery@db/bakery")
//	…
//	store, err := sqlstore.New(db, nil)
//	…
//	err = store.CreateTable(ctx) // or by your migrations: see Store.Schema
//	events, err := sqlstore.NewJournal(db, nil) // for package journal
//
// The package imports no driver. It is tested with pgx and modernc.org/sqlite. Records
// contain private keys: only the service may read the table.
//
// A SQLite database must be a file with the option _pragma=busy_timeout(10000), or the
// driver's equivalent, so that processes wait for each other.
package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// A Dialect is a kind of database.
type Dialect int

// The dialects.
const (
	PostgreSQL Dialect = iota
	SQLite
)

// Options configures a Store. The zero value is ready to use with PostgreSQL.
type Options struct {
	// Dialect is the kind of database.
	Dialect Dialect

	// Table is the table's name, with its schema if necessary: "bakery.records". If
	// empty, it is bakestone_records, or bakestone_events of a Journal. It consists of
	// lower-case letters, digits, underscores and at most one period.
	Table string
}

// A table is that of a Store or Journal.
type table struct {
	db   *sql.DB
	name string
	args func(query string) string // replaces placeholders

	// turn has a value while a statement of SQLite writes: it lets one write at a time,
	// and others poll.
	turn chan struct{}
}

var tableName = regexp.MustCompile(`^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$`)

func newTable(db *sql.DB, o *Options, usual string) (table, error) {
	if o == nil {
		o = &Options{}
	}
	t := table{db: db, name: cmp.Or(o.Table, usual)}
	switch {
	case db == nil:
		return t, errors.New("db is nil")
	case !tableName.MatchString(t.name):
		return t, bake.Invalid("Options.Table", "invalid name %q", t.name)
	case o.Dialect == PostgreSQL:
		t.args = func(query string) string { return query }
	case o.Dialect == SQLite:
		t.args = func(query string) string { return strings.ReplaceAll(query, "$", "?") }
		t.turn = make(chan struct{}, 1)
	default:
		return t, bake.Invalid("Options.Dialect", "unknown value %d", o.Dialect)
	}
	return t, nil
}

// A Store is a bake.Store in a table.
type Store struct{ table }

var _ bake.Store = (*Store)(nil)

// New returns a Store in db. It does no I/O. A nil o is the same as the zero value.
func New(db *sql.DB, o *Options) (*Store, error) {
	t, err := newTable(db, o, "bakestone_records")
	if err != nil {
		return nil, err
	}
	return &Store{t}, nil
}

// Schema returns the statement that creates the table, if it does not exist:
//
//	CREATE TABLE IF NOT EXISTS bakestone_records (
//		build    text   PRIMARY KEY,
//		revision bigint NOT NULL,
//		record   text   NOT NULL
//	)
func (s *Store) Schema() string {
	return `CREATE TABLE IF NOT EXISTS ` + s.name + ` (
	build    text   PRIMARY KEY,
	revision bigint NOT NULL,
	record   text   NOT NULL
)`
}

// CreateTable creates the table, if it does not exist. Any number of processes may do so at
// once.
func (s *Store) CreateTable(ctx context.Context) error { return s.create(ctx, s.Schema()) }

// create creates the table by a statement. PostgreSQL may fail if another process creates
// it at the same time.
func (t table) create(ctx context.Context, schema string) error {
	_, err := t.db.ExecContext(ctx, schema)
	if err == nil {
		return nil
	}
	if _, look := t.db.ExecContext(ctx, `SELECT build FROM `+t.name+` WHERE build = ''`); look != nil { //nolint:gosec // the name was checked
		return err
	}
	return nil
}

// Save inserts the record or, if its revision is not the first, updates it.
func (s *Store) Save(ctx context.Context, r *bake.Record) error {
	data, err := bake.EncodeRecord(r)
	if err != nil {
		return err
	}
	query := `UPDATE ` + s.name + ` SET revision = $2, record = $3 WHERE build = $1 AND revision = $2 - 1`
	if r.Revision == 1 {
		query = `INSERT INTO ` + s.name + ` (build, revision, record) VALUES ($1, $2, $3) ON CONFLICT (build) DO NOTHING`
	}
	result, err := s.exec(ctx, query, r.Build, r.Revision, string(data))
	if err != nil {
		return err
	}
	changed, err := result.RowsAffected()
	switch {
	case err != nil:
		return err
	case changed == 0:
		return fmt.Errorf("%w: build %s", bake.ErrConflict, r.Build)
	}
	return nil
}

// Load selects a record.
func (s *Store) Load(ctx context.Context, build string) (*bake.Record, error) {
	if err := bake.ValidateBuildID(build); err != nil {
		return nil, fmt.Errorf("%w: %w", bake.ErrNoRecord, err)
	}
	var data string
	row := s.db.QueryRowContext(ctx, s.args(`SELECT record FROM `+s.name+` WHERE build = $1`), build)
	err := row.Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: %s", bake.ErrNoRecord, build)
	}
	if err != nil {
		return nil, err
	}
	return bake.DecodeRecord(build, []byte(data))
}

// List selects the ids of all builds.
func (s *Store) List(ctx context.Context) (builds []string, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT build FROM `+s.name+` ORDER BY build`) //nolint:gosec // New has checked the name
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var build string
		if err := rows.Scan(&build); err != nil {
			return nil, err
		}
		if bake.ValidateBuildID(build) == nil {
			builds = append(builds, build)
		}
	}
	return builds, rows.Err()
}

// Delete deletes a record.
func (s *Store) Delete(ctx context.Context, build string) error { return s.deleteBuild(ctx, build) }

func (t table) deleteBuild(ctx context.Context, build string) error {
	if err := bake.ValidateBuildID(build); err != nil {
		return err
	}
	_, err := t.exec(ctx, `DELETE FROM `+t.name+` WHERE build = $1`, build)
	return err
}

// exec executes a statement that writes.
func (t table) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if t.turn != nil {
		select {
		case t.turn <- struct{}{}:
			defer func() { <-t.turn }()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return t.db.ExecContext(ctx, t.args(query), args...)
}
