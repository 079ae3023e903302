package sandbox

import "strings"

// patchResult is what became of the hunks of a patch.
type patchResult struct {
	count, failed int
	mismatch      bool // a hunk was found elsewhere or not at all
	anyway        bool // the patch seems to be applied but shall be applied again
	rejects       strings.Builder
}

// hunks applies the hunks of a patch. Those of a patch that is skipped are rejected.
func (c *patcher) hunks(run *patchRun) (*patchResult, error) {
	result := &patchResult{}
	for {
		h, err := c.reader.hunk(c.hold)
		if h == nil || err != nil {
			return result, err
		}
		if c.reverse {
			h.swap()
		}
		result.count++
		where, fuzz := 0, 0
		if !c.skip {
			if where, fuzz, err = c.find(run, h, result); err != nil {
				return nil, err
			}
		}
		at := where
		if at == 0 {
			at = h.first
		}
		at += run.outOffset
		ok := !c.skip && where > 0 && (where > 1 || c.head.missing[c.side(false)] != 2 || len(run.lines) == 0)
		if ok {
			if ok, err = c.applied(run, h, where); err != nil {
				return nil, err
			}
		}
		if !ok {
			if err := c.reject(run, h, result, at); err != nil {
				return nil, err
			}
			continue
		}
		if !c.verbose() && (c.silent || fuzz == 0 && run.inOffset == 0) {
			continue
		}
		c.say("Hunk #%d succeeded at %d", result.count, at)
		c.sayIf(fuzz > 0, " with fuzz %d", fuzz)
		c.sayIf(run.inOffset == 1, " (offset 1 line)")
		c.sayIf(run.inOffset != 0 && run.inOffset != 1, " (offset %d lines)", run.inOffset)
		c.say(".\n")
	}
}

// applied applies h and reports whether that was possible.
func (c *patcher) applied(run *patchRun, h *patchHunk, where int) (bool, error) {
	err := run.apply(h, where)
	if err == errMisordered { //nolint:errorlint // never wrapped
		c.say("%s\n", err)
		return false, nil
	}
	return err == nil, err
}

// find returns the line where h matches and how much of its context was ignored. The
// first hunk that does not match is tried in reverse.
func (c *patcher) find(run *patchRun, h *patchHunk, result *patchResult) (where, fuzz int, err error) {
	most := min(c.maxFuzz, max(h.prefix, h.suffix))
	for ; fuzz <= most; fuzz++ {
		if where, err = run.locate(h, fuzz); err != nil {
			return 0, 0, err
		}
		if where == 0 || fuzz > 0 || run.inOffset != 0 {
			result.mismatch = true
		}
		if result.count == 1 && where == 0 && !c.o.on("f") && !result.anyway && c.reverse == c.o.on("R") {
			h.swap()
			if where, err = run.locate(h, fuzz); err != nil {
				return 0, 0, err
			}
			switch {
			case where > 0 && c.okToReverse("%s patch detected!", map[bool]string{true: "Unreversed", false: "Reversed (or previously applied)"}[c.reverse]):
				c.reverse = !c.reverse
			case where > 0:
				h.swap()
				result.anyway = true
				fuzz--
				where = 0
			default:
				h.swap()
			}
		}
		if where > 0 || c.skip {
			break
		}
	}
	return where, max(fuzz, 0), nil
}

// reject adds a hunk that was not applied to the rejects.
func (c *patcher) reject(run *patchRun, h *patchHunk, result *patchResult, at int) error {
	b := &result.rejects
	if result.failed++; result.failed == 1 {
		if index := c.head.names[indexFile]; index != "" {
			b.WriteString("Index: " + index + "\n")
		}
		for i, mark := range []string{"--- ", "+++ "} {
			side := c.side(i == 1)
			name := c.head.names[side]
			if name == "" {
				name = "/dev/null"
			}
			b.WriteString(mark + name + c.head.stamps[side] + "\n")
		}
	}
	b.WriteString("@@ -" + patchSpan(h.first+run.outOffset, len(h.old)) + " +" + patchSpan(h.newFirst+run.outOffset, len(h.new)) + " @@" + h.section + "\n")
	err := h.each(func(l patchLine) error {
		b.WriteByte(l.op)
		b.WriteString(l.text)
		return c.hold(2 * (len(l.text) + 1)) //nolint:mnd // the text grows by doubling
	})
	if c.verbose() || !c.skip && !c.silent {
		what := map[bool]string{true: "ignored", false: "FAILED"}[c.skip]
		c.say("Hunk #%d %s at %d", result.count, what, at)
		c.sayIf(!c.skip && run.otherEnds(h, at), " (different line endings)")
		c.say(".\n")
	}
	return err
}

func patchSpan(first, count int) string {
	switch count {
	case 0:
		return itoa(first-1) + ",0"
	case 1:
		return itoa(first)
	}
	return itoa(first) + "," + itoa(count)
}
