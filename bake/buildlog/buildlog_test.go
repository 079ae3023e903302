package buildlog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/buildlog"
)

func open(t *testing.T, dir string, o *buildlog.Options) *buildlog.Handler {
	t.Helper()
	h, err := buildlog.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// read returns the texts of all files in dir by name.
func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if info, err := e.Info(); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v, want 0600", e.Name(), info.Mode(), err)
		}
		texts[e.Name()] = string(text)
	}
	return texts
}

// TestBake bakes two images whose machines print lines, of which the console shows none.
func TestBake(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "a", "logs")
		var console bytes.Buffer
		logs := open(t, dir, &buildlog.Options{JSON: asJSON, MaxOpen: 1, Next: slog.NewTextHandler(&console, nil)})
		builder := baketest.NewBuilder(nil)
		image := func(name string) *bake.Image {
			return &bake.Image{
				Name: name, Builder: builder, Secrets: []bake.Secret{bake.NewSecret("correct horse")},
				Provisioners: []bake.Provisioner{bake.ProvisionFunc{Name: "install", Do: func(ctx context.Context, _ bake.Machine) error {
					run := bake.RunFromContext(ctx)
					out := run.Lines(bake.Stdout)
					defer func() { _ = out.Close() }()
					_, _ = io.WriteString(out, "output of "+name+" \x1b[2J\x00 with correct horse\n")
					run.Log.Info("detail")
					return nil
				}}},
			}
		}
		results, err := bake.Bake(t.Context(), &bake.Options{Log: slog.New(logs)}, image("web"), image("db"))
		if err := errors.Join(err, logs.Close()); err != nil {
			t.Fatal(err)
		}
		texts := read(t, dir)
		if len(texts) != 2 {
			t.Errorf("%d files, want 2", len(texts))
		}
		for n, name := range []string{"web", "db"} {
			text := texts[name+"-"+results[n].Build+".log"]
			for _, want := range []string{"output of " + name + " ␛[2J␀ with [redacted]", "build finished", "detail"} {
				if !strings.Contains(text, want) {
					t.Errorf("log of %s lacks %q:\n%s", name, want, text)
				}
			}
			if strings.Contains(text, "correct horse") || strings.Contains(text, "output of "+[]string{"db", "web"}[n]) {
				t.Errorf("log of %s has a secret or another build's output:\n%s", name, text)
			}
			for line := range strings.Lines(text) {
				if asJSON != json.Valid([]byte(line)) || !strings.Contains(line, results[n].Build) {
					t.Errorf("line %q, want JSON: %t, and the build", line, asJSON)
				}
			}
		}
		if text := console.String(); strings.Contains(text, "output of") || strings.Count(text, "build finished") != 2 || strings.Count(text, "msg=detail image=") != 2 {
			t.Errorf("console = %s, want the records at info level of both images", text)
		}
	}
}

