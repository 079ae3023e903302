package sandbox

import (
	"bytes"
	"context"
	"io/fs"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/textdiff"
)

// differ is a run of diff.
type differ struct {
	p       *Process
	o       opts
	context int
	header  string // printed before the differences of a file
	found   bool
}

// diff compares files, or with -r directories, in the normal or with -u the
// unified format.
func diff(_ context.Context, p *Process) int {
	o, names, bad := p.options("qsruNwbBiU:aL:", "brief=q", "recursive=r", "unified=u", "new-file=N", "report-identical-files=s", "ignore-all-space=w", "label=L:", "text=a")
	if bad != 0 {
		return bad
	}
	if len(names) != 2 {
		return p.fail(2, "missing operand")
	}
	d := &differ{p: p, o: o, context: 3}
	if text, ok := o.value("U"); ok {
		d.context, _ = number(text)
	}
	status := d.compare(names[0], names[1])
	if status == 0 && d.found {
		return 1
	}
	return status
}

func (d *differ) isDir(name string) bool {
	info, err := d.p.FS.Stat(d.p.Path(name))
	return name != "-" && err == nil && info.IsDir()
}

func (d *differ) compare(a, b string) int {
	dirA, dirB := d.isDir(a), d.isDir(b)
	switch {
	case dirA && dirB:
		return d.directories(a, b)
	case dirA:
		a = entryPath(a, b[strings.LastIndexByte(b, '/')+1:])
	case dirB:
		b = entryPath(b, a[strings.LastIndexByte(a, '/')+1:])
	}
	left, right, bad := d.p.twoFiles([]string{a, b})
	if bad != 0 {
		return bad
	}
	if bytes.Equal(left, right) {
		if d.o.on("s") {
			d.p.print("Files ", a, " and ", b, " are identical\n")
		}
		return 0
	}
	if d.o.on("q") || bytes.IndexByte(left, 0) >= 0 || bytes.IndexByte(right, 0) >= 0 {
		d.found = true
		kind := "Files "
		if !d.o.on("q") {
			kind = "Binary files "
		}
		d.p.print(kind, a, " and ", b, " differ\n")
		return 0
	}
	d.files(a, b, string(left), string(right))
	return 0
}

func (d *differ) directories(a, b string) int {
	listA, errA := d.p.FS.ReadDir(d.p.Path(a))
	listB, errB := d.p.FS.ReadDir(d.p.Path(b))
	if errA != nil || errB != nil {
		return d.p.fail(2, "%s: %s", a, errText(errA))
	}
	var names []string
	has := func(list []fs.DirEntry, name string) bool {
		return slices.ContainsFunc(list, func(e fs.DirEntry) bool { return e.Name() == name })
	}
	for _, e := range slices.Concat(listA, listB) {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	status := 0
	for _, name := range slices.Compact(names) {
		inA, inB := has(listA, name), has(listB, name)
		left, right := entryPath(a, name), entryPath(b, name)
		switch {
		case !inA:
			d.found = true
			d.p.print("Only in ", b, ": ", name, "\n")
		case !inB:
			d.found = true
			d.p.print("Only in ", a, ": ", name, "\n")
		case d.isDir(left) && d.isDir(right):
			if d.o.on("r") {
				status = max(status, d.directories(left, right))
			} else {
				d.p.print("Common subdirectories: ", left, " and ", right, "\n")
			}
		default:
			before := d.found
			d.found = false
			d.header = "diff -r " + left + " " + right + "\n"
			status = max(status, d.compare(left, right))
			d.header = ""
			d.found = d.found || before
		}
	}
	return status
}

func (d *differ) files(nameA, nameB, left, right string) {
	a, b := textdiff.Lines(left), textdiff.Lines(right)
	key := func(s string) string {
		if d.o.on("w") {
			return strings.Join(strings.Fields(s), "")
		}
		if d.o.on("b") {
			return strings.Join(strings.Fields(s), " ")
		}
		if d.o.on("i") {
			return strings.ToLower(s)
		}
		return s
	}
	edits := textdiff.Edits(a, b, key)
	if len(edits) == 0 {
		return
	}
	d.found = true
	d.p.print(d.header)
	if d.o.on("u") || d.o.on("U") {
		d.unified(nameA, nameB, a, b, edits)
		return
	}
	for _, e := range edits {
		kind := "c"
		switch {
		case e.A0 == e.A1:
			kind = "a"
		case e.B0 == e.B1:
			kind = "d"
		}
		d.p.print(lineRange(e.A0, e.A1), kind, lineRange(e.B0, e.B1), "\n")
		d.show("< ", a[e.A0:e.A1])
		if kind == "c" {
			d.p.print("---\n")
		}
		d.show("> ", b[e.B0:e.B1])
	}
}

func lineRange(from, to int) string {
	switch {
	case from == to:
		return itoa(from)
	case to == from+1:
		return itoa(to)
	}
	return itoa(from+1) + "," + itoa(to)
}

func (d *differ) show(mark string, all []string) {
	for _, line := range all {
		d.p.print(mark, strings.TrimSuffix(line, "\n"), "\n")
		if !strings.HasSuffix(line, "\n") {
			d.p.print("\\ No newline at end of file\n")
		}
	}
}

func (d *differ) unified(nameA, nameB string, a, b []string, edits []textdiff.Edit) {
	stamp := func(name string) string {
		when := d.p.Host.o.Clock.Now()
		if info, err := d.p.FS.Stat(d.p.Path(name)); err == nil {
			when = info.ModTime()
		}
		return name + "\t" + when.UTC().Format("2006-01-02 15:04:05.000000000 -0700")
	}
	labels := d.o.values("L")
	if len(labels) == 2 {
		d.p.print("--- ", labels[0], "\n+++ ", labels[1], "\n")
	} else {
		d.p.print("--- ", stamp(nameA), "\n+++ ", stamp(nameB), "\n")
	}
	d.p.print(textdiff.Hunks(a, b, edits, d.context))
}
