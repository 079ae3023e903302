package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/journal"
)

func TestStartRefuses(t *testing.T) {
	dir := t.TempDir()
	p := newOven().start(t, dir)
	for body, want := range map[string]struct {
		status int
		text   string
	}{
		``:                                      {415, "application/json"},
		`{`:                                     {400, "invalid request"},
		`[]`:                                    {400, "invalid request"},
		`{} {}`:                                 {400, "more than one value"},
		`{"picture": "web"}`:                    {400, "unknown field"},
		`{}`:                                    {400, "image: there is no image"},
		`{"image": "\u001b[31m"}`:               {400, `image: there is no image "\x1b[31m"`},
		`{"image": "web"}`:                      {400, "parameters.release: is required: a number"},
		orderWeb("x", ""):                       {400, `parameters.release: "x" is invalid`},
		orderWeb(`1\n`, ""):                     {400, "parameters.release"},
		orderWeb(strings.Repeat("1", 201), ""):  {400, "parameters.release"},
		orderWeb("1", "a b"):                    {400, "request: want at most"},
		orderWeb("1", strings.Repeat("a", 101)): {400, "request: want at most"},
		`{"image": "web", "parameters": {"release": "1", "b": "2", "a": "1"}}`:         {400, `has no parameter "a"`},
		`{"image": "web", "parameters": {"release": "1"}, "labels": {"A": "1"}}`:       {400, `labels: invalid name "A"`},
		`{"image": "web", "parameters": {"release": "1"}, "labels": {"a": "\u0007"}}`:  {400, `labels["a"]`},
		`{"image": "web", "labels": {"` + strings.Repeat("a", longestBody) + `": ""}}`: {413, "longer than 65536 bytes"},
	} {
		var got struct{ Error string }
		status := p.call(aliceToken, "POST", "/api/bakes", body, &got)
		if status != want.status || !strings.Contains(got.Error, want.text) {
			t.Errorf("POST %.100s = %d, %q, want %d, %q", body, status, got.Error, want.status, want.text)
		}
	}
	for path, want := range map[string]int{
		"/api/bakes?limit=0": 400, "/api/bakes?limit=x": 400, "/api/bakes/x": 404, "/api/bakes/..%2f..%2fetc": 404, "/api/bakes/x/events": 404, "/api/else": 404,
	} {
		var got struct{ Error string }
		if status := p.call(aliceToken, "GET", path, "", &got); status != want || got.Error == "" {
			t.Errorf("GET %s = %d, %q, want %d and an error", path, status, got.Error, want)
		}
	}
	if builds, err := p.s.records.List(t.Context()); err != nil || len(builds) != 0 {
		t.Errorf("records %v, %v, want none", builds, err)
	}
}

// TestStartTwice repeats a request as clients do whose connection broke, to two processes.
func TestStartTwice(t *testing.T) {
	dir, o := t.TempDir(), newOven()
	first, second := o.start(t, dir), o.start(t, dir)
	var mu sync.Mutex
	builds := map[string]int{}
	var all sync.WaitGroup
	for i := range 10 {
		p := []*process{first, second}[i%2]
		all.Go(func() {
			build := p.order(aliceToken, orderWeb("1", "r-1"))
			mu.Lock()
			defer mu.Unlock()
			builds[build]++
		})
	}
	all.Wait()
	if len(builds) != 1 {
		t.Errorf("ten requests made the builds %v, want one", builds)
	}
	var got struct{ Error string }
	if status := first.call(aliceToken, "POST", "/api/bakes", orderWeb("2", "r-1"), &got); status != http.StatusConflict {
		t.Errorf("the request with another release = %d, %q, want %d", status, got.Error, http.StatusConflict)
	}
	others := []string{first.order(bobToken, orderWeb("1", "r-1")), first.order(aliceToken, orderWeb("1", "")), first.order(aliceToken, orderWeb("1", ""))}
	if slices.Sort(others); len(slices.Compact(others)) != 3 || builds[others[0]]+builds[others[1]]+builds[others[2]] > 0 {
		t.Errorf("requests of another caller and without an id made the builds %v, want new ones", others)
	}
	o.release()
	for build := range builds {
		first.waitState(build, "baked")
		if second.waitState(build, "baked").Artifact == nil {
			t.Errorf("bake %s has no artifact", build)
		}
	}
	for _, build := range others {
		second.waitState(build, "baked")
	}
	if images := o.builder.Existing(); len(images) != 4 {
		t.Errorf("existing %v, want four images", images)
	}
}

