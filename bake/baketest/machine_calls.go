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
)

// A CallKind says which method of a Machine a Call was.
type CallKind string

// The methods that a Machine records.
const (
	RunCall    CallKind = "run"
	PutCall    CallKind = "put"
	GetCall    CallKind = "get"
	RebootCall CallKind = "reboot"
)

// A Call is one thing that was done to a Machine.
type Call struct {
	Kind CallKind

	// Of Run and Reboot:
	Command string            // the command as bake.Cmd prints it
	Args    []string          // nil if it was a command line
	Dir     string            // the working directory
	Env     map[string]string // the whole of Cmd.Env and Cmd.Secrets, values revealed
	Secrets []string          // which of Env were given as secrets, sorted
	Stdin   string            // all of the input
	PTY     bool
	Script  string // the text of the script it runs, if it runs one from the machine's files

	// Of Put and Get:
	Path         string   // on the machine; of Run, the path of the script
	Files        []string // of a tree, the paths below Path of its files and links, sorted
	Content      string   // of a single file
	Mode         fs.FileMode
	Owner, Group string // of Put, as they were asked for
	Exclude      []string

	Sudo bool
	Err  error // what the caller was given
}

// String is the call on one line: "run apt-get update", "put /etc/motd".
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

// text is what the call is known by: its script, or else its command.
func (c Call) text() string {
	if text := strings.TrimSpace(c.Script); text != "" {
		return text
	}
	return c.Command
}

// ownDir begins the name of every directory that package provision makes for a
// single run.
const ownDir = "bakestone-"

// upkeep reports whether the call makes or removes such a directory.
func (c Call) upkeep() bool {
	if len(c.Args) < 2 || c.Args[0] != "mkdir" && c.Args[0] != "rm" {
		return false
	}
	return strings.HasPrefix(path.Base(c.Args[len(c.Args)-1]), ownDir)
}

// Calls returns everything that was done to the machine so far, in the order
// in which it began.
func (m *Machine) Calls() []Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

// Commands returns what was run, in order: of a script its text, without white
// space around it, and of anything else the command. The mkdir and rm by which
// package provision keeps a place for a script are left out; Calls has them.
func (m *Machine) Commands() []string {
	var commands []string
	for _, call := range m.Calls() {
		if call.Kind == RunCall && !call.upkeep() {
			commands = append(commands, call.text())
		}
	}
	return commands
}

// callOf reads cmd's input to its end and looks up the script that it runs.
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
		// Only what may be run is a script, not any file that a command is
		// given.
		if f := m.files[path.Clean(arg)]; f != nil && f.Mode.IsRegular() && f.Mode&0o100 != 0 {
			call.Path, call.Script = arg, string(f.Content)
			break
		}
	}
	return call, nil
}

// record appends call and returns a func that notes how it ended.
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
