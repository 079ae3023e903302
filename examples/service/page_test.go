package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// post sends a form.
func (p *process) post(path string, form url.Values, headers ...string) *http.Response {
	p.t.Helper()
	return p.send("POST", path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...)
}

// login returns the cookie of a new session.
func (p *process) login(token, next string) *http.Response {
	p.t.Helper()
	return p.post("/login", url.Values{"token": {token}, "next": {next}})
}

func TestLogin(t *testing.T) {
	dir, o := t.TempDir(), newOven()
	p := o.start(t, dir)
	for _, path := range []string{"/api/bakes", "/api/bakes/x", "/api/bakes/x/events", "/api/none"} {
		for _, header := range []string{"", "Bearer ", "Bearer x" + aliceToken, "Basic " + aliceToken, aliceToken} {
			if response := p.send("GET", path, "", "Authorization", header); response.StatusCode != 401 {
				t.Errorf("GET %s with Authorization %q = %s, want 401", path, header, response.Status)
			}
		}
	}
	for _, path := range []string{"/api/bakes", "/api/bakes/x/cancel"} {
		if response := p.send("POST", path, "{}"); response.StatusCode != 401 {
			t.Errorf("POST %s = %s, want 401", path, response.Status)
		}
	}
	for method, paths := range map[string][]string{"GET": {"/", "/table", "/bakes/x", "/bakes/x/summary"}, "POST": {"/bakes", "/bakes/x/cancel"}} {
		for _, path := range paths {
			response := p.send(method, path, "")
			if to := response.Header.Get("Location"); response.StatusCode != 303 || !strings.HasPrefix(to, "/login") {
				t.Errorf("%s %s = %s to %s, want the login", method, path, response.Status, to)
			}
		}
	}
	if response := p.login("x"+aliceToken, "/"); response.StatusCode != 401 || len(response.Cookies()) > 0 {
		t.Errorf("login with a wrong token = %s, %v, want 401", response.Status, response.Cookies())
	}
	for next, want := range map[string]string{
		"": "/", "/": "/", "/bakes/x": "/bakes/x", "//evil.example": "/", "https://evil.example/bakes/": "/", `/bakes/\evil`: "/", "javascript:alert(1)": "/",
	} {
		if response := p.login(aliceToken, next); response.StatusCode != 303 || response.Header.Get("Location") != want {
			t.Errorf("login for %q = %s to %s, want %s", next, response.Status, response.Header.Get("Location"), want)
		}
	}
	cookie := p.login(aliceToken, "").Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Secure {
		t.Errorf("cookie %v, want HttpOnly and SameSite=Strict", cookie)
	}
	now := time.Now()
	alice, _ := parseCallers([]byte("alice " + aliceToken))
	other, _ := parseCallers([]byte("alice another-" + aliceToken))
	_, signature, _ := strings.Cut(cookie.Value, "|")
	for name, test := range map[string]struct {
		value string
		want  int
	}{
		"session":           {cookie.Value, 200},
		"another process":   {alice.session("alice", now), 200},
		"expired":           {alice.session("alice", now.Add(-sessionTime)), 303},
		"an earlier token":  {other.session("alice", now), 303},
		"another name":      {"bob|" + signature, 303},
		"another time":      {strings.Replace(cookie.Value, "|1", "|2", 1), 303},
		"without signature": {"alice|99999999999|", 303},
		"empty":             {"", 303},
	} {
		if response := p.send("GET", "/table", "", "Cookie", cookieName+"="+test.value); response.StatusCode != test.want {
			t.Errorf("page with a cookie of %s = %s, want %d", name, response.Status, test.want)
		}
	}
	if text := p.logs.String(); !strings.Contains(text, `"action":"failed login"`) || !strings.Contains(text, `"action":"login","caller":"alice"`) {
		t.Errorf("log without the logins:\n%s", text)
	}
	p.s.secure = true
	if cookie := p.login(aliceToken, "").Cookies()[0]; !cookie.Secure {
		t.Errorf("cookie behind TLS %v, want Secure", cookie)
	}
}

