package main

import (
	"cmp"
	"context"
	"errors"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/journal"
)

// A config is what a service is made of.
type config struct {
	records            bake.Store
	events             journal.Store
	catalog            []definition
	builder            func(context.Context, *bake.Record) (bake.Builder, error)
	callers            *callers
	secure             bool // browsers reach it with TLS only
	log                *slog.Logger
	parallel, machines int
	lease, keep        time.Duration

	heartbeat, slowest time.Duration // of streams; zero means the usual ones
}

// A service is one process of the service.
type service struct {
	*config
	runner  *bake.Runner
	writer  *journal.Writer
	list    recordList
	pages   *template.Template
	streams chan struct{} // holds a value for each stream
}

// The limits of the server. Streams are limited by their heartbeats instead of
// writeTimeout.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = time.Minute
	idleTimeout   = 2 * time.Minute
	endTimeout    = 10 * time.Second // for requests at the end of the process
	longestHeader = 16 << 10
	longestBody   = 64 << 10
	mostStreams   = 200
)

func newService(ctx context.Context, c *config) *service {
	s := &service{config: c, pages: parsePages(), streams: make(chan struct{}, mostStreams)}
	s.list.store = c.records
	s.writer = journal.NewWriter(ctx, c.events, &journal.WriterOptions{Log: c.log})
	const poll = 2 * time.Second
	s.runner = &bake.Runner{
		Options: &bake.Options{
			Store: c.records, Observe: s.writer.Observe, Log: c.log, Lease: c.lease,
			Limits: &bake.Limits{Machines: c.machines},
		},
		Images: func(_ context.Context, labels map[string]string) ([]*bake.Image, error) {
			return images(c.catalog, labels), nil
		},
		Builder: c.builder, Parallel: c.parallel, Poll: min(poll, cmp.Or(c.lease, poll)), Keep: c.keep,
		Archive: func(ctx context.Context, rec *bake.Record) error { return c.events.Delete(ctx, rec.Build) },
	}
	return s
}

// handler returns the API and the pages.
func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.Handle("GET /static/", static())
	mux.HandleFunc("GET /login", s.loginPage)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /logout", s.logout)

	mux.HandleFunc("POST /api/bakes", s.api(s.start))
	mux.HandleFunc("GET /api/bakes", s.api(s.bakes))
	mux.HandleFunc("GET /api/bakes/{build}", s.api(s.bake))
	mux.HandleFunc("GET /api/bakes/{build}/events", s.api(s.watch))
	mux.HandleFunc("POST /api/bakes/{build}/cancel", s.api(s.cancel))
	mux.HandleFunc("/api/", s.api(func(http.ResponseWriter, *http.Request, string) error {
		return fail(http.StatusNotFound, "no such resource or method")
	}))

	mux.HandleFunc("GET /{$}", s.page(s.listPage))
	mux.HandleFunc("GET /table", s.page(s.table))
	mux.HandleFunc("POST /bakes", s.page(s.startForm))
	mux.HandleFunc("GET /bakes/{build}", s.page(s.bakePage))
	mux.HandleFunc("GET /bakes/{build}/summary", s.page(s.summary))
	mux.HandleFunc("POST /bakes/{build}/cancel", s.page(s.cancelForm))

	// Cross-origin requests of browsers change nothing, even with a cookie.
	guarded := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if s.secure {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		r.Body = http.MaxBytesReader(w, r.Body, longestBody)
		guarded.ServeHTTP(w, r)
	})
}

// serve bakes and answers requests until ctx ends, and waits for both. It returns the
// cause.
func (s *service) serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	server := &http.Server{
		Handler: s.handler(), BaseContext: func(net.Listener) context.Context { return ctx }, // ends the streams
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: longestHeader, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	var all sync.WaitGroup
	all.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			cancel(err)
		}
	})
	all.Go(func() {
		<-ctx.Done()
		ending, stop := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer stop()
		if server.Shutdown(ending) != nil {
			_ = server.Close() // the rest is cut
		}
	})
	err := s.runner.Serve(ctx)
	cancel(err)
	all.Wait()
	return errors.Join(err, s.writer.Close())
}

// A recordList is all records, which are read at most once a second, however many people
// look at them. Those of ended bakes are not read again.
type recordList struct {
	store bake.Store

	mu      sync.Mutex
	read    time.Time
	records []*bake.Record
	ended   map[string]*bake.Record
}

// all returns the records, newest first. Callers must not change them.
func (l *recordList) all(ctx context.Context) ([]*bake.Record, error) {
	const fresh = time.Second
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.read) < fresh {
		return l.records, nil
	}
	records, err := bake.Records(ctx, knownEnds{l.store, l.ended})
	if err != nil {
		return nil, err
	}
	l.read, l.records, l.ended = time.Now(), nil, map[string]*bake.Record{}
	for i := len(records) - 1; i >= 0; i-- {
		rec := records[i]
		rec.Session, rec.Check = nil, nil // large, and with keys
		l.records = append(l.records, rec)
		if rec.Ended() && rec.Lease.Owner == "" {
			l.ended[rec.Build] = rec
		}
	}
	return l.records, nil
}

// knownEnds is a store whose ended records are known.
type knownEnds struct {
	bake.Store
	ended map[string]*bake.Record
}

func (k knownEnds) Load(ctx context.Context, build string) (*bake.Record, error) {
	if rec := k.ended[build]; rec != nil {
		return rec, nil
	}
	return k.Store.Load(ctx, build)
}
