package provision

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// A Script runs a script on the machine. Exactly one of Path and Content must be
// set; [Shell] makes a Script of command lines.
//
// Provision copies the script to a directory that only its user can read, and
// removes the directory whether the script succeeds, fails or is canceled. The
// script is passed to its interpreter, so it runs even if /tmp is mounted noexec.
type Script struct {
	// Path is a file on the baking host, or in FS if that is set.
	Path string
	FS   fs.FS

	// Content is the text of the script.
	Content string

	// Files lists files and directories that the script needs, such as a library
	// that it sources: paths relative to the directory of Path, "functions.sh",
	// "../lib" or "." for all of it. They are copied unchanged to the same place
	// relative to the script, with their permissions, and removed with it. The
	// script finds them by its own path:
	//
	//	. "$(dirname "$0")/functions.sh"
	//
	// An embed.FS has no permission to execute: run its files with an interpreter.
	Files []string

	// Args are the script's arguments. No shell expands them.
	Args []string

	// Interpreter is the program that runs the script and its options, separated
	// by spaces: "python3 -u". If empty, the script's first line (#!) names it;
	// without such a line it is "/bin/sh -e", which stops at the first command
	// that fails. A compiled program needs no interpreter.
	Interpreter string

	// Env and Secrets are added to the environment. The values of Secrets are
	// masked in everything the build reports.
	Env     map[string]string
	Secrets map[string]bake.Secret

	// Dir is the working directory on the machine: an absolute path, one in the
	// login's home, "~/app", or "." for the directory that contains the script. If
	// empty, it is the login's home.
	Dir string

	// Sudo runs the script as root. [Script.AsRoot] sets it on the result of Shell.
	Sudo bool

	// PTY runs the script with a terminal, for programs that refuse to work without
	// one. Its outputs then arrive as one, and it has no input.
	PTY bool

	// ExitCodes are the exit statuses that count as success. If empty, only 0
	// does.
	ExitCodes []int

	// ExpectDisconnect makes losing the connection while the script runs a
	// success. To restart the machine, use [Reboot], which also waits for it.
	ExpectDisconnect bool

	// RemoteDir is an existing directory on the machine in which the script's
	// directory is created, absolute or in the login's home. If empty, it is /tmp. A compiled program needs a
	// directory that is not mounted noexec.
	RemoteDir string

	// KeepCRLF keeps the text unchanged. By default, CR LF line ends become LF
	// and a byte order mark is removed. Text with NUL bytes is never changed.
	KeepCRLF bool
}

var (
	_ bake.Provisioner   = Script{}
	_ bake.Validator     = Script{}
	_ bake.InputDeclarer = Script{}
)

// Shell returns a Script of the given lines, which /bin/sh -e runs unless the
// first one names another interpreter (#!).
func Shell(lines ...string) Script { return Script{Content: joinLines(lines)} }

func joinLines(lines []string) string { return strings.Join(lines, "\n") + "\n" }

// AsRoot returns a copy of s with Sudo set.
func (s Script) AsRoot() Script {
	s.Sudo = true
	return s
}

// Scripts returns a Script for each of paths, in this order. All other fields
// are those of common.
func Scripts(common Script, paths ...string) Sequence {
	scripts := make(Sequence, 0, len(paths))
	for _, p := range paths {
		common.Path = p
		scripts = append(scripts, common)
	}
	return scripts
}

// String returns "script PATH", or "shell: " and the first command.
func (s Script) String() string {
	if s.Path != "" {
		return "script " + s.Path
	}
	return "shell: " + firstCommand(s.Content)
}

