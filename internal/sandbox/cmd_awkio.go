package sandbox

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/benhoyt/goawk/lexer"
)

// awkIO gives awk the files and programs of the machine in place of those of the
// computer. The library has no hooks for them, so the rewriter replaces the
// instructions that use them by calls of its methods.
type awkIO struct {
	p       *Process
	ctx     context.Context //nolint:containedctx // it is the life of the program
	inputs  *awkInputs
	outputs []*awkOutput
	readers map[string]*awkReader
	line    string // read by getline
	got     bool
}

// awkOutput is a file or the input of a command.
type awkOutput struct {
	name    string
	file    io.WriteCloser
	command *strings.Builder
}

// awkReader is a file or the output of a command that getline reads.
type awkReader struct {
	in    *bufio.Reader
	close func()
}

// awkInputs reads the files of the arguments. It ends once for each of them: the
// library takes every one for its standard input, and sets FNR to 0 between them.
type awkInputs struct {
	p      *Process
	names  []string
	name   string
	open   io.ReadCloser
	status int
}

func (in *awkInputs) Read(b []byte) (int, error) {
	if in.open == nil {
		if len(in.names) == 0 {
			return 0, io.EOF
		}
		in.name, in.names = in.names[0], in.names[1:]
		f, err := in.p.input(in.name)
		if err != nil {
			in.status = in.p.fail(2, "cannot open %s (%s)", in.name, errText(err))
			return 0, io.EOF
		}
		in.open = f
	}
	n, err := in.open.Read(b)
	if n == 0 && err != nil {
		in.skip()
	}
	return n, err
}

// skip ends the current file, as nextfile does.
func (in *awkInputs) skip() {
	if in.open != nil {
		_ = in.open.Close()
		in.open = nil
	}
}

// filename returns $FILENAME.
func (a *awkIO) filename() string {
	if a.inputs.name == "-" {
		return ""
	}
	return a.inputs.name
}

func (a *awkIO) nextFile() bool {
	a.inputs.skip()
	return true
}

// print writes to a file or command: the arguments are the destination, what to
// print, the kind of redirection, OFS and ORS.
func (a *awkIO) print(args ...string) (bool, error) {
	n := len(args)
	dest, kind, separator, end := args[0], args[n-3], args[n-2], args[n-1]
	text := strings.Join(args[1:n-3], separator) + end
	out, err := a.output(dest, kind)
	if err != nil {
		return false, err
	}
	if out.command != nil {
		if !a.p.hold(2 * int64(len(text))) {
			return false, errMemory
		}
		out.command.WriteString(text)
		return true, nil
	}
	_, err = io.WriteString(out.file, text)
	return true, err
}

func (a *awkIO) output(dest, kind string) (*awkOutput, error) {
	if out, ok := first(a.outputs, func(o *awkOutput) bool { return o.name == dest }); ok {
		return out, nil
	}
	out := &awkOutput{name: dest}
	full := a.p.Path(dest)
	fd, standard := standardFD(full)
	switch {
	case kind == "|":
		out.command = &strings.Builder{}
	case dest == "-" || standard && fd == 1:
		out.file = awkStandard{a.p.Stdout}
	case standard && fd == 2: //nolint:mnd // the standard error
		out.file = awkStandard{a.p.Stderr}
	default:
		flag := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		if kind == ">>" {
			flag = os.O_WRONLY | os.O_CREATE | os.O_APPEND
		}
		f, err := a.p.FS.OpenFile(full, flag, 0o666)
		if err != nil {
			return nil, errors.New("cannot open \"" + dest + "\" for output (" + errText(err) + ")")
		}
		out.file = f
	}
	a.outputs = append(a.outputs, out)
	return out, nil
}

type awkStandard struct{ io.Writer }

func (awkStandard) Close() error { return nil }

// finish closes an output and runs its command.
func (a *awkIO) finish(out *awkOutput) int {
	if out.command == nil {
		_ = out.file.Close()
		return 0
	}
	c := a.p.child([]string{"sh", "-c", out.name})
	c.Stdin = strings.NewReader(out.command.String())
	return c.exec(a.ctx)
}

// close closes a file or command, as the function of awk does.
func (a *awkIO) close(name string) int {
	if r := a.readers[name]; r != nil {
		delete(a.readers, name)
		r.close()
		return 0
	}
	for i, out := range a.outputs {
		if out.name == name {
			a.outputs = append(a.outputs[:i:i], a.outputs[i+1:]...)
			return a.finish(out)
		}
	}
	return -1
}

