package main

import (
	"cmp"
	"crypto/rand"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

//go:embed web
var web embed.FS

// parsePages returns the templates of the pages.
func parsePages() *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"when": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"took": func(v *view) string {
			end := v.Ended
			if end.IsZero() {
				end = time.Now()
			}
			return max(end.Sub(cmp.Or(v.Started, v.Created)), 0).Round(time.Second).String()
		},
		"class": func(state string) string { return strings.ReplaceAll(state, " ", "-") },
	}).ParseFS(web, "web/*.html"))
}

// static serves the style and the script.
func static() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/static/")
		if name != "style.css" && name != "script.js" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		http.ServeFileFS(w, r, web, "web/"+name)
	})
}

const cookieName = "bakery"

// caller returns who has sent a request: by a bearer token or, except if there is one, by
// the cookie of a session.
func (s *service) caller(r *http.Request) (name string, ok bool) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", false
		}
		return s.callers.byToken(strings.TrimSpace(token))
	}
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return "", false
	}
	return s.callers.bySession(cookie.Value, time.Now())
}

func (s *service) setCookie(w http.ResponseWriter, value string, age time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/", MaxAge: int(age.Seconds()), Secure: s.secure, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}

// A pageData is what a page shows.
type pageData struct {
	Title, Caller, Error, Next, Token string

	Catalog []definition
	Bakes   []*view
	Bake    *view
}

func (s *service) render(w http.ResponseWriter, status int, name string, data *pageData) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := s.pages.ExecuteTemplate(w, name, data); err != nil {
		s.log.Warn("page not sent", slog.String("page", name), slog.String("error", err.Error()))
	}
}

// page returns a handler of a page for callers who have logged in. Others are sent to the
// login.
func (s *service) page(handle func(w http.ResponseWriter, r *http.Request, caller string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		caller, ok := s.caller(r)
		if !ok {
			http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.Path), http.StatusSeeOther)
			return
		}
		if err := handle(w, r, caller); err != nil {
			status, text := s.status(r, err)
			s.render(w, status, "error.html", &pageData{Title: "Error", Caller: caller, Error: text})
		}
	}
}

func (s *service) loginPage(w http.ResponseWriter, r *http.Request) {
	s.render(w, http.StatusOK, "login.html", &pageData{Title: "Log in", Next: r.URL.Query().Get("next")})
}

func (s *service) login(w http.ResponseWriter, r *http.Request) {
	next := r.PostFormValue("next")
	name, ok := s.callers.byToken(strings.TrimSpace(r.PostFormValue("token")))
	if !ok {
		s.audit(r, "failed login", "")
		s.render(w, http.StatusUnauthorized, "login.html", &pageData{Title: "Log in", Next: next, Error: "This token is unknown."})
		return
	}
	s.audit(r, "login", name)
	s.setCookie(w, s.callers.session(name, time.Now()), sessionTime)
	if u, err := url.Parse(next); err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(u.Path, "/bakes/") || strings.Contains(next, `\`) {
		next = "/"
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (s *service) logout(w http.ResponseWriter, r *http.Request) {
	if name, ok := s.caller(r); ok {
		s.audit(r, "logout", name)
	}
	s.setCookie(w, "", -time.Second)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// mostShown limits the bakes of the page.
const mostShown = 50

func (s *service) listPage(w http.ResponseWriter, r *http.Request, caller string) error {
	return s.showList(w, r, &pageData{Title: "Bakes", Caller: caller}, http.StatusOK)
}

func (s *service) showList(w http.ResponseWriter, r *http.Request, data *pageData, status int) error {
	records, err := s.find(r.Context(), "", mostShown)
	if err != nil {
		return err
	}
	// The token makes the form start its bake once, however often it is sent.
	data.Catalog, data.Bakes, data.Token = s.catalog, views(records), rand.Text()
	s.render(w, status, "list.html", data)
	return nil
}

// table is the part of the list that the script replaces.
func (s *service) table(w http.ResponseWriter, r *http.Request, _ string) error {
	records, err := s.find(r.Context(), "", mostShown)
	if err != nil {
		return err
	}
	s.render(w, http.StatusOK, "table", &pageData{Bakes: views(records)})
	return nil
}

func (s *service) startForm(w http.ResponseWriter, r *http.Request, caller string) error {
	if err := r.ParseForm(); err != nil {
		return errors.Join(fail(http.StatusBadRequest, "invalid form"), err)
	}
	o := order{Image: r.PostForm.Get("image"), Request: r.PostForm.Get("request"), Parameters: map[string]string{}}
	for name, values := range r.PostForm {
		if name, ok := strings.CutPrefix(name, parameterPrefix); ok && values[0] != "" {
			o.Parameters[name] = values[0]
		}
	}
	records, err := s.order(r, caller, o)
	if err != nil {
		status, text := s.status(r, err)
		return s.showList(w, r, &pageData{Title: "Bakes", Caller: caller, Error: text}, status)
	}
	http.Redirect(w, r, "/bakes/"+records[len(records)-1].Build, http.StatusSeeOther)
	return nil
}

func (s *service) showBake(w http.ResponseWriter, r *http.Request, name, caller string) error {
	rec, err := s.records.Load(r.Context(), r.PathValue("build"))
	if err != nil {
		return err
	}
	s.render(w, http.StatusOK, name, &pageData{Title: rec.Image + " " + rec.Build, Caller: caller, Bake: newView(rec)})
	return nil
}

func (s *service) bakePage(w http.ResponseWriter, r *http.Request, caller string) error {
	return s.showBake(w, r, "bake.html", caller)
}

// summary is the part of the page of a bake that the script replaces.
func (s *service) summary(w http.ResponseWriter, r *http.Request, caller string) error {
	return s.showBake(w, r, "summary", caller)
}

func (s *service) cancelForm(w http.ResponseWriter, r *http.Request, caller string) error {
	if err := s.cancelFor(r, caller, r.PostFormValue("reason")); err != nil {
		return err
	}
	http.Redirect(w, r, "/bakes/"+r.PathValue("build"), http.StatusSeeOther)
	return nil
}
