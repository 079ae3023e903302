//go:build unix

package drivers_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// Three processes serve; one is killed now and then, and started again, or stopped for
// longer than its lease.
const (
	runners    = 3
	runnersTop = 24 // builds at once that have not ended
	shortBakes = 12
	longBakes  = 200
)

// TestRunnersOnPostgreSQL and TestRunnersOnS3 let three processes work on the records of
// one store, while they are killed and stopped at random. Each image is made once, none is
// lost, and nothing is left. The long form, with BAKESTONE_LONG=1, bakes 200 images.
func TestRunnersOnPostgreSQL(t *testing.T) {
	if serveIfChild(t) {
		return
	}
	testRunners(t, "postgres "+testenv.Postgres(t))
}

func TestRunnersOnS3(t *testing.T) {
	if serveIfChild(t) {
		return
	}
	testRunners(t, "s3 "+testenv.Moto(t))
}

// A chaos is the processes and what was done to them.
type chaos struct {
	t      *testing.T
	env    []string
	random *rand.Rand

	progress atomic.Int64 // when a build last ended, in nanoseconds since 1970

	children []*exec.Cmd
	outputs  []*strings.Builder
	kills    int
	stops    int
}

func testRunners(t *testing.T, source string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("machines have separate addresses on Linux only")
	}
	const port = 42261
	server := ec2test.New(&ec2test.Options{Listen: true, Port: port, Latency: ec2test.Latency{Running: 100 * time.Millisecond, Image: 300 * time.Millisecond}})
	defer server.Close()
	store := openSource(t, source)
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // not a secret
	t.Log("seed", seed)
	c := &chaos{t: t, random: rand.New(rand.NewPCG(seed, 1)), env: append(os.Environ(), //nolint:gosec // not a secret
		runnersStore+"="+source, runnersEC2+"="+server.URL(), runnersMachines+"="+strconv.Itoa(port))}
	for range runners {
		c.children, c.outputs = append(c.children, nil), append(c.outputs, &strings.Builder{})
		c.start(len(c.children) - 1)
	}
	ctx, stop := context.WithCancel(t.Context())
	var disturbing sync.WaitGroup
	bakes := shortBakes
	if os.Getenv("BAKESTONE_LONG") != "" {
		bakes = longBakes
	}
	began := time.Now()
	c.progressed()
	disturbing.Go(func() { c.disturb(ctx, 700*time.Millisecond) })
	recs := c.submit(store, server.URL(), port, bakes)
	stop()
	disturbing.Wait()
	c.end()
	t.Logf("%d bakes with %d builds by %d processes in %v: %d kills, %d processes stopped beyond their lease",
		bakes, len(recs), runners, time.Since(began).Round(time.Second), c.kills, c.stops)
	if c.kills == 0 || c.stops == 0 {
		t.Errorf("%d kills and %d stops, want some", c.kills, c.stops)
	}
	wantEachOnce(t, server, recs)
	wantEmptied(t, store, server.URL(), port)
	if t.Failed() {
		for i, out := range c.outputs {
			t.Logf("output of process %d:\n%s", i, out)
		}
	}
}

// submit starts the bakes, some at a time, and returns the records when all have ended.
func (c *chaos) submit(store bake.Store, endpoint string, port, bakes int) map[string]*bake.Record {
	t := c.t
	t.Helper()
	runner := newRunner(store, endpoint, port, "submitter")
	recs, open := map[string]*bake.Record{}, map[string]bool{}
	const patience = 3 * time.Minute // without the end of any build
	for n := 0; n < bakes || len(open) > 0; {
		for ; n < bakes && len(open) < runnersTop; n++ {
			started, err := runner.Start(t.Context(), bake.Request{Labels: map[string]string{"n": strconv.Itoa(n)}, Images: []string{nameOf(n)}})
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range started {
				open[rec.Build] = true
			}
		}
		time.Sleep(200 * time.Millisecond)
		for build := range open {
			rec, err := store.Load(t.Context(), build)
			if err != nil {
				t.Fatalf("Load of a build that has not ended = %v", err)
			}
			if rec.Ended() && rec.Lease.Owner == "" {
				recs[build] = rec
				c.progressed()
				delete(open, build)
			}
		}
		if c.stuck(patience) {
			t.Errorf("%d builds do not end: %v", len(open), slices.Collect(maps.Keys(open)))
			break
		}
	}
	return recs
}

func (c *chaos) progressed() { c.progress.Store(time.Now().UnixNano()) }

// stuck reports whether no build has ended for a while.
func (c *chaos) stuck(while time.Duration) bool {
	return time.Since(time.Unix(0, c.progress.Load())) > while
}

