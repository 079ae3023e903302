package bake_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

const (
	firstID  = "20260102t030405-abcdefgh"
	secondID = "20260102t030406-a234567z"
)

func newRecord(id string) *bake.Record {
	return &bake.Record{Version: bake.RecordVersion, Revision: 1, Build: id, Image: "i" + id}
}

func TestDirStore(t *testing.T) {
	dir := t.TempDir() + "/records"
	store := bake.DirStore(dir)
	if builds, err := store.List(t.Context()); err != nil || len(builds) != 0 {
		t.Errorf("List of an empty store = %v, %v", builds, err)
	}
	if _, err := store.Load(t.Context(), firstID); !errors.Is(err, bake.ErrNoRecord) {
		t.Errorf("Load(none) = %v, want ErrNoRecord", err)
	}
	for _, id := range []string{secondID, firstID} {
		if err := store.Save(t.Context(), newRecord(id)); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(dir + "/" + firstID + ".json"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("record: %v, %v; want mode 0600", info, err)
	}
	if builds, err := store.List(t.Context()); err != nil || !slices.Equal(builds, []string{firstID, secondID}) {
		t.Errorf("List: %v, %v", builds, err)
	}
	if r, err := store.Load(t.Context(), firstID); err != nil || r.Image != "i"+firstID {
		t.Errorf("Load: %+v, %v", r, err)
	}
	for range 2 {
		if err := store.Delete(t.Context(), firstID); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}
}

func TestDirStoreRefusesForeignIDs(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "records")
	store := bake.DirStore(dir)
	if err := store.Save(t.Context(), newRecord(firstID)); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(top, "x.json")
	const content = `{"version":2,"build":"../x","image":"i"}`
	if err := os.WriteFile(outside, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{
		"", ".", "..", "x", "../x", "/x", `..\x`, "a/b", "x\x00y", firstID + "\x00", firstID + "/../../x", firstID + "-check", firstID + ".",
		strings.ToUpper(firstID), firstID + "\n", "20261302t030405-abcdefgh", "20260102t030405-abcdefg1", strings.Repeat("a", 5000), ".saving-1", "con",
		"20260102t030405-..%2fabcd", "20260102t030405.5-abcdefgh",
	} {
		if err := store.Save(t.Context(), newRecord(id)); err == nil || !strings.Contains(err.Error(), "invalid build id") || len(err.Error()) > 300 {
			t.Errorf("Save(%q) = %v, want an invalid id", id, err)
		}
		if r, err := store.Load(t.Context(), id); err == nil || !errors.Is(err, bake.ErrNoRecord) || !strings.Contains(err.Error(), "invalid build id") {
			t.Errorf("Load(%q) = %v, %v, want an invalid id", id, r, err)
		}
		if err := store.Delete(t.Context(), id); err == nil || !strings.Contains(err.Error(), "invalid build id") {
			t.Errorf("Delete(%q) = %v, want an invalid id", id, err)
		}
	}
	if got, err := os.ReadFile(outside); err != nil || string(got) != content {
		t.Errorf("file outside: %s, %v", got, err)
	}
	if entries, err := os.ReadDir(top); err != nil || len(entries) != 2 {
		t.Errorf("entries %v, %v; want the directory and the file", entries, err)
	}
}

// The store refuses files that are not records of this library, as Undo and Bake
// refuse such records.
func TestDirStoreRefusesForeignRecords(t *testing.T) {
	dir := t.TempDir()
	store := bake.DirStore(dir)
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, firstID+".json"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for content, want := range map[string]string{
		"":     "unexpected end of JSON input",
		"{}":   "no version",
		"null": "no version",
		"[]":   "cannot unmarshal array",
		`{"build":"` + firstID + `","image":"web"}`:                                                        "no version",
		`{"version":3,"build":"` + firstID + `","image":"web"}`:                                            "record of version 3; this library reads version 2: use a newer one",
		`{"version":-1,"build":"` + firstID + `","image":"web"}`:                                           "invalid record version -1",
		`{"version":2,"build":"` + secondID + `","image":"web"}`:                                           "record of another build, " + secondID,
		`{"version":2,"build":"../x","image":"web"}`:                                                       `invalid build id "../x"`,
		`{"version":2,"build":"` + firstID + `"}`:                                                          "names no image",
		`{"version":2,"build":"` + firstID + `","image":"web","status":"odd"}`:                             `unknown status "odd"`,
		`{"version":2,"build":"` + firstID + `","image":"web","steps":[{"name":"connect","state":"odd"}]}`: `step "connect" has the unknown state "odd"`,
		`{"version":2,"build":"` + firstID + `","image":"web"} more`:                                       "after top-level value",
	} {
		write(content)
		if r, err := store.Load(t.Context(), firstID); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load of %s = %v, %v, want an error with %q", content, r, err, want)
		}
	}
	img := &bake.Image{Name: "web", Builder: baketest.NewBuilder(nil)}
	newer := newRecord(firstID)
	newer.Image, newer.Version = "web", bake.RecordVersion+1
	foreign := newRecord("../x")
	foreign.Image = "web"
	for want, rec := range map[string]*bake.Record{"is nil": nil, "no version": {}, "record of version 3": newer, "invalid build id": foreign} {
		if err := bake.Undo(t.Context(), nil, img, rec); err == nil || !strings.Contains(err.Error(), "Record: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("Undo = %v, want an error with %q", err, want)
		}
		_, err := bake.Bake(t.Context(), &bake.Options{Resume: []*bake.Record{rec}}, img)
		if err == nil || !strings.Contains(err.Error(), "Options.Resume[0]: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("Bake = %v, want an error with %q", err, want)
		}
	}
}

