package bake_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/terminal"
)

// guest is a Machine whose commands write what the test wants and end with err.
type guest struct {
	bake.Machine

	run   func(ctx context.Context, cmd *bake.Cmd) error
	close func() // may be nil
}

func (g *guest) Run(ctx context.Context, cmd *bake.Cmd) error { return g.run(ctx, cmd) }

func (g *guest) Close() error {
	if g.close != nil {
		g.close()
	}
	return nil
}

// guestBuilder is a Builder whose machines are the guest.
type guestBuilder struct {
	*baketest.Builder

	guest *guest
}

func (b guestBuilder) Begin(img *bake.Image, run *bake.Run) (bake.Session, error) {
	s, err := b.Builder.Begin(img, run)
	return guestSession{s, b.guest}, err
}

type guestSession struct {
	bake.Session

	guest *guest
}

func (s guestSession) Connect(context.Context) (bake.Machine, error) { return s.guest, nil }
func (s guestSession) MarshalJSON() ([]byte, error)                  { return json.Marshal(s.Session) }
func (s guestSession) UnmarshalJSON(data []byte) error               { return json.Unmarshal(data, s.Session) }

// A report is everything that a bake shows.
type report struct {
	events, log, progress, err, record string
	lines                              []string
	exit                               *bake.ExitError
}

func (r *report) all() map[string]string {
	all := map[string]string{"events": r.events, "log": r.log, "progress": r.progress, "error": r.err, "record": r.record}
	if r.exit != nil {
		all["ExitError.Output"] = strings.Join(r.exit.Output, "\n")
		all["ExitError.Command"] = r.exit.Command
		all["ExitError"] = r.exit.Error()
	}
	return all
}

// show bakes an image with one command and returns all that it shows.
func show(t *testing.T, opts bake.Options, cmd *bake.Cmd, secrets []bake.Secret, run func(ctx context.Context, cmd *bake.Cmd) error) *report {
	t.Helper()
	r := &report{}
	var events, logs, progress bytes.Buffer
	dir := t.TempDir()
	view := terminal.New(&progress, &terminal.Options{RawOutput: opts.RawOutput})
	opts.Observe = func(e bake.Event) {
		view.Observe(e)
		if e.Kind == bake.OutputLine {
			r.lines = append(r.lines, e.Text)
		}
		enc := json.NewEncoder(&events)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(e); err != nil {
			t.Error(err)
		}
	}
	opts.Log = slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	opts.Store = bake.DirStore(dir)
	img := &bake.Image{
		Name: "shown", Builder: guestBuilder{baketest.NewBuilder(nil), &guest{run: run}}, Secrets: secrets,
		Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
			return m.Run(ctx, cmd)
		}}},
	}
	results, err := bake.Bake(t.Context(), &opts, img)
	if err := view.Close(results); err != nil {
		t.Error(err)
	}
	record, readErr := os.ReadFile(dir + "/" + results[0].Build + ".json")
	if readErr != nil {
		t.Fatal(readErr)
	}
	r.events, r.log, r.progress, r.record = events.String(), logs.String(), progress.String(), string(record)
	if err != nil {
		r.err = err.Error()
	}
	_ = errors.As(err, &r.exit)
	return r
}

const token = //nolint:gosec // test data
"Zq8-tr0ub4dor&3/horse"

// The secret is cut by chunks, lines and limits; no part of it may be shown.
func TestSecretCutAnywhere(t *testing.T) {
	write := func(w io.Writer, text string, size int) {
		for text != "" {
			n := min(size, len(text))
			_, _ = io.WriteString(w, text[:n])
			text = text[n:]
		}
	}
	encoded := base64.StdEncoding.EncodeToString([]byte("user:" + token + "@host"))
	for name, text := range map[string]string{
		"in a long line":             strings.Repeat("x", 64<<10-10) + token + "\n",
		"at the end of a shown line": strings.Repeat("x", 390) + token + strings.Repeat("y", 100) + "\n",
		"with a carriage return":     token[:8] + "\r" + token[8:] + "\n",
		"with colors":                token[:8] + "\x1b[31m" + token[8:] + "\n",
		"wrapped":                    token[:8] + "\n" + token[8:] + "\n",
		"wrapped base64":             encoded[:20] + "\n" + encoded[20:] + "\n",
		"unterminated":               token,
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 7, 1 << 20} {
				if len(text) > 1000 && size < 7 {
					continue
				}
				r := show(t, bake.Options{}, &bake.Cmd{Line: "deploy", Secrets: bake.Secrets(map[string]string{"TOKEN": token})}, nil,
					func(_ context.Context, cmd *bake.Cmd) error {
						write(cmd.Stdout, text, size)
						// A machine that knows no secrets cuts lines itself.
						cut := strings.Split(strings.TrimSpace(text), "\n")
						for i := range cut {
							cut[i] = cut[i][:min(400, len(cut[i]))]
						}
						return fmt.Errorf("wrapped: %w", &bake.ExitError{Command: "deploy " + token, Status: 1, Output: cut})
					})
				for where, shown := range r.all() {
					for i := range len(token) - 4 {
						if part := token[i : i+5]; strings.Contains(shown, part) {
							t.Errorf("in parts of %d: %s contain %q", size, where, part)
							break
						}
					}
					if strings.Contains(shown, encoded[10:20]) {
						t.Errorf("in parts of %d: %s contain base64", size, where)
					}
				}
				if r.exit == nil || r.exit.Status != 1 {
					t.Errorf("errors.As(%s) = %v, want the ExitError", r.err, r.exit)
				}
			}
		})
	}
}

