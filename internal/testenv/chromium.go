package testenv

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A Browser is a Chromium without a window, with one page. Its methods fail the test if
// Chromium refuses a command. They must be called from the test's goroutine.
type Browser struct {
	t       testing.TB
	out     *os.File // commands
	in      *bufio.Reader
	session string // of the page
	last    int    // number of the last command

	// Failures describe what went wrong since Open or Visit: exceptions of scripts, errors
	// on the console, and requests for anything but the file, or for another server.
	Failures []string

	allowed string // the URL of the file, or what those of the server begin with
}

// Chromium starts a browser that ends with the test.
func Chromium(t testing.TB) *Browser {
	t.Helper()
	program := Need(t, "chromium")
	fail := func(err error) {
		if err != nil {
			t.Fatalf("testenv: start Chromium: %v", err)
		}
	}
	// Chromium reads commands from descriptor 3 and answers on 4.
	commands, toBrowser, err := os.Pipe()
	fail(err)
	fromBrowser, answers, err := os.Pipe()
	fail(err)
	const limit = 5 * time.Minute
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limit)
	// No TempDir: Chromium may still write to its profile while that is removed.
	profile, err := os.MkdirTemp("", "chromium") //nolint:usetesting // see above
	fail(err)
	cmd := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
		"--remote-debugging-pipe", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--user-data-dir="+profile)
	cmd.ExtraFiles = []*os.File{commands, answers}
	fail(cmd.Start())
	fail(commands.Close())
	fail(answers.Close())
	b := &Browser{t: t, out: toBrowser, in: bufio.NewReader(fromBrowser)}
	t.Cleanup(func() {
		b.session = ""
		if _, err := b.call("Browser.close", nil); err != nil {
			cancel()
		}
		_, _ = io.Copy(io.Discard, fromBrowser) // ends with the last process of Chromium
		_ = cmd.Wait()
		cancel()
		_, _ = toBrowser.Close(), fromBrowser.Close()
		_ = os.RemoveAll(profile)
	})
	var target struct{ TargetID, SessionID string }
	b.must("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	b.must("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &target)
	b.session = target.SessionID
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		b.must(domain+".enable", nil, nil)
	}
	return b
}

// A Screen is what a page is shown on.
type Screen struct {
	Width, Height int  // in CSS pixels
	Phone         bool // has a touch screen, and scales pages made for wider ones
	Dark          bool // prefers dark colors
}

// Open opens the HTML file on a screen and waits until it is loaded.
func (b *Browser) Open(file string, on Screen) {
	b.t.Helper()
	file, err := filepath.Abs(file)
	if err != nil {
		b.t.Fatalf("testenv: %v", err)
	}
	b.allowed = "file://" + filepath.ToSlash(file)
	b.open(b.allowed, on)
}

// Visit opens a page of a server on 127.0.0.1, which may load others from the same server,
// and waits until it is loaded.
func (b *Browser) Visit(page string, on Screen) {
	b.t.Helper()
	u, err := url.Parse(page)
	if err != nil {
		b.t.Fatalf("testenv: %v", err)
	}
	b.allowed = u.Scheme + "://" + u.Host + "/"
	b.open(page, on)
}

func (b *Browser) open(page string, on Screen) {
	b.t.Helper()
	b.Failures = nil
	colors := "light"
	if on.Dark {
		colors = "dark"
	}
	b.must("Emulation.setDeviceMetricsOverride", map[string]any{"width": on.Width, "height": on.Height, "deviceScaleFactor": 1, "mobile": on.Phone}, nil)
	b.must("Emulation.setTouchEmulationEnabled", map[string]any{"enabled": on.Phone}, nil)
	b.must("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": colors}}}, nil)
	b.must("Page.navigate", map[string]any{"url": page}, nil)
	b.Eval(`new Promise(done => document.readyState === "complete" ? done(true) : addEventListener("load", () => done(true)))`, nil)
}

// Wait waits until an expression of JavaScript is true, also on pages to which the present
// one leads.
func (b *Browser) Wait(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), readyTimeout)
	defer cancel()
	for {
		// While a page is being replaced, there is none to ask.
		data, err := b.call("Runtime.evaluate", map[string]any{"expression": "!!(" + expression + ")", "returnByValue": true})
		var answer struct{ Result struct{ Value bool } }
		if err == nil && json.Unmarshal(data, &answer) == nil && answer.Result.Value {
			return
		}
		if !pause(ctx) {
			b.t.Fatalf("testenv: %s is still false: %v %s", expression, err, data)
		}
	}
}

