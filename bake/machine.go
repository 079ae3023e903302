package bake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/exclude"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A Machine is a running machine that is being changed. It is all that provisioners
// see of the platform.
//
// When the context of a method ends, the remote command is killed or the transfer
// stops, and the method returns. A Machine is safe for concurrent use. After Close,
// every method fails.
type Machine interface {
	// Run runs a command and waits for it. If the command fails, the error is an
	// *ExitError. If the connection is lost before the exit status arrives, the error
	// wraps ErrDisconnected, and the next call connects again.
	Run(ctx context.Context, cmd *Cmd) error

	// Put writes a file or a tree to the machine. A file appears under its name only
	// after it is complete and its digest was verified.
	Put(ctx context.Context, up *Upload) error

	// Get copies a file or a tree from the machine.
	Get(ctx context.Context, down *Download) error

	// Reboot restarts the machine and waits until it is reachable with a new boot id.
	// If cmd is nil, the default command is used.
	Reboot(ctx context.Context, cmd *Cmd) error

	// Facts returns what is known about the machine. It is read once per boot.
	Facts(ctx context.Context) (Facts, error)

	// Close closes the connection. The machine keeps running.
	Close() error
}

// A Cmd is a command to run on a Machine, similar to os/exec.Cmd. Exactly one of
// Line and Args must be set.
type Cmd struct {
	// Line is a command line for the machine's /bin/sh.
	Line string

	// Args is a program and its arguments. They are not expanded.
	Args []string

	// Dir is the working directory. If empty, it is the login directory.
	Dir string

	// Env is added to the login's environment. It never appears in a command line.
	Env map[string]string

	// Secrets is added to the environment like Env. Its values are masked in all
	// output of the build.
	Secrets map[string]Secret

	// Stdin is the standard input. If nil, it is empty.
	Stdin io.Reader

	// Stdout and Stderr receive the output. If nil, it is discarded.
	Stdout io.Writer
	Stderr io.Writer

	// Quiet leaves the lines of the standard output out of events and logs, since only
	// the program reads them. The error of a failed command has the last ones.
	Quiet bool

	// Sudo runs the command as root. It has no effect if the login is root.
	Sudo bool

	// PTY allocates a terminal. Both outputs then arrive on Stdout.
	PTY bool

	// Raw passes Line unchanged to the login shell, for machines without /bin/sh such
	// as Windows. Besides Line, only the streams may be set. When the context ends,
	// processes that the command started may continue to run.
	Raw bool
}

// Sh returns a Cmd for a /bin/sh command line.
func Sh(line string) *Cmd { return &Cmd{Line: line} }

// Command returns a Cmd for a program and its arguments.
func Command(name string, args ...string) *Cmd {
	return &Cmd{Args: append([]string{name}, args...)}
}

// String returns the command without its environment.
func (c *Cmd) String() string {
	if c.Line != "" {
		return c.Line
	}
	return strings.Join(c.Args, " ")
}

// Validate reports invalid fields, and fields that contain "[redacted]", the printed
// form of a Secret.
func (c *Cmd) Validate() error {
	if (c.Line == "") == (len(c.Args) == 0) {
		return Invalid("Cmd", "exactly one of Line and Args must be set")
	}
	if c.Raw && (c.Line == "" || c.Dir != "" || len(c.Env)+len(c.Secrets) > 0 || c.Sudo || c.PTY) {
		return Invalid("Cmd.Raw", "can only be combined with Line and the streams")
	}
	for name := range c.Env {
		if !ValidEnvName(name) {
			return Invalid("Cmd.Env", "invalid variable name %q", name)
		}
	}
	for name := range c.Secrets {
		if !ValidEnvName(name) {
			return Invalid("Cmd.Secrets", "invalid variable name %q", name)
		}
	}
	return c.rejectRedacted()
}

// rejectRedacted reports a secret that was printed into the command.
func (c *Cmd) rejectRedacted() error {
	const remedy = "put the Secret into Cmd.Secrets and use its variable"
	errs := make([]error, 0, 2+len(c.Args))
	errs = append(errs, rejectRedacted("Cmd.Line", remedy, c.Line), rejectRedactedMap("Cmd.Env", remedy, c.Env))
	for i, arg := range c.Args {
		errs = append(errs, rejectRedacted(fmt.Sprintf("Cmd.Args[%d]", i), remedy, arg))
	}
	return errors.Join(errs...)
}

