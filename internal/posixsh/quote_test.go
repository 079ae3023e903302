package posixsh_test

import (
	"os/exec"
	"testing"

	"github.com/bakestone-go/bakestone/internal/posixsh"
)

func TestQuote(t *testing.T) {
	if got := posixsh.Quote(`it's $HOME`); got != `'it'"'"'s $HOME'` {
		t.Errorf("got %s", got)
	}
	if got := posixsh.Words(); got != "" {
		t.Errorf("no words are %q", got)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	odd := []string{"", "a b", `it's "so"`, "$HOME `id` \\", "*", "-n", "two\nlines"}
	out, err := exec.CommandContext(t.Context(), sh, "-c", "printf '%s|'"+posixsh.Words(odd...)).Output()
	want := ""
	for _, word := range odd {
		want += word + "|"
	}
	if err != nil || string(out) != want {
		t.Errorf("the shell read %q, want %q (%v)", out, want, err)
	}
}
