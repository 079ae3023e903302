package provision

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A Breakpoint pauses the build so that a person can inspect the machine. An event
// tells how to log in. The time limits of the step and the machine still apply.
type Breakpoint struct {
	// Note describes where the build stands: "before hardening".
	Note string

	// Wait pauses the build until it returns. Until then, access is valid; it is
	// zero if the machine is not reached over SSH. An error fails the build. It is
	// required.
	Wait func(ctx context.Context, access bake.SSHAccess) error

	// KeyDir is a directory on the baking host. During the pause, the private key
	// and the host key are in a new directory below it that only the current user
	// can enter. If empty, no files are written: a key that only this process has
	// then cannot be used to log in.
	KeyDir string
}

var (
	_ bake.Provisioner   = Breakpoint{}
	_ bake.Validator     = Breakpoint{}
	_ bake.InputDeclarer = Breakpoint{}
)

// String returns "breakpoint" and the note.
func (b Breakpoint) String() string { return strings.TrimSpace("breakpoint " + b.Note) }

// Validate reports a missing Wait or KeyDir.
func (b Breakpoint) Validate() error {
	var errs []error
	if b.Wait == nil {
		errs = append(errs, bake.Invalid("Breakpoint.Wait", "is required"))
	}
	if b.KeyDir != "" {
		errs = append(errs, checkDir("Breakpoint.KeyDir", nil, b.KeyDir))
	}
	return errors.Join(append(errs, checkRedacted("Breakpoint", b))...)
}

// DeclareInputs declares nothing, since a pause does not change the image.
func (b Breakpoint) DeclareInputs(*bake.Inputs) error { return nil }

// Provision reports how to reach the machine and calls Wait.
func (b Breakpoint) Provision(ctx context.Context, m bake.Machine) error {
	if err := b.Validate(); err != nil {
		return err
	}
	err := bake.ReachSSH(ctx, m, b.pause)
	if errors.Is(err, bake.ErrNoSSH) {
		b.report(ctx, err.Error())
		return b.Wait(ctx, bake.SSHAccess{})
	}
	return err
}

func (b Breakpoint) pause(ctx context.Context, access bake.SSHAccess) (err error) {
	if b.KeyDir == "" {
		b.report(ctx, fmt.Sprintf("log in as %s to %s", access.User, net.JoinHostPort(access.Host, strconv.Itoa(access.Port))))
		return b.Wait(ctx, access)
	}
	dir, err := os.MkdirTemp(b.KeyDir, "bakestone-")
	if err != nil {
		return fmt.Errorf("breakpoint: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	words := []string{"ssh", "-p", strconv.Itoa(access.Port)}
	for _, f := range []struct{ name, option, text string }{
		{"known_hosts", "-o UserKnownHostsFile=", access.KnownHosts}, {"key", "-o IdentitiesOnly=yes -i ", access.Key.Reveal()}, {"key-cert.pub", "-o CertificateFile=", access.Certificate},
	} {
		if f.text == "" {
			continue
		}
		file := filepath.Join(dir, f.name)
		if err := os.WriteFile(file, []byte(strings.TrimRight(f.text, "\n")+"\n"), 0o600); err != nil {
			return fmt.Errorf("breakpoint: %w", err)
		}
		words = append(words, f.option+posixsh.Quote(file))
	}
	words = append(words, posixsh.Quote(access.User+"@"+access.Host))
	b.report(ctx, "log in with: "+strings.Join(words, " "))
	return b.Wait(ctx, access)
}

// report tells the person who watches the build that it is paused.
func (b Breakpoint) report(ctx context.Context, access string) {
	bake.RunFromContext(ctx).Emit(bake.Event{Kind: bake.BuildPaused, Text: b.String() + ": the build is paused; " + access})
}