// TestNames writes for images whose names are not names of files.
func TestNames(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "logs")
	logs := open(t, dir, nil)
	names := []string{"../web", "/etc/passwd", "..", ".", "", "con", "a b", "a_b", "a\x00b", "ünï", strings.Repeat("x", 5000), "web\n", `c:\web`, ".hidden", "web.prod-1"}
	for _, name := range names {
		slog.New(logs).Info("message", slog.String("image", name), slog.String("build", "1"))
	}
	slog.New(logs).Info("message", slog.String("image", "web"), slog.String("build", "../../x"))
	if err := logs.Close(); err != nil {
		t.Fatal(err)
	}
	texts := read(t, dir)
	if want := len(names); len(texts) != want { // one without a name, one with another build
		t.Errorf("%d files, want %d: %v", len(texts), want, texts)
	}
	plain := regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,230}\.log$`)
	for name, text := range texts {
		if !plain.MatchString(name) || strings.Count(text, "\n") != 1 {
			t.Errorf("file %q with %q, want a plain name and one line", name, text)
		}
	}
	if texts["web.prod-1-1.log"] == "" {
		t.Errorf("files = %v, want web.prod-1-1.log", texts)
	}
	if entries, err := os.ReadDir(top); err != nil || len(entries) != 1 {
		t.Errorf("ReadDir = %v, %v, want the logs only", entries, err)
	}
}

// TestAttributes writes records whose image and build come from With, and some that
// belong to no build.
func TestAttributes(t *testing.T) {
	dir := t.TempDir()
	var next bytes.Buffer
	logs := open(t, dir, &buildlog.Options{Level: slog.LevelInfo, Next: slog.NewTextHandler(&next, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})})
	log := slog.New(logs)
	web := log.With(slog.String("image", "web")).With(slog.String("build", "1"))
	web.Debug("below the level")
	web.WithGroup("g").Warn("in a group", slog.String("image", "other"))
	log.WithGroup("g").Warn("grouped", slog.String("image", "web"), slog.String("build", "2"))
	log.Warn("of no build", slog.String("image", "web"))
	log.Info("of a build", slog.String("image", "web"), slog.String("build", "1"))
	if logs.Enabled(t.Context(), slog.LevelDebug) || !logs.Enabled(t.Context(), slog.LevelInfo) {
		t.Error("Enabled(debug), Enabled(info) = true, false, want the level of the files")
	}
	if err := logs.Close(); err != nil {
		t.Fatal(err)
	}
	web.Warn("after Close")
	got := regexp.MustCompile(`time=\S+ `).ReplaceAllString(read(t, dir)["web-1.log"], "")
	want := "level=WARN msg=\"in a group\" image=web build=1 g.image=other\nlevel=INFO msg=\"of a build\" image=web build=1\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("web-1.log (-want +got):\n%s", diff)
	}
	want = "level=WARN msg=\"in a group\" image=web build=1 g.image=other\nlevel=WARN msg=grouped g.image=web g.build=2\nlevel=WARN msg=\"of no build\" image=web\nlevel=WARN msg=\"after Close\" image=web build=1\n"
	if diff := cmp.Diff(want, next.String()); diff != "" {
		t.Errorf("next handler (-want +got):\n%s", diff)
	}
}

// TestMaxOpen writes from many goroutines to more files than may be open.
func TestMaxOpen(t *testing.T) {
	dir := t.TempDir()
	logs := open(t, dir, &buildlog.Options{MaxOpen: 3})
	const images, lines = 20, 50
	var writing sync.WaitGroup
	for n := range images {
		log := slog.New(logs).With(slog.Int("image", n), slog.String("build", "1"))
		writing.Go(func() {
			for l := range lines {
				log.Debug("line", slog.Int("n", l))
			}
		})
	}
	writing.Wait()
	if descriptors, err := os.ReadDir("/proc/self/fd"); err == nil {
		of := 0
		for _, d := range descriptors {
			if target, err := os.Readlink("/proc/self/fd/" + d.Name()); err == nil && strings.HasSuffix(target, ".log") && strings.HasPrefix(target, dir) {
				of++
			}
		}
		if of > 3 {
			t.Errorf("%d files are open, want at most 3", of)
		}
	}
	if err := logs.Close(); err != nil {
		t.Fatal(err)
	}
	texts := read(t, dir)
	for n := range images {
		if got := strings.Count(texts[fmt.Sprintf("%d-1.log", n)], "\n"); got != lines {
			t.Errorf("file of image %d has %d lines, want %d", n, got, lines)
		}
	}
}

// TestMaxSize writes more than fits, also when the file is opened again.
func TestMaxSize(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		logs := open(t, dir, &buildlog.Options{MaxSize: 10_000})
		log := slog.New(logs).With(slog.String("image", "web"), slog.String("build", "1"))
		for range 1000 {
			log.Debug("output", slog.String("text", strings.Repeat("y", 100)))
		}
		log.Info("step finished")
		if err := logs.Close(); err != nil {
			t.Fatal(err)
		}
	}
	text := read(t, dir)["web-1.log"]
	if len(text) > 11_000 || strings.Count(text, "log is full") != 1 || strings.Count(text, "step finished") != 2 {
		t.Errorf("log of %d bytes, want about 10,000, with a note and both records at info level:\n%.300s", len(text), text)
	}
}

// TestErrors returns the errors of files that cannot be written from Close.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "web-1.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.Symlink(outside, filepath.Join(dir, "db-1.log")); err != nil && runtime.GOOS != "windows" {
		t.Fatal(err)
	}
	logs := open(t, dir, nil)
	for _, name := range []string{"web", "web", "db", "good"} {
		slog.New(logs).Info("message", slog.String("image", name), slog.String("build", "1"))
	}
	err := logs.Close()
	if err == nil || strings.Count(err.Error(), "web-1.log") != 1 || runtime.GOOS != "windows" && strings.Count(err.Error(), "db-1.log") != 1 {
		t.Errorf("Close = %v, want one error for each of web and db", err)
	}
	if _, err := os.Lstat(outside); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Lstat of a file outside = %v, want none", err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "good-1.log")); err != nil || !strings.Contains(string(text), "message") {
		t.Errorf("good-1.log = %q, %v", text, err)
	}
	if err := logs.Close(); err != nil {
		t.Errorf("second Close = %v, want nil", err)
	}
	if _, err := buildlog.Open(filepath.Join(dir, "good-1.log"), nil); err == nil {
		t.Error("Open of a file = nil, want an error")
	}
	if _, err := buildlog.Open(dir, &buildlog.Options{MaxOpen: -1}); err == nil {
		t.Error("Open with a negative MaxOpen = nil, want an error")
	}
}