func (c *chaos) start(i int) {
	self, err := os.Executable()
	if err != nil {
		c.t.Error(err)
		return
	}
	cmd := exec.Command(self, "-test.run=^"+c.t.Name()+"$") //nolint:gosec,noctx // this program; end kills it
	cmd.Env = append(slices.Clone(c.env), runnersName+"="+fmt.Sprint("runner", i))
	cmd.Stdout, cmd.Stderr = c.outputs[i], c.outputs[i]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an orphaned group would be continued
	if err := cmd.Start(); err != nil {
		c.t.Error(err)
		return
	}
	c.children[i] = cmd
}

func (c *chaos) upTo(d time.Duration) time.Duration { return time.Duration(c.random.Int64N(int64(d))) }

// disturb kills a process, or stops it for longer than its lease, again and again. It
// pauses while no build ends: one whose guest was half cleaned tries to connect for a while
// before it launches another, and would begin with that again and again.
func (c *chaos) disturb(ctx context.Context, pause time.Duration) {
	const calm = 6 * time.Second
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause/2 + c.upTo(pause)):
		}
		if c.stuck(calm) {
			continue
		}
		i := c.random.IntN(runners)
		child := c.children[i]
		if n%4 == 1 {
			c.stops++
			_ = child.Process.Signal(syscall.SIGSTOP)
			select {
			case <-ctx.Done():
			case <-time.After(runnersLease + runnersLease/2 + c.upTo(runnersLease)):
			}
			_ = child.Process.Signal(syscall.SIGCONT)
			continue
		}
		c.kills++
		_ = child.Process.Kill()
		_ = child.Wait() // reports that it was killed
		c.start(i)
	}
}

// end ends the processes.
func (c *chaos) end() {
	for i, child := range c.children {
		_ = child.Process.Signal(syscall.SIGTERM)
		if err := child.Wait(); err != nil {
			c.t.Errorf("process %d: %v\n%s", i, err, c.outputs[i])
		}
	}
}

// wantEachOnce checks that each build has made its image, that there is no other, and that
// nothing else is left.
func wantEachOnce(t *testing.T, server *ec2test.Server, recs map[string]*bake.Record) {
	t.Helper()
	made := map[string]string{} // AMIs by image
	for _, rec := range recs {
		if rec.Status != bake.StatusBaked || rec.Artifact == nil {
			t.Errorf("record of %s: %s %s, want baked", rec.Image, rec.Status, rec.Error)
			continue
		}
		if made[rec.Image] != "" {
			t.Errorf("%s was baked twice: %s and %s", rec.Image, made[rec.Image], rec.Artifact.ID)
		}
		made[rec.Image] = rec.Artifact.ID
		if got, err := server.ReadFile(rec.Artifact.ID, "/etc/who"); err != nil || string(got) != rec.Image+"\n" {
			t.Errorf("/etc/who in %s = %q, %v, want its name once", rec.Image, got, err)
		}
	}
	there := map[string]bool{}
	for _, r := range server.Resources(func(r ec2test.Resource) bool { return r.Tags[ec2.TagBuild] != "" }) {
		if r.Tags[ec2.TagExpires] != "" || r.Type != "image" && r.Type != "snapshot" {
			t.Errorf("left: %v", r)
		}
		if r.Type == "image" {
			there[r.ID] = true
		}
	}
	if want := slices.Sorted(maps.Values(made)); !slices.Equal(slices.Sorted(maps.Keys(there)), want) {
		t.Errorf("images %v, want those of the records, %v", slices.Sorted(maps.Keys(there)), want)
	}
}

// wantEmptied lets a runner remove the records of ended builds, and checks that none is
// left.
func wantEmptied(t *testing.T, store bake.Store, endpoint string, port int) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	runner := newRunner(store, endpoint, port, "remover")
	runner.Keep = time.Nanosecond
	var removed atomic.Int64
	runner.Options.Observe = func(e bake.Event) {
		if e.Kind == bake.RecordRemoved {
			removed.Add(1)
		}
	}
	done := make(chan error, 1)
	go func() { done <- runner.Serve(ctx) }()
	var left []string
	for range 1200 {
		var err error
		if left, err = store.List(ctx); err != nil {
			t.Error(err)
		}
		if len(left) == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	empty := errors.New("empty")
	cancel(empty)
	if err := <-done; !errors.Is(err, empty) {
		t.Errorf("Serve() = %v, want %v", err, empty)
	}
	if len(left) > 0 || removed.Load() == 0 {
		t.Errorf("records left %v, %d removed; want all removed", left, removed.Load())
	}
}
