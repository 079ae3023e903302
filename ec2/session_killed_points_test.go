package ec2_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// A killedBake is what a process has left that was killed, or stopped, while it baked.
type killedBake struct {
	server *ec2test.Server
	moved  *atomic.Int64 // by how much the server's clock is ahead
	port   int           // of machines
	store  bake.Store    // as those see it who take over
	dir    string        // of store

	// When the process is stopped: it continues when the number of events have
	// happened in another.
	child  *exec.Cmd
	output *bufio.Reader
	said   string // its output so far
	events int
}

// start starts this test's program to bake, or to work if point is negative.
func (b *killedBake) start(t *testing.T, point int, how string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b.child = exec.CommandContext(t.Context(), self, "-test.run=^TestKilledAtEveryPoint$")
	b.child.Env = append(os.Environ(), killedEndpoint+"="+b.server.URL(), killedStore+"="+b.dir,
		killedPoint+"="+strconv.Itoa(point), killedMachine+"="+strconv.Itoa(b.port), killedHow+"="+how)
	b.child.Stderr = os.Stderr
	out, err := b.child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	b.output = bufio.NewReader(out)
	if err := b.child.Start(); err != nil {
		t.Fatal(err)
	}
}

// wait returns what the process prints until its end.
func (b *killedBake) wait(t *testing.T) (said string, err error) {
	t.Helper()
	rest, err := io.ReadAll(b.output)
	if err != nil {
		t.Fatal(err)
	}
	return b.said + string(rest), b.child.Wait()
}

// bake runs the process to a point and returns its output. Beyond the given point the
// process may end before.
func (b *killedBake) bake(t *testing.T, point, certain int) string {
	t.Helper()
	b.start(t, point, "")
	out, err := b.wait(t)
	ended := strings.Contains(out, "points: ") && point > certain
	if !ended && ((err != nil) != (point > 0) || err != nil && !strings.Contains(err.Error(), "killed")) {
		t.Fatalf("process that is killed at point %d: %v\n%s", point, err, out)
	}
	return out
}

// freeze runs the process until it has stopped itself at a point, and returns its output.
func (b *killedBake) freeze(t *testing.T, point int) string {
	t.Helper()
	b.start(t, point, killedByStop)
	for !strings.Contains(b.said, "stopping") {
		line, err := b.output.ReadString('\n')
		b.said += line
		if err != nil {
			_ = b.child.Wait() // it had fewer points
			return b.said
		}
	}
	stopped := func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.child.Process.Pid))
		return err == nil && strings.Contains(string(stat), ") T ")
	}
	for !stopped() {
		time.Sleep(time.Millisecond)
	}
	b.events = point % 40
	return b.said
}

// certain returns how many of the points that were counted once any run has. The numbers
// differ a little, since polls do.
func certain(points int) int { return points - points/10 }

