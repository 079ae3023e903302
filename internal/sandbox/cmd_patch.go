package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/bakestone-go/bakestone/internal/memfs"
	"github.com/bakestone-go/bakestone/internal/textdiff"
)

// patcher is a run of patch.
type patcher struct {
	p       *Process
	o       opts
	strip   int // how many directories to remove from names, or -1 for all
	maxFuzz int
	reverse bool // as given, or as decided for the current patch
	silent  bool
	dry     bool
	reader  *patchReader
	status  int

	operand    string // the file to patch, if given
	output     string // the file for the result, if given
	outputTo   io.WriteCloser
	outputText strings.Builder // for outputTo at the end

	refused  []string        // dangerous names that were reported
	made     map[string]bool // the files that were written
	queue    []patchWrite    // what git patches change, which happens at once
	removals []patchWrite    // what happens at the end

	// Of the current patch:
	head patchHead
	in   string      // the file to patch, or ""
	info *memfs.Info // of in, or nil if it does not exist
	skip bool
}

// patch applies unified diffs as GNU patch 2.7 does. It answers its questions with the
// default, as the real one does without a terminal.
func patch(_ context.Context, p *Process) int {
	o, names, bad := p.options("bd:EfF:i:lNo:p:r:Rstuvz:", "backup=b", "directory=d:", "remove-empty-files=E", "force=f", "fuzz=F:",
		"input=i:", "ignore-whitespace=l", "forward=N", "output=o:", "strip=p:", "reject-file=r:", "reverse=R", "silent=s", "quiet=s",
		"batch=t", "unified=u", "version=v", "suffix=z:", "dry-run=D", "verbose=V", "binary=B", "no-backup-if-mismatch=n",
		"backup-if-mismatch=m", "follow-symlinks=L")
	switch {
	case bad != 0:
		return bad
	case o.on("v"):
		p.print("GNU patch 2.7.6\n")
		return 0
	case len(names) > 2:
		fprintf(p.Stderr, "patch: %s: extra operand\npatch: Try 'patch --help' for more information.\n", names[2])
		return 2
	}
	c := &patcher{p: p, o: o, strip: -1, maxFuzz: 2, silent: o.on("s"), dry: o.on("D"), made: map[string]bool{}}
	err := c.run(append(names, "", "")[:2])
	if outErr := c.closeOutput(); err == nil {
		err = outErr
	}
	if err != nil {
		return p.fail(2, "**** %s", err)
	}
	return c.status
}

func (c *patcher) run(operands []string) error {
	if err := c.start(operands); err != nil {
		return err
	}
	held := c.p.held
	git := false
	for {
		c.reverse, c.skip, c.info = c.o.on("R"), false, nil
		more, err := c.next()
		if err != nil {
			return err
		}
		if !more {
			return c.finish()
		}
		if !c.p.session.step(1 + (len(c.refused)+len(c.queue)+len(c.removals))>>6) { //nolint:mnd // they are searched
			c.p.kill(signal("XCPU"))
			return syscall.EINTR
		}
		if git != c.head.git {
			if err := c.flush(); err != nil {
				return err
			}
			git = c.head.git
			c.info = c.stat(c.in)
		}
		if err := c.patchFile(); err != nil {
			return err
		}
		if len(c.queue) == 0 && c.output == "" {
			c.p.Host.memory.give(c.p.held - held)
			c.p.held = held
		}
	}
}

