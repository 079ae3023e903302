package provision

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// A Script is a script to run on the machine. Exactly one of Inline, Path and
// Content is set.
//
// The script is copied into a directory of its own, which is removed after it,
// whether it succeeded, failed or was canceled. Only its user can read it
// there. It is handed to its interpreter rather than executed, and so runs
// where /tmp is mounted noexec, too.
type Script struct {
	// Inline is the lines of the script.
	Inline []string

	// Path is a file on the baking host, or in FS if that is set.
	Path string
	FS   fs.FS

	// Content is the text of the script.
	Content string

	// Args are the arguments of the script. Nothing in them is expanded.
	Args []string

	// Interpreter is the program that runs the script, and its options, with
	// spaces between: "python3 -u". Empty is the one that the script names in
	// its first line (#!), and "/bin/sh -e" for a script that names none: the
	// first command that fails ends it. A compiled program needs none.
	Interpreter string

	// Env is added to the environment. Secrets is, too, and its values are
	// masked in all that the build reports.
	Env     map[string]string
	Secrets map[string]bake.Secret

	// Dir is the working directory on the machine, an absolute path. Empty is
	// the login's home.
	Dir string

	// Sudo runs the script as root.
	Sudo bool

	// ExitCodes are the exit statuses that count as success. Empty is 0 alone.
	ExitCodes []int

	// ExpectDisconnect takes a connection that is lost while the script runs
	// for its success. To restart the machine use Reboot, which also waits
	// for it.
	ExpectDisconnect bool

	// RemoteDir is an existing directory on the machine, in which the
	// script's own is made. Empty is /tmp. A compiled program, which is
	// executed itself, needs one that is not mounted noexec.
	RemoteDir string

	// KeepCRLF leaves the text as it is. By default lines that end in CR LF,
	// as on Windows, are made to end in LF, and a byte order mark is dropped;
	// what contains NUL bytes is never changed.
	KeepCRLF bool
}

// Shell returns a Script of the given lines, for /bin/sh -e.
func Shell(lines ...string) Script { return Script{Inline: lines} }

// AsRoot returns a copy of s with Sudo set.
func (s Script) AsRoot() Script {
	s.Sudo = true
	return s
}

// Scripts returns the files of paths as Scripts, to run in this order, that
// have everything else from common.
func Scripts(common Script, paths ...string) Sequence {
	scripts := make(Sequence, 0, len(paths))
	for _, p := range paths {
		common.Path = p
		scripts = append(scripts, common)
	}
	return scripts
}

// String is "script PATH", or "shell: " and the first line.
func (s Script) String() string {
	if s.Path != "" {
		return "script " + s.Path
	}
	text := s.Content
	if len(s.Inline) > 0 {
		text = strings.Join(s.Inline, "\n")
	}
	return "shell: " + firstCommand(text)
}

// Validate reports all that keeps the script from being run.
func (s Script) Validate() error {
	errs := append(s.checkSource("Script"),
		checkAbsolute("Script.Dir", s.Dir, optional),
		checkAbsolute("Script.RemoteDir", s.RemoteDir, optional),
		checkEnv("Script", s.Env, s.Secrets),
		checkExitCodes("Script.ExitCodes", s.ExitCodes),
	)
	if s.Interpreter != "" && strings.TrimSpace(s.Interpreter) == "" {
		errs = append(errs, bake.Invalid("Script.Interpreter", "is blank"))
	}
	if slices.ContainsFunc(s.Args, hasNUL) {
		errs = append(errs, bake.Invalid("Script.Args", "contain a NUL byte"))
	}
	return errors.Join(errs...)
}

// DeclareInputs declares the text of the script as it runs, and every
// parameter.
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
	in.Value("exit codes", s.ExitCodes)
	in.Value("expect disconnect", s.ExpectDisconnect)
	in.Value("remote dir", s.RemoteDir)
	return nil
}

// checkSource reports what is wrong with the text of a script that is part of
// the type owner.
func (s Script) checkSource(owner string) []error {
	var errs []error
	if exactlyOne(len(s.Inline) > 0, s.Path != "", s.Content != "") {
		switch {
		case s.Path != "":
			errs = append(errs, checkFile(owner+".Path", s.FS, s.Path))
		case len(s.Inline) > 0 && strings.TrimSpace(strings.Join(s.Inline, "")) == "":
			errs = append(errs, bake.Invalid(owner+".Inline", "has no commands"))
		}
	} else {
		errs = append(errs, bake.Invalid(owner, "exactly one of Inline, Path and Content must be set"))
	}
	if s.FS != nil && s.Path == "" {
		errs = append(errs, bake.Invalid(owner+".FS", "needs Path, the file in it"))
	}
	return errs
}

// read returns the script as it is to be on the machine, and its file name
// there.
func (s Script) read() (text []byte, name string, err error) {
	name = "script"
	switch {
	case s.Path != "" && s.FS != nil:
		name = path.Base(s.Path)
		text, err = fs.ReadFile(s.FS, s.Path)
	case s.Path != "":
		name = filepath.Base(s.Path)
		text, err = os.ReadFile(s.Path)
	case len(s.Inline) > 0:
		text = []byte(strings.Join(s.Inline, "\n") + "\n")
	default:
		text = []byte(s.Content)
	}
	if err != nil {
		return nil, "", fmt.Errorf("read script: %w", err)
	}
	if !s.KeepCRLF {
		text = unixText(text)
	}
	return text, name, nil
}

const longestName = 60

// firstCommand is the first line of a script that does something, cut short.
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
	if len(shown) > longestName {
		shown = strings.ToValidUTF8(shown[:longestName], "")
	}
	if shown != text {
		shown += " …"
	}
	return shown
}
