package sshmachine

import (
	"bytes"
	"strings"
	"testing"
)

// TestSudoPromptMarks delivers the output of a command in chunks of each size.
func TestSudoPromptMarks(t *testing.T) {
	const tag = "T1T2"
	for _, test := range []struct {
		said, want string
		status     int // -1 if the end is not seen
		noise      string
	}{
		{"T1T2!\nout\nT1T2.7\n", "out\n", 7, ""},
		{"noise\r\nT1T2!\nno line breakT1T2.0\nin the background", "no line breakin the background", 0, ""},
		{"T1T2!\nT1T2.x\nT1T1T2.12\n", "T1T2.x\nT1", 12, ""},
		{"T1T2!\nT1T2.1234\nT1T2.\nT1T2.255\nT1T2.3\n", "T1T2.1234\nT1T2.\nT1T2.3\n", 255, ""},
		{"T1T2!\nT1T2.12", "T1T2.12", -1, ""},
		{"sudo: T1T2?T1T2", "", -1, "sudo: T1T2"},
	} {
		for size := 1; size <= len(test.said); size++ {
			var out bytes.Buffer
			s := newSudoPrompt(&sudo{}, tag, &out)
			for rest := test.said; rest != ""; {
				n := min(size, len(rest))
				if _, err := s.Write([]byte(rest[:n])); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			status := -1
			if s.hasEnded() {
				status = s.status
			}
			held := len(s.pending)
			s.close()
			if out.String() != test.want || status != test.status || held > 0 && strings.HasSuffix(test.said, "\n") {
				t.Errorf("%q in chunks of %d: passed on %q, status %d, %d bytes held; want %q, %d", test.said, size, out.String(), status, held, test.want, test.status)
			}
			if test.status < 0 && !s.done && string(s.noise) != test.noise {
				t.Errorf("%q in chunks of %d: kept %q for the error, want %q", test.said, size, s.noise, test.noise)
			}
		}
	}
}