func (a *awkIO) closeAll() {
	for _, out := range a.outputs {
		a.finish(out)
	}
	for _, r := range a.readers {
		r.close()
	}
	a.inputs.skip()
}

// system runs a command.
func (a *awkIO) system(command string) int {
	return a.p.child([]string{"sh", "-c", command}).exec(a.ctx)
}

// getline reads a line of a file or of the output of a command. It returns 1, 0 at the
// end, and -1 if it cannot be read.
func (a *awkIO) getline(source, kind string) (int, error) {
	a.got = false
	r := a.readers[source]
	if r == nil {
		if len(a.readers) >= maxAWKReaders {
			return 0, errMemory
		}
		var err error
		if r, err = a.reader(source, kind); err != nil {
			return -1, nil //nolint:nilerr // the program sees the number
		}
		a.readers[source] = r
	}
	line, err := readString(r.in)
	if line == "" {
		if errors.Is(err, io.EOF) {
			return 0, nil
		}
		return -1, nil
	}
	a.line, a.got = strings.TrimSuffix(line, "\n"), true
	return 1, nil
}

// maxAWKReaders bounds the files that a program reads at the same time.
const maxAWKReaders = 256

func (a *awkIO) reader(source, kind string) (*awkReader, error) {
	if kind != "|" {
		f, err := a.p.input(source)
		if err != nil {
			return nil, err
		}
		return &awkReader{bufio.NewReader(f), func() { shut(f) }}, nil
	}
	out := &capture{memory: a.p.Host.memory}
	c := a.p.child([]string{"sh", "-c", source})
	c.Stdout = out
	c.exec(a.ctx)
	if out.full {
		return nil, errMemory
	}
	return &awkReader{bufio.NewReader(strings.NewReader(out.b.String())), func() {}}, nil
}

func (a *awkIO) wasRead() bool { return a.got }

func (a *awkIO) lastLine() string { return a.line }

// inputOutput returns what replaces an instruction that uses files or commands, or nil
// if it does not.
func (w *awkRewriter[T]) inputOutput(name string, words []T) []T {
	n := func(name string) T { return w.number[name] }
	text := func(s string) []T { return []T{n("Str"), w.known["string "+s]} }
	call := func(function, args int) []T { return []T{n("CallNative"), T(function), T(args)} }
	join := func(parts ...[]T) (all []T) {
		for _, part := range parts {
			all = append(all, part...)
		}
		return all
	}
	kind := func(token T) string {
		return map[lexer.Token]string{lexer.GREATER: ">", lexer.APPEND: ">>", lexer.PIPE: "|", lexer.LESS: "<"}[lexer.Token(token)]
	}
	flush := []T{n("CallBuiltin"), w.known["fflush"], n("Drop")}
	switch {
	case name == "Special" && words[1] == w.known["FILENAME"]:
		return call(awkFilename, 0)
	case name == "Nextfile":
		return join(call(awkNextFile, 0), []T{n("Drop")}, words)
	case name == "CallBuiltin" && words[1] == w.known["close"]:
		return join(flush, call(awkClose, 1))
	case name == "CallBuiltin" && words[1] == w.known["system"]:
		return join(flush, call(awkSystem, 1))
	case name == "Print" && kind(words[2]) != "":
		args, whole := int(words[1]), []T(nil)
		if args == 0 {
			args, whole = 1, []T{n("FieldInt"), 0}
		}
		variables := []T{n("Special"), w.known["OFS"], n("Special"), w.known["ORS"]}
		return join(whole, text(kind(words[2])), variables, flush, call(awkPrint, args+4), []T{n("Drop")})
	case name == "Printf" && kind(words[2]) != "":
		return join([]T{n("CallSprintf"), words[1]}, call(awkCheck, 1), text(kind(words[2])), text(""), text(""), flush, call(awkPrint, 5), []T{n("Drop")}) //nolint:mnd // the destination, the text and three
	case name == "GetlineArray" || name == "GetlineField" || !strings.HasPrefix(name, "Getline") || kind(words[1]) == "":
		return nil
	}
	assign := []T{n("Assign" + strings.TrimPrefix(name, "Getline"))}
	if name == "Getline" {
		assign = []T{n("Num"), w.known["number 0"], n("AssignField")}
	} else {
		assign = append(assign, words[2])
	}
	line := join(call(awkLine, 0), assign)
	return join(flush, text(kind(words[1])), call(awkGetline, 2), call(awkGot, 0), []T{n("JumpFalse"), T(len(line))}, line) //nolint:mnd // the source and the kind
}
