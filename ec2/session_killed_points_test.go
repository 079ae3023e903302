package ec2_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
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

// killedPoint is the number of the point at which the process kills itself.
const killedPoint = "BAKESTONE_TEST_POINT"

// A killer counts the points that a process passes, and kills it at one of them.
type killer struct {
	at     int64
	passed atomic.Int64
}

// pass passes a point. Only the system sees the end of the process.
func (k *killer) pass() {
	if k == nil || k.passed.Add(1) != k.at {
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

// RoundTrip passes a point before and after each API call.
func (k *killer) RoundTrip(r *http.Request) (*http.Response, error) {
	k.pass()
	response, err := http.DefaultTransport.RoundTrip(r)
	k.pass()
	return response, err
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
	half := s.dir + "/.saving-" + r.Build // what DirStore writes first
	if err := os.WriteFile(half, []byte(`{"version":2,"session":{"keys":"PRIV`), 0o600); err != nil {
		return err
	}
	s.pass()
	err := s.Store.Save(ctx, r)
	s.pass()
	return err
}

// layersOf returns a definition of two layers with an instance profile, a check, a copy and
// a publisher. The word is in the work of every part.
func layersOf(endpoint, word string, k *killer) []*bake.Image {
	cloud := killedCloud(endpoint, k)
	base := &bake.Image{
		Name:         "base",
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

func killedCloud(endpoint string, k *killer) *ec2.Cloud {
	cfg := aws.Config{
		Region: testRegion, BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", ""),
	}
	if k != nil {
		cfg.HTTPClient = &http.Client{Transport: k}
	}
	return ec2.NewCloud(cfg, &ec2.CloudOptions{
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(host, strconv.Itoa(killedPort)))
		},
		SourceAddress: func(context.Context) (netip.Addr, error) { return netip.MustParseAddr("127.0.0.1"), nil },
		PollInterval:  5 * time.Millisecond, SettleTime: 5 * time.Millisecond, MaxRetryDelay: time.Millisecond, NoCallLimits: true,
	})
}

// killedOptions has a lease that is short, but not too short for a busy machine.
func killedOptions(store bake.Store) *bake.Options {
	return &bake.Options{Store: store, Lease: 2 * time.Second}
}

// bakeToPoint bakes in the process that kills itself, or prints how many points there are.
func bakeToPoint(t *testing.T, endpoint string) {
	t.Helper()
	at, err := strconv.ParseInt(os.Getenv(killedPoint), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	k, dir := &killer{at: at}, os.Getenv(killedStore)
	opts := killedOptions(&killedSaves{bake.DirStore(dir), k, dir})
	opts.Observe = func(bake.Event) { k.pass() }
	if _, err := bake.Bake(t.Context(), opts, layersOf(endpoint, "old", k)...); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("points: %d\n", k.passed.Load())
}

// killedRun runs the process to a point and returns its output. Beyond the given point the
// run may end before.
func killedRun(t *testing.T, server *ec2test.Server, dir string, point, certain int) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestKilledAtEveryPoint$")
	cmd.Env = append(os.Environ(), killedEndpoint+"="+server.URL(), killedStore+"="+dir, killedPoint+"="+strconv.Itoa(point))
	out, err := cmd.CombinedOutput()
	ended := strings.Contains(string(out), "points: ") && point > certain
	if !ended && ((err != nil) != (point > 0) || err != nil && !strings.Contains(err.Error(), "killed")) {
		t.Fatalf("process that is killed at point %d: %v\n%s", point, err, out)
	}
	return string(out)
}

// certain returns how many of the points that were counted once any run has. The numbers
// differ a little, since polls do.
func certain(points int) int { return points - points/10 }

// TestKilledAtEveryPoint kills a process at points before and after each API call, event
// and save of a graph of two layers, and within saves. Then another one resumes, with the
// same or an edited definition, or two do at once, or it undoes without the definition.
// The long form, with BAKESTONE_LONG=1, kills at every point.
func TestKilledAtEveryPoint(t *testing.T) {
	if endpoint := os.Getenv(killedEndpoint); endpoint != "" {
		bakeToPoint(t, endpoint)
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("machines have separate addresses on Linux only")
	}
	serve := func(t *testing.T) *ec2test.Server {
		t.Helper()
		return newServer(t, &ec2test.Options{Listen: true, Port: killedPort})
	}
	points := 0
	if !t.Run("count", func(t *testing.T) {
		out := killedRun(t, serve(t), t.TempDir(), 0, 0)
		_, number, _ := strings.Cut(out, "points: ")
		if _, err := fmt.Sscan(number, &points); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
	}) {
		return
	}
	const fewest, short = 300, 8
	if points < fewest {
		t.Errorf("%d points, want at least %d", points, fewest)
	}
	step := max(1, certain(points)/short)
	if os.Getenv("BAKESTONE_LONG") != "" {
		step = 1
	}
	modes := []struct {
		name string
		then func(t *testing.T, server *ec2test.Server, store bake.Store)
	}{{"resume", resumeKilled}, {"edited", resumeEdited}, {"undo", undoKilled}, {"two resumers", resumeTwice}}
	ran := map[string]int{}
	for i, point := 0, 1; point <= points; i, point = i+1, point+step {
		mode := modes[i%len(modes)]
		t.Run(fmt.Sprintf("%s after point %d", mode.name, point), func(t *testing.T) {
			server, dir := serve(t), t.TempDir()
			if out := killedRun(t, server, dir, point, certain(points)); strings.Contains(out, "points: ") {
				t.Skipf("this run had fewer points: %s", out)
			}
			mode.then(t, server, bake.DirStore(dir))
			ran[mode.name]++
			if _, err := bake.DirStore(dir).List(t.Context()); err != nil {
				t.Error(err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range entries {
				if strings.HasPrefix(entry.Name(), ".saving-") {
					t.Errorf("left in the store: %s", entry.Name())
				}
			}
		})
	}
	t.Logf("killed at points of %d: %v", points, ran)
}

func killedRecords(t *testing.T, store bake.Store) []*bake.Record {
	t.Helper()
	recs, err := bake.Records(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

func resumeKilled(t *testing.T, server *ec2test.Server, store bake.Store) {
	t.Helper()
	opts := killedOptions(store)
	opts.Resume = killedRecords(t, store)
	results, err := bake.Bake(t.Context(), opts, layersOf(server.URL(), "old", nil)...)
	if err != nil {
		t.Fatal(err)
	}
	wantLayers(t, server, results, "old")
}

func resumeEdited(t *testing.T, server *ec2test.Server, store bake.Store) {
	t.Helper()
	opts := killedOptions(store)
	opts.Resume = killedRecords(t, store)
	results, err := bake.Bake(t.Context(), opts, layersOf(server.URL(), "new", nil)...)
	if err != nil {
		t.Fatal(err)
	}
	wantLayers(t, server, results, "new")
}

func resumeTwice(t *testing.T, server *ec2test.Server, store bake.Store) {
	t.Helper()
	recs := killedRecords(t, store)
	if len(recs) < 2 {
		return // without records both would bake
	}
	var all sync.WaitGroup
	results := make([][]*bake.Result, 2)
	errs := make([]error, 2)
	for i := range errs {
		all.Go(func() {
			opts := killedOptions(store)
			opts.Resume = recs
			results[i], errs[i] = bake.Bake(t.Context(), opts, layersOf(server.URL(), "old", nil)...)
		})
	}
	all.Wait()
	for i, err := range errs {
		if err == nil {
			wantLayers(t, server, results[i], "old")
			return
		}
		if !errors.Is(err, bake.ErrLeased) {
			t.Errorf("Bake by resumer %d = %v, want nil or %v", i, err, bake.ErrLeased)
		}
	}
	resumeKilled(t, server, store) // each has taken one of the records, and released it
}

// wantLayers checks the images and that there are no others, and removes them.
func wantLayers(t *testing.T, server *ec2test.Server, results []*bake.Result, word string) {
	t.Helper()
	top := results[1].Artifact
	for _, path := range []string{"/etc/base", "/etc/first", "/etc/second"} {
		wantFile(t, server, top.ID(), path, word+"\n")
	}
	destroy(t, top)
	destroy(t, results[0].Artifact)
	if word == "old" {
		wantNoLeftovers(t, server)
		return
	}
	// Good images of the old definition stay, without anything else.
	wantOnlyImages(t, server)
}

func undoKilled(t *testing.T, server *ec2test.Server, store bake.Store) {
	t.Helper()
	good := 0
	for _, rec := range killedRecords(t, store) {
		bare := &bake.Image{Builder: ec2.Builder{Cloud: killedCloud(server.URL(), nil)}}
		if err := bake.Undo(t.Context(), killedOptions(store), bare, rec); err != nil {
			t.Errorf("Undo of %s = %v", rec.Image, err)
		}
		if rec.Good {
			good++
		}
	}
	images := wantOnlyImages(t, server)
	if good == 0 && images > 0 {
		t.Errorf("%d images, want none: no build was good", images)
	}
}

// wantOnlyImages checks that only promoted images and their snapshots are left.
func wantOnlyImages(t *testing.T, server *ec2test.Server) (images int) {
	t.Helper()
	for _, r := range server.Resources(func(r ec2test.Resource) bool { return r.Tags[ec2.TagBuild] != "" }) {
		switch {
		case r.Type == "image":
			images++
		case r.Type != "snapshot":
			t.Errorf("left: %v", r)
		}
		if r.Tags[ec2.TagExpires] != "" {
			t.Errorf("left, and not promoted: %v", r)
		}
	}
	return images
}
