package ec2_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

// The environment of the process that is killed, besides that of TestResumeAfterKill.
const (
	killedPoint   = "BAKESTONE_TEST_POINT"   // the number of the point at which it ends; 0 counts them
	killedHow     = "BAKESTONE_TEST_HOW"     // how it ends: killedByStop, or by SIGKILL
	killedMachine = "BAKESTONE_TEST_MACHINE" // the port of the machines
	killedByStop  = "stop"
	killedWorker  = "work" // it is another machine's, and works until all builds have ended
)

// A killer counts the points that a process passes, and kills or stops it at one of them.
type killer struct {
	at     atomic.Int64
	stops  bool
	passed atomic.Int64
	thawed atomic.Bool
	saves  sync.RWMutex // the process is not stopped within a save: see bake.DirStore
}

// pass passes a point. Only the system sees the end of the process.
func (k *killer) pass() {
	if k == nil || k.passed.Add(1) != k.at.Load() {
		return
	}
	if k.stops {
		k.saves.Lock()
		defer k.saves.Unlock()
		fmt.Println("stopping")
		if err := signalTo(os.Getpid(), "STOP"); err != nil {
			panic(err)
		}
		k.thawed.Store(true)
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {} // until the signal arrives
}

func signalTo(pid int, name string) error {
	return exec.Command("sh", "-c", fmt.Sprintf("kill -%s %d", name, pid)).Run() //nolint:noctx // it takes no time
}

// RoundTrip passes a point before and after each API call. Before a call the process is
// not stopped but later: a request that is on its way cannot be called back.
func (k *killer) RoundTrip(r *http.Request) (*http.Response, error) {
	if k.stops {
		k.at.CompareAndSwap(k.passed.Load()+1, k.passed.Load()+2)
	}
	k.pass()
	if action := actionOf(r); k.thawed.Load() && !strings.HasPrefix(action, "Describe") && !strings.HasPrefix(action, "Get") {
		fmt.Println("changed after the thaw:", action)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	k.pass()
	return response, err
}

// actionOf returns the action of a request of the query protocol.
func actionOf(r *http.Request) string {
	if r.Body == nil {
		return ""
	}
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return err.Error()
	}
	form, _ := url.ParseQuery(string(body))
	return form.Get("Action")
}

// A killedSaves passes a point before and after each call, and one within each save, when
// its file is half written.
type killedSaves struct {
	bake.Store
	*killer
	dir string
}

func (s *killedSaves) Save(ctx context.Context, r *bake.Record) error {
	s.pass()
	half := s.dir + "/.saving-" + r.Build // what DirStore writes first, with a lock
	if !s.thawed.Load() {
		if err := os.WriteFile(half, []byte(`{"version":2,"session":{"keys":"PRIV`), 0o600); err != nil {
			return err
		}
	}
	s.pass()
	s.saves.RLock()
	err := s.Store.Save(ctx, r)
	s.saves.RUnlock()
	s.pass()
	return err
}

// layersOf returns a definition of two layers with reuse, an instance profile, a check, a
// copy and a publisher. The word is in the work of every part.
func layersOf(cloud *ec2.Cloud, word string) []*bake.Image {
	base := &bake.Image{
		Name: "base", Fingerprint: "made of " + word,
		Builder:      ec2.Builder{Cloud: cloud, Source: ubuntu(), InstanceProfilePolicy: readBucket},
		Provisioners: []bake.Provisioner{provision.Shell("echo " + word + " >/etc/base").AsRoot()},
	}
	return []*bake.Image{base, {
		Name: "top", From: base,
		Builder:      ec2.Builder{Cloud: cloud, Distribute: ec2.Distribution{Copies: []ec2.Copy{{Region: "us-east-1"}}}},
		Provisioners: []bake.Provisioner{provision.Shell("echo " + word + " >/etc/first").AsRoot(), provision.Shell("cp /etc/first /etc/second").AsRoot()},
		Checks:       []bake.Check{bake.CheckFunc{Name: "second", Do: provision.Shell("grep " + word + " /etc/second").Provision}},
		Publishers:   []bake.Publisher{bake.PublisherFunc{Name: "announce", Do: func(context.Context, bake.Artifact) error { return nil }}},
	}}
}

func killedCloud(endpoint string, port int, k *killer) *ec2.Cloud {
	cfg := aws.Config{
		Region: testRegion, BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", ""),
	}
	if k != nil {
		cfg.HTTPClient = &http.Client{Transport: k}
	}
	return ec2.NewCloud(cfg, &ec2.CloudOptions{
		Dial:          ec2test.DialPort(port),
		SourceAddress: func(context.Context) (netip.Addr, error) { return netip.MustParseAddr("127.0.0.1"), nil },
		PollInterval:  5 * time.Millisecond, SettleTime: 5 * time.Millisecond, MaxRetryDelay: time.Millisecond, NoCallLimits: true,
	})
}

// The processes renew their leases in real time, which a busy machine must not prevent.
const (
	killedLease = time.Minute
	// contested is the length of leases that another process waits for: that of the process
	// which is stopped, and those of two that resume.
	contested = 10 * time.Second

	killedOwner = "killed"
)

func killedOptions(store bake.Store, lease time.Duration) *bake.Options {
	return &bake.Options{Store: store, Lease: lease}
}

// A deadStore shows the leases of the process that was killed as short ones, so that those
// who take over its builds need not wait.
type deadStore struct{ bake.Store }

func (s deadStore) Load(ctx context.Context, build string) (*bake.Record, error) {
	rec, err := s.Store.Load(ctx, build)
	if err == nil && strings.HasPrefix(rec.Lease.Owner, killedOwner+"/") {
		rec.Lease.Length = time.Millisecond
	}
	return rec, err
}

// bakeToPoint bakes in the process that kills or stops itself, or prints how many points
// there are. One that was stopped must lose its lease.
func bakeToPoint(t *testing.T, endpoint string) {
	t.Helper()
	at, err := strconv.ParseInt(os.Getenv(killedPoint), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(os.Getenv(killedMachine))
	if err != nil {
		t.Fatal(err)
	}
	dir := os.Getenv(killedStore)
	if os.Getenv(killedHow) == killedWorker {
		work(t, deadStore{bake.DirStore(dir)}, killedCloud(endpoint, port, nil))
		return
	}
	k := &killer{stops: os.Getenv(killedHow) == killedByStop}
	k.at.Store(at)
	opts := killedOptions(&killedSaves{bake.DirStore(dir), k, dir}, killedLease)
	opts.Owner = killedOwner
	if k.stops {
		opts.Lease = contested
	}
	opts.Observe = func(bake.Event) { k.pass() }
	_, err = bake.Bake(t.Context(), opts, layersOf(killedCloud(endpoint, port, k), "old")...)
	if k.thawed.Load() && errors.Is(err, bake.ErrLeaseLost) {
		fmt.Println("lost")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("points: %d\n", k.passed.Load())
}

// work serves until all builds of the store have ended.
func work(t *testing.T, store bake.Store, cloud *ec2.Cloud) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := errors.New("all builds have ended")
	opts := killedOptions(store, killedLease)
	opts.Owner = "third machine"
	runner := &bake.Runner{
		Options: opts, Poll: 100 * time.Millisecond,
		Images: func(context.Context, map[string]string) ([]*bake.Image, error) { return layersOf(cloud, "old"), nil },
	}
	done := make(chan error, 1)
	go func() { done <- runner.Serve(ctx) }()
	for {
		recs, err := bake.Records(ctx, store)
		if err != nil {
			t.Fatal(err)
		}
		open := 0
		for _, rec := range recs {
			if !rec.Ended() || rec.Lease.Owner != "" {
				open++
			}
		}
		if open == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	cancel(ended)
	if err := <-done; !errors.Is(err, ended) {
		t.Errorf("Serve() = %v, want %v", err, ended)
	}
}