// A long command line is cut in the error's text.
func TestSecretCutInCommand(t *testing.T) {
	line := strings.Repeat("x", 110) + token
	r := show(t, bake.Options{}, bake.Sh(line), []bake.Secret{bake.NewSecret(token)}, func(context.Context, *bake.Cmd) error {
		return &bake.ExitError{Command: line, Status: 1}
	})
	for where, text := range r.all() {
		if strings.Contains(text, token[:5]) {
			t.Errorf("%s contain the first part of the secret: %s", where, text)
		}
	}
}

// Errors of provisioners that ran something themselves.
func TestSecretCutInProvisionerError(t *testing.T) {
	img := &bake.Image{
		Name: "own", Builder: baketest.NewBuilder(nil), Secrets: []bake.Secret{bake.NewSecret(token)},
		Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error {
			return &bake.ExitError{Command: strings.Repeat("x", 110) + token, Status: 1, Output: []string{"said " + token}}
		}}},
	}
	_, err := bake.Bake(t.Context(), nil, img)
	var exit *bake.ExitError
	if err == nil || !errors.As(err, &exit) {
		t.Fatalf("Bake = %v, want an ExitError", err)
	}
	var named *bake.Error
	if !errors.As(err, &named) {
		t.Fatalf("Bake = %v, want an Error", err)
	}
	for _, text := range []string{err.Error(), named.Err.Error(), exit.Error(), exit.Command, fmt.Sprint(exit.Output)} {
		if strings.Contains(text, token[:5]) {
			t.Errorf("Bake: %s, want nothing of the secret", text)
		}
	}
}

func TestSecretInNames(t *testing.T) { synctest.Test(t, testSecretInNames) }

