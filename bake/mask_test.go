package bake_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
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

// A secret that was printed into a name or tag is an error, also in base64.
func TestPrintedSecretsInImage(t *testing.T) {
	printed := fmt.Sprint(bake.NewSecret("hunter2"))
	encoded := base64.StdEncoding.EncodeToString([]byte("user:" + printed))
	image := func() *bake.Image { return &bake.Image{Name: "web", Builder: baketest.NewBuilder(nil)} }
	for want, change := range map[string]func(img *bake.Image){
		"Image.Name: contains [redacted]":          func(img *bake.Image) { img.Name = "web " + printed },
		`Image.Tags["auth"]: contains [redacted]`:  func(img *bake.Image) { img.Tags = map[string]string{"auth": encoded} },
		"Image.Steps[0].Name: contains [redacted]": func(img *bake.Image) { img.Steps = []bake.Step{{Name: "use " + printed, Do: nothing}} },
		"check 1: CheckFunc.Name: contains [redacted]": func(img *bake.Image) {
			img.Checks = []bake.Check{bake.CheckFunc{Name: printed, Do: func(context.Context, bake.Machine) error { return nil }}}
		},
		"publish 1: PublisherFunc.Name: contains [redacted]": func(img *bake.Image) {
			img.Publishers = []bake.Publisher{bake.PublisherFunc{Name: printed, Do: func(context.Context, bake.Artifact) error { return nil }}}
		},
	} {
		img := image()
		change(img)
		if err := bake.Validate(nil, img); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate() = %v, want %q", err, want)
		}
	}
	m := baketest.NewMachine(&baketest.MachineOptions{AnyCommand: true})
	err := m.Run(t.Context(), &bake.Cmd{Line: "login", Env: map[string]string{"AUTH": encoded}})
	if err == nil || !strings.Contains(err.Error(), `Cmd.Env["AUTH"]: contains [redacted]`) {
		t.Errorf("Run() = %v, want an error for Env", err)
	}
}
