package sandbox

import (
	"context"
	"io"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/interp"
)

// The interpreter does not get the shell's standard input, since it would read
// ahead and take input from the script's commands, and its wait for a pipe is
// not visible to testing/synctest. Instead, builtins receive their input as a
// here-document.

// read replaces the read builtin by one with its line in a here-document.
func (sh *shell) read(ctx context.Context, hc interp.HandlerContext, args []string) []string {
	raw := slices.ContainsFunc(args[1:], func(a string) bool {
		return strings.HasPrefix(a, "-") && strings.Contains(a, "r")
	})
	line, complete := readLine(sh.stdin(ctx, hc), raw)
	text := "builtin " + shellQuote(args...) + hereDocument(line+"\n")
	if !complete { // assign the line but report the end of input
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

// readLine reads a line byte by byte, without reading ahead. Unless raw, a
// backslash at the end of a line joins the next one.
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
