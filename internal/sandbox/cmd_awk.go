package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/benhoyt/goawk/interp"
	"github.com/benhoyt/goawk/parser"
)

// awk runs goawk without access to files and commands, which would be those of the
// computer that simulates the machine. So a program reads one file or the standard
// input, and print > file, getline < file, pipes and system fail.
func awk(ctx context.Context, p *Process) int {
	args := p.Args[1:]
	var vars []string
	text, separator := "", ""
	set := func(assignment string) bool {
		name, value, ok := strings.Cut(assignment, "=")
		vars = append(vars, name, awkUnescape(value))
		return ok
	}
	given := false
flags:
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		flag, value := args[0][:2], args[0][2:]
		if args[0] == "--version" {
			p.print("awk version 20240728 (GoAWK)\n")
			return 0
		}
		args = args[1:]
		if flag == "--" {
			break
		}
		if value == "" && len(args) > 0 {
			value, args = args[0], args[1:]
		}
		switch flag {
		case "-F":
			separator = value
		case "-v":
			if !set(value) {
				return p.fail(2, "invalid -v argument %s", quote(value))
			}
		case "-f":
			data, err := p.FS.ReadFile(p.Path(value))
			if err != nil {
				return p.fail(2, "can't open file %s: %s", value, errText(err))
			}
			text, given = text+string(data)+"\n", true
		default:
			p.fail(2, "option %s is not supported by this machine", flag)
			break flags
		}
	}
	if !given {
		if len(args) == 0 {
			return p.fail(2, "usage: awk [-F fs][-v var=value][prog | -f progfile][file ...]")
		}
		text, args = args[0], args[1:]
	}
	if separator == "t" {
		separator = "\t"
	}
	if separator != "" {
		vars = append(vars, "FS", separator)
	}
	if len(text) > longestProgram {
		return p.fail(2, "%v", errLongProgram)
	}
	program, err := parser.ParseProgram([]byte(text), nil)
	if err != nil {
		return p.fail(2, "%v", err)
	}
	in := p.Stdin
	files := 0
	for _, arg := range args {
		if name, _, ok := strings.Cut(arg, "="); ok && validName(name) && files == 0 {
			set(arg)
			continue
		}
		if files++; files > 1 {
			return p.fail(2, "more than one file is not supported by this machine: use cat")
		}
		f, err := p.input(arg)
		if err != nil {
			return p.fail(2, "can't open file %s: %s", arg, errText(err))
		}
		defer shut(f)
		in = f
		vars = append(vars, "FILENAME", arg)
	}
	environ := []string{}
	for name, value := range p.Env {
		environ = append(environ, name, value)
	}
	guard := newAWKGuard(p)
	if err := guard.limit(program); err != nil {
		return p.fail(2, "%v", err)
	}
	run, err := interp.New(program)
	if err == nil {
		err = guard.watch(run)
	}
	if err != nil {
		return p.fail(2, "%v", err)
	}
	out := &failingWriter{w: p.Stdout}
	status, err := run.ExecuteContext(ctx, &interp.Config{
		Stdin: in, Output: out, Error: p.Stderr, Argv0: "awk", Vars: vars, Environ: environ,
		NoExec: true, NoFileReads: true, NoFileWrites: true, Funcs: guard.funcs(),
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, errOutputLimit) {
		return p.fail(2, "%v", err)
	}
	return status
}

// awkUnescape replaces the escapes in the value of an assignment.
func awkUnescape(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n", `\r`, "\r", `\"`, `"`, `\/`, "/", `\a`, "\a", `\f`, "\f", `\v`, "\v", `\b`, "\b").Replace(s)
}

// longestProgram is the size limit of the programs of awk and jq, whose parsers call
// themselves for every level of nesting: with no limit they would exhaust the stack,
// which ends the whole test process.
const longestProgram = 16 << 10

var errLongProgram = fmt.Errorf("program longer than %d KiB is not supported by this machine", longestProgram>>10)

// failingWriter stops after an error, which the library ignores.
type failingWriter struct {
	w   io.Writer
	err error
}

func (f *failingWriter) Write(b []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	var n int
	n, f.err = f.w.Write(b)
	return n, f.err
}