// TestForgery sends forms as the pages of other sites can, with the cookie of a session.
func TestForgery(t *testing.T) {
	p := newOven().start(t, t.TempDir())
	cookie := cookieName + "=" + p.login(aliceToken, "").Cookies()[0].Value
	form := url.Values{"image": {"web"}, "parameter.release": {"1"}}
	for name, headers := range map[string][]string{
		"another site": {"Sec-Fetch-Site", "cross-site"}, "another origin": {"Origin", "https://evil.example"}, "no origin": {"Origin", "null"},
	} {
		if response := p.post("/bakes", form, append(headers, "Cookie", cookie)...); response.StatusCode != 403 {
			t.Errorf("form of %s = %s, want 403", name, response.Status)
		}
	}
	if builds, err := p.s.records.List(t.Context()); err != nil || len(builds) != 0 {
		t.Errorf("records %v, %v, want none", builds, err)
	}
	if response := p.post("/bakes", form, "Cookie", cookie, "Sec-Fetch-Site", "same-origin"); response.StatusCode != 303 {
		t.Errorf("form of the page = %s, want 303", response.Status)
	}
}

func TestCallers(t *testing.T) {
	for text, want := range map[string]string{
		"": "no caller", "# alice " + aliceToken: "no caller", "alice": "line 1: want a name and a token", "\nalice a b": "line 2",
		"a/b " + aliceToken: "invalid name", "alice short-secret": "fewer than 20", "alice " + aliceToken + "\nalice " + bobToken: "line 2: another line",
		"alice " + aliceToken + "\nbob " + aliceToken: "line 2: another line",
	} {
		if _, err := parseCallers([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "short-secret") {
			t.Errorf("parseCallers(%q) = %v, want %q", text, err, want)
		}
	}
}

// TestPages reads the pages of a bake whose output and error have markup.
func TestPages(t *testing.T) {
	t.Parallel()
	dir, o := t.TempDir(), newOven()
	o.release()
	p := o.start(t, dir)
	cookie := cookieName + "=" + p.login(aliceToken, "").Cookies()[0].Value
	read := func(path string) string {
		t.Helper()
		response := p.send("GET", path, "", "Cookie", cookie)
		text, err := io.ReadAll(response.Body)
		if policy := response.Header.Get("Content-Security-Policy"); err != nil || response.StatusCode != 200 || !strings.HasPrefix(policy, "default-src 'none'") {
			t.Errorf("GET %s = %s, %v, policy %q", path, response.Status, err, policy)
		}
		return string(text)
	}
	list := read("/")
	_, token, _ := strings.Cut(list, `name="request" value="`)
	token, _, _ = strings.Cut(token, `"`)
	form := url.Values{"image": {"web"}, "parameter.release": {"0"}, "request": {token}}
	to := p.post("/bakes", form, "Cookie", cookie).Header.Get("Location")
	if again := p.post("/bakes", form, "Cookie", cookie).Header.Get("Location"); !strings.HasPrefix(to, "/bakes/request-") || again != to {
		t.Errorf("the form sent twice leads to %s and %s, want the same bake", to, again)
	}
	p.waitState(strings.TrimPrefix(to, "/bakes/"), "failed")
	for _, path := range []string{"/", "/table", to, to + "/summary"} {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // lists are up to a second old
			text := read(path)
			if strings.Contains(text, "<script>alert") {
				t.Errorf("GET %s has markup of the error:\n%s", path, text)
			}
			if strings.Contains(text, "&lt;script&gt;alert(1)") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("GET %s is without the error:\n%s", path, text)
			}
		}
	}
	form.Set("parameter.release", "x")
	response := p.post("/bakes", form, "Cookie", cookie)
	if text, err := io.ReadAll(response.Body); err != nil || response.StatusCode != 400 || !strings.Contains(string(text), "parameters.release: &#34;x&#34; is invalid") {
		t.Errorf("form with a wrong release = %s, %v, %s", response.Status, err, text)
	}
	for path, want := range map[string]int{"/bakes/x": 404, "/static/page.html": 404, "/else": 404} {
		if response := p.send("GET", path, "", "Cookie", cookie); response.StatusCode != want {
			t.Errorf("GET %s = %s, want %d", path, response.Status, want)
		}
	}
}

