package sandbox

import (
	"context"
	"io"
	"strings"
)

// cat implements cat with the options that number lines and show what is invisible.
func cat(_ context.Context, p *Process) int {
	o, names, bad := p.options("nAubsvetET", "number=n", "number-nonblank=b", "squeeze-blank=s", "show-all=A", "show-nonprinting=v", "show-ends=E", "show-tabs=T")
	if bad != 0 {
		return bad
	}
	ends, tabs := o.on("A") || o.on("e") || o.on("E"), o.on("A") || o.on("t") || o.on("T")
	hidden := o.on("A") || o.on("e") || o.on("t") || o.on("v")
	count, blank := 0, false
	return p.inputs(names, func(_ string, r io.Reader) error {
		if len(o.given) == 0 || len(o.given) == 1 && o.on("u") {
			_, err := io.Copy(p.Stdout, r)
			return err
		}
		return lines(r, func(line string) bool {
			if o.on("s") && line == "\n" && blank {
				return true
			}
			blank = line == "\n"
			if o.on("b") && !blank || o.on("n") && !o.on("b") {
				count++
				fprintf(p.Stdout, "%6d\t", count)
			}
			text, ended := strings.CutSuffix(line, "\n")
			if hidden {
				text = caretNotation(text)
			}
			if tabs {
				text = strings.ReplaceAll(text, "\t", "^I")
			}
			if ended && ends {
				text += "$"
			}
			if ended {
				text += "\n"
			}
			return p.print(text)
		})
	})
}

// caretNotation replaces bytes that are not printable, other than tabs.
func caretNotation(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 128 {
			b.WriteString("M-")
			c -= 128
		}
		switch {
		case c == '\t' && s[i] < 128:
			b.WriteByte(c)
		case c < 32:
			b.WriteString("^" + string('@'+c))
		case c == 127:
			b.WriteString("^?")
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
