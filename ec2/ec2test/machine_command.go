package ec2test

import (
	"context"
	"io"
	"io/fs"

	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// A Command implements a program of the sandbox machines in Go: see
// [Options].Commands. It returns the program's exit status. When ctx is done,
// because the process was killed or the machine is stopping, it must return
// soon.
type Command func(ctx context.Context, p *Process) int

// A Process is one run of a [Command]. The command may use it until it returns,
// and need not close anything.
//
// The methods for files work on the machine's file system with the rights of
// the process's user. A relative name is relative to Dir. Errors are those of
// package os: they match [fs.ErrNotExist], [fs.ErrPermission] and the like.
type Process struct {
	// Args are the command line. Args[0] is the name the command was called by.
	Args []string

	// Env holds the environment variables. Changes affect only this process and
	// the commands it runs.
	Env map[string]string

	// Dir is the absolute path of the working directory.
	Dir string

	// User is the user the process runs as, and UID and GID are the user's ids.
	// Root has the ids 0.
	User string
	UID  int
	GID  int

	// Stdin, Stdout and Stderr are the standard streams. Without a redirection
	// Stdin is empty or the SSH client's input.
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer

	inner *sandbox.Process
}

// A Package describes a package that the simulated package managers of the sandbox
// machines can install: see [Options].Packages.
type Package struct {
	// Version is the version, with the release: "1.24.0-2". Empty means "1.0-1".
	Version string

	// Files are the contents of the package's files by absolute path. Those in a
	// directory named bin, sbin or libexec are executable.
	Files map[string]string

	// Requires are packages that are installed with it.
	Requires []string

	// Absent means that no repository has the package.
	Absent bool
}

// sandboxCommand returns run as a command of package sandbox.
func sandboxCommand(run Command) sandbox.Command {
	return func(ctx context.Context, p *sandbox.Process) int {
		return run(ctx, &Process{
			Args: p.Args, Env: p.Env, Dir: p.Dir, User: p.User, UID: p.UID, GID: p.GID,
			Stdin: p.Stdin, Stdout: p.Stdout, Stderr: p.Stderr, inner: p,
		})
	}
}

// Run runs another command of the machine, such as "useradd", and returns its
// exit status. The command inherits the user and the current values of Env,
// Dir and the streams: to capture its output, set Stdout first. The status of
// a command that does not exist is 127, with a message on Stderr.
func (p *Process) Run(ctx context.Context, args ...string) int {
	child := *p.inner
	child.Env, child.Dir, child.Stdin, child.Stdout, child.Stderr = p.Env, p.Dir, p.Stdin, p.Stdout, p.Stderr
	return child.Run(ctx, args...)
}

// path returns the absolute path of a file.
func (p *Process) path(name string) string {
	inner := *p.inner
	inner.Dir = p.Dir
	return inner.Path(name)
}

// ReadFile returns the contents of a file.
func (p *Process) ReadFile(name string) ([]byte, error) { return p.inner.FS.ReadFile(p.path(name)) }

// WriteFile writes data to a file, replacing its contents. A new file gets the
// mode, less the process's umask; its directory must exist.
func (p *Process) WriteFile(name string, data []byte, mode fs.FileMode) error {
	return p.inner.FS.WriteFile(p.path(name), data, mode)
}

// MkdirAll creates a directory and the missing directories above it.
func (p *Process) MkdirAll(name string, mode fs.FileMode) error {
	return p.inner.FS.MkdirAll(p.path(name), mode)
}

// RemoveAll removes a file, or a directory with everything in it. It does not
// fail if the file does not exist.
func (p *Process) RemoveAll(name string) error { return p.inner.FS.RemoveAll(p.path(name)) }

// Chmod changes the permission bits of a file.
func (p *Process) Chmod(name string, mode fs.FileMode) error {
	return p.inner.FS.Chmod(p.path(name), mode)
}

// Stat describes a file, following symbolic links.
func (p *Process) Stat(name string) (fs.FileInfo, error) {
	info, err := p.inner.FS.Stat(p.path(name))
	if err != nil {
		return nil, err
	}
	return info, nil
}
