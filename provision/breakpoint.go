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

// A Breakpoint stops the build until its caller lets it go on, so that a person
// can look at the machine. It says, in an event, how to log in meanwhile. The
// time limits of the step and the end of the machine's life hold on.
type Breakpoint struct {
	// Note says where the build stands: "before hardening".
	Note string

	// GoOn lets the build go on when it is closed or something is sent to it.
	GoOn <-chan struct{}

	// Wait is called instead of GoOn, with the way to the machine, which holds
	// until it returns; the zero SSHAccess is a machine that is not reached
	// over SSH. Its error ends the build.
	Wait func(ctx context.Context, access bake.SSHAccess) error

	// KeyDir, when set, is a directory on the baking host in which a directory
	// with the private key and the host key is made, for the length of the
	// pause and for its owner alone. Otherwise a key that only this process
	// knows lets nobody else in.
	KeyDir string
}

// String is "breakpoint" and the note.
func (b Breakpoint) String() string { return strings.TrimSpace("breakpoint " + b.Note) }

// Validate reports a breakpoint that nothing could end.
func (b Breakpoint) Validate() error {
	var errs []error
	if !exactlyOne(b.GoOn != nil, b.Wait != nil) {
		errs = append(errs, bake.Invalid("Breakpoint", "exactly one of GoOn and Wait must be set"))
	}
	if b.KeyDir != "" {
		errs = append(errs, checkDir("Breakpoint.KeyDir", nil, b.KeyDir))
	}
	return errors.Join(errs...)
}

// DeclareInputs declares nothing: a pause changes no image.
func (b Breakpoint) DeclareInputs(*bake.Inputs) error { return nil }

// Provision says how to reach the machine, and waits.
func (b Breakpoint) Provision(ctx context.Context, m bake.Machine) error {
	if err := b.Validate(); err != nil {
		return err
	}
	err := bake.ReachSSH(ctx, m, b.stop)
	if errors.Is(err, bake.ErrNoSSH) {
		bake.RunFromContext(ctx).Say("%s: the build waits; %v", b, err)
		return b.wait(ctx, bake.SSHAccess{})
	}
	return err
}

func (b Breakpoint) stop(ctx context.Context, access bake.SSHAccess) (err error) {
	if b.KeyDir == "" {
		bake.RunFromContext(ctx).Say("%s: the build waits; %s is at %s", b, access.User, net.JoinHostPort(access.Host, strconv.Itoa(access.Port)))
		return b.wait(ctx, access)
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
	bake.RunFromContext(ctx).Say("%s: the build waits; to look at the machine: %s", b, strings.Join(words, " "))
	return b.wait(ctx, access)
}

func (b Breakpoint) wait(ctx context.Context, access bake.SSHAccess) error {
	if b.Wait != nil {
		return b.Wait(ctx, access)
	}
	select {
	case <-b.GoOn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
