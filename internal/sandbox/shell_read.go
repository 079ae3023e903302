package sandbox

import (
	"context"
	"io"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/interp"
)

// The interpreter is not given the shell's own input: it would read all of it
// ahead, and take it from the commands of the script. And in a pipe it would
// wait as testing/synctest cannot see. So what its builtins are to read is
// handed to them as a here-document.

// read replaces the read builtin by one that finds its line in front of it.
func (sh *shell) read(ctx context.Context, hc interp.HandlerContext, args []string) []string {
	raw := slices.ContainsFunc(args[1:], func(a string) bool {
		return strings.HasPrefix(a, "-") && strings.Contains(a, "r")
	})
	line, complete := readLine(sh.stdin(ctx, hc), raw)
	text := "builtin " + shellQuote(args...) + hereDocument(line+"\n")
	if !complete { // the line is assigned, and the status says it was the last
		text += "false\n"
	}
	return eval(text)
}

func (sh *shell) readAll(ctx context.Context, hc interp.HandlerContext, args []string) []string {
	data, err := io.ReadAll(sh.stdin(ctx, hc))
	if err != nil {
		return []string{internal, "fail", "1", "read: " + errText(err)}
	}
	return eval("builtin " + shellQuote(args...) + hereDocument(string(data)))
}

func hereDocument(text string) string {
	end := "BAKESTONE"
	for strings.Contains(text, end) {
		end += "_"
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return " <<'" + end + "'\n" + text + end + "\n"
}

// readLine reads one line byte by byte, and no further; a backslash at its end
// joins the next one unless raw.
func readLine(in io.Reader, raw bool) (line string, complete bool) {
	var b strings.Builder
	escaped := false
	one := make([]byte, 1)
	for in != nil {
		n, err := in.Read(one)
		if n > 0 {
			switch {
			case one[0] == '\n' && !escaped:
				return b.String(), true
			case one[0] == 0:
				continue
			}
			escaped = !raw && one[0] == '\\' && !escaped
			b.WriteByte(one[0])
			continue
		}
		if err != nil {
			break
		}
	}
	return b.String(), false
}
