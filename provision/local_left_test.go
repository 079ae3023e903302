//go:build linux

package provision_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
)

// An oldMachine is a Builder whose machine exists already.
type oldMachine struct{}

func (oldMachine) Validate(*bake.Image) error { return nil }

func (oldMachine) Begin(*bake.Image, *bake.Run) (bake.Session, error) { return &oldSession{}, nil }

type oldSession struct{}

func (*oldSession) Launch() []bake.Step {
	return []bake.Step{{Name: "launch", Do: func(context.Context) error { return nil }}}
}

func (*oldSession) Connect(context.Context) (bake.Machine, error) {
	return baketest.NewMachine(nil), nil
}
func (*oldSession) Capture() []bake.Step    { return nil }
func (*oldSession) EndCheck() []bake.Step   { return nil }
func (*oldSession) Promote() []bake.Step    { return nil }
func (*oldSession) Artifact() bake.Artifact { return nil }

// leftDir is set in the process that is killed.
const leftDir = "BAKESTONE_TEST_LOCAL_LEFT"

// leftLocal has a command that runs long the first time, with a child of its own.
func leftLocal(dir string) *bake.Image {
	return &bake.Image{Name: "left", ProvisionOnly: true, Builder: oldMachine{}, Provisioners: []bake.Provisioner{
		provision.Local{Dir: dir, Command: "[ -e second ] && exit; echo >second; (setsid sleep 86451 &); sleep 86451; echo ghost >ghost"},
	}}
}

// localRuns reports whether the command or its child runs.
func localRuns(t *testing.T) bool {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range lines {
		if line, err := os.ReadFile(name); err == nil && strings.Contains(string(line), "sleep\x0086451") {
			return true
		}
	}
	return false
}

// TestLocalAfterKill kills a process that bakes while a Local runs, and resumes.
func TestLocalAfterKill(t *testing.T) {
	if dir := os.Getenv(leftDir); dir != "" {
		_, err := bake.Bake(t.Context(), &bake.Options{Store: bake.DirStore(dir + "/store")}, leftLocal(dir))
		t.Fatalf("Bake() returned %v, want the process to be killed before", err)
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run=^TestLocalAfterKill$")
	child.Env = append(os.Environ(), leftDir+"="+dir)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for tries := 0; !localRuns(t); tries++ {
		if tries == 1000 {
			t.Fatal("the command does not run")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // reports that it was killed
	if !localRuns(t) {
		t.Fatal("the command ended with its process, want it to live on")
	}
	store := bake.DirStore(dir + "/store")
	rec := testenv.DeadRecord(t.Context(), t, store)
	if _, err := bake.Bake(t.Context(), &bake.Options{Store: store, Resume: []*bake.Record{rec}}, leftLocal(dir)); err != nil {
		t.Fatalf("Bake() error = %v, want the resumed build to succeed", err)
	}
	if localRuns(t) {
		t.Error("the killed process's command still runs")
	}
	if _, err := os.Stat(dir + "/ghost"); err == nil {
		t.Error("the killed process's command went on")
	}
}
