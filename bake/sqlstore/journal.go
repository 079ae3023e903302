package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/journal"
)

// A Journal is a journal.Store in a table.
type Journal struct{ table }

var _ journal.Store = (*Journal)(nil)

// NewJournal returns a Journal in db. It does no I/O. A nil o is the same as the zero value.
func NewJournal(db *sql.DB, o *Options) (*Journal, error) {
	t, err := newTable(db, o, "bakestone_events")
	if err != nil {
		return nil, err
	}
	return &Journal{t}, nil
}

// Schema returns the statement that creates the table, if it does not exist:
//
//	CREATE TABLE IF NOT EXISTS bakestone_events (
//		build  text   NOT NULL,
//		number bigint NOT NULL,
//		event  text   NOT NULL,
//		PRIMARY KEY (build, number)
//	)
func (j *Journal) Schema() string {
	return `CREATE TABLE IF NOT EXISTS ` + j.name + ` (
	build  text   NOT NULL,
	number bigint NOT NULL,
	event  text   NOT NULL,
	PRIMARY KEY (build, number)
)`
}

// CreateTable creates the table, if it does not exist. Any number of processes may do so at
// once.
func (j *Journal) CreateTable(ctx context.Context) error { return j.create(ctx, j.Schema()) }

// Append inserts the events.
func (j *Journal) Append(ctx context.Context, build string, events []bake.Event) error {
	if err := bake.ValidateBuildID(build); err != nil {
		return err
	}
	const most = 500 // a statement has at most 32,766 parameters in SQLite
	for part := range slices.Chunk(events, most) {
		values := make([]string, 0, len(part))
		args := make([]any, 1, 1+2*len(part))
		args[0] = build
		for _, e := range part {
			data, err := json.Marshal(e)
			if err != nil {
				return err
			}
			values = append(values, fmt.Sprintf("($1, $%d, $%d)", len(args)+1, len(args)+2))
			args = append(args, e.Number, string(data))
		}
		query := `INSERT INTO ` + j.name + ` (build, number, event) VALUES ` + strings.Join(values, ", ") + ` ON CONFLICT (build, number) DO NOTHING`
		if _, err := j.exec(ctx, query, args...); err != nil {
			return err
		}
	}
	return nil
}

// Read selects events.
func (j *Journal) Read(ctx context.Context, build string, after int64, limit int) (events []bake.Event, err error) {
	if err := bake.ValidateBuildID(build); err != nil {
		return nil, err
	}
	query := `SELECT event FROM ` + j.name + ` WHERE build = $1 AND number > $2 ORDER BY number LIMIT $3`
	rows, err := j.db.QueryContext(ctx, j.args(query), build, after, limit)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var data string
		var e bake.Event
		if err := rows.Scan(&data); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, rows.Err()
}

// Delete deletes the events of a build.
func (j *Journal) Delete(ctx context.Context, build string) error { return j.deleteBuild(ctx, build) }
