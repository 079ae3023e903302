package bake_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// masked is text as an event of a build with these secrets shows it.
func masked(text string, secrets ...string) string {
	var got string
	run := bake.NewRun("id", "image", nil, func(e bake.Event) { got = e.Text })
	for _, s := range secrets {
		run.Mask(bake.NewSecret(s))
	}
	run.Emit(bake.Event{Kind: bake.Message, Text: text})
	return got
}

func TestMask(t *testing.T) {
	const cut = "[redacted]"
	for _, test := range []struct {
		name, text, want string
		secrets          []string
	}{
		{"none", "plain", "plain", nil},
		{"nothing to find", "plain text", "plain text", []string{"secret"}},
		{"alone", "secret", cut, []string{"secret"}},
		{"at both ends", "secret and secret", cut + " and " + cut, []string{"secret"}},
		{"twice in a row", "secretsecret", cut + cut, []string{"secret"}},
		{"begun but not ended", "secre secretly", "secre " + cut + "ly", []string{"secret"}},
		{"the longer one of two", "a secretive man", "a " + cut + " man", []string{"secret", "secretive"}},
		{"the longer one, added first", "a secretive man", "a " + cut + " man", []string{"secretive", "secret"}},
		{"one inside another", "hidden treasure chest", cut, []string{"treasure", "hidden treasure chest"}},
		{"two that overlap", "abcdefgh", cut + "gh", []string{"abcdef", "defgh"}},
		{"too short to cut", "abc", "abc", []string{"abc"}},
		{"shorter than any", "a", "a", []string{"secret"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := masked(test.text, test.secrets...); got != test.want {
				t.Errorf("%q became %q, want %q", test.text, got, test.want)
			}
		})
	}
}

// TestMaskIsCheapToGrow adds the secrets of a great many builds, each followed
// by an event: what that costs must not grow with the secrets there are.
func TestMaskIsCheapToGrow(t *testing.T) {
	var got string
	run := bake.NewRun("id", "image", nil, func(e bake.Event) { got = e.Text })
	perform := func(n, from int) float64 {
		return testing.AllocsPerRun(1, func() {
			for i := range n {
				run.Mask(bake.NewSecret(fmt.Sprintf("secret %d of many builds", from+i)))
				run.Emit(bake.Event{Kind: bake.Message, Time: time.Unix(0, 0), Text: "nothing"})
			}
		})
	}
	const n = 200
	first := perform(n, 0)
	perform(10*n, n)
	if last := perform(n, 100*n); last > 2*first {
		t.Errorf("%d secrets took %.0f allocations, and %.0f when there were many", n, first, last)
	}
	run.Emit(bake.Event{Text: "it is secret 7 of many builds"})
	if strings.Contains(got, "secret") {
		t.Errorf("not masked: %q", got)
	}
}
