package baketest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/exclude"
)

// Put records up and writes all of it to the machine's files, or nothing.
func (m *Machine) Put(ctx context.Context, up *bake.Upload) error {
	if err := m.usable(ctx); err != nil {
		return err
	}
	if err := up.Validate(); err != nil {
		return err
	}
	call := Call{
		Kind: PutCall, Path: up.Dest, Mode: up.Mode, Owner: up.Owner, Group: up.Group,
		Exclude: slices.Clone(up.Exclude), Delete: up.Delete, Sudo: up.Sudo,
	}
	source, tree, err := readSource(ctx, up)
	if err == nil {
		call.note(source, tree)
	}
	done := m.record(call)
	if err != nil {
		return done(err)
	}
	if err := m.refusalOf(call); err != nil {
		return done(err)
	}
	if err := m.store(up, source, tree); err != nil {
		return done(err)
	}
	report(up.Progress, source)
	return done(nil)
}

// store writes what readSource returned, with paths relative to up.Dest.
func (m *Machine) store(up *bake.Upload, source []File, tree bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	files := m.files.clone()
	user := m.writer(up.Sudo)
	if tree {
		if err := files.mkdirs(path.Clean(up.Dest), user); err != nil {
			return err
		}
	}
	for _, f := range source {
		f.Path = path.Join(up.Dest, f.Path)
		if f.Owner = up.Owner; f.Owner == "" {
			f.Owner = user
		}
		if f.Group = up.Group; f.Group == "" {
			f.Group = user
		}
		var err error
		switch old := files[f.Path]; {
		case !f.Mode.IsDir():
			err = files.write(f, user)
		case old == nil:
			err = files.add(f, user)
		case !old.Mode.IsDir():
			err = pathError("mkdir", f.Path, fs.ErrExist)
		}
		if err != nil {
			return err
		}
	}
	if up.Delete {
		if err := files.deleteOthers(up, source, tree); err != nil {
			return err
		}
	}
	m.files = files
	return nil
}

// deleteOthers removes what the directory up.Dest has and source does not.
func (files fileMap) deleteOthers(up *bake.Upload, source []File, tree bool) error {
	if !tree {
		return bake.Invalid("Upload.Delete", "needs a tree, but %s is a file", up.Path)
	}
	ex, err := exclude.Parse(up.Exclude)
	if err != nil {
		return err
	}
	dest := path.Clean(up.Dest)
	keep := map[string]bool{}
	stays := func(name string) {
		for ; name != dest && !keep[name]; name = path.Dir(name) {
			keep[name] = true
		}
	}
	for _, s := range source {
		stays(path.Join(dest, s.Path))
	}
	below := files.below(dest)
	for _, name := range below {
		if ex.MatchAny(strings.TrimPrefix(name, dest+"/")) {
			stays(name)
		}
	}
	for _, name := range below {
		if !keep[name] {
			delete(files, name)
		}
	}
	return nil
}

// Get records down and copies it from the machine's files.
func (m *Machine) Get(ctx context.Context, down *bake.Download) error {
	if err := m.usable(ctx); err != nil {
		return err
	}
	if err := down.Validate(); err != nil {
		return err
	}
	call := Call{Kind: GetCall, Path: down.Source, Exclude: slices.Clone(down.Exclude), Sudo: down.Sudo}
	source, tree, err := m.load(down)
	if err == nil {
		call.note(source, tree)
	}
	done := m.record(call)
	if refused := m.refusalOf(call); refused != nil {
		return done(refused)
	}
	switch {
	case err != nil:
	case tree && down.Path == "":
		err = pathError("read", down.Source, errors.New("directories require Download.Path"))
	case tree:
		err = saveTree(ctx, down.Path, source)
	case down.Path != "":
		err = saveFile(down.Path, source[0])
	default:
		_, err = io.Copy(down.Content, bytes.NewReader(source[0].Content))
	}
	if err == nil {
		report(down.Progress, source)
	}
	return done(err)
}

