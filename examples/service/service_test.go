package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/journal"
)

const (
	aliceToken = "alice-0123456789abcdef"
	bobToken   = "bob-0123456789abcdefgh"
)

// A logs collects what is logged.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A process is a service in this process, on a directory that others may share.
type process struct {
	t    *testing.T
	s    *service
	url  string
	logs *logs
	stop func()
}

// An oven is a platform in memory whose bakes go on while it is open.
type oven struct {
	builder *baketest.Builder
	open    chan struct{}
	once    sync.Once
}

func newOven() *oven { return &oven{builder: baketest.NewBuilder(nil), open: make(chan struct{})} }

func (o *oven) release() { o.once.Do(func() { close(o.open) }) }

// catalog returns an image that prints lines and then waits for the oven. Release 0
// fails, and release 9 never ends.
func (o *oven) catalog() []definition {
	return []definition{{
		Name: "web", Description: "A web server", Parameters: []parameter{{Name: "release", Help: "a number", Pattern: `[0-9.]+`}},
		image: func(values map[string]string) *bake.Image {
			return &bake.Image{Name: "web", Builder: o.builder, Provisioners: []bake.Provisioner{bake.ProvisionFunc{
				Name: "install", Version: values["release"],
				Do: func(ctx context.Context, _ bake.Machine) error {
					out := bake.RunFromContext(ctx).Lines(bake.Stdout)
					defer out.Close()
					for range 20 {
						_, _ = io.WriteString(out, "installing <b>release</b> "+values["release"]+"\n")
					}
					open := o.open
					if values["release"] == "9" {
						open = nil
					}
					select {
					case <-open:
					case <-ctx.Done():
						return context.Cause(ctx)
					}
					if values["release"] == "0" {
						return errors.New("no <script>alert(1)</script> release")
					}
					return nil
				},
			}}}
		},
	}}
}

// start starts a process on a directory. It ends with the test, as by SIGTERM.
func (o *oven) start(t *testing.T, dir string) *process {
	t.Helper()
	who, err := parseCallers([]byte("# comment\n\nalice " + aliceToken + "\nbob " + bobToken + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, logs: &logs{}}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
	p.s = newService(ctx, &config{
		records: bake.DirStore(dir), events: journal.Dir(dir), catalog: o.catalog(), callers: who,
		log: slog.New(slog.NewJSONHandler(p.logs, nil)), lease: 2 * time.Second,
		heartbeat: 100 * time.Millisecond, slowest: time.Second,
	})
	server := httptest.NewUnstartedServer(p.s.handler())
	const short = 300 * time.Millisecond // streams live longer
	server.Config.ReadTimeout, server.Config.WriteTimeout, server.Config.IdleTimeout = short, short, time.Minute
	server.Start()
	p.url = server.URL
	ended := make(chan error, 1)
	go func() { ended <- p.s.runner.Serve(ctx) }()
	p.stop = sync.OnceFunc(func() {
		cancel(bake.ErrSuspended)
		if err := <-ended; !errors.Is(err, bake.ErrSuspended) {
			t.Errorf("Serve = %v, want %v", err, bake.ErrSuspended)
		}
		server.CloseClientConnections()
		server.Close()
		if err := p.s.writer.Close(); err != nil {
			t.Errorf("close the journal: %v", err)
		}
	})
	t.Cleanup(p.stop)
	t.Cleanup(o.release) // before that
	return p
}

// send sends a request, whose body is JSON if it is not empty.
func (p *process) send(method, path, body string, headers ...string) *http.Response {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(req)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	p.t.Cleanup(func() { response.Body.Close() })
	return response
}

// call sends a request as a caller and decodes the response into result.
func (p *process) call(token, method, path, body string, result any) (status int) {
	p.t.Helper()
	response := p.send(method, path, body, "Authorization", "Bearer "+token)
	if err := json.NewDecoder(response.Body).Decode(result); err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	return response.StatusCode
}

// order starts a bake and returns its build id.
func (p *process) order(token, body string) string {
	p.t.Helper()
	var got struct {
		Bakes []view
		Error string
	}
	if status := p.call(token, "POST", "/api/bakes", body, &got); status != http.StatusAccepted || len(got.Bakes) == 0 {
		p.t.Fatalf("POST /api/bakes %s = %d, %+v, want %d and a bake", body, status, got, http.StatusAccepted)
	}
	return got.Bakes[len(got.Bakes)-1].Build
}

// waitState waits until a bake is in a state.
func (p *process) waitState(build, want string) view {
	p.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		var got view
		status := p.call(aliceToken, "GET", "/api/bakes/"+build, "", &got)
		if got.State == want {
			return got
		}
		if status != http.StatusOK || time.Now().After(deadline) {
			p.t.Fatalf("GET /api/bakes/%s = %d, %+v, want the state %q", build, status, got, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A message is one of a stream.
type message struct{ id, event, data string }

// watch reads a stream until enough reports true, or it ends.
func (p *process) watch(build, after string, enough func(message) bool) (messages []message) {
	p.t.Helper()
	headers := []string{"Authorization", "Bearer " + bobToken}
	if after != "" {
		headers = append(headers, "Last-Event-ID", after)
	}
	response := p.send("GET", "/api/bakes/"+build+"/events", "", headers...)
	defer response.Body.Close()
	if kind := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || kind != "text/event-stream" {
		p.t.Fatalf("stream of %s: %s, %s", build, response.Status, kind)
	}
	var m message
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "id":
			m.id = value
		case "event":
			m.event = value
		case "data":
			m.data = value
		case "":
			if value == "" && m.data != "" {
				messages = append(messages, m)
				if enough(m) {
					return messages
				}
			}
			m = message{}
		}
	}
	return messages
}

func forever(message) bool { return false }

// orderWeb is the body of a request for a bake.
func orderWeb(release, request string) string {
	return `{"image": "web", "parameters": {"release": "` + release + `"}, "labels": {"ticket": "OPS-1"}, "request": "` + request + `"}`
}
