package provision

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// A WindowsScript runs a script on a Windows machine over SSH: a PowerShell script
// or a batch file for cmd.exe. Exactly one of Path and Content must be set;
// [PowerShell] and [Batch] make a WindowsScript of lines. The machine needs
// PowerShell 3 or later; the login may have any shell.
//
// Script, environment and secrets are passed on standard input, not in a command
// line. $ErrorActionPreference is Stop: the script fails at the first uncaught
// error. It also fails if it exits, or its last program exited, with a status other
// than 0.
//
// WindowsScript follows Microsoft's documentation. The tests of this package run it
// against a fake machine, not Windows.
type WindowsScript struct {
	// Path is a file on the baking host, or in FS if that is set.
	Path string
	FS   fs.FS

	// Content is the text of the script.
	Content string

	// Batch makes the script a batch file for cmd.exe, which must be ASCII. A Path
	// that ends in ".cmd" or ".bat" does the same. A batch file is stored in a
	// temporary file while it runs.
	Batch bool

	// Args are the arguments of a PowerShell script. Batch files cannot have
	// arguments: use Env.
	Args []string

	// Env and Secrets are added to the environment. The values of Secrets are
	// masked in everything the build reports.
	Env     map[string]string
	Secrets map[string]bake.Secret

	// Dir is the working directory on the machine. If empty, it is the login's, or
	// the system's for a scheduled task.
	Dir string

	// Elevated runs the script as a scheduled task with the highest privileges,
	// for operations that Windows denies to network logins. The login must be an
	// administrator. Exit status and output are those of the script, with both
	// outputs combined. If nil, the script runs directly.
	Elevated *Elevation

	// ExitCodes are the exit statuses that count as success. Installers exit with
	// 3010 to request a restart. If empty, only 0 is success.
	ExitCodes []int
}

var (
	_ bake.Provisioner   = WindowsScript{}
	_ bake.Validator     = WindowsScript{}
	_ bake.InputDeclarer = WindowsScript{}
)

// An Elevation is the account that runs a scheduled task. The zero value is the
// system account, "NT AUTHORITY\SYSTEM".
type Elevation struct {
	// User and Password are the credentials of an administrator.
	User     string
	Password bake.Secret
}

// PowerShell returns a WindowsScript of the given lines for PowerShell.
func PowerShell(lines ...string) WindowsScript { return WindowsScript{Content: joinLines(lines)} }

// Batch returns a WindowsScript of the given lines for cmd.exe.
func Batch(lines ...string) WindowsScript {
	return WindowsScript{Content: joinLines(lines), Batch: true}
}

// AsSystem returns a copy of w that the system account runs.
func (w WindowsScript) AsSystem() WindowsScript {
	w.Elevated = &Elevation{}
	return w
}

// String returns "script PATH", or "powershell: " or "batch: " and the first
// command.
func (w WindowsScript) String() string {
	if w.Path != "" {
		return "script " + w.Path
	}
	if w.isBatch() {
		return "batch: " + firstCommand(w.Content)
	}
	return "powershell: " + firstCommand(w.Content)
}

// source returns a Script with the same source.
func (w WindowsScript) source() Script { return Script{Path: w.Path, FS: w.FS, Content: w.Content} }

func (w WindowsScript) isBatch() bool {
	name := strings.ToLower(w.Path)
	return w.Batch || strings.HasSuffix(name, ".cmd") || strings.HasSuffix(name, ".bat")
}

// text returns the script as it runs.
func (w WindowsScript) text() (string, error) {
	text, _, err := w.source().read()
	if w.isBatch() {
		// cmd.exe does not find labels in files with LF line ends.
		text = bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	}
	return string(text), err
}

// Validate reports invalid fields and a file that cannot be read.
func (w WindowsScript) Validate() error {
	errs := append(w.source().checkSource("WindowsScript"), checkEnv("WindowsScript", w.Env, w.Secrets))
	if w.isBatch() {
		if len(w.Args) > 0 {
			errs = append(errs, bake.Invalid("WindowsScript.Args", "not supported for batch files: use Env"))
		}
		if text, err := w.text(); err == nil && strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 }) {
			errs = append(errs, bake.Invalid("WindowsScript", "a batch file must be ASCII"))
		}
	}
	if e := w.Elevated; e != nil && (e.User == "") != e.Password.IsZero() {
		errs = append(errs, bake.Invalid("WindowsScript.Elevated", "User and Password must be set together"))
	}
	for _, code := range w.ExitCodes {
		if code < 0 || int64(code) > 1<<32-1 {
			errs = append(errs, bake.Invalid("WindowsScript.ExitCodes", "invalid exit status %d", code))
		}
	}
	return errors.Join(append(errs, checkRedacted("WindowsScript", w))...)
}