// start reads the options and the patch.
func (c *patcher) start(operands []string) error {
	if text, ok := c.o.value("p"); ok {
		if c.strip, ok = number(text); !ok {
			return fmt.Errorf("strip count %s is not a number", patchQuote(text))
		}
	}
	if text, ok := c.o.value("F"); ok {
		if c.maxFuzz, ok = number(text); !ok {
			return fmt.Errorf("fuzz factor %s is not a number", patchQuote(text))
		}
	}
	for _, dir := range c.o.values("d") {
		info, err := c.p.FS.Stat(c.p.Path(dir))
		if err == nil && !info.IsDir() {
			err = syscall.ENOTDIR
		}
		if err == nil {
			err = c.p.FS.Access(c.p.Path(dir), memfs.Execute)
		}
		if err != nil {
			return fmt.Errorf("Can't change to directory %s : %s", patchQuote(dir), errText(err)) //nolint:staticcheck // as the real one
		}
		c.p.Dir = c.p.Path(dir)
	}
	c.operand = operands[0]
	file := operands[1]
	if text, ok := c.o.value("i"); ok && file == "" {
		file = text
	}
	if file == "" {
		file = "-"
	}
	in, err := c.p.input(file)
	if errors.Is(err, syscall.EISDIR) {
		return fmt.Errorf("read error : %s", errText(err))
	}
	if err != nil {
		return fmt.Errorf("Can't open patch file %s : %s", patchQuote(file), errText(err)) //nolint:staticcheck // as the real one
	}
	defer shut(in)
	text, err := c.p.readAll(in)
	if err != nil {
		return fmt.Errorf("read error : %s", errText(err))
	}
	c.reader = &patchReader{text: string(text), say: c.say}
	if err := c.hold(len(text)); err != nil {
		return err
	}
	return c.openOutput()
}

