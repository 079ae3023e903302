package sandbox

import (
	"bytes"
	"context"
	"io/fs"
	"slices"
	"strings"
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

// An edit is a run of lines a[a0:a1] that b[b0:b1] replaces.
type edit struct{ a0, a1, b0, b1 int }

func (d *differ) files(nameA, nameB, left, right string) {
	a, b := strings.SplitAfter(left, "\n"), strings.SplitAfter(right, "\n")
	a, b = dropEmpty(a), dropEmpty(b)
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
	edits := lineEdits(a, b, key)
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
		case e.a0 == e.a1:
			kind = "a"
		case e.b0 == e.b1:
			kind = "d"
		}
		d.p.print(lineRange(e.a0, e.a1), kind, lineRange(e.b0, e.b1), "\n")
		d.show("< ", a[e.a0:e.a1])
		if kind == "c" {
			d.p.print("---\n")
		}
		d.show("> ", b[e.b0:e.b1])
	}
}

func dropEmpty(all []string) []string {
	if len(all) > 0 && all[len(all)-1] == "" {
		return all[:len(all)-1]
	}
	return all
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

func (d *differ) unified(nameA, nameB string, a, b []string, edits []edit) {
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
	for i := 0; i < len(edits); {
		j := i + 1
		for j < len(edits) && edits[j].a0-edits[j-1].a1 <= 2*d.context {
			j++
		}
		a0, b0 := max(0, edits[i].a0-d.context), max(0, edits[i].b0-d.context)
		a1, b1 := min(len(a), edits[j-1].a1+d.context), min(len(b), edits[j-1].b1+d.context)
		d.p.print("@@ -", unifiedRange(a0, a1), " +", unifiedRange(b0, b1), " @@\n")
		at := a0
		for ; i < j; i++ {
			d.show(" ", a[at:edits[i].a0])
			d.show("-", a[edits[i].a0:edits[i].a1])
			d.show("+", b[edits[i].b0:edits[i].b1])
			at = edits[i].a1
		}
		d.show(" ", a[at:a1])
	}
}

func unifiedRange(from, to int) string {
	switch to - from {
	case 0:
		return itoa(from) + ",0"
	case 1:
		return itoa(to)
	}
	return itoa(from+1) + "," + itoa(to-from)
}

// maxTable bounds the table with which lineEdits finds common lines.
const maxTable = 4_000_000

// lineEdits returns what turns a into b.
func lineEdits(a, b []string, key func(string) string) []edit {
	same := func(i, j int) bool { return key(a[i]) == key(b[j]) }
	start := 0
	for start < len(a) && start < len(b) && same(start, start) {
		start++
	}
	endA, endB := len(a), len(b)
	for endA > start && endB > start && same(endA-1, endB-1) {
		endA, endB = endA-1, endB-1
	}
	n, m := endA-start, endB-start
	if n == 0 && m == 0 {
		return nil
	}
	if n == 0 || m == 0 || n*m > maxTable {
		return []edit{{start, endA, start, endB}}
	}
	length := make([][]int32, n+1) // of the longest common sequence from i and j on
	for i := range length {
		length[i] = make([]int32, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			if same(start+i, start+j) {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	var all []edit
	for i, j := 0, 0; i < n || j < m; {
		if i < n && j < m && same(start+i, start+j) {
			i, j = i+1, j+1
			continue
		}
		e := edit{start + i, 0, start + j, 0}
		for (i < n || j < m) && (i == n || j == m || !same(start+i, start+j)) {
			if j == m || i < n && length[i+1][j] >= length[i][j+1] {
				i++
			} else {
				j++
			}
		}
		e.a1, e.b1 = start+i, start+j
		all = append(all, e)
	}
	return all
}
