package bake

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/exclude"
)

// A Machine is a running machine being changed. The provisioners of an image
// see nothing else of the platform.
//
// Every method obeys its context: when it ends, the remote command is killed,
// the transfer stops, and the method returns. A Machine may be used by several
// goroutines at once. After Close every method fails.
type Machine interface {
	// Run runs one command and waits for it. A command that ran and failed is
	// an *ExitError; a connection lost before its exit status arrived is an
	// error that wraps ErrDisconnected, and the next call connects again.
	Run(ctx context.Context, cmd *Cmd) error

	// Put writes one file or one tree on the machine. A file appears under its
	// name only when it is complete and its digest has been compared.
	Put(ctx context.Context, up *Upload) error

	// Get copies one file or one tree from the machine.
	Get(ctx context.Context, down *Download) error

	// Reboot restarts the machine and returns when it can be reached again
	// under a new boot id. A nil cmd is the machine's own way to reboot.
	Reboot(ctx context.Context, cmd *Cmd) error

	// Facts says what the machine is. The answer is read once per boot.
	Facts(ctx context.Context) (Facts, error)

	// Close ends the connection. The machine itself keeps running.
	Close() error
}

// A Cmd is one command to run on a Machine, shaped like os/exec.Cmd. Exactly
// one of Line and Args is set.
type Cmd struct {
	// Line is a command line for the machine's /bin/sh.
	Line string

	// Args is a program and its arguments; nothing in them is expanded.
	Args []string

	// Dir is the working directory. Empty is the login directory.
	Dir string

	// Env is added to the environment of the login. It never appears in a
	// command line.
	Env map[string]string

	// Secrets is added to the environment like Env, and every value is masked
	// wherever the build's output goes.
	Secrets map[string]Secret

	// Stdin is read until its end. Nil is an empty input.
	Stdin io.Reader

	// Stdout and Stderr receive the output. Nil discards it.
	Stdout io.Writer
	Stderr io.Writer

	// Sudo runs the command as root. A machine whose login is root already
	// runs it as it is.
	Sudo bool

	// PTY gives the command a terminal; its two outputs then arrive together
	// on Stdout.
	PTY bool

	// Raw hands Line to the login's own shell as it is, for a machine that has
	// no /bin/sh, such as Windows. Of the other fields only the streams may be
	// set. When the context ends the machine is told so, but what the command
	// has started may go on there.
	Raw bool
}

// Sh returns a Cmd for a /bin/sh command line.
func Sh(line string) *Cmd { return &Cmd{Line: line} }

// Command returns a Cmd for a program and its arguments.
func Command(name string, args ...string) *Cmd {
	return &Cmd{Args: append([]string{name}, args...)}
}

// String is the command as it may be shown: without its environment.
func (c *Cmd) String() string {
	if c.Line != "" {
		return c.Line
	}
	return strings.Join(c.Args, " ")
}

// Validate reports a Cmd that no machine can run.
func (c *Cmd) Validate() error {
	if (c.Line == "") == (len(c.Args) == 0) {
		return Invalid("Cmd", "exactly one of Line and Args must be set")
	}
	if c.Raw && (c.Line == "" || c.Dir != "" || len(c.Env)+len(c.Secrets) > 0 || c.Sudo || c.PTY) {
		return Invalid("Cmd.Raw", "goes with a Line and the streams alone")
	}
	for name := range c.Env {
		if !ValidEnvName(name) {
			return Invalid("Cmd.Env", "%q is not a name of an environment variable", name)
		}
	}
	for name := range c.Secrets {
		if !ValidEnvName(name) {
			return Invalid("Cmd.Secrets", "%q is not a name of an environment variable", name)
		}
	}
	return nil
}

