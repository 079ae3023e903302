package bake

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// FuzzLines checks that a machine's output becomes the same lines however it is cut into
// writes, and that none is long or has a secret.
func FuzzLines(f *testing.F) {
	f.Add("a\nb\r\nc\rd\n\n", 1)
	f.Add("password=hunter22 aHVudGVyMjI=\x1b[2J\n", 3)
	f.Add(strings.Repeat("x", longestLine)+"\n"+strings.Repeat("y", 2*longestLine+1), 1000)
	f.Fuzz(func(t *testing.T, text string, part int) {
		read := func(part int) (got []string, kept []string) {
			r := NewRun("", "", nil, func(e Event) { got = append(got, e.Text) })
			r.Mask(NewSecret("hunter22"))
			end := &tail{}
			w := newLines(r, Stdout, end)
			for rest := text; rest != ""; {
				n := min(part, len(rest))
				_, _ = w.Write([]byte(rest[:n]))
				rest = rest[n:]
			}
			_ = w.Close()
			return got, end.all()
		}
		got, kept := read(1 + max(part, -part-1)%5000)
		for _, line := range got {
			const widest = 10 // \U000e0041 for a rune of four bytes, of which every byte may become \xff
			if len(line) > widest*longestLine || strings.ContainsAny(line, "\x00\x1b\n\r") || strings.Contains(line, "hunter22") {
				t.Errorf("line of %d bytes: %.500q", len(line), line)
			}
		}
		for _, line := range kept {
			if len(line) > tailColumns+len(" …") || len(kept) > tailLines {
				t.Errorf("%d lines kept, one of %d bytes", len(kept), len(line))
			}
		}
		if strings.Contains(text, "hunter22") || len(text) >= longestLine {
			return // what Write masks depends on where lines end
		}
		if again, _ := read(len(text) + 1); !slices.Equal(got, again) {
			t.Errorf("lines %q, written at once %q", got, again)
		}
	})
}

// FuzzBuildID checks that an id that is accepted is a plain file name.
func FuzzBuildID(f *testing.F) {
	for _, seed := range []string{"20260102t030405-abcdefgh", "../x", "20260102t030405-abcdefgh\n", "20260102t030405-abcdefgh.json", "", "20260230t030405-abcdefgh"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if validateBuildID(id) == nil && (len(id) != len(buildIDTime)+1+buildIDRandom || filepath.Base(id) != id || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") != "") {
			t.Errorf("validateBuildID(%q) = nil", id)
		}
	})
}
