package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/itchyny/gojq"
)

// jq runs gojq with the usual flags, in bounded memory; see jqGuard.
func jq(ctx context.Context, p *Process) int {
	o, _, bad := p.options("rcesnjSMCR", "raw-output=r", "compact-output=c", "exit-status=e", "slurp=s", "null-input=n", "join-output=j",
		"sort-keys=S", "monochrome-output=M", "raw-input=R", "tab=T", "indent=I:", "arg=a", "argjson=b", "slurpfile=f", "rawfile=g", "args=h", "jsonargs=k", "version=V")
	if bad != 0 {
		return bad
	}
	if o.on("V") {
		p.print("jq-1.7\n")
		return 0
	}
	named := map[string]any{}
	var names []string
	var values []any
	positional, more := []any{}, "" // the option that the remaining words belong to
	filter, files := "", []string{}
	// --arg takes two words, which may stand anywhere.
	rest := p.Args[1:]
	for i := 0; i < len(rest); i++ {
		switch word := rest[i]; {
		case (word == "--arg" || word == "--argjson") && i+2 < len(rest):
			var v any = rest[i+2]
			if word == "--argjson" {
				if err := json.Unmarshal([]byte(rest[i+2]), &v); err != nil {
					return p.fail(2, "Invalid JSON text passed to --argjson")
				}
			}
			names, values = append(names, "$"+rest[i+1]), append(values, v)
			named[rest[i+1]] = v
			i += 2
		case (word == "--slurpfile" || word == "--rawfile") && i+2 < len(rest):
			v, problem := p.jqFile(rest[i+2], word == "--slurpfile")
			if problem != "" {
				return p.fail(2, "Bad JSON in --%s %s %s: %s", word[2:], rest[i+1], rest[i+2], problem)
			}
			names, values = append(names, "$"+rest[i+1]), append(values, v)
			named[rest[i+1]] = v
			i += 2
		case word == "--args" || word == "--jsonargs":
			more = word
		case word == "--indent":
			i++
		case strings.HasPrefix(word, "-") && len(word) > 1:
		case filter == "":
			filter = word
		case more == "--args":
			positional = append(positional, word)
		case more == "--jsonargs":
			var v any
			if err := json.Unmarshal([]byte(word), &v); err != nil {
				return p.fail(2, "Invalid JSON text passed to --jsonargs")
			}
			positional = append(positional, v)
		default:
			files = append(files, word)
		}
	}
	guard := newJQGuard(ctx, p)
	query, err := guard.parse(filter)
	if err != nil {
		return p.fail(3, "error: %v", err)
	}
	var environ []string
	for name, value := range p.Env {
		environ = append(environ, name+"="+value)
	}
	code, err := gojq.Compile(query, append(guard.options(),
		gojq.WithVariables(append([]string{"$ARGS"}, names...)), gojq.WithEnvironLoader(func() []string { return environ }))...)
	if err != nil {
		return p.fail(3, "error: %v", err)
	}
	values = append([]any{map[string]any{"named": named, "positional": positional}}, values...)
	j := &jqRun{p: p, o: o, code: code, values: values, guard: guard}
	return j.inputs(files) //nolint:contextcheck // the guard is the context
}

// jqFile returns the values in a file, or its text.
func (p *Process) jqFile(name string, parse bool) (v any, problem string) {
	in, err := p.input(name)
	if err != nil {
		return nil, "Could not open " + name + ": " + errText(err)
	}
	defer shut(in)
	data, err := p.readAll(in)
	if err != nil {
		return nil, errText(err)
	}
	if !parse {
		return string(data), ""
	}
	all := []any{}
	d := json.NewDecoder(bytes.NewReader(data))
	for {
		var v any
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return all, ""
		} else if err != nil {
			return nil, err.Error()
		}
		all = append(all, v)
	}
}

type jqRun struct {
	p      *Process
	o      opts
	code   *gojq.Code
	values []any
	guard  *jqGuard
	last   any
	status int
}

func (j *jqRun) inputs(files []string) int {
	if j.o.on("n") {
		j.run(nil)
		return j.exit()
	}
	var all []any
	status := j.p.inputs(files, func(_ string, r io.Reader) error {
		data, err := j.p.readAll(r)
		if err == nil {
			err = j.guard.charge(int64(len(data)) * jqInput)
		}
		if err != nil {
			return err
		}
		if j.o.on("R") {
			for line := range strings.Lines(string(data)) {
				all = append(all, strings.TrimSuffix(line, "\n"))
			}
			return nil
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		for {
			var v any
			err := d.Decode(&v)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				j.p.fail(2, "error (at <stdin>:0): %v", err)
				j.status = 2
				return nil
			}
			all = append(all, v)
		}
	})
	if status != 0 {
		return 2
	}
	if j.o.on("s") {
		if all == nil {
			all = []any{}
		}
		all = []any{all}
	}
	for _, v := range all {
		j.run(v)
	}
	return j.exit()
}

func (j *jqRun) exit() int {
	if j.status == 0 && j.o.on("e") && (j.last == nil || j.last == false) {
		return 1
	}
	return j.status
}

func (j *jqRun) run(v any) {
	iter := j.code.RunWithContext(j.guard, v, j.values...)
	for {
		out, ok := iter.Next()
		if !ok {
			return
		}
		if err, failed := out.(error); failed {
			if halt, stops := errors.AsType[*gojq.HaltError](err); stops {
				j.status = halt.ExitCode()
				return
			}
			j.p.fail(5, "error (at <stdin>:0): %v", err)
			j.status = 5
			return
		}
		j.last = out
		if !j.print(out) {
			return
		}
	}
}

func (j *jqRun) print(v any) bool {
	end := "\n"
	if j.o.on("j") {
		end = ""
	}
	if s, ok := v.(string); ok && (j.o.on("r") || j.o.on("j")) {
		return j.p.print(s, end)
	}
	text, err := gojq.Marshal(v)
	if err != nil {
		return false
	}
	if !j.o.on("c") {
		var b bytes.Buffer
		indent := "  "
		if text, ok := j.o.value("I"); ok {
			n, _ := number(text)
			indent = strings.Repeat(" ", min(n, 7))
		}
		if j.o.on("T") {
			indent = "\t"
		}
		if json.Indent(&b, text, "", indent) == nil {
			text = b.Bytes()
		}
	}
	return j.p.print(string(text), end)
}