// ValidEnvName reports whether a shell can export name.
func ValidEnvName(name string) bool {
	for i, r := range name {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// Output runs cmd on m and returns what it wrote to its standard output, with
// the white space around it cut off. It is meant for short answers; cmd.Stdout
// must be nil.
func Output(ctx context.Context, m Machine, cmd *Cmd) (string, error) {
	var out bytes.Buffer
	with := *cmd
	with.Stdout = &out
	err := m.Run(ctx, &with)
	return strings.TrimSpace(out.String()), err
}

// An Upload is one file or one tree to write on a Machine. Exactly one of
// Content, Path and FS is set.
type Upload struct {
	// Dest is the absolute path on the machine: of the file, or of the
	// directory that receives the contents of the tree. Missing parent
	// directories are made.
	Dest string

	// Content is one file, read until its end.
	Content io.Reader

	// Size is the number of bytes in Content when it is known, for progress.
	// Zero is unknown.
	Size int64

	// Path is a file or a directory on the baking host. Of a directory the
	// contents are written into Dest.
	Path string

	// FS is a tree; its root is written into Dest.
	FS fs.FS

	// Exclude leaves out of a tree what matches any of these patterns. A
	// pattern with a slash is matched against the path below the root, one
	// without against every path element; "**" spans directories. An excluded
	// directory is left out with all that is in it.
	Exclude []string

	// Mode is the permission bits of a single file. Zero keeps those of the
	// source, and is 0644 for Content. In a tree every file keeps its own.
	Mode fs.FileMode

	// Owner and Group are set on everything written. Empty is the user who
	// writes: the login, or root with Sudo. Setting another needs Sudo or root.
	Owner string
	Group string

	// Sudo writes as root.
	Sudo bool

	// Progress, when set, is told the bytes sent so far and the bytes to send
	// in all, zero when unknown. It is called from one goroutine at a time.
	Progress func(done, total int64)
}

// Validate reports an Upload that no machine can take.
func (u *Upload) Validate() error {
	set := 0
	for _, is := range []bool{u.Content != nil, u.Path != "", u.FS != nil} {
		if is {
			set++
		}
	}
	switch {
	case set != 1:
		return Invalid("Upload", "exactly one of Content, Path and FS must be set")
	case !strings.HasPrefix(u.Dest, "/"):
		return Invalid("Upload.Dest", "%q is not an absolute path", u.Dest)
	case u.Mode&^(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0:
		return Invalid("Upload.Mode", "%v has other than permission bits", u.Mode)
	}
	if _, err := exclude.Parse(u.Exclude); err != nil {
		return Invalid("Upload.Exclude", "%w", err)
	}
	return nil
}

// A Download is one file or one tree to copy from a Machine. Exactly one of
// Content and Path is set.
type Download struct {
	// Source is the absolute path on the machine.
	Source string

	// Content receives one file.
	Content io.Writer

	// Path is the file to write on the baking host, or, when Source is a
	// directory, the directory that receives its contents. Missing parents are
	// made. A file appears under its name only when it is complete.
	Path string

	// Exclude leaves out of a tree what matches, as in Upload.
	Exclude []string

	// Sudo reads as root.
	Sudo bool

	// Progress is called as in Upload.
	Progress func(done, total int64)
}

// Validate reports a Download that no machine can give.
func (d *Download) Validate() error {
	switch {
	case (d.Content == nil) == (d.Path == ""):
		return Invalid("Download", "exactly one of Content and Path must be set")
	case !strings.HasPrefix(d.Source, "/"):
		return Invalid("Download.Source", "%q is not an absolute path", d.Source)
	}
	if _, err := exclude.Parse(d.Exclude); err != nil {
		return Invalid("Download.Exclude", "%w", err)
	}
	return nil
}

// Facts is what a machine says of itself.
type Facts struct {
	OS       string    // kernel name in lower case: "linux"
	Distro   string    // ID of /etc/os-release: "ubuntu", "amzn"
	Version  string    // VERSION_ID of /etc/os-release: "24.04"
	Arch     string    // machine hardware name: "x86_64", "aarch64"
	Kernel   string    // kernel release
	Hostname string    // host name without its domain
	BootID   string    // changes at every boot
	User     string    // the login
	UID      int       // the login's numeric id; 0 needs no sudo
	Home     string    // the login's home directory
	Read     time.Time // when this was read, by the baking host's clock
}