// Validate reports invalid fields and a file that cannot be read.
func (s Script) Validate() error {
	errs := append(s.checkSource("Script"),
		s.checkFiles(),
		checkPath("Script.RemoteDir", s.RemoteDir, optional),
		checkEnv("Script", s.Env, s.Secrets),
		checkExitCodes("Script.ExitCodes", s.ExitCodes),
	)
	if s.Interpreter != "" && strings.TrimSpace(s.Interpreter) == "" {
		errs = append(errs, bake.Invalid("Script.Interpreter", "is blank"))
	}
	if s.Dir != scriptDir {
		errs = append(errs, checkPath("Script.Dir", s.Dir, optional))
	}
	if slices.ContainsFunc(s.Args, hasNUL) {
		errs = append(errs, bake.Invalid("Script.Args", "contains a NUL byte"))
	}
	if err := s.checkText(unixText([]byte(s.Content))); err != nil {
		errs = append(errs, bake.Invalid("Script.Content", "%w", err))
	}
	return errors.Join(append(errs, checkRedacted("Script", s))...)
}

// DeclareInputs declares the script as it runs and its parameters.
func (s Script) DeclareInputs(in *bake.Inputs) error {
	text, name, err := s.read()
	if err != nil {
		return err
	}
	in.Value("name", name)
	in.Content("text", text)
	in.Value("args", s.Args)
	in.Value("interpreter", s.Interpreter)
	declareEnv(in, s.Env, s.Secrets)
	in.Value("dir", s.Dir)
	in.Value("sudo", s.Sudo)
	in.Value("pty", s.PTY)
	in.Value("exit codes", s.ExitCodes)
	in.Value("expect disconnect", s.ExpectDisconnect)
	in.Value("remote dir", s.RemoteDir)
	return s.declareFiles(in)
}

// checkSource reports invalid Path, FS and Content fields of the type owner.
func (s Script) checkSource(owner string) []error {
	var errs []error
	switch {
	case !exactlyOne(s.Path != "", s.Content != ""):
		errs = append(errs, bake.Invalid(owner, "exactly one of Path and Content must be set"))
	case s.Path != "":
		errs = append(errs, checkFile(owner+".Path", s.FS, s.Path))
	case strings.TrimSpace(s.Content) == "":
		errs = append(errs, bake.Invalid(owner+".Content", "contains no commands"))
	}
	if s.FS != nil && s.Path == "" {
		errs = append(errs, bake.Invalid(owner+".FS", "requires Path, the file in it"))
	}
	return errs
}

// read returns the text of the script and its file name on the machine.
func (s Script) read() (text []byte, name string, err error) {
	text, name = []byte(s.Content), "script"
	if s.Path != "" {
		name = filepath.Base(s.Path)
		text, err = readFile(s.FS, s.Path)
	}
	if err != nil {
		return nil, "", fmt.Errorf("read script: %w", err)
	}
	if !s.KeepCRLF {
		text = unixText(text)
	}
	if err := s.checkText(text); err != nil {
		return nil, "", err
	}
	return text, name, nil
}

// checkText reports texts that no interpreter runs as intended.
func (s Script) checkText(text []byte) error {
	for _, start := range []string{"\xff\xfe", "\xfe\xff", "#\x00!\x00", "\x00#\x00!"} {
		if bytes.HasPrefix(text, []byte(start)) {
			return errors.New("script is in UTF-16, which no shell reads: save it as UTF-8")
		}
	}
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); s.Interpreter == "" && len(trimmed) < len(text) && bytes.HasPrefix(trimmed, []byte("#!")) {
		return errors.New("script has its #! not at its very beginning, where it would count: remove the white space before it, or set Script.Interpreter")
	}
	return nil
}

const maxNameLen = 60

// firstCommand returns the first line of a script that is not a comment,
// shortened to maxNameLen bytes.
func firstCommand(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return "nothing"
	}
	var first string
	for line := range strings.Lines(text) {
		if first = strings.TrimSpace(line); first != "" && !strings.HasPrefix(first, "#") {
			break
		}
	}
	shown := first
	if len(shown) > maxNameLen {
		shown = strings.ToValidUTF8(shown[:maxNameLen], "")
	}
	if shown != text {
		shown += " …"
	}
	return shown
}
