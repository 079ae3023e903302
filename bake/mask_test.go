package bake_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// masked returns text as it appears in an event of a build with these secrets.
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
		{"two that overlap", "abcdefgh", cut, []string{"abcdef", "defgh"}},
		{"too short to cut", "abc", "abc", []string{"abc"}},
		{"shorter than any", "a", "a", []string{"secret"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := masked(test.text, test.secrets...); got != test.want {
				t.Errorf("mask(%q) = %q, want %q", test.text, got, test.want)
			}
		})
	}
}

// The cost of adding a secret must not depend on the number of secrets.
func TestMaskManySecrets(t *testing.T) {
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
		t.Errorf("adding %d secrets: %.0f allocations at first, %.0f with many secrets", n, first, last)
	}
	run.Emit(bake.Event{Text: "it is secret 7 of many builds"})
	if strings.Contains(got, "secret") {
		t.Errorf("Emit: text %q, want the secret masked", got)
	}
}
