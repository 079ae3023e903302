package drivers_test

import (
	"database/sql"
	"encoding/hex"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/sqlstore"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// bigLabels returns labels that a full disk cannot take in its free pages.
func bigLabels() map[string]string {
	data := make([]byte, 64<<10)
	for i := range data {
		data[i] = byte(rand.N(256)) //nolint:gosec // not a secret
	}
	return map[string]string{"big": hex.EncodeToString(data)}
}

// TestSQLiteOnFullDisk and TestPostgreSQLOnFullDisk bake with a database on a real disk.
func TestSQLiteOnFullDisk(t *testing.T) {
	disk := testenv.NewDisk(t, "size=4m")
	path := filepath.ToSlash(filepath.Join(disk.Dir, "records.db"))
	source := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_pragma=busy_timeout(10000)"
	store := open(t, "sqlite", source, &sqlstore.Options{Dialect: sqlstore.SQLite})
	baketest.ConformFailingStore(t, func() bake.Store { return store }, bigLabels(),
		disk.Fill, disk.Empty)
}

func TestPostgreSQLOnFullDisk(t *testing.T) {
	testenv.Need(t, "postgres")
	disk := testenv.NewDisk(t, "size=160m")
	t.Setenv("TMPDIR", disk.Dir)
	store := open(t, "pgx", testenv.Postgres(t), nil)
	baketest.ConformFailingStore(t, func() bake.Store { return store }, bigLabels(),
		disk.Fill, disk.Empty)
}

// TestPostgreSQLReadOnly bakes while a database accepts no writes, as a standby.
func TestPostgreSQLReadOnly(t *testing.T) {
	source := testenv.Postgres(t)
	db, err := sql.Open("pgx", source)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	accept := func(readOnly string) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			for _, statement := range []string{"ALTER SYSTEM SET default_transaction_read_only = " + readOnly, "SELECT pg_reload_conf()"} {
				if _, err := db.ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			for now := ""; now != readOnly; { // the reload takes a moment
				if err := db.QueryRowContext(t.Context(), "SHOW default_transaction_read_only").Scan(&now); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	store := open(t, "pgx", source, nil)
	baketest.ConformFailingStore(t, func() bake.Store { return store }, nil, accept("on"), accept("off"))
}