func testSecretInNames(t *testing.T) {
	t.Helper()
	other := "0ther-secret"
	secrets := []bake.Secret{bake.NewSecret(token), bake.NewSecret(other)}
	dir := t.TempDir()
	image := func(undo *[]string) *bake.Image {
		step := func(name string) bake.Step {
			return bake.Step{
				Name: name, At: bake.BeforeCapture,
				Do: func(context.Context) error {
					if name == "log in with "+other {
						return errPlanted
					}
					return nil
				},
				Undo: func(context.Context, bake.Outcome) error {
					*undo = append(*undo, name)
					if len(*undo) <= 6 {
						return errPlanted
					}
					return nil
				},
			}
		}
		return &bake.Image{
			Name: "named", Builder: baketest.NewBuilder(nil), Secrets: secrets,
			Steps: []bake.Step{step("log in with " + token), step("log in with " + other)},
		}
	}
	var undone []string
	var events, logs bytes.Buffer
	results, err := bake.Bake(t.Context(), &bake.Options{
		Observe: func(e bake.Event) { fmt.Fprintf(&events, "%+v\n", e) }, Store: bake.DirStore(dir),
		Log: slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, image(&undone))
	record, readErr := os.ReadFile(dir + "/" + results[0].Build + ".json")
	if readErr != nil {
		t.Fatal(readErr)
	}
	for where, text := range map[string]string{
		"events": events.String(), "log": logs.String(), "record": string(record), "error": err.Error(),
		"steps": fmt.Sprintf("%+v", results[0].Steps),
	} {
		if strings.Contains(text, token) || strings.Contains(text, other) {
			t.Errorf("%s contain a secret: %s", where, text)
		}
	}
	rec, err := bake.DirStore(dir).Load(t.Context(), results[0].Build)
	if err != nil {
		t.Fatal(err)
	}
	undone = make([]string, 6)
	if err := bake.Undo(t.Context(), nil, image(&undone), rec); err != nil || len(undone) != 8 {
		t.Errorf("Undo = %v, undid %v; want both steps", err, undone[6:])
	}
	err = bake.Validate(nil, &bake.Image{Name: token, Builder: baketest.NewBuilder(nil), Secrets: secrets})
	if err == nil || !strings.Contains(err.Error(), "Image.Name: contains one of Image.Secrets") || strings.Contains(err.Error(), token) {
		t.Errorf("Validate of a secret name = %v, want an error without it", err)
	}
}

// A builder's own log must not show secrets.
func TestSecretInBuildersLog(t *testing.T) {
	var logs bytes.Buffer
	b := guestBuilder{baketest.NewBuilder(nil), &guest{}}
	img := &bake.Image{Name: "logged", Builder: b, Secrets: []bake.Secret{bake.NewSecret(token)}, Provisioners: []bake.Provisioner{bake.ProvisionFunc{
		Do: func(ctx context.Context, _ bake.Machine) error {
			log := bake.RunFromContext(ctx).Log.With(slog.String("with", token)).WithGroup("group")
			log.Debug("says "+token, slog.String("text", token+"\x1b[2J"), slog.Any("error", errors.New(token)),
				slog.Any("list", []string{token}), slog.Group("inner", slog.String("text", token)))
			return nil
		},
	}}}
	opts := &bake.Options{Log: slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if _, err := bake.Bake(t.Context(), opts, img); err != nil {
		t.Fatal(err)
	}
	if text := logs.String(); strings.Contains(text, token[:5]) || strings.Contains(text, `\u001b`) || strings.Count(text, "[redacted]") != 6 {
		t.Errorf("log:\n%s", text)
	}
}

func TestRedactedPrintedByMistake(t *testing.T) {
	secret := bake.NewSecret(token)
	for want, cmd := range map[string]*bake.Cmd{
		`Cmd.Env["TOKEN"]: contains [redacted], the printed form of a Secret: put the Secret into Cmd.Secrets`: {Line: "x", Env: map[string]string{"TOKEN": fmt.Sprint(secret)}},
		"Cmd.Args[1]: contains [redacted]": bake.Command("curl", "token "+secret.String()),
	} {
		if err := cmd.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v, want %q", err, want)
		}
	}
	img := &bake.Image{Name: "tagged", Builder: baketest.NewBuilder(nil), Tags: map[string]string{"owner": fmt.Sprint("by ", secret)}}
	if err := bake.Validate(nil, img); err == nil || !strings.Contains(err.Error(), `image tagged: Image.Tags["owner"]: contains [redacted]`) {
		t.Errorf("Validate = %v, want an error that names the tag", err)
	}
}

// Nothing that acts on a terminal may be shown.
func TestTerminalControlMadeVisible(t *testing.T) {
	hostile := "\x1b[2J\x1b]0;title\a\u009b1m\x9b1m\u202eevil\u200b\x00\x7f\ttab"
	run := func(_ context.Context, cmd *bake.Cmd) error {
		_, _ = io.WriteString(cmd.Stdout, hostile+"\n10%\r50%\r100%\r\n")
		_, _ = io.WriteString(cmd.Stderr, "\x9b")
		return &bake.ExitError{Command: "x " + hostile, Status: 1, Output: []string{hostile}}
	}
	r := show(t, bake.Options{}, bake.Sh("x "+hostile), nil, run)
	for where, text := range r.all() {
		for _, r := range text {
			if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u202e' || r == '\u200b' || r == '\ufffd' {
				t.Errorf("%s contain %U: %q", where, r, text)
				break
			}
		}
	}
	want := []string{`␛[2J␛]0;title␇\u009b1m\x9b1m\u202eevil\u200b␀␡` + "\ttab", "100%", `\x9b`}
	if fmt.Sprint(r.lines) != fmt.Sprint(want) {
		t.Errorf("lines %q, want %q", r.lines, want)
	}
	r = show(t, bake.Options{RawOutput: true}, bake.Sh("x"), nil, run)
	if r.lines[0] != hostile || !strings.Contains(r.progress, hostile) {
		t.Errorf("RawOutput: line %q, want %q", r.lines[0], hostile)
	}
	if strings.Contains(r.log, "u001b") || strings.Contains(r.err, "\x1b") {
		t.Errorf("RawOutput: raw in log or error:\n%s\n%s", r.log, r.err)
	}
}

