//go:build unix

package qemu_test

import (
	"bytes"
	"os"
	"testing"
	"testing/fstest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/qemu"
)

// TestKickstart serves a kickstart to the parser that Anaconda uses, pykickstart, in a fake
// machine. What it rejects fails the bake with its words.
func TestKickstart(t *testing.T) {
	t.Setenv(fakeKickstart, testenv.Need(t, "ksvalidator"))
	kickstart, err := os.ReadFile("testdata/ks.cfg.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	bakeWith := func(kickstart []byte) error {
		host, _ := newHost(t)
		i := newInstaller(t)
		i.Append = "inst.text console=ttyS0 inst.ks={{.HTTP}}/ks.cfg"
		i.Files = fstest.MapFS{"ks.cfg.tmpl": {Data: kickstart}, "installed": {Data: []byte("yes\n")}}
		_, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "fedora", Builder: qemu.Builder{Host: host, Source: i, Accelerator: qemu.TCG}})
		return err
	}
	if err := bakeWith(kickstart); err != nil {
		t.Errorf("Bake = %v", err)
	}
	err = bakeWith(bytes.Replace(kickstart, []byte("zerombr"), []byte("zero-mbr"), 1))
	wantError(t, err, "Unknown command: zero-mbr")
	wantError(t, err, "problem occurred on line 8 of the kickstart")
}
