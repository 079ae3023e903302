package sandbox

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The files that the header of a patch names.
const (
	oldFile = iota
	newFile
	indexFile
)

// patchHead is what the lines before the first hunk say.
type patchHead struct {
	kind    string // of the diff, or "" if there is none
	line    int    // where the hunks begin
	names   [3]string
	stamps  [2]string // what follows the names, with the white space
	epoch   [2]bool   // the time stamp says that the file does not exist
	missing [2]int    // 1 if the file may not exist or is empty, 2 if it does not exist
	modes   [2]int
	git     bool
	extends bool // lines of git that are enough for a patch without hunks
	moved   bool // by rename
	copied  bool
	prereq  bool
}

const (
	unifiedDiff = "a unified diff"
	binaryDiff  = "a git binary diff"
)

// headReader reads the lines before a patch.
type headReader struct {
	*patchReader
	h     patchHead
	strip int

	afterStars bool // the previous line begins a hunk of a context diff
	command    bool // there was a command of a normal or ed diff
	edCommand  bool // the first one was of ed
	wasCommand bool // the previous line is one
}

// head reads up to the first hunk of the next patch. Normal and ed diffs are recognized
// only if the user named the file.
func (r *patchReader) head(strip int, named bool) patchHead {
	r.at, r.line, r.indent, r.stripCR = r.base, r.baseLine, 0, false
	hr := headReader{patchReader: r, strip: strip}
	need := !named
	for {
		start := r.at
		full := r.next(0, false, false)
		line := strings.TrimLeft(full, " \tX")
		indent := columns(full[:len(full)-len(line)])
		known, kind := hr.line(line, strings.HasSuffix(full, "\r\n"), full == "", !need)
		need = need && !known
		if kind == "" && full != "" {
			continue
		}
		if kind == unifiedDiff {
			r.indent = indent
		}
		hr.h.kind, hr.h.line = kind, r.line
		r.at = start
		r.line--
		return hr.h
	}
}

func columns(space string) int {
	n := 0
	for _, ch := range space {
		if ch == '\t' {
			n |= 7 //nolint:mnd // to the end of the tab stop
		}
		n++
	}
	return n
}

var (
	normalCommand = regexp.MustCompile(`^[0-9][0-9,]*[acd][0-9,]*[ \t]*\r?\n$`)
	edCommand     = regexp.MustCompile(`^[0-9]*(,[0-9]*)?([acdi]|s/.*)\r?\n$`)
)

// line reads a line without its indentation. It reports whether the line belongs to a
// header, and the kind of the diff if its hunks begin here.
func (r *headReader) line(line string, cr, end, anyKind bool) (known bool, kind string) {
	h := &r.h
	stars, wasCommand := r.afterStars, r.wasCommand
	r.wasCommand = normalCommand.MatchString(line)
	if ed := edCommand.MatchString(line); anyKind && !r.command && (ed || r.wasCommand) {
		r.command, r.edCommand = true, ed
	}
	switch rest := ""; {
	case end && h.extends:
		return true, unifiedDiff
	case end && r.edCommand:
		return true, "an ed script"
	case end:
	case !stars && cutPrefix(line, "*** ", &rest):
		r.file(rest, oldFile)
		known = true
	case cutPrefix(line, "+++ ", &rest):
		r.file(rest, oldFile) // exchanged below
		known, r.stripCR = true, cr
	case cutPrefix(line, "--- ", &rest):
		r.file(rest, newFile)
		known, r.stripCR = true, cr
	case cutPrefix(line, "Index:", &rest):
		r.file(rest, indexFile)
		known, r.stripCR = true, cr
	case cutPrefix(line, "Prereq:", &rest):
		h.prereq = true
	case cutPrefix(line, "diff --git ", &rest):
		if h.extends {
			return true, unifiedDiff
		}
		r.gitNames(rest)
		known = true
	case h.git && strings.HasPrefix(line, "GIT binary patch"):
		return true, binaryDiff
	case h.git:
		h.extended(line)
	}
	if !known && !anyKind {
		return false, ""
	}
	r.afterStars = strings.HasPrefix(line, "********")
	switch {
	case strings.HasPrefix(line, "@@ -"):
		// As in the real one, where a patch has "diff --git" and then /dev/null, the
		// name that is missing becomes that of the other side.
		h.names[0], h.names[1] = h.names[1], h.names[0]
		h.stamps[0], h.stamps[1] = h.stamps[1], h.stamps[0]
		h.epoch[0], h.epoch[1] = h.epoch[1], h.epoch[0]
		for i, mark := range []string{"@@ -", " +"} {
			_, after, _ := strings.Cut(line, mark)
			if n := strings.TrimLeft(after, "0123456789"); strings.HasPrefix(after, "0") && len(after)-len(n) == 1 {
				h.missing[i] = 1
				if h.epoch[i] {
					h.missing[i] = 2
				}
			}
		}
		return known, unifiedDiff
	case stars && strings.HasPrefix(line, "*** "):
		return known, "a context diff"
	case wasCommand && (strings.HasPrefix(line, "< ") || strings.HasPrefix(line, "> ")):
		return known, "a normal diff"
	case r.edCommand && line == ".\n":
		return known, "an ed script"
	}
	return known, ""
}

