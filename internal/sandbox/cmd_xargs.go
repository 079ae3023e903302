package sandbox

import (
	"context"
	"io"
	"strings"
	"unicode"
)

func xargs(ctx context.Context, p *Process) int {
	for i, arg := range p.Args { // the text of -i is optional and attached
		if text, ok := strings.CutPrefix(arg, "-i"); ok && i > 0 {
			p.Args[i] = "-I" + map[bool]string{true: "{}", false: text}[text == ""]
		} else if i > 0 && !strings.HasPrefix(arg, "-") {
			break
		}
	}
	o, command, bad := p.options("+0n:rI:P:L:td:a:x", "null=0", "no-run-if-empty=r", "max-args=n:", "replace=I:", "max-procs=P:", "max-lines=L:", "verbose=t", "delimiter=d:", "arg-file=a:", "exit=x")
	if bad != 0 {
		return bad
	}
	in, fromFile := io.NopCloser(p.Stdin), false
	if file, ok := o.value("a"); ok {
		f, err := p.input(file)
		if err != nil {
			return p.fail(1, "%s: %s", file, errText(err))
		}
		defer shut(f)
		in, fromFile = f, true
	}
	data, err := p.readAll(in)
	if err != nil {
		return p.fail(1, "%s", errText(err))
	}
	if len(command) == 0 {
		command = []string{"echo"}
	}
	replace, replaces := o.value("I")
	var words []string
	switch {
	case o.on("0"):
		words = strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
		if len(data) == 0 {
			words = nil
		}
	case o.on("d"):
		text, _ := o.value("d")
		delimiter := strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\0`, "\x00").Replace(text)
		if len(delimiter) != 1 {
			return p.fail(1, "invalid input delimiter specification %s", text)
		}
		if len(data) > 0 {
			words = strings.Split(strings.TrimSuffix(string(data), delimiter), delimiter)
		}
	case o.on("L"):
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); line != "" {
				words = append(words, line)
			}
		}
	case replaces:
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); line != "" {
				words = append(words, line)
			}
		}
	default:
		if quote, line := openQuote(string(data)); quote != "" {
			p.fail(1, "unmatched %s quote; by default quotes are special to xargs unless you use the -0 option", quote)
			data = data[:line] // what stands before it is run
			if o.on("x") || line == 0 {
				return 1
			}
		}
		words = shellWords(string(data))
	}
	size := len(words)
	if text, ok := o.value("n"); ok {
		if size, ok = number(text); !ok || size == 0 {
			return p.fail(1, "value %s for -n option should be >= 1", text)
		}
	}
	if text, ok := o.value("L"); ok {
		if size, ok = number(text); !ok || size == 0 {
			return p.fail(1, "value %s for -L option should be >= 1", text)
		}
	}
	if replaces {
		size = 1
	}
	var runs [][]string
	for start := 0; start < len(words); start += size {
		batch := words[start:min(len(words), start+size)]
		if o.on("L") {
			batch = shellWords(strings.Join(batch, " "))
		}
		if !replaces {
			runs = append(runs, append(append([]string(nil), command...), batch...))
			continue
		}
		run := make([]string, len(command))
		for i, word := range command {
			run[i] = strings.ReplaceAll(word, replace, batch[0])
		}
		runs = append(runs, run)
	}
	if len(runs) == 0 && !o.on("r") && !replaces {
		runs = append(runs, command)
	}
	status := 0
	for _, run := range runs {
		if o.on("t") {
			fprintf(p.Stderr, "%s\n", strings.Join(run, " "))
		}
		c := p.child(run)
		if !fromFile {
			c.Stdin = strings.NewReader("")
		}
		switch got := c.exec(ctx); {
		case ctx.Err() != nil:
			return killed
		case got == 126 || got == 127:
			return got
		case got == 255:
			return 124
		case got != 0:
			status = 123
		}
	}
	return status
}

// openQuote returns which quote a line leaves open, and where that line begins.
func openQuote(s string) (quote string, line int) {
	open, from := rune(0), 0
	escaped := false
	for i, c := range s {
		switch {
		case c == '\n' && open != 0:
			return map[rune]string{'\'': "single", '"': "double"}[open], from
		case c == '\n':
			from = i + 1
		case escaped || open == 0 && c == '\\':
			escaped = !escaped
		case open == c:
			open = 0
		case open == 0 && (c == '\'' || c == '"'):
			open = c
		}
	}
	if open != 0 {
		return map[rune]string{'\'': "single", '"': "double"}[open], from
	}
	return "", 0
}

// shellWords splits text at white space, with the quotes and backslashes of xargs.
func shellWords(s string) []string {
	var words []string
	var b strings.Builder
	inWord, quoted := false, rune(0)
	escaped := false
	for _, c := range s {
		switch {
		case escaped:
			b.WriteRune(c)
			escaped = false
		case quoted != 0 && c == quoted:
			quoted = 0
		case quoted != 0:
			b.WriteRune(c)
		case c == '\\':
			escaped, inWord = true, true
		case c == '\'' || c == '"':
			quoted, inWord = c, true
		case unicode.IsSpace(c):
			if inWord {
				words = append(words, b.String())
				b.Reset()
				inWord = false
			}
		default:
			b.WriteRune(c)
			inWord = true
		}
	}
	if inWord {
		words = append(words, b.String())
	}
	return words
}
