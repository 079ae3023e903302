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

// A WindowsScript is a script to run on a Windows machine over SSH, whatever
// the login's shell is there: for PowerShell 3 or newer, or a batch file for
// cmd.exe. Exactly one of Inline, Path and Content is set.
//
// The script, its environment and its secrets reach PowerShell by its input,
// and are in no command line. An error of PowerShell that nobody catches ends
// the script ($ErrorActionPreference is Stop). It fails by such an error, by
// "exit" with another status than 0, or when the last program that it ran had
// one.
//
// Machines without PowerShell cannot run it. It is written by Microsoft's
// documentation and tested against a pretended machine: the project's tests
// have no Windows.
type WindowsScript struct {
	// Inline is the lines of the script.
	Inline []string

	// Path is a file on the baking host, or in FS if that is set.
	Path string
	FS   fs.FS

	// Content is the text of the script.
	Content string

	// Batch makes it a batch file for cmd.exe, of ASCII characters alone. A
	// Path that ends in ".cmd" or ".bat" is one, too. It is a temporary file
	// while it runs.
	Batch bool

	// Args are the arguments of a script for PowerShell. A batch file takes what
	// it needs from Env.
	Args []string

	// Env is added to the environment. Secrets is, too, and its values are
	// masked in all that the build reports.
	Env     map[string]string
	Secrets map[string]bake.Secret

	// Dir is the working directory on the machine. Empty is the login's, and
	// that of the system for a scheduled task.
	Dir string

	// Elevated, when set, runs the script as a scheduled task with the highest
	// rights, for what Windows forbids to logins from the network. The login
	// must be an administrator. Output and exit status come back as if the
	// script had been run directly, both outputs as one.
	Elevated *Elevation

	// ExitCodes are the exit statuses that count as success: 3010 is that of
	// installers that want a restart. Empty is 0 alone.
	ExitCodes []int
}

// An Elevation is who runs a scheduled task. The zero value is the system,
// "NT AUTHORITY\SYSTEM".
type Elevation struct {
	// User and Password are those of an administrator.
	User     string
	Password bake.Secret
}

// PowerShell returns a WindowsScript of the given lines.
func PowerShell(lines ...string) WindowsScript { return WindowsScript{Inline: lines} }

// Batch returns a WindowsScript of the given lines for cmd.exe.
func Batch(lines ...string) WindowsScript { return WindowsScript{Inline: lines, Batch: true} }

// AsSystem returns a copy of w that is run elevated, by the system.
func (w WindowsScript) AsSystem() WindowsScript {
	w.Elevated = &Elevation{}
	return w
}

// String is "script PATH", or "powershell: " or "batch: " and the first line.
func (w WindowsScript) String() string {
	if w.Path != "" {
		return "script " + w.Path
	}
	text := w.Content
	if len(w.Inline) > 0 {
		text = strings.Join(w.Inline, "\n")
	}
	if w.isBatch() {
		return "batch: " + firstCommand(text)
	}
	return "powershell: " + firstCommand(text)
}

// source is the text of w as that of a Script.
func (w WindowsScript) source() Script {
	return Script{Inline: w.Inline, Path: w.Path, FS: w.FS, Content: w.Content}
}

func (w WindowsScript) isBatch() bool {
	name := strings.ToLower(w.Path)
	return w.Batch || strings.HasSuffix(name, ".cmd") || strings.HasSuffix(name, ".bat")
}

// text is the script as it runs.
func (w WindowsScript) text() (string, error) {
	text, _, err := w.source().read()
	if w.isBatch() {
		// cmd.exe loses its way to labels in a file whose lines end in LF alone.
		text = bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	}
	return string(text), err
}

// Validate reports all that keeps the script from being run.
func (w WindowsScript) Validate() error {
	errs := append(w.source().checkSource("WindowsScript"), checkEnv("WindowsScript", w.Env, w.Secrets))
	if w.isBatch() {
		if len(w.Args) > 0 {
			errs = append(errs, bake.Invalid("WindowsScript.Args", "are for PowerShell: a batch file takes what it needs from Env"))
		}
		if text, err := w.text(); err == nil && strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 }) {
			errs = append(errs, bake.Invalid("WindowsScript", "a batch file must be made of ASCII characters alone"))
		}
	}
	if e := w.Elevated; e != nil && (e.User == "") != e.Password.IsZero() {
		errs = append(errs, bake.Invalid("WindowsScript.Elevated", "User and Password go together"))
	}
	for _, code := range w.ExitCodes {
		if code < 0 || int64(code) > 1<<32-1 {
			errs = append(errs, bake.Invalid("WindowsScript.ExitCodes", "%d is not an exit status", code))
		}
	}
	return errors.Join(errs...)
}

// DeclareInputs declares the text of the script and every parameter.
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

// windowsRun is what the code in windows_code.go knows as $p.
type windowsRun struct {
	Code     string            `json:"code"` // what to do with the rest
	Text     string            `json:"text,omitempty"`
	Batch    bool              `json:"batch,omitempty"`
	Args     []string          `json:"args,omitempty"`
	Env      map[string]string `json:"env,omitempty"`
	Dir      string            `json:"dir,omitempty"`
	ID       string            `json:"id,omitempty"`
	Command  string            `json:"command,omitempty"` // of the scheduled task
	Input    string            `json:"input,omitempty"`   // for it
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
	_, err = onWindows(ctx, m, w.String(), run)
	if err != nil && run.ID != "" && !isExit(err) {
		// The task goes on without whoever watched it.
		err = errors.Join(err, endTask(ctx, m, run.ID))
	}
	return accept(err, w.ExitCodes)
}

// task is how to run something as a scheduled task.
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

// endTask ends and removes a task, also after the end of ctx.
func endTask(ctx context.Context, m bake.Machine, id string) error {
	ctx, stop := clock.WithTimeout(context.WithoutCancel(ctx), bake.RunFromContext(ctx).Clock, failedLimit)
	defer stop()
	if _, err := onWindows(ctx, m, "end the scheduled task", windowsRun{Code: endCode, ID: id}); err != nil {
		return fmt.Errorf("end the scheduled task bakestone-%s: %w", id, err)
	}
	return nil
}

func isExit(err error) bool {
	_, is := errors.AsType[*bake.ExitError](err)
	return is
}
