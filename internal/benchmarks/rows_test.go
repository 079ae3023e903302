package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const printed = `goos: linux
cpu: some
BenchmarkTransfer/1GiB/rtt=20ms/put-2         	       5	         0 ns/op	         3.5 s	         1.25 tar-gcm/own
BenchmarkTransfer/1GiB/rtt=20ms/get-2         	       5	         0 ns/op	         4.5 s
PASS
`

func TestTables(t *testing.T) {
	rows, err := parse(printed)
	if err != nil {
		t.Fatal(err)
	}
	report := Report{
		Machine: machine{System: "linux/amd64", Cores: 2},
		Tables:  []result{{table{Name: "file-1GiB", About: "one file"}, rows, 5, "1m0s"}},
	}
	page := filepath.Join(t.TempDir(), "page.md")
	const around = `before
<!-- tables:begin -->
### bake

Kept.

### file-1GiB

Old.
<!-- tables:end -->
after
`
	if err := os.WriteFile(page, []byte(around), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := replaceTables(page, report); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	const want = `before
<!-- tables:begin -->
### bake

Kept.

### file-1GiB

One file.
linux/amd64, , 2 cores, ; ; medians of 5 runs, 1m0s.

| | s | tar-gcm/own |
|---|---|---|
| Transfer/1GiB/rtt=20ms/put | 3.5 | 1.25 |
| Transfer/1GiB/rtt=20ms/get | 4.5 |  |
<!-- tables:end -->
after
`
	if string(text) != want {
		t.Errorf("page = %s\nwant %s", text, want)
	}
}

func TestNoTables(t *testing.T) {
	if rows, err := parse("PASS\n"); !errors.Is(err, errSkipped) {
		t.Errorf("parse(PASS) = %v, %v, want errSkipped", rows, err)
	}
	if rows, err := parse(strings.Replace(printed, "3.5 s", "x s", 1)); err == nil {
		t.Errorf("parse = %v, want an error about x", rows)
	}
	if err := replaceTables(filepath.Join(t.TempDir(), "none"), Report{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("replaceTables = %v, want ErrNotExist", err)
	}
	if err := run(t.Context(), []string{"-run", "^none$"}, nil); err == nil || !strings.Contains(err.Error(), "matches no table") {
		t.Errorf("run(-run none) = %v, want that no table matches", err)
	}
}

func TestMedians(t *testing.T) {
	rows, err := parse(`
BenchmarkLoad/1-2	1	0 ns/op	3 s	10 MiB
BenchmarkLoad/2-2	1	0 ns/op	7 s
BenchmarkLoad/1-2	1	0 ns/op	1 s	30 MiB
BenchmarkLoad/1-2	1	0 ns/op	2 s	20 MiB
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []row{{"Load/1", []value{{"s", 2}, {"MiB", 20}}}, {"Load/2", []value{{"s", 7}}}}
	if got := medians(rows); !reflect.DeepEqual(got, want) {
		t.Errorf("medians = %v, want %v", got, want)
	}
}
