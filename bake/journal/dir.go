package journal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/filelock"
)

// Dir returns a Store that keeps the events of each build in a file with mode 0600 in dir,
// as lines of JSON. It creates dir if necessary, and may be the directory of a
// bake.DirStore. The processes of a host may share it.
func Dir(dir string) Store { return &files{dir} }

type files struct{ dir string }

func (d *files) path(build string) (string, error) {
	if err := bake.ValidateBuildID(build); err != nil {
		return "", err
	}
	return filepath.Join(d.dir, build+".events"), nil
}

// lock locks the file of a build for a change.
func (d *files) lock(ctx context.Context, build string) (unlock func(), err error) {
	return filelock.Lock(ctx, filepath.Join(d.dir, ".lock-events-"+build))
}

func (d *files) Append(ctx context.Context, build string, events []bake.Event) error {
	path, err := d.path(build)
	if err != nil {
		return err
	}
	const ownerOnly = 0o700
	if err := os.MkdirAll(d.dir, ownerOnly); err != nil {
		return err
	}
	unlock, err := d.lock(ctx, build)
	if err != nil {
		return err
	}
	defer unlock()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // ValidateBuildID keeps it in the directory
	if err != nil {
		return err
	}
	return errors.Join(appendTo(f, events), f.Close())
}

// appendTo writes the events that are newer than those of the file behind them, in place
// of a line that a killed process left half written.
func appendTo(f *os.File, events []bake.Event) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	end, last, err := lastEvent(f, info.Size())
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	to := json.NewEncoder(&lines)
	for _, e := range events {
		if e.Number <= last {
			continue
		}
		if err := to.Encode(e); err != nil {
			return err
		}
		last = e.Number
	}
	if err := f.Truncate(end); err != nil {
		return err
	}
	_, err = f.WriteAt(lines.Bytes(), end)
	return err
}

// lastEvent returns the number of the last complete line of a file, and where the line
// ends.
func lastEvent(f io.ReaderAt, size int64) (end, number int64, err error) {
	end, err = lineEnd(f, size)
	if err != nil || end == 0 {
		return end, 0, err
	}
	start, err := lineEnd(f, end-1)
	if err != nil {
		return 0, 0, err
	}
	number, _, err = eventAt(f, start, end)
	return end, number, err
}

// lineEnd returns the end of the last complete line of the first size bytes.
func lineEnd(f io.ReaderAt, size int64) (int64, error) {
	const most = 8 << 10
	block := make([]byte, most)
	for size > 0 {
		part := block[:min(size, most)]
		if _, err := f.ReadAt(part, size-int64(len(part))); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			return size - int64(len(part)) + int64(i) + 1, nil
		}
		size -= int64(len(part))
	}
	return 0, nil
}

// eventAt returns the number of the event in the first complete line that begins at from
// or behind it, and the start of the line. The number is zero if there is no such line.
func eventAt(f io.ReaderAt, from, size int64) (number, start int64, err error) {
	at := max(from-1, 0)
	lines := bufio.NewReader(io.NewSectionReader(f, at, size-at))
	if from > 0 {
		rest, err := lines.ReadSlice('\n')
		for start = at + int64(len(rest)); errors.Is(err, bufio.ErrBufferFull); start += int64(len(rest)) {
			rest, err = lines.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, 0, err
		}
	}
	line, err := lines.ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		return 0, size, nil
	}
	var event struct{ Number int64 }
	if err == nil {
		err = json.Unmarshal(line, &event)
	}
	return event.Number, start, err
}

func (d *files) Read(ctx context.Context, build string, after int64, limit int) ([]bake.Event, error) {
	path, err := d.path(build)
	if err = errors.Join(err, ctx.Err()); err != nil {
		return nil, err
	}
	f, err := os.Open(path) //nolint:gosec // ValidateBuildID keeps it in the directory
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	events, err := read(f, info.Size(), after, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return events, nil
}

func read(f io.ReaderAt, size, after int64, limit int) ([]bake.Event, error) {
	// The numbers rise, so the place is found without reading the whole file.
	var failed error
	at := sort.Search(int(size), func(i int) bool {
		number, _, err := eventAt(f, int64(i), size)
		failed = errors.Join(failed, err)
		return number == 0 || number > after
	})
	_, start, err := eventAt(f, int64(at), size)
	if failed = errors.Join(failed, err); failed != nil {
		return nil, failed
	}
	var events []bake.Event
	lines := bufio.NewReader(io.NewSectionReader(f, start, size-start))
	for len(events) < limit {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		var e bake.Event
		if err == nil {
			err = json.Unmarshal(line, &e)
		}
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

func (d *files) Delete(ctx context.Context, build string) error {
	path, err := d.path(build)
	if err != nil {
		return err
	}
	unlock, err := d.lock(ctx, build)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // there is no directory
	}
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