// TestServeEnds ends a process whose clients watch.
func TestServeEnds(t *testing.T) {
	t.Parallel()
	dir, o := t.TempDir(), newOven()
	p := o.start(t, dir)
	build := p.order(aliceToken, orderWeb("1", ""))
	c := *p.s.config
	s := newService(t.Context(), &c)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, listener) }()
	replica := &process{t: t, s: s, url: "http://" + listener.Addr().String()}
	begun := time.Now()
	replica.watch(build, "", func(message) bool {
		cancel(bake.ErrSuspended)
		return false // until the stream ends
	})
	if err := <-ended; !errors.Is(err, bake.ErrSuspended) || time.Since(begun) > time.Minute {
		t.Errorf("serve = %v after %v, want %v", err, time.Since(begun), bake.ErrSuspended)
	}
}

// screenshotVar names a directory to which TestChromium writes pictures.
const screenshotVar = "BAKESTONE_SCREENSHOTS"

// TestChromium uses the pages as people do: it logs in, bakes, watches, and cancels.
func TestChromium(t *testing.T) {
	t.Parallel()
	b := testenv.Chromium(t)
	dir, o := t.TempDir(), newOven()
	p := o.start(t, dir)
	desktop := testenv.Screen{Width: 1200, Height: 900}
	shoot := func(name string, on testenv.Screen) {
		t.Helper()
		if len(b.Failures) > 0 {
			t.Errorf("%s: %v", name, b.Failures)
		}
		var wide bool
		if b.Eval(`document.documentElement.scrollWidth > innerWidth`, &wide); wide {
			t.Errorf("%s: the page is wider than the screen of %d", name, on.Width)
		}
		if dir := os.Getenv(screenshotVar); dir != "" {
			b.Screenshot(filepath.Join(dir, name+".png"))
		}
	}
	click := func(what string) { b.Eval(`document.querySelector(`+"`"+what+"`"+`).click()`, nil) }
	b.Visit(p.url+"/", desktop)
	shoot("login", desktop)
	b.Eval(`document.querySelector("input[name=token]").focus()`, nil)
	b.Type(aliceToken)
	click(".login button")
	b.Wait(`document.querySelector("#table")`)
	b.Eval(`document.querySelector("input[name='parameter.release']").focus()`, nil)
	b.Type("1.4")
	click(".card button")
	b.Wait(`location.pathname.startsWith("/bakes/") && document.querySelectorAll("#events .output").length === 20`)
	b.Wait(`document.querySelector("#summary .state").textContent === "running" && document.querySelector("#summary progress").value > 0`)
	var shown struct {
		Path, Output string
		Bold         int
	}
	b.Eval(`({path: location.pathname, output: document.querySelector("#events .output").textContent, bold: document.querySelectorAll("#events b").length})`, &shown)
	if shown.Output != "installing <b>release</b> 1.4" || shown.Bold != 0 {
		t.Errorf("the page shows %+v, want the output as text", shown)
	}
	shoot("running", desktop)
	o.release()
	b.Wait(`document.querySelector("#summary .state").textContent === "baked" && document.querySelector("#summary code") && document.querySelector("#events .finished")`)
	shoot("baked", desktop)

	// One bake fails, and one is canceled.
	failed := p.order(bobToken, orderWeb("0", ""))
	p.waitState(failed, "failed")
	endless := p.order(aliceToken, orderWeb("9", ""))
	b.Visit(p.url+"/bakes/"+endless, desktop)
	b.Wait(`document.querySelector("#events .output")`)
	click(".cancel button")
	b.Wait(`document.querySelector("#summary .state").textContent === "canceled" && !document.querySelector(".cancel")`)
	shoot("canceled", desktop)

	for _, on := range []testenv.Screen{desktop, {Width: 1200, Height: 900, Dark: true}, {Width: 390, Height: 844, Phone: true}, {Width: 390, Height: 844, Phone: true, Dark: true}} {
		name := map[bool]string{true: "phone", false: "desktop"}[on.Phone] + map[bool]string{true: "-dark", false: "-light"}[on.Dark]
		b.Visit(p.url+"/", on)
		b.Wait(`document.querySelectorAll(".bakes li").length === 3`)
		shoot("list-"+name, on)
		b.Visit(p.url+"/bakes/"+failed, on)
		b.Wait(`document.querySelector("#events .failed")`)
		shoot("failed-"+name, on)
		b.Visit(p.url+shown.Path, on)
		b.Wait(`document.querySelector("#events .finished")`)
		shoot("baked-"+name, on)
	}
}