// ValidEnvName reports whether a shell can export a variable of this name.
func ValidEnvName(name string) bool {
	for i, r := range name {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// An Upload is a file or a tree to write to a Machine. Exactly one of Content, Path
// and FS must be set.
type Upload struct {
	// Dest is the absolute path on the machine, of the file or of the directory that
	// receives the tree's contents. Missing parent directories are created.
	Dest string

	// Content is the content of a file.
	Content io.Reader

	// Size is the number of bytes in Content, for progress. Zero means unknown.
	Size int64

	// Path is a file or directory on the baking host. A directory's contents are
	// written into Dest.
	Path string

	// FS is a tree. Its contents are written into Dest.
	FS fs.FS

	// Exclude lists patterns of files to leave out of a tree. A pattern with a slash
	// is matched against the path below the root, a pattern without one against every
	// path element. "**" spans directories. Excluding a directory excludes its
	// contents.
	Exclude []string

	// Delete removes from Dest what the tree does not have, except what Exclude
	// matches. Nothing is removed if the transfer fails.
	Delete bool

	// Mode is the permission bits of a single file. Zero means those of the source,
	// or 0644 for Content. Files of a tree keep their own.
	Mode fs.FileMode

	// Owner and Group are set on everything written. If empty, they are those of the
	// login, or root with Sudo. Other values require Sudo or root.
	Owner string
	Group string

	// Sudo writes as root.
	Sudo bool

	// Progress, if not nil, receives the bytes sent so far and the total, which is
	// zero if unknown. It is called from one goroutine at a time.
	Progress func(done, total int64)
}

// Validate reports invalid fields.
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
		return notAbsolute("Upload.Dest", u.Dest)
	case u.Delete && u.Content != nil:
		return Invalid("Upload.Delete", "needs a tree, in Path or FS")
	case u.Delete && path.Clean(u.Dest) == "/":
		return Invalid("Upload.Delete", "would remove everything from /")
	case u.Mode&^posixsh.ModeBits != 0:
		return Invalid("Upload.Mode", "%v contains bits other than permissions", u.Mode)
	case strings.HasPrefix(u.Owner, "-"):
		return Invalid("Upload.Owner", "invalid name %q", u.Owner)
	}
	if _, err := exclude.Parse(u.Exclude); err != nil {
		return Invalid("Upload.Exclude", "%w", err)
	}
	return nil
}

// A Download is a file or a tree to copy from a Machine. Exactly one of Content and
// Path must be set.
type Download struct {
	// Source is the absolute path on the machine.
	Source string

	// Content receives the content of a file.
	Content io.Writer

	// Path is the file to write on the baking host or, if Source is a directory, the
	// directory that receives its contents. Missing parents are created. A file
	// appears under its name only after it is complete. Files of a tree that are there
	// already may be left as they are.
	Path string

	// Exclude lists patterns of files to leave out, as in Upload.
	Exclude []string

	// Sudo reads as root.
	Sudo bool

	// Progress, if not nil, is called as in Upload.
	Progress func(done, total int64)
}

// Validate reports invalid fields.
func (d *Download) Validate() error {
	switch {
	case (d.Content == nil) == (d.Path == ""):
		return Invalid("Download", "exactly one of Content and Path must be set")
	case !strings.HasPrefix(d.Source, "/"):
		return notAbsolute("Download.Source", d.Source)
	}
	if _, err := exclude.Parse(d.Exclude); err != nil {
		return Invalid("Download.Exclude", "%w", err)
	}
	return nil
}

func notAbsolute(field, name string) error {
	if strings.HasPrefix(name, "~") {
		return Invalid(field, "%q is not an absolute path: a Machine does not expand \"~\", join Facts.Home and the path", name)
	}
	return Invalid(field, "%q is not an absolute path", name)
}

// Facts describes a machine.
type Facts struct {
	OS       string    // kernel name in lower case: "linux"
	Distro   string    // ID of /etc/os-release: "ubuntu", "amzn"
	Version  string    // VERSION_ID of /etc/os-release: "24.04"
	Arch     string    // machine hardware name: "x86_64", "aarch64"
	Kernel   string    // kernel release
	Hostname string    // host name without its domain
	BootID   string    // changes with every boot
	User     string    // the login
	UID      int       // the login's numeric id
	Home     string    // the login's home directory
	Read     time.Time // when the facts were read, by the baking host's clock
}
