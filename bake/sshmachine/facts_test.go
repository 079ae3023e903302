package sshmachine_test

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
)

func TestFacts(t *testing.T) {
	m := sshdMachine(t)
	facts, err := m.Facts(t.Context())
	must(t, err)
	want := bake.Facts{
		OS: "linux", Kernel: runOutput(t, m, bake.Sh("uname -r")), Arch: runOutput(t, m, bake.Sh("uname -m")),
		User: runOutput(t, m, bake.Sh("id -un")), UID: os.Getuid(), Home: runOutput(t, m, bake.Sh("echo $HOME")),
		BootID: facts.BootID, Hostname: facts.Hostname, Distro: facts.Distro, Version: facts.Version, Read: facts.Read,
	}
	if diff := cmp.Diff(want, facts); diff != "" {
		t.Errorf("Facts (-want +got):\n%s", diff)
	}
	if facts.BootID == "" || facts.Hostname == "" || facts.Distro == "" || facts.Read.IsZero() {
		t.Errorf("Facts = %+v, want all fields set", facts)
	}
}
