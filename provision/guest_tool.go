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

// A guestTool is a tool of configuration management that runs on the machine,
// as root.
type guestTool struct {
	owner   string   // the type of the provisioner, for errors
	program string   // its name or path
	places  []string // where it may be besides root's PATH

	install, remove bake.Provisioner
}

// check reports what is wrong with the ways to install and to remove it.
func (g guestTool) check() error {
	var errs []error
	if g.install != nil {
		errs = append(errs, checkInner(g.owner+".Install", g.install))
	}
	if g.remove != nil {
		errs = append(errs, checkInner(g.owner+".Remove", g.remove))
	}
	if strings.ContainsAny(g.program, "\x00\n") {
		errs = append(errs, bake.Invalid(g.owner+".Program", "%q is no program", g.program))
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

// use finds the tool, installs it if it is missing, calls run with a directory
// of its own, which only root can enter and which is removed again, and removes
// the tool if run succeeded: another machine is hardly made of one that failed.
func (g guestTool) use(ctx context.Context, m bake.Machine, run func(s *staging, program string) error) error {
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
		return fmt.Errorf("the machine has no %s: %s.Install can install it, and %s.Program says where it is", g.program, g.owner, g.owner)
	}
	err = inOwnDir(ctx, m, defaultRemoteDir, true, func(dir *ownDir) error {
		return run(&staging{m, dir.path}, program)
	})
	if err == nil && g.remove != nil {
		if err = g.remove.Provision(ctx, m); err != nil {
			return fmt.Errorf("remove %s: %w", path.Base(g.program), err)
		}
	}
	return err
}

// find returns the path of the tool on the machine, or nothing.
func (g guestTool) find(ctx context.Context, m bake.Machine) (string, error) {
	var line strings.Builder
	line.WriteString("command -v " + posixsh.Quote(g.program) + " 2>/dev/null && exit; ")
	for _, dir := range g.places {
		at := posixsh.Quote(path.Join(dir, g.program))
		line.WriteString("[ -x " + at + " ] && echo " + at + " && exit; ")
	}
	return bake.Output(ctx, m, &bake.Cmd{Line: line.String() + "exit 0", Sudo: true})
}

// mostMessages is how many of a tool's messages go into an error.
const mostMessages = 5

// A messages collects the first lines that a tool marks as errors.
type messages struct {
	marks []string // of which one stands before the message in such a line
	lines []string
}

func (c *messages) writer() *lineWriter {
	return &lineWriter{line: func(line string) {
		for _, mark := range c.marks {
			_, text, found := strings.Cut(line, mark)
			if text = strings.TrimSpace(text); found && len(c.lines) < mostMessages && !slices.Contains(c.lines, text) {
				c.lines = append(c.lines, text)
				return
			}
		}
	}}
}

// runTool runs a command and returns what its lines say behind one of
// marks, in either output.
func runTool(ctx context.Context, m bake.Machine, cmd *bake.Cmd, marks ...string) ([]string, error) {
	found := &messages{marks: marks}
	stdout, stderr := found.writer(), found.writer()
	cmd.Stdout, cmd.Stderr, cmd.Sudo = stdout, stderr, true
	err := m.Run(ctx, cmd)
	stdout.end()
	stderr.end()
	return found.lines, err
}

// toolError puts what an exit status means, and what the tool said, before err,
// the end of its command.
func toolError(err error, meaning func(status int) string, said []string, hidden []bake.Secret) error {
	var exit *bake.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	text := meaning(exit.Status)
	if len(said) > 0 {
		all := cutSecrets(strings.Join(said, "; "), hidden)
		if len(all) > longestSaid {
			all = strings.ToValidUTF8(all[:longestSaid], "") + " …"
		}
		text += ": " + all
	}
	return fmt.Errorf("%s: %w", text, err)
}
