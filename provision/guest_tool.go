package provision

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A guestTool is a configuration management tool that runs on the machine as
// root.
type guestTool struct {
	owner   string   // provisioner type, for error messages
	program string   // name or path
	dirs    []string // where to look besides root's PATH

	install, remove bake.Provisioner
}

// check reports invalid fields Install, Remove and Program.
func (g guestTool) check() error {
	var errs []error
	if g.install != nil {
		errs = append(errs, checkProvisioner(g.owner+".Install", g.install))
	}
	if g.remove != nil {
		errs = append(errs, checkProvisioner(g.owner+".Remove", g.remove))
	}
	if strings.ContainsAny(g.program, "\x00\n") {
		errs = append(errs, bake.Invalid(g.owner+".Program", "invalid path %q", g.program))
	}
	return errors.Join(errs...)
}

func (g guestTool) declare(in *bake.Inputs) error {
	in.Value("program", g.program)
	var errs []error
	if g.install != nil {
		errs = append(errs, in.Of("install", g.install))
	}
	if g.remove != nil {
		errs = append(errs, in.Of("remove", g.remove))
	}
	return errors.Join(errs...)
}

// use finds the tool, installs it if missing and calls run with its path and a
// staging directory that only root can enter. If run succeeds, it removes the
// tool; a failed machine is unlikely to become an image.
func (g guestTool) use(ctx context.Context, m bake.Machine, run func(dir *stagingDir, program string) error) error {
	program, err := g.find(ctx, m)
	if err != nil {
		return err
	}
	if program == "" && g.install != nil {
		if err := g.install.Provision(ctx, m); err != nil {
			return fmt.Errorf("install %s: %w", path.Base(g.program), err)
		}
		if program, err = g.find(ctx, m); err != nil {
			return err
		}
	}
	if program == "" {
		return fmt.Errorf("%s not found on the machine: set %s.Install to install it, or %s.Program to its path", g.program, g.owner, g.owner)
	}
	err = withStagingDir(ctx, m, defaultRemoteDir, true, func(dir *stagingDir) error { return run(dir, program) })
	if err == nil && g.remove != nil {
		if err = g.remove.Provision(ctx, m); err != nil {
			return fmt.Errorf("remove %s: %w", path.Base(g.program), err)
		}
	}
	return err
}

// find returns the tool's path on the machine, or "" if it is not installed.
func (g guestTool) find(ctx context.Context, m bake.Machine) (string, error) {
	var line strings.Builder
	line.WriteString("command -v " + posixsh.Quote(g.program) + " 2>/dev/null && exit; ")
	for _, dir := range g.dirs {
		at := posixsh.Quote(path.Join(dir, g.program))
		line.WriteString("[ -x " + at + " ] && echo " + at + " && exit; ")
	}
	return bake.Output(ctx, m, &bake.Cmd{Line: line.String() + "exit 0", Sudo: true, Quiet: true})
}

// maxMessages and maxMessagesLen limit the messages of a tool in an error.
const (
	maxMessages    = 5
	maxMessagesLen = 2000
)

// errorMessages collects the first lines that a tool marks as errors.
type errorMessages struct {
	marks []string // prefixes of an error message
	lines []string
}

func (c *errorMessages) writer() *lineWriter {
	return &lineWriter{line: func(line string) {
		for _, mark := range c.marks {
			_, text, found := strings.Cut(line, mark)
			if text = strings.TrimSpace(text); found && len(c.lines) < maxMessages && !slices.Contains(c.lines, text) {
				c.lines = append(c.lines, text)
				return
			}
		}
	}}
}

// runTool runs a command as root and returns the text that follows one of marks
// in the lines of either output.
func runTool(ctx context.Context, m bake.Machine, cmd *bake.Cmd, marks ...string) ([]string, error) {
	found := &errorMessages{marks: marks}
	stdout, stderr := found.writer(), found.writer()
	cmd.Stdout, cmd.Stderr, cmd.Sudo = stdout, stderr, true
	err := m.Run(ctx, cmd)
	stdout.end()
	stderr.end()
	return found.lines, err
}

// toolError wraps err, the result of a tool's command, with the meaning of its
// exit status and the tool's messages.
func toolError(err error, meaning func(status int) string, messages []string, secrets []bake.Secret) error {
	var exit *bake.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	text := meaning(exit.Status)
	if len(messages) > 0 {
		text += ": " + shorten(maskSecretsIn(strings.Join(messages, "; "), secrets))
	}
	return fmt.Errorf("%s: %w", text, err)
}

// shorten cuts a message to maxMessagesLen bytes.
func shorten(message string) string {
	if len(message) <= maxMessagesLen {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessagesLen], "") + " …"
}