// DeclareInputs declares the script and its parameters.
func (w WindowsScript) DeclareInputs(in *bake.Inputs) error {
	text, err := w.text()
	if err != nil {
		return err
	}
	in.Content("text", []byte(text))
	in.Value("batch", w.isBatch())
	in.Value("args", w.Args)
	declareEnv(in, w.Env, w.Secrets)
	in.Value("dir", w.Dir)
	in.Value("elevated", w.Elevated != nil)
	if w.Elevated != nil {
		in.Value("user", w.Elevated.User)
	}
	in.Value("exit codes", w.ExitCodes)
	return nil
}

// A windowsRun is the variable $p of the code in windows_code.go.
type windowsRun struct {
	Code     string            `json:"code"` // code to run
	Text     string            `json:"text,omitempty"`
	Batch    bool              `json:"batch,omitempty"`
	Args     []string          `json:"args,omitempty"`
	Env      map[string]string `json:"env,omitempty"`
	Dir      string            `json:"dir,omitempty"`
	ID       string            `json:"id,omitempty"`
	Command  string            `json:"command,omitempty"` // run by the scheduled task
	Input    string            `json:"input,omitempty"`   // standard input of Command
	User     string            `json:"user,omitempty"`
	Password string            `json:"password,omitempty"`
}

// Provision runs the script.
func (w WindowsScript) Provision(ctx context.Context, m bake.Machine) error {
	if err := w.Validate(); err != nil {
		return err
	}
	text, err := w.text()
	if err != nil {
		return err
	}
	build := bake.RunFromContext(ctx)
	build.Mask(slices.Collect(maps.Values(w.Secrets))...)
	env := maps.Clone(w.Env)
	for name, secret := range w.Secrets {
		if env == nil {
			env = map[string]string{}
		}
		env[name] = secret.Reveal()
	}
	run := windowsRun{Code: directCode, Text: text, Batch: w.isBatch(), Args: w.Args, Env: env, Dir: w.Dir}
	if w.Elevated != nil {
		build.Mask(w.Elevated.Password)
		run, err = w.Elevated.task(run)
		if err != nil {
			return err
		}
	}
	_, err = runPowerShell(ctx, m, w.String(), run)
	if err != nil && run.ID != "" && !isExit(err) {
		// The task keeps running although the command that watched it is gone.
		err = errors.Join(err, endTask(ctx, m, run.ID))
	}
	return w.explain(accept(err, w.ExitCodes))
}

// explain adds a remedy to the error of a script that lacked the privileges of an
// administrator.
func (w WindowsScript) explain(err error) error {
	exit, ok := errors.AsType[*bake.ExitError](err)
	if !ok || w.Elevated != nil || !outputContains(exit, "access is denied", "access to the path", "requires elevation", "administrator privileges", "administrative privileges") {
		return err
	}
	return fmt.Errorf("%w\n\tset WindowsScript.Elevated, or use AsSystem, if it needs more privileges than a network login has", err)
}

// task returns a windowsRun that runs run as a scheduled task.
func (e *Elevation) task(run windowsRun) (windowsRun, error) {
	input, err := windowsInput(run)
	if err != nil {
		return windowsRun{}, err
	}
	return windowsRun{
		Code: taskCode, ID: rand.Text(), Command: powershellLine(), Input: input,
		User: e.User, Password: e.Password.Reveal(),
	}, nil
}

// endTask stops and removes a scheduled task, even if ctx has ended.
func endTask(ctx context.Context, m bake.Machine, id string) error {
	ctx, stop := clock.WithTimeout(context.WithoutCancel(ctx), bake.RunFromContext(ctx).Clock, failedRemoveTimeout)
	defer stop()
	if _, err := runPowerShell(ctx, m, "stop scheduled task", windowsRun{Code: endCode, ID: id}); err != nil {
		return fmt.Errorf("stop scheduled task bakestone-%s: %w", id, err)
	}
	return nil
}

func isExit(err error) bool {
	_, ok := errors.AsType[*bake.ExitError](err)
	return ok
}
