package ec2test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/bakestone-go/bakestone/internal/blockstore"
	"github.com/bakestone-go/bakestone/internal/memconn"
)

// accessKeyPrefix precedes the account in access keys created by ConfigFor.
const accessKeyPrefix = "AKIATEST"

// A Server is an embedded EC2: all regions, any number of accounts, and the
// machines of the instances. Its methods may be called from any goroutine.
type Server struct {
	opts    Options
	actions map[string]map[string]action // by service and name

	known   catalog
	network network
	blocks  *blockstore.Store
	params  parameterStore

	identities identities
	seq        atomic.Uint64

	memory  *memconn.Listener
	http    *http.Server
	client  *http.Client
	serving sync.WaitGroup // goroutines of http.Server
	work    sync.WaitGroup // calls in progress and machines shutting down

	mu      sync.Mutex
	closed  bool
	closing chan struct{}
	regions map[string]*region
	tcp     net.Listener
	calls   []Call
	changes map[string][]Change // by id
	faults  []*fault
	market  market
	disks   map[string]*diskRef // vendors' root disks by owner and name

	commands commandLog
	signals  signals

	roles    []Role
	members  map[string][]string    // ARNs of organizations and units by account
	sessions map[string]roleSession // by access key
}

// New starts a server, which serves clients in memory. Nil options mean the
// defaults. Call [Server.Close] when done.
func New(opts *Options) *Server {
	s := &Server{
		opts:    opts.withDefaults(),
		known:   newCatalog(),
		blocks:  blockstore.New(""),
		memory:  memconn.NewListener(memconn.Addr("ec2test")),
		closing: make(chan struct{}),
		regions: make(map[string]*region),
		changes: make(map[string][]Change),
		disks:   make(map[string]*diskRef),

		sessions: make(map[string]roleSession),
	}
	s.actions = actionTables(&s.known)
	s.network.reserve(s.opts.Listen)
	if s.opts.Machines == nil {
		s.opts.Machines = newSandbox(&s.opts, s.commands.add)
	}
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: time.Minute,
		ConnState:         s.countConns,
	}
	s.client = &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 1024,
		DisableCompression:  true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return s.memory.Dial(ctx, memconn.Addr("client"))
		},
	}}
	s.serve(s.memory)
	return s
}

func (s *Server) countConns(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.serving.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.serving.Done()
	}
}

func (s *Server) serve(l net.Listener) {
	s.serving.Go(func() {
		if err := s.http.Serve(l); err != nil {
			s.opts.Logger.Debug("HTTP server stopped", slog.String("addr", l.Addr().String()), slog.String("err", err.Error()))
		}
	})
}

// Close ends all calls, terminates all machines, and waits for the server's
// goroutines. Further calls have no effect.
func (s *Server) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	close(s.closing)
	s.mu.Unlock()

	if err := s.http.Close(); err != nil {
		s.opts.Logger.Debug("cannot close HTTP server", slog.String("err", err.Error()))
	}
	s.client.CloseIdleConnections()
	s.stopMachines() // calls may wait for them
	s.work.Wait()
	s.stopMachines() // those started by the last calls
	s.serving.Wait()
	s.closeDisks()
	if err := s.blocks.Close(); err != nil {
		s.opts.Logger.Debug("cannot close block store", slog.String("err", err.Error()))
	}
}

func (s *Server) stopMachines() {
	for _, r := range s.existing() {
		for _, m := range r.machines() {
			m.stop()
		}
	}
}

// enter registers work that Close waits for. It reports false if the server is
// closed.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.work.Add(1)
	return true
}

// background runs f in a goroutine that Close waits for.
func (s *Server) background(f func()) {
	if !s.enter() {
		return
	}
	go func() {
		defer s.work.Done()
		f()
	}()
}

// URL returns the server's address over TCP, for command-line tools and other
// languages: set AWS_ENDPOINT_URL to it. The first call opens a port on
// loopback. URL returns "" if it cannot open one or the server is closed.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tcp == nil {
		if s.closed {
			return ""
		}
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0") //nolint:forbidigo // opening a port on loopback does not wait
		if err != nil {
			s.opts.Logger.Error("cannot listen", slog.String("err", err.Error()))
			return ""
		}
		s.tcp = l
		s.serve(l)
	}
	return "http://" + s.tcp.Addr().String()
}

// Config returns the configuration of AWS clients for this server, in memory,
// with credentials of Options.Account.
func (s *Server) Config(region string) aws.Config {
	return s.ConfigFor(s.opts.Account, region)
}

// ConfigFor is like [Server.Config] with credentials of another account, which
// needs no further setup.
func (s *Server) ConfigFor(account, region string) aws.Config {
	return aws.Config{
		Region:       region,
		Credentials:  credentials.NewStaticCredentialsProvider(accessKeyPrefix+account, "secret", ""),
		HTTPClient:   memClient{s.client},
		BaseEndpoint: aws.String("http://ec2test.invalid"),
	}
}

// memClient sends a copy of each request's body. In memory a response can
// arrive before the client has finished sending, and the SDK's bodies fail once
// closed.
type memClient struct{ http *http.Client }

func (c memClient) Do(req *http.Request) (*http.Response, error) {
	own := req.Clone(req.Context())
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		own.Body = io.NopCloser(bytes.NewReader(body))
		own.ContentLength = int64(len(body))
	}
	return c.http.Do(own) //nolint:gosec // G704: its transport reaches this server only
}

// account returns the account that an access key belongs to.
func (s *Server) account(key string) string {
	if account, ok := s.opts.AccessKeys[key]; ok {
		return account
	}
	s.mu.Lock()
	session, ok := s.sessions[key]
	s.mu.Unlock()
	if ok {
		return session.account
	}
	if account, ok := strings.CutPrefix(key, accessKeyPrefix); ok && account != "" {
		return account
	}
	return s.opts.Account
}

func (s *Server) now() time.Time { return s.opts.Clock.Now() }

// nextSeq returns the next number in the order of creation.
func (s *Server) nextSeq() uint64 { return s.seq.Add(1) }

// region returns an enabled region by name, or nil.
func (s *Server) region(name string) *region {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.regions[name]; r != nil || s.closed {
		return r
	}
	if !slices.Contains(s.opts.Regions, name) {
		return nil
	}
	r := newRegion(s, name)
	s.regions[name] = r
	return r
}

// existing returns the regions that have been used, sorted by name.
func (s *Server) existing() []*region {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.regions), func(a, b *region) int { return strings.Compare(a.name, b.name) })
}