// Eval evaluates an expression of JavaScript in the page, awaits its promise if it is
// one, and decodes the JSON of its value into result, unless that is nil.
func (b *Browser) Eval(expression string, result any) {
	b.t.Helper()
	var answer struct {
		Result    struct{ Value json.RawMessage }
		Exception struct{ Text string } `json:"exceptionDetails"`
	}
	b.must("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &answer)
	if answer.Exception.Text != "" {
		b.t.Fatalf("testenv: evaluate %s: %s", expression, answer.Exception.Text)
	}
	if result == nil {
		return
	}
	if err := json.Unmarshal(answer.Result.Value, result); err != nil {
		b.t.Fatalf("testenv: evaluate %s: decode %s: %v", expression, answer.Result.Value, err)
	}
}

// Type types text into the focused element.
func (b *Browser) Type(text string) {
	b.t.Helper()
	b.must("Input.insertText", map[string]any{"text": text}, nil)
}

// Screenshot writes what the screen shows to a PNG file.
func (b *Browser) Screenshot(file string) {
	b.t.Helper()
	var shot struct{ Data string }
	b.must("Page.captureScreenshot", nil, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	if err != nil {
		b.t.Fatalf("testenv: screenshot: %v", err)
	}
}

func (b *Browser) must(method string, params map[string]any, result any) {
	b.t.Helper()
	answer, err := b.call(method, params)
	if err == nil && result != nil {
		err = json.Unmarshal(answer, result)
	}
	if err != nil {
		b.t.Fatalf("testenv: Chromium: %s: %v", method, err)
	}
}

// call sends a command and returns its answer. It handles the events before that.
func (b *Browser) call(method string, params map[string]any) (json.RawMessage, error) {
	b.last++
	command := map[string]any{"id": b.last, "method": method, "params": params}
	if params == nil {
		delete(command, "params")
	}
	if b.session != "" {
		command["sessionId"] = b.session
	}
	data, err := json.Marshal(command)
	if err != nil {
		return nil, err
	}
	if _, err := b.out.Write(append(data, 0)); err != nil {
		return nil, err
	}
	for {
		data, err := b.in.ReadBytes(0)
		if err != nil {
			return nil, err
		}
		var message struct {
			ID             int
			Method         string
			Params, Result json.RawMessage
			Error          struct{ Message string }
		}
		if err := json.Unmarshal(data[:len(data)-1], &message); err != nil {
			return nil, err
		}
		switch {
		case message.ID == 0:
			b.event(message.Method, message.Params)
		case message.ID != b.last:
		case message.Error.Message != "":
			return nil, fmt.Errorf("%s", message.Error.Message)
		default:
			return message.Result, nil
		}
	}
}

// event adds what went wrong to b.Failures.
func (b *Browser) event(method string, params json.RawMessage) {
	var event struct {
		Request          struct{ URL string }
		Entry            struct{ Level, Text string }
		Type             string
		ExceptionDetails json.RawMessage
	}
	if err := json.Unmarshal(params, &event); err != nil {
		b.Failures = append(b.Failures, fmt.Sprintf("%s: %v", method, err))
		return
	}
	switch {
	case method == "Network.requestWillBeSent" && !b.mayRequest(event.Request.URL):
		b.Failures = append(b.Failures, "request for "+event.Request.URL)
	case method == "Runtime.exceptionThrown":
		b.Failures = append(b.Failures, "exception: "+string(event.ExceptionDetails))
	case method == "Log.entryAdded" && event.Entry.Level == "error":
		b.Failures = append(b.Failures, "error: "+event.Entry.Text)
	case method == "Runtime.consoleAPICalled" && event.Type == "error":
		b.Failures = append(b.Failures, "console: "+string(params))
	}
}

// mayRequest reports whether the page may load a URL.
func (b *Browser) mayRequest(address string) bool {
	if strings.HasPrefix(b.allowed, "file:") {
		return address == b.allowed
	}
	return strings.HasPrefix(address, b.allowed) || strings.HasPrefix(address, "data:")
}
