package bake_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

const password = //nolint:gosec // test data
`p'ss "word" + more`

// A failing command prints its secret in many encodings; no output of the build may
// contain it.
func TestSecretsMaskedInAllOutput(t *testing.T) {
	quoted, err := json.Marshal(password)
	if err != nil {
		t.Fatal(err)
	}
	forms := []string{
		password, string(quoted), base64.StdEncoding.EncodeToString([]byte("user:" + password)),
		base64.URLEncoding.EncodeToString([]byte(password)), hex.EncodeToString([]byte(password)),
		url.QueryEscape(password), strings.ReplaceAll(password, "'", `'\''`),
	}
	b := baketest.NewBuilder(&baketest.BuilderOptions{PrepareMachine: func(m *baketest.Machine) {
		m.On("login", baketest.Reply{Stdout: strings.Join(forms, "\n"), Stderr: password + "\n", Status: 3})
	}})
	img := &bake.Image{Name: "secret", Builder: b, Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
		err := m.Run(ctx, &bake.Cmd{Line: "login", Secrets: bake.Secrets(map[string]string{"PASSWORD": password})})
		return fmt.Errorf("with %s: %w", password, err)
	}}}}
	var events, logs bytes.Buffer
	dir := t.TempDir()
	results, err := bake.Bake(t.Context(), &bake.Options{
		Observe: func(e bake.Event) {
			if err := json.NewEncoder(&events).Encode(e); err != nil {
				t.Error(err)
			}
		},
		Log:   slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Store: bake.DirStore(dir),
	}, img)
	var exit *bake.ExitError
	if !errors.As(err, &exit) || exit.Status != 3 {
		t.Fatalf("Bake = %v, want exit status 3", err)
	}
	record, readErr := os.ReadFile(dir + "/" + results[0].Build + ".json")
	if readErr != nil {
		t.Fatal(readErr)
	}
	for where, text := range map[string]string{
		"events": events.String(), "log": logs.String(), "error": err.Error(), "record": string(record),
		"result": results[0].Err.Error(),
	} {
		for _, form := range append(forms, base64.StdEncoding.EncodeToString([]byte(password))) {
			if strings.Contains(text, form) {
				t.Errorf("%s contain %q", where, form)
			}
		}
		if !strings.Contains(text, "[redacted]") {
			t.Errorf("%s lack [redacted]: %s", where, text)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	s := struct {
		Name  string
		Value bake.Secret
	}{"a", bake.NewSecret("hidden")}
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", slog.Any("secret", s.Value))
	for _, text := range []string{
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x", s, s, s, s, s, s), s.Value.String(), string(data), log.String(),
	} {
		if strings.Contains(text, "hidden") || strings.Contains(text, hex.EncodeToString([]byte("hidden"))) {
			t.Errorf("secret visible in %q", text)
		}
	}
}

func TestKeepMachineUnsupported(t *testing.T) {
	b := baketest.NewBuilder(nil)
	img := &bake.Image{Name: "kept", Builder: b, Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: failing}}}
	results, err := bake.Bake(t.Context(), &bake.Options{OnFailure: bake.KeepMachine}, img)
	if !errors.Is(err, errPlanted) || results[0].Kept != nil {
		t.Errorf("Bake = %v, kept %v; want the planted error and no machine", err, results[0].Kept)
	}
	if left := b.Existing(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// brokenStore fails the save numbered failAt.
type brokenStore struct {
	bake.Store
	saves, failAt int
}

func (s *brokenStore) Save(ctx context.Context, r *bake.Record) error {
	s.saves++
	if s.saves == s.failAt {
		return &bake.PermanentError{Err: errPlanted}
	}
	return s.Store.Save(ctx, r)
}

func TestSaveFailureFailsBuild(t *testing.T) {
	for at := 1; ; at++ {
		b := baketest.NewBuilder(nil)
		store := &brokenStore{Store: bake.DirStore(t.TempDir()), failAt: at}
		img := &bake.Image{Name: "unsaved", Builder: b}
		results, err := bake.Bake(t.Context(), &bake.Options{Store: store}, img)
		if store.saves < at {
			if at < 12 {
				t.Errorf("%d saves in a build, want at least 11", at-1)
			}
			return
		}
		if !errors.Is(err, errPlanted) {
			t.Fatalf("Bake after failed save %d = %v, want the planted error", at, err)
		}
		if (results == nil) != (at == 1) {
			t.Fatalf("Bake after failed save %d = %v, want no results only if no record was saved", at, results)
		}
		if (results == nil || results[0].Artifact == nil) && len(b.Existing()) > 0 {
			t.Errorf("Bake after failed save %d left %v", at, b.Existing())
		}
	}
}

func TestCommandEvents(t *testing.T) {
	b := baketest.NewBuilder(&baketest.BuilderOptions{PrepareMachine: func(m *baketest.Machine) {
		m.On("true", baketest.Reply{Stdout: "quiet\n"})
		m.On("make", baketest.Reply{Stdout: "one\n", Status: 2})
	}})
	img := &bake.Image{Name: "web", Builder: b, Provisioners: []bake.Provisioner{bake.ProvisionFunc{Name: "make", Do: func(ctx context.Context, m bake.Machine) error {
		if out, err := bake.Output(ctx, m, &bake.Cmd{Line: "true", Quiet: true}); err != nil || out != "quiet" { // its end is an event
			t.Errorf("Output = %q, %v", out, err)
		}
		return m.Run(ctx, &bake.Cmd{Line: "make"})
	}}}}
	var got []string
	_, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
		if e.Kind == bake.CommandStarted || e.Kind == bake.CommandFinished || e.Kind == bake.OutputLine {
			line, _, _ := strings.Cut(e.Err, "\n")
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Kind, e.Text, line)))
		}
	}}, img)
	want := []string{"command started true", "command finished true", "command started make", "output one", "command finished make exit status 2: make"}
	if err == nil || !slices.Equal(got, want) {
		t.Errorf("events of Bake() = %q, error %v; want %q and an error", got, err, want)
	}
}
