package sandbox

import (
	"context"
	"io"
	"io/fs"
	"path"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// A Command is a program of the machine, as a func. It returns the exit
// status. It must return soon after ctx ends, which is how it is killed.
type Command func(ctx context.Context, p *Process) int

// A Process is one run of a command.
type Process struct {
	PID    int
	Args   []string          // Args[0] is the name it was called by
	Env    map[string]string // the exported variables; the command's own copy
	Dir    string            // the working directory
	UID    int
	GID    int
	User   string
	Umask  fs.FileMode
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	FS     *memfs.FS // the disk, as User may use it; paths must be absolute: see Path
	Host   *Host

	tty   bool // Stdout is a terminal
	dash  bool // the shell that runs this reads POSIX sh only
	start Command
}

// Path makes a path absolute from the working directory.
func (p *Process) Path(name string) string {
	switch {
	case name == "":
		return ""
	case path.IsAbs(name):
		return name
	case p.Dir == "/":
		return "/" + name
	default:
		return p.Dir + "/" + name
	}
}

// Run runs another command line of the machine as a part of p, with p's
// environment, directory, user and streams, and returns its exit status.
func (p *Process) Run(ctx context.Context, args ...string) int {
	return p.child(args).exec(ctx)
}
