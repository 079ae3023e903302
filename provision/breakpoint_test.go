package provision_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/google/go-cmp/cmp"
)

func TestBreakpoint(t *testing.T) {
	access := bake.SSHAccess{
		Host: "192.0.2.1", Port: 2222, User: "ubuntu", KnownHosts: "[192.0.2.1]:2222 ssh-ed25519 AAAA", Key: bake.NewSecret("the private key\n"), Certificate: "cert",
	}
	t.Run("login command", func(t *testing.T) {
		if runtime.GOOS == "windows" {
			t.Skip("Windows has no Unix file modes")
		}
		dir := t.TempDir()
		var files map[string]string
		m := baketest.NewMachine(&baketest.MachineOptions{SSH: &access})
		messages, err := bakeMessages(t, m, provision.Breakpoint{Note: "before hardening", KeyDir: dir, Wait: func(_ context.Context, got bake.SSHAccess) error {
			files = modes(t, dir)
			if got != access {
				t.Errorf("Wait got access %+v", got)
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		in := regexp.QuoteMeta(dir) + "/bakestone-[0-9]+"
		want := regexp.MustCompile("^breakpoint before hardening: the build is paused; log in with: ssh -p 2222 -o UserKnownHostsFile='" + in +
			"/known_hosts' -o IdentitiesOnly=yes -i '" + in + "/key' -o CertificateFile='" + in + "/key-cert.pub' 'ubuntu@192.0.2.1'$")
		if len(messages) != 1 || !want.MatchString(messages[0]) {
			t.Errorf("messages = %q, want one that matches %v", messages, want)
		}
		if diff := cmp.Diff(map[string]string{
			"known_hosts": "-rw------- [192.0.2.1]:2222 ssh-ed25519 AAAA\n", "key": "-rw------- the private key\n", "key-cert.pub": "-rw------- cert\n",
		}, files); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
		wantEmpty(t, dir)
	})
	t.Run("without KeyDir", func(t *testing.T) {
		messages, err := bakeMessages(t, baketest.NewMachine(&baketest.MachineOptions{SSH: &access}), provision.Breakpoint{Wait: func(context.Context, bake.SSHAccess) error { return nil }})
		if err != nil || !slices.Equal(messages, []string{"breakpoint: the build is paused; log in as ubuntu to 192.0.2.1:2222"}) {
			t.Errorf("messages = %q (error %v), want the address", messages, err)
		}
		messages, err = bakeMessages(t, baketest.NewMachine(nil), provision.Breakpoint{Wait: func(_ context.Context, access bake.SSHAccess) error {
			if access != (bake.SSHAccess{}) {
				t.Errorf("Wait got access %+v", access)
			}
			return errBroken
		}})
		if !errors.Is(err, errBroken) || len(messages) != 1 || !strings.Contains(messages[0], bake.ErrNoSSH.Error()) {
			t.Errorf("messages = %q (error %v), want %v", messages, err, bake.ErrNoSSH)
		}
	})
	t.Run("canceled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			dir := t.TempDir()
			m := baketest.NewMachine(&baketest.MachineOptions{SSH: &access})
			if err := (provision.Breakpoint{KeyDir: dir, Wait: untilDone}).Provision(ctx, m); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Provision() = %v, want %v", err, context.DeadlineExceeded)
			}
			wantEmpty(t, dir)
		})
	})
}

// untilDone waits until ctx ends.
func untilDone(ctx context.Context, _ bake.SSHAccess) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// modes returns the mode and content of each file below dir.
func modes(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(name)
		files[entry.Name()] = info.Mode().String() + " " + string(text)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return files
}

func TestBreakpointValidate(t *testing.T) {
	invalid(t, provision.Breakpoint{KeyDir: filepath.Join(t.TempDir(), "missing")}, []string{"Breakpoint.Wait: is required", "Breakpoint.KeyDir: "})
}