func (c *patcher) openOutput() error {
	name, ok := c.o.value("o")
	if !ok || name == "-" {
		c.output = name
		return nil
	}
	f, err := c.p.FS.OpenFile(c.p.Path(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("Can't create file %s : %s", patchQuote(name), errText(err)) //nolint:staticcheck // as the real one
	}
	c.output, c.outputTo = name, f
	return nil
}

// closeOutput writes the results that go to one file, after all messages.
func (c *patcher) closeOutput() error {
	if c.outputTo == nil {
		if !c.p.print(c.outputText.String()) {
			return errors.New("write error")
		}
		return nil
	}
	_, err := io.WriteString(c.outputTo, c.outputText.String())
	if err = errors.Join(err, c.outputTo.Close()); err != nil {
		return fmt.Errorf("write error : %s", errText(err))
	}
	return nil
}

// hold counts memory that the current patch takes.
func (c *patcher) hold(n int) error {
	if !c.p.hold(int64(n)) {
		return errMemory
	}
	return nil
}

// say prints a message; the result goes to the standard output with "-o -".
func (c *patcher) say(format string, args ...any) {
	w := c.p.Stdout
	if c.output == "-" {
		w = c.p.Stderr
	}
	fprintf(w, format, args...)
}

func (c *patcher) verbose() bool { return c.o.on("V") && !c.silent }

// next finds the next patch, and reports whether there is one.
func (c *patcher) next() (bool, error) {
	r := c.reader
	first := r.base == 0
	if !first && r.base >= len(r.text) {
		c.sayIf(c.verbose(), "done\n")
		return false, nil
	}
	c.sayIf(c.verbose(), "Hmm...")
	c.head = r.head(c.strip, c.operand != "")
	if c.head.kind == "" {
		if first && r.text != "" {
			c.sayIf(c.verbose(), "  I can't seem to find a patch in there anywhere.\n")
			return false, errors.New("Only garbage was found in the patch input.") //nolint:revive,staticcheck // as the real one
		}
		c.sayIf(c.verbose() && first, "  I can't seem to find a patch in there anywhere.\n")
		c.sayIf(c.verbose() && !first, "  Ignoring the trailing garbage.\ndone\n")
		return false, nil
	}
	if c.head.kind != unifiedDiff && c.head.kind != binaryDiff {
		return false, fmt.Errorf("the patch is %s, which this machine does not support: make it with diff -u", c.head.kind)
	}
	const typeBits, regular = 0o170000, 0o100000
	for _, mode := range c.head.modes {
		if mode&typeBits != 0 && mode&typeBits != regular {
			return false, errors.New("the patch has a symbolic link or a submodule, which this machine does not support")
		}
	}
	if c.head.prereq {
		return false, errors.New("the patch has a line \"Prereq:\", which this machine does not support")
	}
	c.chooseInput()
	if c.skip {
		return true, nil
	}
	kind := map[bool]string{true: "L", false: "The next patch l"}[first]
	c.sayIf(c.verbose(), "  %sooks like %s to me...\n", kind, c.head.kind)
	if r.stripCR = r.stripCR && !c.o.on("B"); r.stripCR {
		c.sayIf(!c.silent, "(Stripping trailing CRs from patch; use --binary to disable.)\n")
	}
	c.sayIf(!c.silent && r.indent == 1, "(Patch is indented 1 space.)\n")
	c.sayIf(!c.silent && r.indent > 1, "(Patch is indented %d spaces.)\n", r.indent)
	if c.in == "" {
		c.sayIf(!c.silent, "can't find file to patch at input line %d\nPerhaps you %s -p or --strip option?\n", c.head.line,
			map[bool]string{true: "should have used the", false: "used the wrong"}[c.strip < 0])
	}
	if lead := r.text[r.base:r.at]; (c.verbose() || c.in == "") && lead != "" {
		c.say("The text leading up to this was:\n--------------------------\n|%s\n--------------------------\n",
			strings.ReplaceAll(strings.TrimSuffix(lead, "\n"), "\n", "\n|"))
	}
	if c.in == "" {
		c.skip = true
		if c.o.on("f") || c.o.on("t") {
			c.say("No file to patch.  Skipping patch.\n")
		} else {
			c.say("File to patch: \nSkip this patch? [y] \n")
			c.sayIf(!c.silent, "Skipping patch.\n")
		}
	}
	return true, nil
}

func (c *patcher) sayIf(when bool, format string, args ...any) {
	if when {
		c.say(format, args...)
	}
}

// patchFile applies one patch to its file.
func (c *patcher) patchFile() error {
	out, title, err := c.target()
	if err != nil {
		return err
	}
	run := &patchRun{p: c}
	if !c.skip && c.info != nil {
		if run.lines, err = c.readLines(c.in); err != nil {
			return err
		}
	}
	if !c.skip && c.head.kind == binaryDiff {
		c.say("File %s: git binary diffs are not supported.\n", patchQuote(out))
		c.skip, c.status = true, 1
	}
	if !c.skip && !c.dry && c.output == "" {
		if err := c.mayCreate(out); err != nil {
			return err
		}
	}
	if !c.skip && !c.silent {
		c.say("%s file %s%s\n", map[bool]string{true: "checking", false: "patching"}[c.dry], patchQuote(out), title)
		c.sayIf(c.verbose(), "Using Plan A...\n")
	}
	result, err := c.hunks(run)
	if err != nil {
		if c.output != "" {
			c.outputText.WriteString(run.out.String())
		}
		return err
	}
	if !c.skip {
		if err := c.save(run, result, out); err != nil {
			return err
		}
	}
	return c.saveRejects(result, out)
}

func (c *patcher) readLines(name string) ([]string, error) {
	in, err := c.p.FS.Open(c.p.Path(name))
	if err != nil {
		return nil, fmt.Errorf("Can't open file %s : %s", patchQuote(name), errText(err)) //nolint:staticcheck // as the real one
	}
	defer shut(in)
	data, err := c.p.readAll(&workingReader{c.p, in})
	if err != nil {
		return nil, fmt.Errorf("read error : %s", errText(err))
	}
	text := string(data)
	const cost = 16 // of a string
	if err := c.hold(len(text) + cost*(strings.Count(text, "\n")+1)); err != nil {
		return nil, err
	}
	return textdiff.Lines(text), nil
}

// finish does what waited for the end of the patch.
func (c *patcher) finish() error {
	if err := c.flush(); err != nil {
		return err
	}
	for _, w := range slices.Clone(c.removals) {
		if err := c.remove(w); err != nil {
			return err
		}
	}
	return nil
}
