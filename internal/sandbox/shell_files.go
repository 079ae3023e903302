package sandbox

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"mvdan.cc/sh/v3/interp"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// disk is the file system as the shell may use it now.
func (sh *shell) disk(hc interp.HandlerContext) *memfs.FS {
	if umask := sh.umask(hc); umask != sh.p.Umask {
		return sh.p.FS.As(sh.p.FS.Cred(), umask)
	}
	return sh.p.FS
}

func (sh *shell) abs(hc interp.HandlerContext, name string) string {
	name = filepath.ToSlash(name)
	if name == "" || path.IsAbs(name) {
		return name
	}
	return filepath.ToSlash(hc.Dir) + "/" + name
}

// open serves redirections and sourced files.
func (sh *shell) open(ctx context.Context, name string, flag int, _ os.FileMode) (io.ReadWriteCloser, error) {
	hc := interp.HandlerCtx(ctx)
	if text, ok := sh.storedText(name); ok {
		return &stream{r: strings.NewReader(text)}, nil
	}
	full := sh.abs(hc, name)
	if s := sh.standardStream(ctx, hc, full); s != nil {
		return s, nil
	}
	// The shell itself asks for 0644; a real one for 0666.
	f, err := sh.disk(hc).OpenFile(full, flag, 0o666)
	if err == nil && flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		if info, statErr := f.Stat(); statErr == nil && info.IsDir() && sh.dash {
			_ = f.Close()
			err = syscall.EISDIR
		}
	}
	if err != nil {
		return nil, sh.openError(name, flag, err)
	}
	if flag&(os.O_WRONLY|os.O_RDWR) != 0 {
		return f, nil
	}
	// The interpreter needs an *os.File to read from. Our own pipe, unlike its,
	// is closed with the redirection.
	pr, pw, err := os.Pipe()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	sh.p.Host.outlive(ctx, func() {
		_, _ = io.Copy(pw, f) // ends early when nobody reads
		_ = pw.Close()
		_ = f.Close()
	})
	return pr, nil
}

// openError words the error as the shell does: the interpreter prints it as
// operation, path and cause.
func (sh *shell) openError(name string, flag int, err error) error {
	if sh.dash {
		name = "cannot " + map[bool]string{true: "create ", false: "open "}[flag&os.O_CREATE != 0] + name
	}
	text := errText(err)
	if sh.dash && errors.Is(err, fs.ErrNotExist) {
		text = map[bool]string{true: "Directory nonexistent", false: "No such file"}[flag&os.O_CREATE != 0]
	}
	return &fs.PathError{Op: sh.name + ":", Path: name, Err: errors.New(text)}
}

// standard are the files that lead to the shell's own streams.
func (sh *shell) standardStream(ctx context.Context, hc interp.HandlerContext, name string) *stream {
	switch path.Clean(name) {
	case "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0":
		return &stream{r: sh.stdin(ctx, hc)}
	case "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1":
		return &stream{w: hc.Stdout}
	case "/dev/stderr", "/dev/fd/2", "/proc/self/fd/2":
		return &stream{w: hc.Stderr}
	case "/dev/tty":
		if sh.p.tty {
			return &stream{r: sh.p.Stdin, w: hc.Stdout}
		}
	}
	return nil
}

// stream is a file without a place on the disk.
type stream struct {
	r io.Reader
	w io.Writer
}

func (s *stream) Read(p []byte) (int, error) {
	if s.r == nil {
		return 0, io.EOF
	}
	return s.r.Read(p)
}

func (s *stream) Write(p []byte) (int, error) {
	if s.w == nil {
		return 0, fs.ErrClosed
	}
	return s.w.Write(p)
}

func (s *stream) Close() error { return nil }

func (sh *shell) readDir(ctx context.Context, name string) ([]fs.DirEntry, error) {
	hc := interp.HandlerCtx(ctx)
	return sh.p.FS.ReadDir(sh.abs(hc, name))
}

func (sh *shell) stat(ctx context.Context, name string, follow bool) (fs.FileInfo, error) {
	full := sh.abs(interp.HandlerCtx(ctx), name)
	info, err := sh.p.FS.Stat(full)
	if !follow {
		info, err = sh.p.FS.Lstat(full)
	}
	if err != nil {
		if _, ok := sh.p.function(full); ok && errors.Is(err, fs.ErrNotExist) {
			return sh.p.FS.Stat("/dev/null")
		}
		return nil, err
	}
	return statInfo{info}, nil
}

func (sh *shell) access(ctx context.Context, name string, mode interp.AccessMode) error {
	full := sh.abs(interp.HandlerCtx(ctx), name)
	err := sh.p.FS.Access(full, memfs.Access(mode))
	if errors.Is(err, fs.ErrNotExist) && mode&interp.AccessWrite == 0 {
		if _, ok := sh.p.function(full); ok {
			return nil
		}
	}
	return err
}
