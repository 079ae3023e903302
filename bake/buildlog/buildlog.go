// Package buildlog writes each build's log to a separate file:
//
//	logs, err := buildlog.Open("logs", &buildlog.Options{Next: slog.NewTextHandler(os.Stderr, nil)})
//	if err != nil {
//		return err
//	}
//	results, err := bake.Bake(ctx, &bake.Options{Log: slog.New(logs)}, images...)
//	err = errors.Join(err, logs.Close())
//
// A build's records are those with the attributes image and build outside groups, which
// all records of package bake have. They are appended to IMAGE-BUILD.log in the
// directory, with the output of machines and commands, which are records at debug level.
// Other records only go to the next handler. A build resumed by another process
// continues its file.
//
// Package bake masks secrets and makes control characters visible in its records. The
// files are readable for their owner only. Each has a limit, so a machine cannot fill
// the disk, and a limited number of them is open at the same time.
package buildlog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/bakestone-go/bakestone/bake"
)

// Options configures a Handler. A nil *Options is the same as the zero value.
type Options struct {
	// Next, if not nil, receives every record that it is enabled for.
	Next slog.Handler

	// JSON writes JSON lines instead of text.
	JSON bool

	// Level is the least level in the files. If nil, it is slog.LevelDebug.
	Level slog.Leveler

	// MaxSize limits the size of a file, in bytes. A full file only receives records
	// above debug level. Zero means 100 MiB.
	MaxSize int64

	// MaxOpen limits the files that are open at the same time. Others are opened again
	// for their next record. Zero means 100.
	MaxOpen int
}

const (
	defaultMaxSize = 100 << 20
	defaultMaxOpen = 100
)

// A Handler writes log records to the files of their builds. Its methods may be called
// from any goroutine.
type Handler struct {
	files  *files
	next   slog.Handler // may be nil
	format slog.Handler // writes to files.line
	level  slog.Leveler
	build  key // from WithAttrs
	group  bool
}

// A key identifies a build.
type key struct{ image, build string }

var _ slog.Handler = (*Handler)(nil)

// Open creates dir if it does not exist, and returns a Handler that writes to files in
// it. The caller must Close it.
func Open(dir string, o *Options) (*Handler, error) {
	if o == nil {
		o = &Options{}
	}
	if o.MaxSize < 0 || o.MaxOpen < 0 {
		return nil, errors.New("buildlog: Options.MaxSize and MaxOpen must not be negative")
	}
	const ownerOnly = 0o700
	if err := os.MkdirAll(dir, ownerOnly); err != nil {
		return nil, fmt.Errorf("create directory of logs: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open directory of logs: %w", err)
	}
	h := &Handler{next: o.Next, level: o.Level, files: &files{root: root, maxSize: o.MaxSize, maxOpen: o.MaxOpen}}
	if h.files.maxSize == 0 {
		h.files.maxSize = defaultMaxSize
	}
	if h.files.maxOpen == 0 {
		h.files.maxOpen = defaultMaxOpen
	}
	if h.level == nil {
		h.level = slog.LevelDebug
	}
	all := &slog.HandlerOptions{Level: h.level}
	h.format = slog.NewTextHandler(&h.files.line, all)
	if o.JSON {
		h.format = slog.NewJSONHandler(&h.files.line, all)
	}
	return h, nil
}

// Close closes the files and returns the first error of each that could not be written,
// up to 100. Later records only go to the next handler. Handlers from WithAttrs and WithGroup share
// the files.
func (h *Handler) Close() error { return h.files.close() }

// Enabled reports whether the files or the next handler receive records of this level.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level.Level() || h.next != nil && h.next.Enabled(ctx, level)
}

// Handle writes r to the file of its build and passes it on.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	var err error
	if r.Level >= h.level.Level() {
		build := h.build
		if !h.group {
			r.Attrs(func(a slog.Attr) bool {
				build.set(a)
				return true
			})
		}
		if build.image != "" && build.build != "" {
			err = h.files.write(build.file(), h.format, ctx, &r)
		}
	}
	if h.next != nil && h.next.Enabled(ctx, r.Level) {
		err = errors.Join(err, h.next.Handle(ctx, r.Clone()))
	}
	return err
}