// TestWatch breaks the connection to a stream after each event, and goes on with another
// process.
func TestWatch(t *testing.T) {
	t.Parallel()
	dir, o := t.TempDir(), newOven()
	const limit = time.Second
	first, second := o.startWithin(t, dir, limit), o.start(t, dir)
	build := first.order(aliceToken, orderWeb("1", "r-1"))
	lines := 0
	early := second.watch(build, "", func(m message) bool {
		lines += strings.Count(m.data, "installing")
		return lines == 20
	})
	if len(early) < 20 {
		t.Fatalf("%d events before the end, want the output", len(early))
	}
	time.AfterFunc(5*limit/2, o.release) // streams live longer
	last := early[len(early)-1].id
	late := first.watch(build, last, forever)
	whole := second.watch(build, "", forever)
	got := append(slices.Clone(early), late...)
	if !slices.Equal(got, whole) || whole[len(whole)-1] != (message{event: "end", data: "{}"}) {
		t.Errorf("events of the two streams\n%v\nwant those of one\n%v", got, whole)
	}
	for i, m := range whole[:len(whole)-1] {
		if rest := second.watch(build, m.id, forever); !slices.Equal(rest, whole[i+1:]) {
			t.Fatalf("events after %s: %v, want %v", m.id, rest, whole[i+1:])
		}
	}
	second.stop()
	third := o.start(t, dir)
	if again := third.watch(build, last, forever); !slices.Equal(again, late) {
		t.Errorf("events after a restart %v, want %v", again, late)
	}
	for _, bad := range []string{"x", "-1", "99999999999999999999"} {
		if response := third.send("GET", "/api/bakes/"+build+"/events", "", "Authorization", "Bearer "+bobToken, "Last-Event-ID", bad); response.StatusCode != 400 {
			t.Errorf("Last-Event-ID %s = %s, want status 400", bad, response.Status)
		}
	}
}

// TestWatchSlowly opens a stream and does not read it.
func TestWatchSlowly(t *testing.T) {
	t.Parallel()
	dir, o := t.TempDir(), newOven()
	p := o.start(t, dir)
	build := p.order(aliceToken, orderWeb("1", ""))
	events := make([]bake.Event, 1000)
	for i := range events {
		events[i] = bake.Event{Number: 1<<40 + int64(i), Build: build, Kind: bake.OutputLine, Text: strings.Repeat("x", 1<<14)}
	}
	if err := journal.Dir(dir).Append(t.Context(), build, events); err != nil {
		t.Fatal(err)
	}
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /api/bakes/%s/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", build, bobToken)
	for deadline := time.Now().Add(30 * time.Second); len(p.s.streams) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the stream did not begin")
		}
	}
	for deadline := time.Now().Add(30 * time.Second); len(p.s.streams) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the stream of a client that does not read goes on")
		}
	}
}

