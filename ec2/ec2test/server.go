package ec2test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// accessKeyPrefix begins the access keys that ConfigFor makes; the account
// follows.
const accessKeyPrefix = "AKIATEST"

// A Server is an EC2 of its own: all regions, any number of accounts, and the
// machines of its instances. Its methods may be called from any goroutine.
type Server struct {
	opts    Options
	actions map[string]action // of EC2
	scaling map[string]action // of Auto Scaling

	ssmCalls     map[string]jsonAction
	kmsCalls     map[string]jsonAction
	binRuleCalls map[string]jsonAction

	known   catalogue
	network network
	params  parameterStore

	identities identities
	seq        atomic.Uint64

	memory  *memListener
	http    *http.Server
	client  *http.Client
	serving sync.WaitGroup // goroutines of http.Server
	work    sync.WaitGroup // calls being answered, machines being shut down

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

	roles    []Role
	members  map[string][]string    // organisations and units by account
	sessions map[string]roleSession // by access key
}

// New starts a server. It serves in memory at once; it opens a port only when
// URL is called. Close it when done.
func New(opts *Options) *Server {
	s := &Server{
		opts:    opts.withDefaults(),
		known:   newCatalogue(),
		memory:  newMemListener(memAddr("ec2test")),
		closing: make(chan struct{}),
		regions: make(map[string]*region),
		changes: make(map[string][]Change),
		disks:   make(map[string]*diskRef),

		sessions: make(map[string]roleSession),
	}
	s.actions, s.scaling = s.actionTable(), scalingTable()
	s.ssmCalls, s.kmsCalls, s.binRuleCalls = ssmTable(), kmsTable(), rbinTable()
	s.network.reserve(s.opts.Listen)
	if s.opts.Machines == nil {
		s.opts.Machines = newSandbox(s.opts.Commands, s.opts.MachineLimits)
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
			return s.memory.dial(ctx.Done(), memAddr("client"))
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
			s.opts.Logger.Debug("ec2test stopped serving", slog.String("addr", l.Addr().String()), slog.String("err", err.Error()))
		}
	})
}

// Close ends every call, terminates every machine, and returns when nothing
// of the server runs any more.
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
		s.opts.Logger.Debug("closing ec2test", slog.String("err", err.Error()))
	}
	s.client.CloseIdleConnections()
	s.stopMachines() // what calls wait for
	s.work.Wait()
	s.stopMachines() // what the last calls switched on
	s.serving.Wait()
	s.closeDisks()
}

func (s *Server) stopMachines() {
	for _, r := range s.existing() {
		for _, m := range r.machines() {
			m.stop()
		}
	}
}

// enter counts a piece of work that Close waits for; false when the server is
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

// URL is the address of the server over TCP, for command-line tools and other
// languages: set AWS_ENDPOINT_URL to it. The first call opens the port, on
// loopback. It is empty when no port can be opened.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tcp == nil {
		if s.closed {
			return ""
		}
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0") //nolint:forbidigo // opening a port on loopback does not wait
		if err != nil {
			s.opts.Logger.Error("ec2test cannot listen", slog.String("err", err.Error()))
			return ""
		}
		s.tcp = l
		s.serve(l)
	}
	return "http://" + s.tcp.Addr().String()
}

// Config is the configuration of AWS clients that use this server, as a caller
// of Options.Account, in memory.
func (s *Server) Config(region string) aws.Config {
	return s.ConfigFor(s.opts.Account, region)
}

// ConfigFor is Config for a caller of another account, which exists from then
// on.
func (s *Server) ConfigFor(account, region string) aws.Config {
	return aws.Config{
		Region:       region,
		Credentials:  credentials.NewStaticCredentialsProvider(accessKeyPrefix+account, "secret", ""),
		HTTPClient:   memClient{s.client},
		BaseEndpoint: aws.String("http://ec2test.invalid"),
	}
}

// memClient sends requests over memory, where an answer can arrive before the
// client has noticed that its request is out. The SDK's bodies end such a
// request with an error once they are closed, so it sends a copy.
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

// account is whose access key it is.
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

// nextSeq numbers resources in the order of their creation.
func (s *Server) nextSeq() uint64 { return s.seq.Add(1) }

// region is an enabled region by name; nil when there is none.
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

// existing is the regions that have been used, in order of their names.
func (s *Server) existing() []*region {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*region, 0, len(s.regions))
	for _, r := range s.regions {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *region) int { return strings.Compare(a.name, b.name) })
	return out
}

// memAddr is the address of an end of a connection in memory.
type memAddr string

func (memAddr) Network() string  { return "memory" }
func (a memAddr) String() string { return string(a) }
