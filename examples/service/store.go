package main

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/journal"
	"github.com/bakestone-go/bakestone/bake/sqlstore"
)

// A kept is where records and events are kept.
type kept struct {
	records bake.Store
	events  journal.Store
	close   func() error
}

// openStore opens a database or a directory.
func openStore(ctx context.Context, where string) (*kept, error) {
	if !strings.HasPrefix(where, "postgres://") && !strings.HasPrefix(where, "postgresql://") {
		k := &kept{records: bake.DirStore(where), events: journal.Dir(where), close: func() error { return nil }}
		_, err := k.records.List(ctx)
		return k, err
	}
	const connections, timeout = 20, 15 * time.Second
	db, err := sql.Open("pgx", where)
	if err != nil {
		return nil, errors.New("invalid URL of a database") // the driver's error may have the password
	}
	db.SetMaxOpenConns(connections)
	records, err := sqlstore.New(db, nil)
	if err != nil {
		return nil, err
	}
	events, err := sqlstore.NewJournal(db, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := errors.Join(records.CreateTable(ctx), events.CreateTable(ctx)); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &kept{records: records, events: events, close: db.Close}, nil
}
