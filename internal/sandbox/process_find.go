package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

const (
	notFoundStatus = 127
	notFound       = "not found"
	defaultPath    = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	maxShebangs    = 4
)

// startError is the reason a command cannot be started.
type startError struct {
	status int // 126 or 127
	reason string
}

// systemDir reports whether dir contains the commands implemented in Go.
func systemDir(dir string) bool {
	switch dir {
	case "/usr/bin", "/bin", "/usr/sbin", "/sbin":
		return true
	}
	return false
}

// find resolves Args[0] to a script on the disk or a command implemented in Go.
func (p *Process) find() (Command, *startError) {
	run, problem := p.findInstalled()
	if problem != nil && problem.status == notFoundStatus && p.Host.o.AnyCommand && (p.Args[0] == p.name() || systemDir(path.Dir(p.Args[0]))) {
		return recorded, nil
	}
	return run, problem
}

func (p *Process) findInstalled() (Command, *startError) {
	name := p.Args[0]
	if name == "" {
		return nil, &startError{127, notFound}
	}
	if strings.Contains(name, "/") {
		return p.load(p.Path(name), 0)
	}
	file, problem := p.which(name)
	if problem != nil {
		return nil, problem
	}
	p.file = file
	return p.load(p.Path(file), 0)
}

// which finds a command in $PATH. A file that cannot be executed is reported only
// if no other directory has the command.
func (p *Process) which(name string) (string, *startError) {
	problem := &startError{127, notFound}
	search, set := p.Env["PATH"]
	if !set {
		search = defaultPath
	}
	for dir := range strings.SplitSeq(search, ":") {
		if dir == "" {
			dir = "."
		}
		file := strings.TrimRight(dir, "/") + "/" + name
		info, err := p.FS.Stat(p.Path(file))
		switch {
		case err != nil:
			if _, ok := p.function(file); ok && !strings.HasSuffix(path.Dir(file), "/sbin") {
				return file, nil // in /usr/sbin, Go commands run only by their full path
			}
		case info.IsDir(), systemDir(path.Dir(file)) && p.Host.hides(name) && isProgram(asRoot(p.FS), p.Path(file)):
		case p.FS.Access(p.Path(file), memfs.Execute) == nil:
			return file, nil
		default:
			problem = &startError{126, "Permission denied"}
		}
	}
	return "", problem
}

// load returns the command that executing the file runs.
func (p *Process) load(file string, depth int) (Command, *startError) {
	info, err := p.FS.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		if c, ok := p.function(file); ok {
			return c, nil
		}
	}
	switch {
	case errors.Is(err, syscall.EACCES):
		return nil, &startError{126, "Permission denied"}
	case err != nil:
		return nil, &startError{127, notFound}
	case info.IsDir():
		return nil, &startError{126, "Is a directory"}
	case p.FS.Access(file, memfs.Execute) != nil:
		return nil, &startError{126, "Permission denied"}
	}
	return p.script(file, depth)
}

// needsNoFile reports whether a command implemented in Go exists without a file: one
// that was registered does, and all do on disks without a distribution's programs.
func (p *Process) needsNoFile(name string) bool {
	if _, ok := p.Host.o.Commands[name]; ok {
		return true
	}
	_, err := p.FS.Lstat("/usr/bin/env")
	return err != nil
}

// hides reports whether the machine is to lack a program although its image has it:
// by Options.Missing, or because another package manager is registered.
func (h *Host) hides(name string) bool {
	_, ok := h.command(name)
	return !ok && (slices.Contains(h.o.Missing, name) || packageFamily(name, h.o.Facts.family()) != "")
}

// function returns the command implemented in Go at a path that has no file,
// following symbolic links.
func (p *Process) function(file string) (Command, bool) {
	for range 10 {
		dir := path.Dir(file)
		if c, ok := p.Host.command(path.Base(file)); ok && systemDir(dir) && p.needsNoFile(path.Base(file)) {
			return c, true
		}
		target, err := p.FS.Readlink(file)
		if err != nil {
			return nil, false
		}
		if !path.IsAbs(target) {
			target = path.Join(dir, target)
		}
		file = target
	}
	return nil, false
}

// unavailable is why a program of the distribution that the machine cannot run does
// not start.
const unavailable = "this test machine cannot run this program"

// script returns a command that runs an executable file with the interpreter
// named in its first line, or else with the shell.
func (p *Process) script(file string, depth int) (Command, *startError) {
	head := make([]byte, 256)
	h, err := asRoot(p.FS).OpenFile(file, os.O_RDONLY, 0)
	if err != nil {
		return nil, &startError{126, errText(err)}
	}
	n, _ := h.Read(head) // an empty file is an empty script
	_ = h.Close()
	if name, ok := programNamed(head[:n]); ok {
		if p.Host.hides(name) {
			return nil, &startError{notFoundStatus, notFound}
		}
		if run, ok := p.Host.command(path.Base(file)); ok { // that of a link, which may be registered
			return run, nil
		}
		run, ok := p.Host.command(name)
		if !ok {
			return nil, &startError{notFoundStatus, unavailable}
		}
		return func(ctx context.Context, p *Process) int {
			p.Args = append([]string{name}, p.Args[1:]...)
			return run(ctx, p)
		}, nil
	}
	line, _, _ := bytes.Cut(head[:n], []byte("\n"))
	if bytes.IndexByte(line, 0) >= 0 {
		return nil, &startError{126, "cannot execute binary file: Exec format error"}
	}
	interpreter, arg := "/bin/sh", ""
	if rest, ok := strings.CutPrefix(string(line), "#!"); ok {
		interpreter, arg, _ = strings.Cut(strings.TrimSpace(rest), " ")
	}
	args := []string{interpreter}
	if arg = strings.TrimSpace(arg); arg != "" {
		args = append(args, arg)
	}
	// The kernel passes the path as called, which becomes $0.
	name := p.Args[0]
	switch {
	case depth > 0:
		name = file
	case !strings.Contains(name, "/"):
		name = p.file // as found in $PATH
	}
	args = append(append(args, name), p.Args[1:]...)
	if depth >= maxShebangs {
		return nil, &startError{126, errText(syscall.ELOOP)}
	}
	run, problem := p.load(interpreter, depth+1)
	if problem != nil {
		problem.reason = interpreter + ": bad interpreter: No such file or directory"
		return nil, problem
	}
	return func(ctx context.Context, p *Process) int {
		p.Args = args
		return run(ctx, p)
	}, nil
}
