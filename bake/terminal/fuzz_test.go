package terminal_test

import (
	"bytes"
	"regexp"
	"testing"
	"time"
	"unicode"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/terminal"
)

// FuzzPlain checks that no text of a machine steers the terminal or the CI system that
// the plain lines are printed on.
func FuzzPlain(f *testing.F) {
	for _, seed := range []string{"plain", "\x1b[2J\x1b]0;x\a", "::error::x", "##[error]", "a\r\nb\x00", "\u202e\u009b\xff", "é\u0301😀"} {
		f.Add(seed, seed)
	}
	command := regexp.MustCompile(`(?m)^::|##[A-Za-z]*\[`)
	f.Fuzz(func(t *testing.T, image, text string) {
		var b bytes.Buffer
		v := terminal.New(&b, &terminal.Options{Plain: true})
		at := time.Unix(0, 0)
		for _, kind := range []bake.EventKind{bake.StepStarted, bake.OutputLine, bake.StepRetried, bake.BuildRestarted, bake.BuildResumed, bake.Message, bake.BuildPaused, bake.UndoFinished, bake.MachineKept, bake.BuildFinished} {
			v.Observe(bake.Event{Kind: kind, Time: at, Image: "image", Step: image, Text: text, Err: text, Status: bake.Status(text)})
		}
		if err := v.Close([]*bake.Result{{Image: &bake.Image{Name: "x"}}}); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.String() {
			if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
				t.Errorf("printed %U in %q", r, b.String())
			}
		}
		if command.Match(b.Bytes()) {
			t.Errorf("printed a command: %q", b.String())
		}
	})
}