func TestDirStoreRemovesUnfinishedFiles(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{".saving-" + secondID: 0, ".saving-old": 2 * time.Hour, ".saving-new": 0, "mine": 2 * time.Hour} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if then := time.Now().Add(-age); os.Chtimes(path, then, then) != nil {
			t.Fatal("Chtimes failed")
		}
	}
	want := func(names ...string) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		got := make([]string, 0, len(entries))
		for _, entry := range entries {
			got = append(got, entry.Name())
		}
		if err != nil || !slices.Equal(got, names) {
			t.Errorf("files %v, %v; want %v", got, err, names)
		}
	}
	if builds, err := bake.DirStore(dir).List(t.Context()); err != nil || len(builds) != 0 {
		t.Errorf("List = %v, %v, want none", builds, err)
	}
	want(".saving-new", "mine")
	then := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, ".saving-new"), then, then); err != nil {
		t.Fatal(err)
	}
	if err := bake.DirStore(dir).Save(t.Context(), newRecord(firstID)); err != nil {
		t.Fatal(err)
	}
	want(firstID+".json", "mine")
}

// Loading, undoing and resuming a record never panics, for any content of its file.
func FuzzRecord(f *testing.F) {
	img := func() *bake.Image { return &bake.Image{Name: "web", Builder: baketest.NewBuilder(nil)} }
	dir := f.TempDir()
	results, err := bake.Bake(f.Context(), &bake.Options{Store: bake.DirStore(dir)}, img())
	if err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, results[0].Build+".json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(strings.ReplaceAll(string(good), results[0].Build, firstID)))
	f.Add([]byte("null"))
	f.Add([]byte(`{"version":2,"build":"` + firstID + `","image":"web","steps":[{"name":"connect","state":"begun"}],"session":null,"check":[]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		store := bake.DirStore(dir)
		if err := os.WriteFile(filepath.Join(dir, firstID+".json"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		rec, err := store.Load(t.Context(), firstID)
		if err != nil {
			return
		}
		if rec.Build != firstID || rec.Image == "" {
			t.Errorf("Load accepted %s", content)
		}
		if rec.Image == "web" {
			again := *rec
			_ = bake.Undo(t.Context(), nil, img(), rec)
			_, _ = bake.Bake(t.Context(), &bake.Options{Resume: []*bake.Record{&again}}, img())
		}
	})
}

// TestUnwritableStore bakes with a directory that cannot be written, such as one on a full
// or read-only disk: nothing is created.
func TestUnwritableStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	memory := baketest.NewBuilder(nil)
	results, err := bake.Bake(t.Context(), &bake.Options{Store: bake.DirStore(filepath.Join(file, "records"))},
		&bake.Image{Name: "web", Builder: memory}, &bake.Image{Name: "db", Builder: memory})
	if err == nil || !strings.Contains(err.Error(), ": save the record: ") || results != nil || len(memory.Existing()) != 0 {
		t.Errorf("Bake = %v, %v, existing %v; want an error and nothing", results, err, memory.Existing())
	}
}