func cutPrefix(line, prefix string, rest *string) bool {
	after, ok := strings.CutPrefix(line, prefix)
	*rest = after
	return ok
}

// extended reads a line of the header of a git diff.
func (h *patchHead) extended(line string) {
	rest := ""
	mode := func() int {
		n, err := strconv.ParseUint(strings.TrimSpace(rest), 8, 17)
		if err != nil {
			return 0
		}
		return int(n)
	}
	switch {
	case cutPrefix(line, "index ", &rest):
		sums, modes, _ := strings.Cut(strings.TrimSpace(rest), " ")
		from, to, ok := strings.Cut(sums, "..")
		if !ok || strings.Trim(from+to, "0123456789abcdefABCDEF") != "" {
			return
		}
		h.missing = [2]int{missingSum(from), missingSum(to)}
		if rest = modes; modes != "" {
			h.modes = [2]int{mode(), mode()}
		}
	case cutPrefix(line, "old mode ", &rest):
		h.modes[oldFile] = mode()
	case cutPrefix(line, "new mode ", &rest):
		h.modes[newFile] = mode()
	case cutPrefix(line, "deleted file mode ", &rest):
		h.modes[oldFile], h.missing[newFile] = mode(), 2
	case cutPrefix(line, "new file mode ", &rest):
		h.modes[newFile], h.missing[oldFile] = mode(), 2
	case cutPrefix(line, "rename from ", &rest), cutPrefix(line, "rename to ", &rest):
		h.moved = true
	case cutPrefix(line, "copy from ", &rest), cutPrefix(line, "copy to ", &rest):
		h.copied = true
	default:
		return
	}
	h.extends = true
}

// missingSum returns what git's sum of a file says about its existence.
func missingSum(sum string) int {
	switch {
	case strings.Trim(sum, "0") == "":
		return 2 //nolint:mnd // it does not exist
	case strings.HasPrefix("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", sum):
		return 1 // it is empty
	}
	return 0
}

// gitNames reads "a/x b/x".
func (r *headReader) gitNames(text string) {
	r.h.git = true
	r.h.names[oldFile], r.h.names[newFile] = "", ""
	from, rest, ok := gitName(text)
	to, rest, ok2 := gitName(rest)
	if !ok || !ok2 || strings.TrimSpace(rest) != "" {
		return
	}
	r.h.names[oldFile], r.h.names[newFile] = stripName(from, r.strip), stripName(to, r.strip)
}

func gitName(text string) (name, rest string, ok bool) {
	text = strings.TrimLeft(text, " \t\n\r")
	if strings.HasPrefix(text, `"`) {
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return "", "", false
		}
		name, err = strconv.Unquote(quoted)
		return name, text[len(quoted):], err == nil
	}
	if end := strings.IndexAny(text, " \t\n\r"); end > 0 {
		return text[:end], text[end:], true
	}
	return "", "", false
}

// file reads a file name and what follows it.
func (r *headReader) file(text string, which int) {
	text = strings.TrimLeft(text, " \t\r\n")
	name, rest, ok := "", "", true
	switch tab := strings.IndexByte(text, '\t'); {
	case strings.HasPrefix(text, `"`):
		name, rest, ok = gitName(text)
	case tab >= 0: // the name may have spaces
		name, rest = text[:tab], text[tab:]
	default:
		name, rest, ok = gitName(text)
	}
	if !ok {
		return
	}
	if name == "/dev/null" {
		if which != indexFile {
			r.h.epoch[which] = true
		}
		return
	}
	stripped := stripName(name, r.strip)
	if stripped == "" {
		return
	}
	r.h.names[which] = stripped
	if which != indexFile {
		rest = strings.TrimRight(rest, "\r\n")
		r.h.stamps[which], r.h.epoch[which] = rest, isEpoch(strings.TrimSpace(rest))
	}
}

// isEpoch reports whether a time stamp is that of a file that does not exist: the
// epoch in some time zone.
func isEpoch(stamp string) bool {
	for _, layout := range []string{"2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05", time.ANSIC} {
		if t, err := time.Parse(layout, stamp); err == nil {
			return t.Unix() > -25*3600 && t.Unix() < 26*3600
		}
	}
	return false
}

// stripName removes n directories from the start of a name, or all if n is negative.
// It returns "" if there are fewer.
func stripName(name string, n int) string {
	rest := name
	for i := 0; i < len(name); i++ {
		if name[i] != '/' {
			continue
		}
		for i+1 < len(name) && name[i+1] == '/' {
			i++
		}
		if n < 0 || n > 0 {
			rest = name[i+1:]
		}
		if n == 0 {
			break
		}
		if n > 0 {
			n--
		}
	}
	if n > 0 {
		return ""
	}
	return rest
}
