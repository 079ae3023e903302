package sandbox

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// bashSyntaxError returns the message of bash for an error of the parser in a script,
// behind the name of the script. Before is the number of lines before the text.
func bashSyntaxError(pe syntax.ParseError, text string, before int) string {
	line := before + int(pe.Pos.Line())
	last := before + strings.Count(text, "\n") + 1 // where the end of the file is
	at := min(int(pe.Pos.Offset()), len(text))
	quoted := quotedWord.FindAllStringSubmatch(pe.Text, -1)
	word := func(i int) string {
		if i >= len(quoted) {
			return ""
		}
		return quoted[i][1] + quoted[i][2]
	}
	end := "line " + itoa(last) + ": syntax error: unexpected end of file"
	token := func(from int) string {
		rest := strings.TrimLeft(text[min(from, len(text)):], " \t")
		if strings.TrimSpace(rest) == "" {
			return end
		}
		from = len(text) - len(rest)
		found := shellToken.FindString(rest)
		if found == "\n" {
			found = "newline"
		}
		n := before + 1 + strings.Count(text[:from], "\n")
		whole := text[strings.LastIndexByte(text[:from], '\n')+1:]
		whole, _, _ = strings.Cut(whole, "\n")
		return "line " + itoa(n) + ": syntax error near unexpected token `" + found + "'\n\x00line " + itoa(n) + ": `" + whole + "'"
	}
	switch {
	case strings.Contains(pe.Text, "without closing quote"):
		return "line " + itoa(line) + ": unexpected EOF while looking for matching `" + word(0) + "'"
	case strings.HasPrefix(pe.Text, "reached EOF without matching"):
		switch open := word(0); open {
		case "{", "(":
			if open == "{" || at == 0 || text[at-1] != '=' {
				return end
			}
		case "[[":
			return "line " + itoa(line) + ": unexpected EOF while looking for `]]'"
		default:
			line = last
		}
		return "line " + itoa(line) + ": unexpected EOF while looking for matching `" + word(1) + "'"
	case strings.Contains(pe.Text, "must end with"):
		return end
	case strings.Contains(pe.Text, "must be followed by"):
		return token(at + len(word(0)))
	case strings.Contains(pe.Text, "can only be used"), strings.Contains(pe.Text, "can only immediately follow"),
		strings.Contains(pe.Text, "encountered"), strings.Contains(pe.Text, "statements must be separated"):
		return token(at)
	}
	return "line " + itoa(line) + ": syntax error: " + pe.Text
}

var (
	quotedWord = regexp.MustCompile("`([^`]+)`|\"(`)\"")
	shellToken = regexp.MustCompile("^(?:&&|\\|\\||;;&|;;|;&|&>>|<<<|<<-|<<|>>|&>|>&|<&|>\\||[\n;&|()<>]|[^\\s;&|()<>]+)")
)

// closeHeredoc returns a reader of a script whose end ends the here-document in which
// the parser found an error, and the warning of bash. It returns nil if that is not the
// error.
func (s *scriptReader) closeHeredoc(err error) (*scriptReader, string) {
	problem, ok := errors.AsType[syntax.ParseError](err)
	if !ok || !s.keep || s.again >= maxAgain {
		return nil, ""
	}
	word, ok := strings.CutPrefix(problem.Text, "unclosed here-document ")
	if !ok || len(word) < 2 {
		return nil, ""
	}
	word = word[1 : len(word)-1]
	warning := "line " + itoa(bytes.Count(s.kept, []byte("\n"))) + ": warning: here-document at line " + itoa(int(problem.Pos.Line())) +
		" delimited by end-of-file (wanted `" + word + "')"
	text := io.MultiReader(bytes.NewReader(s.kept), strings.NewReader(word+"\n"))
	return &scriptReader{r: text, limit: s.limit, room: s.room, keep: true, again: s.again + 1}, warning
}