// TestKilledAtEveryPoint kills a process at points before and after each API call, event
// and save of a graph of two layers, and within saves. Then another one resumes, with the
// same or an edited definition, or two do at once, or the worker of another machine; or
// it undoes without the definition; or the store is lost, and the leftovers are reaped.
// Or the process is not killed but stopped until another one has taken its builds over,
// and must not change anything any more. The long form, with BAKESTONE_LONG=1, kills at
// every point; -parallel tells at how many at once.
func TestKilledAtEveryPoint(t *testing.T) {
	if endpoint := os.Getenv(killedEndpoint); endpoint != "" {
		bakeToPoint(t, endpoint)
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("machines have separate addresses on Linux only")
	}
	const atOnce = 16
	ports := make(chan int, atOnce)
	for i := range atOnce {
		ports <- killedPort + 1 + i
	}
	begin := func(t *testing.T) *killedBake {
		t.Helper()
		b := &killedBake{moved: new(atomic.Int64), port: <-ports, dir: t.TempDir()}
		t.Cleanup(func() { ports <- b.port })
		b.server = newServer(t, &ec2test.Options{Listen: true, Port: b.port, Clock: offsetClock{clock.System(), b.moved}})
		b.store = deadStore{bake.DirStore(b.dir)}
		return b
	}
	points := 0
	if !t.Run("count", func(t *testing.T) {
		out := begin(t).bake(t, 0, 0)
		_, number, _ := strings.Cut(out, "points: ")
		if _, err := fmt.Sscan(number, &points); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
	}) {
		return
	}
	const fewest = 300
	if points < fewest {
		t.Errorf("%d points, want at least %d", points, fewest)
	}
	most := 5
	if testenv.Thorough() {
		most = 14
	}
	step := max(1, certain(points)/most)
	if long() {
		step = 1
	}
	modes := []struct {
		name string
		then func(t *testing.T, b *killedBake)
	}{
		{"resume", resumeKilled}, {"edited", resumeEdited}, {"undo", undoKilled}, {"two resumers", resumeTwice},
		{"reap", reapKilled}, {"worker", workOnKilled}, {"thaw", thawKilled},
	}
	var mu sync.Mutex
	ran := map[string]int{}
	t.Run("points", func(t *testing.T) {
		for i, point := 0, 1; point <= points; i, point = i+1, point+step {
			mode := modes[i%len(modes)]
			if mode.name == "thaw" && i > len(modes) && step > 1 {
				continue // it waits for a lease to end, and once is enough for the short form
			}
			t.Run(fmt.Sprintf("%s after point %d", mode.name, point), func(t *testing.T) {
				t.Parallel()
				b := begin(t)
				run := func() string { return b.bake(t, point, certain(points)) }
				if mode.name == "thaw" {
					b.store = bake.DirStore(b.dir) // only the time ends the lease
					run = func() string { return b.freeze(t, point) }
				}
				if out := run(); strings.Contains(out, "points: ") {
					t.Skipf("this run had fewer points: %s", out)
				}
				mode.then(t, b)
				mu.Lock()
				ran[mode.name]++
				mu.Unlock()
				b.wantCleanStore(t)
			})
		}
	})
	t.Logf("ended at points of %d: %v", points, ran)
}

// wantCleanStore checks that the store keeps nothing that was half written.
func (b *killedBake) wantCleanStore(t *testing.T) {
	t.Helper()
	if _, err := bake.DirStore(b.dir).List(t.Context()); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".saving-") {
			t.Errorf("left in the store: %s", entry.Name())
		}
	}
}

func (b *killedBake) records(t *testing.T) []*bake.Record {
	t.Helper()
	recs, err := bake.Records(t.Context(), b.store)
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

func (b *killedBake) layers(word string) []*bake.Image {
	return layersOf(killedCloud(b.server.URL(), b.port, nil), word)
}

func resumeKilled(t *testing.T, b *killedBake) {
	t.Helper()
	b.resume(t, "old", nil)
}

func resumeEdited(t *testing.T, b *killedBake) {
	t.Helper()
	b.resume(t, "new", nil)
}

func (b *killedBake) resume(t *testing.T, word string, observe func(bake.Event)) {
	t.Helper()
	opts := killedOptions(b.store, killedLease)
	opts.Resume, opts.Observe = b.records(t), observe
	results, err := bake.Bake(t.Context(), opts, b.layers(word)...)
	if err != nil {
		t.Fatal(err)
	}
	b.wantLayers(t, results, word)
}

func resumeTwice(t *testing.T, b *killedBake) {
	t.Helper()
	recs := b.records(t)
	if len(recs) < 2 {
		return // without records both would bake
	}
	var all sync.WaitGroup
	results := make([][]*bake.Result, 2)
	errs := make([]error, 2)
	for i := range errs {
		all.Go(func() {
			opts := killedOptions(b.store, contested)
			opts.Resume = recs
			results[i], errs[i] = bake.Bake(t.Context(), opts, b.layers("old")...)
		})
	}
	all.Wait()
	for i, err := range errs {
		if err == nil {
			b.wantLayers(t, results[i], "old")
			return
		}
		if !errors.Is(err, bake.ErrLeased) {
			t.Errorf("Bake by resumer %d = %v, want nil or %v", i, err, bake.ErrLeased)
		}
	}
	resumeKilled(t, b) // each has taken one of the records, and released it
}

// wantLayers checks the images and that there are no others, and removes them.
func (b *killedBake) wantLayers(t *testing.T, results []*bake.Result, word string) {
	t.Helper()
	top := results[1].Artifact
	for _, path := range []string{"/etc/base", "/etc/first", "/etc/second"} {
		wantFile(t, b.server, top.ID(), path, word+"\n")
	}
	destroy(t, top)
	destroy(t, results[0].Artifact)
	if word == "old" {
		wantNoLeftovers(t, b.server)
		return
	}
	// Good images of the old definition stay, without anything else.
	wantOnlyImages(t, b.server)
}
