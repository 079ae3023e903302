package baketest

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/staging"
)

// A CallKind identifies the method of a Call.
type CallKind string

// The recorded methods.
const (
	RunCall    CallKind = "run"
	PutCall    CallKind = "put"
	GetCall    CallKind = "get"
	RebootCall CallKind = "reboot"
)

// A Call is a recorded call of a Machine's method.
type Call struct {
	Kind CallKind

	// For Run and Reboot:
	Command string            // the command as formatted by bake.Cmd
	Args    []string          // nil for a command line
	Dir     string            // the working directory
	Env     map[string]string // Cmd.Env and Cmd.Secrets, with the values of secrets
	Secrets []string          // the sorted names in Env that are secrets
	Stdin   string            // the whole input
	PTY     bool
	Script  string // the text of the script, if it runs one of the machine's files

	// For Put and Get:
	Path         string   // on the machine; for Run, the path of the script
	Files        []string // for a tree, the sorted paths of its files and links below Path
	Content      string   // for a single file
	Mode         fs.FileMode
	Owner, Group string // for Put, as requested
	Exclude      []string
	Delete       bool

	Sudo bool
	Err  error // the returned error
}

// String returns the call as one line: "run apt-get update", "put /etc/motd".
func (c Call) String() string {
	var b strings.Builder
	if c.Sudo {
		b.WriteString("sudo ")
	}
	b.WriteString(string(c.Kind) + " ")
	switch c.Kind {
	case RunCall, RebootCall:
		fmt.Fprintf(&b, "%s", strings.ReplaceAll(c.text(), "\n", "; "))
	case PutCall, GetCall:
		b.WriteString(c.Path)
	}
	return b.String()
}

// text returns the script, or else the command.
func (c Call) text() string {
	if text := strings.TrimSpace(c.Script); text != "" {
		return text
	}
	return c.Command
}

// stages reports whether the call creates or removes a staging directory of package
// provision.
func (c Call) stages() bool {
	if len(c.Args) < 2 || c.Args[0] != "mkdir" && c.Args[0] != "rm" {
		return false
	}
	return strings.HasPrefix(path.Base(c.Args[len(c.Args)-1]), staging.Prefix)
}

// Calls returns all calls so far, in the order in which they started.
func (m *Machine) Calls() []Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

// Commands returns the commands that were run, in order. A script is represented by its
// text without surrounding white space. Commands omits the mkdir and rm of package
// provision's staging directories, which Calls includes.
func (m *Machine) Commands() []string {
	var commands []string
	for _, call := range m.Calls() {
		if call.Kind == RunCall && !call.stages() {
			commands = append(commands, call.text())
		}
	}
	return commands
}

// callOf returns the call for cmd, after reading its input and its script.
func (m *Machine) callOf(kind CallKind, cmd *bake.Cmd) (Call, error) {
	call := Call{
		Kind: kind, Command: cmd.String(), Args: slices.Clone(cmd.Args), Dir: cmd.Dir,
		Sudo: cmd.Sudo, PTY: cmd.PTY, Env: maps.Clone(cmd.Env),
		Secrets: slices.Sorted(maps.Keys(cmd.Secrets)),
	}
	for name, secret := range cmd.Secrets {
		if call.Env == nil {
			call.Env = map[string]string{}
		}
		call.Env[name] = secret.Reveal()
	}
	if cmd.Stdin != nil {
		input, err := io.ReadAll(cmd.Stdin)
		if err != nil {
			return Call{}, fmt.Errorf("read standard input: %w", err)
		}
		call.Stdin = string(input)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, arg := range cmd.Args {
		// Only an executable file is a script; other files are plain arguments.
		if f := m.files[path.Clean(arg)]; f != nil && f.Mode.IsRegular() && f.Mode&0o100 != 0 {
			call.Path, call.Script = arg, string(f.Content)
			break
		}
	}
	return call, nil
}

// record appends call and returns a func that records its error.
func (m *Machine) record(call Call) func(error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := len(m.calls)
	m.calls = append(m.calls, call)
	return func(err error) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.calls[at].Err = err
		return err
	}
}