// load returns the files of down with paths relative to down.Source.
func (m *Machine) load(down *bake.Download) (source []File, tree bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	user := m.writer(down.Sudo)
	top, err := m.files.follow(down.Source)
	switch {
	case err != nil:
		return nil, false, err
	case !top.allows(user, 0o4):
		return nil, false, pathError("open", down.Source, fs.ErrPermission)
	case !top.Mode.IsDir():
		single := *top
		single.Path = ""
		return []File{single}, false, nil
	}
	ex, err := exclude.Parse(down.Exclude)
	if err != nil {
		return nil, false, err
	}
	for _, name := range m.files.below(top.Path) {
		f := *m.files[name]
		f.Path = strings.TrimPrefix(name, strings.TrimSuffix(top.Path, "/")+"/")
		switch {
		case ex.MatchAny(f.Path):
		case f.Mode&fs.ModeSymlink == 0 && !f.allows(user, 0o4):
			return nil, false, pathError("open", name, fs.ErrPermission)
		default:
			source = append(source, f)
		}
	}
	return source, true, nil
}

// readSource reads the source of up, with paths relative to up.Dest.
func readSource(ctx context.Context, up *bake.Upload) (source []File, tree bool, err error) {
	if up.Content != nil {
		content, err := io.ReadAll(readerUntil{ctx, up.Content})
		if err != nil {
			return nil, false, fmt.Errorf("read content: %w", err)
		}
		return []File{{Mode: modeOr(up.Mode, 0o644), Content: content}}, false, nil
	}
	from := up.FS
	if up.Path != "" {
		info, err := os.Stat(up.Path)
		if err != nil {
			return nil, false, err
		}
		if !info.IsDir() {
			content, err := os.ReadFile(filepath.Clean(up.Path))
			return []File{{Mode: modeOr(up.Mode, info.Mode().Perm()), Content: content}}, false, err
		}
		from = os.DirFS(up.Path)
	}
	ex, err := exclude.Parse(up.Exclude)
	if err != nil {
		return nil, false, err
	}
	err = fs.WalkDir(from, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil || name == "." {
			return err
		}
		if ex.Match(name) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		f, err := readEntry(from, name, entry)
		source = append(source, f)
		return err
	})
	return source, true, err
}

func readEntry(from fs.FS, name string, entry fs.DirEntry) (File, error) {
	info, err := entry.Info()
	if err != nil {
		return File{}, err
	}
	f := File{Path: name, Mode: info.Mode()}
	switch {
	case f.Mode.IsRegular():
		f.Content, err = fs.ReadFile(from, name)
	case f.Mode&fs.ModeSymlink != 0:
		f.Link, err = fs.ReadLink(from, name)
	case f.Mode.IsDir():
		f.Mode |= 0o700 // as on any machine: the login must be able to fill it
	default:
		err = pathError("put", name, errors.New("unsupported file type"))
	}
	return f, err
}

func modeOr(mode, otherwise fs.FileMode) fs.FileMode {
	if mode != 0 {
		return mode
	}
	return otherwise
}

// note adds the transferred files to the call.
func (c *Call) note(source []File, tree bool) {
	if !tree {
		c.Content = string(source[0].Content)
		c.Mode = source[0].Mode
		return
	}
	for _, f := range source {
		if !f.Mode.IsDir() {
			c.Files = append(c.Files, f.Path)
		}
	}
}

func report(progress func(done, total int64), source []File) {
	if progress == nil {
		return
	}
	var total int64
	for _, f := range source {
		total += int64(len(f.Content))
	}
	progress(total, total)
}

func saveTree(ctx context.Context, to string, source []File) error {
	if err := os.MkdirAll(to, 0o750); err != nil {
		return err
	}
	for _, f := range source {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := saveFile(filepath.Join(to, filepath.FromSlash(f.Path)), f); err != nil {
			return err
		}
	}
	return nil
}

func saveFile(to string, f File) error {
	if f.Mode.IsDir() {
		return os.MkdirAll(to, 0o750)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		return err
	}
	if f.Mode&fs.ModeSymlink != 0 {
		return os.Symlink(f.Link, to)
	}
	return os.WriteFile(to, f.Content, f.Mode.Perm())
}

// A readerUntil fails once ctx has ended.
type readerUntil struct {
	ctx context.Context //nolint:containedctx // io.Reader has no context parameter
	r   io.Reader
}

func (r readerUntil) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
