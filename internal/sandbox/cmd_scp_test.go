package sandbox_test

import (
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// TestSCP acts as the local side of the scp protocol.
func TestSCP(t *testing.T) {
	t.Parallel()
	h, c := login(t, sandbox.Options{})
	s := session(t, c)
	s.Stdin = strings.NewReader("D0755 0 dir\nT1000 0 2000 0\nC0600 3 f\nabc\x00E\n")
	out, err := s.Output("scp -r -p -t .")
	if want := strings.Repeat("\x00", 6); err != nil || string(out) != want {
		t.Fatalf("sink: got %q, %v, want %q", out, err, want)
	}
	info, err := h.FS().Stat("/home/ubuntu/dir/f")
	if err != nil || info.Mode() != 0o600 || info.ModTime().Unix() != 1000 {
		t.Errorf("Stat of received file = %v, %v, want mode 600, time 1000", info, err)
	}
	s = session(t, c)
	s.Stdin = strings.NewReader(strings.Repeat("\x00", 5))
	out, err = s.Output("scp -r -f dir")
	if want := "D0755 0 dir\nC0600 3 f\nabc\x00E\n"; err != nil || string(out) != want {
		t.Errorf("source: got %q, %v, want %q", out, err, want)
	}
	s = session(t, c)
	s.Stdin = strings.NewReader("\x00")
	out, err = s.Output("scp -f nope")
	if want := "\x01scp: nope: No such file or directory\n"; err == nil || string(out) != want {
		t.Errorf("source of missing file: got %q, %v, want %q", out, err, want)
	}
}
