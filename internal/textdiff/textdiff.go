// Package textdiff compares texts by lines.
package textdiff

import (
	"strconv"
	"strings"
)

// An Edit is a run of lines a[A0:A1] that b[B0:B1] replaces.
type Edit struct{ A0, A1, B0, B1 int }

// Lines returns the lines of a text with their ends.
func Lines(text string) []string {
	all := strings.SplitAfter(text, "\n")
	if all[len(all)-1] == "" {
		return all[:len(all)-1]
	}
	return all
}

// Unified returns what turns text a into b, in the unified format without a header
// and with three lines of context. It is empty if the texts are equal.
func Unified(a, b string) string {
	const context = 3
	linesA, linesB := Lines(a), Lines(b)
	return Hunks(linesA, linesB, Edits(linesA, linesB, func(s string) string { return s }), context)
}

// Hunks returns the edits that turn a into b in the unified format.
func Hunks(a, b []string, edits []Edit, context int) string {
	var out strings.Builder
	show := func(mark string, all []string) {
		for _, line := range all {
			out.WriteString(mark + strings.TrimSuffix(line, "\n") + "\n")
			if !strings.HasSuffix(line, "\n") {
				out.WriteString("\\ No newline at end of file\n")
			}
		}
	}
	for i := 0; i < len(edits); {
		j := i + 1
		for j < len(edits) && edits[j].A0-edits[j-1].A1 <= 2*context {
			j++
		}
		a0, b0 := max(0, edits[i].A0-context), max(0, edits[i].B0-context)
		a1, b1 := min(len(a), edits[j-1].A1+context), min(len(b), edits[j-1].B1+context)
		out.WriteString("@@ -" + lineRange(a0, a1) + " +" + lineRange(b0, b1) + " @@\n")
		at := a0
		for ; i < j; i++ {
			show(" ", a[at:edits[i].A0])
			show("-", a[edits[i].A0:edits[i].A1])
			show("+", b[edits[i].B0:edits[i].B1])
			at = edits[i].A1
		}
		show(" ", a[at:a1])
	}
	return out.String()
}

func lineRange(from, to int) string {
	switch to - from {
	case 0:
		return strconv.Itoa(from) + ",0"
	case 1:
		return strconv.Itoa(to)
	}
	return strconv.Itoa(from+1) + "," + strconv.Itoa(to-from)
}

// maxTable bounds the table with which Edits finds common lines.
const maxTable = 4_000_000

// Edits returns what turns a into b. Lines with equal keys are equal.
func Edits(a, b []string, key func(string) string) []Edit {
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
		return []Edit{{start, endA, start, endB}}
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
	var all []Edit
	for i, j := 0, 0; i < n || j < m; {
		if i < n && j < m && same(start+i, start+j) {
			i, j = i+1, j+1
			continue
		}
		e := Edit{start + i, 0, start + j, 0}
		for (i < n || j < m) && (i == n || j == m || !same(start+i, start+j)) {
			if j == m || i < n && length[i+1][j] >= length[i][j+1] {
				i++
			} else {
				j++
			}
		}
		e.A1, e.B1 = start+i, start+j
		all = append(all, e)
	}
	return all
}