// WithAttrs returns a Handler whose records have the attributes.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.format = h.format.WithAttrs(attrs)
	if h.next != nil {
		with.next = h.next.WithAttrs(attrs)
	}
	if !h.group {
		for _, a := range attrs {
			with.build.set(a)
		}
	}
	return &with
}

// WithGroup returns a Handler that puts the attributes of its records into a group.
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.group = true
	with.format = h.format.WithGroup(name)
	if h.next != nil {
		with.next = h.next.WithGroup(name)
	}
	return &with
}

func (k *key) set(a slog.Attr) {
	switch a.Key {
	case "image":
		k.image = a.Value.Resolve().String()
	case "build":
		k.build = a.Value.Resolve().String()
	}
}

// file returns the name of the build's file. A digest tells builds apart of which not
// all characters can be in it.
func (k key) file() string {
	const maxName, digest = 100, 4 // characters, bytes
	safe := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}
	name := strings.Map(safe, k.image)
	name = strings.TrimLeft(name[:min(len(name), maxName)], ".")
	build := strings.Map(safe, k.build)
	build = build[:min(len(build), maxName)]
	if name == "" {
		name = "image"
	}
	if name != k.image || build != k.build {
		sum := sha256.Sum256([]byte(k.image + "\x00" + k.build))
		name += fmt.Sprintf("-%x", sum[:digest])
	}
	return name + "-" + build + ".log"
}

// files are the open files of a Handler and those made from it.
type files struct {
	root    *os.Root
	maxSize int64
	maxOpen int

	mu     sync.Mutex
	line   bytes.Buffer // the formatted record
	open   []*file      // in the order of their last use
	errs   []error      // the first one of each file
	failed map[string]bool
	closed bool
}

type file struct {
	*os.File
	name string
	size int64
}

// write appends the record to the file, which it closes after the end of the build.
func (f *files) write(name string, format slog.Handler, ctx context.Context, r *slog.Record) error { //nolint:revive // as Handle's
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return os.ErrClosed
	}
	f.line.Reset()
	if err := format.Handle(ctx, *r); err != nil {
		return f.fail(name, err)
	}
	to, err := f.get(name)
	if err != nil {
		return f.fail(name, err)
	}
	full := to.size >= f.maxSize
	to.size += int64(f.line.Len())
	if !full && to.size >= f.maxSize {
		end := slog.NewRecord(r.Time, slog.LevelWarn, "log is full: records at debug level are left out", 0)
		if err := format.Handle(ctx, end); err != nil {
			return f.fail(name, err)
		}
	}
	if !full || r.Level > slog.LevelDebug {
		if _, err := to.Write(f.line.Bytes()); err != nil {
			return f.fail(name, err)
		}
	}
	if r.Message == string(bake.BuildFinished) {
		f.open = f.open[:len(f.open)-1]
		return f.fail(name, to.Close())
	}
	return nil
}

// get returns the open file of a build as the last one of f.open.
func (f *files) get(name string) (*file, error) {
	for n, open := range f.open {
		if open.name == name {
			f.open = append(append(f.open[:n:n], f.open[n+1:]...), open)
			return open, nil
		}
	}
	if len(f.open) >= f.maxOpen {
		oldest := f.open[0]
		f.open = f.open[1:]
		_ = f.fail(oldest.name, oldest.Close())
	}
	const ownerOnly = 0o600
	opened, err := f.root.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, ownerOnly)
	if err != nil {
		return nil, err
	}
	info, err := opened.Stat()
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	to := &file{opened, name, info.Size()}
	f.open = append(f.open, to)
	return to, nil
}

// fail keeps the first error of a file for Close.
func (f *files) fail(name string, err error) error {
	const maxErrors = 100
	if err == nil || f.failed[name] || len(f.errs) == maxErrors {
		return err
	}
	if f.failed == nil {
		f.failed = map[string]bool{}
	}
	f.failed[name] = true
	f.errs = append(f.errs, fmt.Errorf("write log of a build: %w", err))
	return err
}

func (f *files) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	for _, open := range f.open {
		_ = f.fail(open.name, open.Close())
	}
	f.open = nil
	return errors.Join(append(f.errs, f.root.Close())...)
}
