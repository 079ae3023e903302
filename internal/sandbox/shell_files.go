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

// disk returns the file system with the shell's current umask.
func (sh *shell) disk(hc interp.HandlerContext) *memfs.FS {
	if umask := sh.umask(hc); umask != sh.p.Umask {
		return sh.p.FS.As(sh.p.FS.Cred(), umask)
	}
	return sh.p.FS
}

func (sh *shell) abs(hc interp.HandlerContext, name string) string {
	return absPath(filepath.ToSlash(hc.Dir), filepath.ToSlash(name))
}

// open opens files for redirections and source.
func (sh *shell) open(ctx context.Context, name string, flag int, _ os.FileMode) (io.ReadWriteCloser, error) {
	hc := interp.HandlerCtx(ctx)
	if text, ok := sh.storedText(name); ok {
		return &stream{r: strings.NewReader(text)}, nil
	}
	full := sh.abs(hc, name)
	if s := sh.standardStream(ctx, hc, full); s != nil {
		return s, nil
	}
	// The interpreter passes 0644; a real shell uses 0666.
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
	// The interpreter reads only from an *os.File. It would make a pipe itself,
	// but not close it with the redirection.
	pr, pw, err := os.Pipe()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	sh.p.Host.outlive(ctx, func() {
		_, _ = io.Copy(pw, f) // fails when the reader is closed
		_ = pw.Close()
		_ = f.Close()
	})
	return pr, nil
}

// openError returns an error that the interpreter, which prints operation, path
// and cause, prints like the real shell.
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

// standardStream returns the stream for a path such as /dev/stdin, or nil.
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

// stream is an open file that is not on the disk.
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