// A guest's output must not fill memory.
func TestOutputIsBounded(t *testing.T) {
	endless := &guest{run: func(ctx context.Context, cmd *bake.Cmd) error {
		chunk := bytes.Repeat([]byte("x"), 32<<10)
		for n := 0; ctx.Err() == nil; n += len(chunk) {
			if n > 1<<30 {
				return errors.New("nobody stopped it")
			}
			if _, err := cmd.Stdout.Write(chunk); err != nil {
				return err
			}
		}
		return ctx.Err()
	}}
	out, err := bake.Output(t.Context(), endless, bake.Sh("yes"))
	if !errors.Is(err, bake.ErrOutputTooLong) || !strings.Contains(err.Error(), "1048576 bytes from yes") || out != "" {
		t.Errorf("Output = %d bytes, %v; want ErrOutputTooLong", len(out), err)
	}
	exact := &guest{run: func(_ context.Context, cmd *bake.Cmd) error {
		_, err := io.WriteString(cmd.Stdout, "12345678")
		return err
	}}
	if out, err := bake.OutputLimit(t.Context(), exact, bake.Sh("x"), 8); out != "12345678" || err != nil {
		t.Errorf("OutputLimit(8) = %q, %v", out, err)
	}
	if _, err := bake.OutputLimit(t.Context(), exact, bake.Sh("x"), 7); !errors.Is(err, bake.ErrOutputTooLong) {
		t.Errorf("OutputLimit(7) = %v, want ErrOutputTooLong", err)
	}

	r := show(t, bake.Options{}, bake.Sh("x"), nil, func(_ context.Context, cmd *bake.Cmd) error {
		long := strings.Repeat("y", 1<<20)
		_, _ = io.WriteString(cmd.Stdout, long)
		return &bake.ExitError{Status: 1, Output: []string{long}}
	})
	for _, line := range append(r.exit.Output, r.lines...) {
		if len(line) > 64<<10 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	if len(r.exit.Output) != 1 || len(r.exit.Output[0]) > 410 {
		t.Errorf("ExitError.Output: %d lines, the first has %d bytes", len(r.exit.Output), len(r.exit.Output[0]))
	}
}

// An observer that blocks must not delay the end of a canceled build.
func TestCancelWithBlockedObserver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	release := make(chan struct{})
	defer close(release)
	var once sync.Once
	img := &bake.Image{Name: "blocked", Builder: baketest.NewBuilder(nil)}
	done := make(chan error, 1)
	go func() {
		_, err := bake.Bake(ctx, &bake.Options{Observe: func(e bake.Event) {
			if e.Kind == bake.ResourceCreated {
				once.Do(cancel)
				<-release
			}
		}}, img)
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Bake = %v, want context.Canceled", err)
		}
	case <-time.After(time.Minute):
		t.Error("Bake still waits for the observer a minute after the cancellation")
	}
}

// A step that ignores the cancellation is reported.
func TestCancelReportsLateStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var said []string
		img := &bake.Image{Name: "deaf", Builder: baketest.NewBuilder(nil), Provisioners: []bake.Provisioner{bake.ProvisionFunc{
			Name: "sleep", Do: func(context.Context, bake.Machine) error {
				cancel()
				time.Sleep(time.Minute)
				return nil
			},
		}}}
		_, err := bake.Bake(ctx, &bake.Options{Observe: func(e bake.Event) {
			if e.Kind == bake.Message {
				said = append(said, e.Step+": "+e.Text)
			}
		}}, img)
		want := "[provision 1: sleep: waiting for the step to stop: context canceled]"
		if !errors.Is(err, context.Canceled) || fmt.Sprint(said) != want {
			t.Errorf("Bake = %v, messages %v, want %s", err, said, want)
		}
	})
}

// A connection that does not close must not delay the clean-up.
func TestCloseBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		g := &guest{close: func() { <-release }}
		b := baketest.NewBuilder(nil)
		start := time.Now()
		results, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "open", Builder: guestBuilder{b, g}, Provisioners: []bake.Provisioner{
			bake.ProvisionFunc{Do: failing},
		}})
		if took := time.Since(start); !errors.Is(err, errPlanted) || results[0].Status != bake.StatusFailed || took > 3*time.Second {
			t.Errorf("Bake = %v after %v, want the planted error within 3 s", err, took)
		}
		if left := b.Existing(); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// TestLogRecords reads the log of a build that fails.
func TestLogRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logs bytes.Buffer
		img := &bake.Image{Name: "logged", Builder: baketest.NewBuilder(nil), Provisioners: []bake.Provisioner{bake.ProvisionFunc{
			Name: "wait", Do: func(context.Context, bake.Machine) error {
				time.Sleep(1500 * time.Millisecond)
				return errPlanted
			},
		}}}
		if _, err := bake.Bake(t.Context(), &bake.Options{Log: slog.New(slog.NewJSONHandler(&logs, nil))}, img); err == nil {
			t.Fatal("Bake = nil, want the planted error")
		}
		got := map[string]string{}
		for line := range strings.Lines(logs.String()) {
			var record struct{ Msg, Level, Image, Step, Elapsed, Error string }
			if err := json.Unmarshal([]byte(line), &record); err != nil || record.Image != "logged" {
				t.Fatalf("log line %s: %v, want a record with the image", line, err)
			}
			if record.Error != "" {
				got[record.Msg] += record.Level + " " + record.Step + " " + record.Elapsed
			}
		}
		want := map[string]string{"step finished": "WARN provision 1: wait 1.5s", "build finished": "ERROR  1.5s"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("records with errors = %q, want %q", got, want)
		}
	})
}
