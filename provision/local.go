package provision

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Local runs a command on the baking host, not on the machine. Exactly one of
// Command and Args is set. Its output is among the build's events.
//
// It has its turn among the provisioners of an image, but what those read from
// the baking host must exist before the build begins: a directory that a
// command has to make first is better made before Bake is called.
//
// When its context ends, the command and what it has started are told to end,
// and killed after five seconds. On Linux that is also what has left the
// command's process group; on a system that is not Unix only the command itself
// is killed, and at once.
type Local struct {
	// Command is a line for the host's /bin/sh, which Windows has not.
	Command string

	// Args is a program and its arguments; nothing in them is expanded.
	Args []string

	// Dir is the working directory. Empty is that of this process.
	Dir string

	// Env and Secrets are added to the environment of this process.
	Env     map[string]string
	Secrets map[string]bake.Secret

	// Reads are the files and directories on the baking host on which the
	// result depends, for DeclareInputs. They need not be complete to run it.
	Reads []string

	// ExitCodes are the exit statuses that count as success. Empty is 0 alone.
	ExitCodes []int

	// Stdout and Stderr, when set, receive the output as it comes as well,
	// secrets and all. Both are called by one goroutine at a time, and may be
	// the same.
	Stdout io.Writer
	Stderr io.Writer

	hidden []bake.Secret // more values to mask, which the command has from files
}

// String is "local: " and the command.
func (l Local) String() string { return "local: " + firstCommand(l.line()) }

func (l Local) line() string {
	if l.Command != "" {
		return l.Command
	}
	return strings.Join(l.Args, " ")
}

// Validate reports all that keeps the command from being run.
func (l Local) Validate() error {
	errs := []error{checkEnv("Local", l.Env, l.Secrets), checkExitCodes("Local.ExitCodes", l.ExitCodes)}
	switch {
	case !exactlyOne(strings.TrimSpace(l.Command) != "", len(l.Args) > 0):
		errs = append(errs, bake.Invalid("Local", "exactly one of Command and Args must be set"))
	case l.Command != "" && runtime.GOOS == "windows":
		errs = append(errs, bake.Invalid("Local.Command", "needs /bin/sh: use Args on Windows"))
	case hasNUL(l.Command) || slices.ContainsFunc(l.Args, hasNUL):
		errs = append(errs, bake.Invalid("Local", "the command contains a NUL byte"))
	case len(l.Args) > 0 && filepath.Base(l.Args[0]) == l.Args[0]:
		if _, err := exec.LookPath(l.Args[0]); err != nil {
			errs = append(errs, bake.Invalid("Local.Args", "%w", err))
		}
	}
	for _, name := range l.Reads {
		if _, err := os.Stat(name); err != nil {
			errs = append(errs, bake.Invalid("Local.Reads", "%w", err))
		}
	}
	if l.Dir != "" {
		errs = append(errs, checkDir("Local.Dir", nil, l.Dir))
	}
	return errors.Join(errs...)
}

// DeclareInputs declares the command and what is in Reads. What else it depends
// on nobody can tell.
func (l Local) DeclareInputs(in *bake.Inputs) error {
	in.Value("command", l.Command)
	in.Value("args", l.Args)
	in.Value("dir", l.Dir)
	declareEnv(in, l.Env, l.Secrets)
	in.Value("exit codes", l.ExitCodes)
	errs := make([]error, 0, len(l.Reads))
	for _, name := range l.Reads {
		errs = append(errs, declarePath(in, "reads "+name, nil, name))
	}
	return errors.Join(errs...)
}

// endTime is how long a command has after it was told to end, and how long its
// output is read after it has ended, if something it left behind holds it open.
const endTime = 5 * time.Second

// localMark is the environment variable that finds what a command has started.
const localMark = "BAKESTONE_LOCAL"

// Provision runs the command and waits for it. If it fails, the *bake.ExitError
// has its last lines, with the values of Secrets cut out.
func (l Local) Provision(ctx context.Context, _ bake.Machine) error {
	if err := l.Validate(); err != nil {
		return err
	}
	args := l.Args
	if l.Command != "" {
		args = []string{"/bin/sh", "-c", l.Command}
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // running what the user says is the purpose
	cmd.Dir = l.Dir
	cmd.Env = os.Environ()
	for name, value := range l.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	for name, secret := range l.Secrets {
		cmd.Env = append(cmd.Env, name+"="+secret.Reveal())
	}
	mark := localMark + "=" + rand.Text()
	cmd.Env = append(cmd.Env, mark)
	cmd.WaitDelay = endTime
	killGroup := ownGroup(cmd)

	build := bake.RunFromContext(ctx)
	build.Mask(l.secrets()...)
	build.Emit(bake.Event{Kind: bake.CommandStarted, Text: l.line()})
	stdout, stderr := build.Lines(bake.Stdout), build.Lines(bake.Stderr)
	last := &lastLines{}
	cmd.Stdout, cmd.Stderr = last.tee(stdout, l.Stdout), last.tee(stderr, l.Stderr)
	err := errors.Join(cmd.Run(), stdout.Close(), stderr.Close())
	if cause := context.Cause(ctx); cause != nil && err != nil {
		killGroup()
		killMarked(mark)
		return cause
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		// It succeeded; what it left behind only holds its output.
		err = nil
	}
	return accept(l.ended(err, last), l.ExitCodes)
}

// ended turns the exit of a process into a *bake.ExitError.
func (l Local) ended(err error, last *lastLines) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	status, signal := exitOf(exit.ProcessState)
	return &bake.ExitError{Command: l.line(), Status: status, Signal: signal, Output: last.without(l.secrets())}
}

// secrets is everything that may not be shown.
func (l Local) secrets() []bake.Secret {
	return slices.AppendSeq(slices.Clone(l.hidden), maps.Values(l.Secrets))
}