// TestCancel cancels bakes of one process by another, and one that has ended.
func TestCancel(t *testing.T) {
	t.Parallel()
	dir, o := t.TempDir(), newOven()
	first := o.start(t, dir)
	build := first.order(aliceToken, orderWeb("1", "r-1"))
	first.waitState(build, "running")
	second := o.start(t, dir)
	var got view
	if status := second.call(bobToken, "POST", "/api/bakes/"+build+"/cancel", `{"reason": "wrong release – 1.2"}`, &got); status != 200 || got.State != "canceling" || got.Cancel != "by bob: wrong release – 1.2" {
		t.Errorf("cancel = %d, %+v, want canceling by bob", status, got)
	}
	first.waitState(build, "canceled")
	if existing := o.builder.Existing(); len(existing) != 0 {
		t.Errorf("existing %v, want nothing", existing)
	}
	if status := second.call(aliceToken, "POST", "/api/bakes/"+build+"/cancel", `{}`, &got); status != 200 || got.State != "canceled" || got.Cancel != "by bob: wrong release – 1.2" {
		t.Errorf("another cancel = %d, %+v, want no change", status, got)
	}
	for body, want := range map[string]int{`{"reason": "\u001b"}`: 400, `{"why": "x"}`: 400, ``: 415} {
		var got struct{ Error string }
		if status := second.call(aliceToken, "POST", "/api/bakes/"+build+"/cancel", body, &got); status != want {
			t.Errorf("cancel with %s = %d, %q, want %d", body, status, got.Error, want)
		}
	}
}

// TestAudit reads who asked for what from the log, and after a restart from the records.
func TestAudit(t *testing.T) {
	dir, o := t.TempDir(), newOven()
	first := o.start(t, dir)
	build := first.order(aliceToken, orderWeb("1", "r-1"))
	first.call(bobToken, "POST", "/api/bakes/"+build+"/cancel", `{"reason": "late"}`, new(view))
	first.waitState(build, "canceled")
	first.stop()
	var actions []string
	for line := range strings.Lines(first.logs.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		if entry["msg"] == "audit" {
			actions = append(actions, fmt.Sprint(entry["caller"], " ", entry["action"], " ", entry["build"] == build, " ", entry["remote"] != ""))
		}
	}
	if want := []string{"alice start true true", "bob cancel true true"}; !slices.Equal(actions, want) {
		t.Errorf("audit %v, want %v", actions, want)
	}
	second := o.start(t, dir)
	var got struct{ Bakes []view }
	if status := second.call(bobToken, "GET", "/api/bakes?image=web", "", &got); status != 200 || len(got.Bakes) != 1 {
		t.Fatalf("list after a restart = %d, %+v, want one bake", status, got)
	}
	if b := got.Bakes[0]; b.Caller != "alice" || b.Cancel != "by bob: late" || b.Request != "r-1" || b.Labels["ticket"] != "OPS-1" || b.Parameters["release"] != "1" || b.Created.IsZero() {
		t.Errorf("bake after a restart = %+v, want who asked for what", b)
	}
	if status := second.call(bobToken, "GET", "/api/bakes?image=other", "", &got); status != 200 || len(got.Bakes) != 0 {
		t.Errorf("list of another image = %d, %+v, want none", status, got)
	}
}

// TestNoKeys searches what the service shows and logs for the tokens and for the session of
// the record, which has keys.
func TestNoKeys(t *testing.T) {
	dir, o := t.TempDir(), newOven()
	p := o.start(t, dir)
	build := p.order(aliceToken, orderWeb("1", ""))
	p.waitState(build, "running")
	if raw, err := os.ReadFile(filepath.Join(dir, build+".json")); err != nil || !bytes.Contains(raw, []byte(`"session":`)) {
		t.Fatalf("record %.200s, %v, want a session", raw, err)
	}
	for _, path := range []string{"/api/bakes", "/api/bakes/" + build, "/", "/bakes/" + build} {
		response := p.send("GET", path, "", "Authorization", "Bearer "+aliceToken)
		if text, err := io.ReadAll(response.Body); err != nil || response.StatusCode != 200 || bytes.Contains(text, []byte(`"session"`)) {
			t.Errorf("GET %s = %s, %v, %.200s", path, response.Status, err, text)
		}
	}
	if text := p.logs.String(); strings.Contains(text, aliceToken) || strings.Contains(text, bobToken) {
		t.Errorf("the log has a token:\n%s", text)
	}
}
