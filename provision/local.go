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
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Local runs a command on the baking host, not on the machine. Exactly one of
// Command and Args must be set. The command's output becomes events of the build.
//
// Validation requires that the files other provisioners read exist before the
// build begins, so a command that generates such files must run before Bake is
// called.
//
// When the context ends, Local sends SIGTERM to the command's process group and
// kills it after five seconds. On Linux it also kills descendants that left the
// group. On systems other than Unix it kills only the command, immediately.
//
// A command outlives a process that is killed. On Linux, Local kills what the step has
// left running on this host when a resumed build runs it again.
type Local struct {
	// Command is a command line for the baking host's /bin/sh. Windows has none:
	// use Args there.
	Command string

	// Args is a program and its arguments. No shell expands them.
	Args []string

	// Dir is the working directory. If empty, it is that of this process.
	Dir string

	// Env and Secrets are added to the environment of this process. The values
	// of Secrets are masked in everything the build reports.
	Env     map[string]string
	Secrets map[string]bake.Secret

	// Reads lists the files and directories on the baking host that the result
	// depends on. They are declared as inputs; the command may read others.
	Reads []string

	// ExitCodes are the exit statuses that count as success. If empty, only 0
	// does.
	ExitCodes []int

	// Stdout and Stderr, if set, also receive the output as it arrives, including
	// secrets. Only one goroutine at a time writes to them, so they may be the
	// same.
	Stdout io.Writer
	Stderr io.Writer

	fileSecrets []bake.Secret // values to mask that the command reads from files
}

var (
	_ bake.Provisioner   = Local{}
	_ bake.Validator     = Local{}
	_ bake.HostValidator = Local{}
	_ bake.InputDeclarer = Local{}
)

// String returns "local: " and the command.
func (l Local) String() string { return "local: " + firstCommand(l.commandLine()) }

func (l Local) commandLine() string {
	if l.Command != "" {
		return l.Command
	}
	return strings.Join(l.Args, " ")
}

// Validate reports invalid fields, and files and directories that do not exist.
func (l Local) Validate() error {
	errs := []error{checkEnv("Local", l.Env, l.Secrets), checkExitCodes("Local.ExitCodes", l.ExitCodes)}
	switch {
	case !exactlyOne(strings.TrimSpace(l.Command) != "", len(l.Args) > 0):
		errs = append(errs, bake.Invalid("Local", "exactly one of Command and Args must be set"))
	case hasNUL(l.Command) || slices.ContainsFunc(l.Args, hasNUL):
		errs = append(errs, bake.Invalid("Local", "the command contains a NUL byte"))
	case len(l.Args) > 0 && l.Args[0] == "":
		errs = append(errs, bake.Invalid("Local.Args", "the program is empty"))
	}
	for _, name := range l.Reads {
		if _, err := stat(nil, name); err != nil {
			errs = append(errs, bake.Invalid("Local.Reads", "%w", err))
		}
	}
	if l.Dir != "" {
		errs = append(errs, checkDir("Local.Dir", nil, l.Dir))
	}
	return errors.Join(append(errs, checkRedacted("Local", l))...)
}

// ValidateHost reports a program that is missing on the baking host. It does not look
// for the path of a program, which another Local may build first, and for the
// programs of Command.
func (l Local) ValidateHost() error {
	switch {
	case l.Command != "" && runtime.GOOS == "windows":
		return bake.Invalid("Local.Command", "requires /bin/sh: use Args on Windows")
	case len(l.Args) > 0 && filepath.Base(l.Args[0]) == l.Args[0]:
		if _, err := exec.LookPath(l.Args[0]); err != nil {
			return bake.Invalid("Local.Args", "%w: install it on the baking host, or write its path", err)
		}
	}
	return nil
}

// DeclareInputs declares the command and the content of Reads.
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

// localKillDelay is the time between SIGTERM and SIGKILL. It also limits reading
// the output of an ended command that background processes hold open.
const localKillDelay = 5 * time.Second

// localMark is the environment variable that identifies the descendants of a
// command.
const localMark = "BAKESTONE_LOCAL"

// processMark is the part of a mark that tells the processes of two programs apart that
// bake the same image, one after the other.
func processMark() string { return "." + strconv.Itoa(os.Getpid()) + "." }

// Provision runs the command and waits for it. A command that fails is a
// [*bake.ExitError] with the last lines of output, the values of Secrets masked.
func (l Local) Provision(ctx context.Context, _ bake.Machine) error {
	if err := l.Validate(); err != nil {
		return err
	}
	if err := l.ValidateHost(); err != nil {
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
	build := bake.RunFromContext(ctx)
	if left := build.LeftMark(); left != "" {
		killMarked(localMark+"="+left, processMark())
	}
	mark := localMark + "=" + build.CommandMark() + processMark() + rand.Text()
	cmd.Env = append(cmd.Env, mark)
	cmd.WaitDelay = localKillDelay
	killGroup := newProcessGroup(cmd)

	build.Mask(l.secrets()...)
	finished := build.Command(l.commandLine())
	stdout, stderr := build.Lines(bake.Stdout), build.Lines(bake.Stderr)
	last := &lastLines{}
	cmd.Stdout, cmd.Stderr = last.tee(stdout, l.Stdout), last.tee(stderr, l.Stderr)
	err := errors.Join(cmd.Run(), stdout.Close(), stderr.Close())
	finished(l.exitError(err, last))
	if cause := context.Cause(ctx); cause != nil && err != nil {
		killGroup()
		killMarked(mark, "")
		return cause
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		// The command succeeded; a background process holds its output open.
		err = nil
	}
	return accept(l.exitError(err, last), l.ExitCodes)
}

// exitError turns an *exec.ExitError into a *bake.ExitError.
func (l Local) exitError(err error, last *lastLines) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	status, signal := exitStatus(exit.ProcessState)
	return &bake.ExitError{Command: l.commandLine(), Status: status, Signal: signal, Output: last.masked(l.secrets())}
}

// secrets returns every value to mask.
func (l Local) secrets() []bake.Secret {
	return slices.AppendSeq(slices.Clone(l.fileSecrets), maps.Values(l.Secrets))
}
