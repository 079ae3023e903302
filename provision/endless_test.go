package provision_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/provision/check"
)

// An endless machine prints until its command is killed, and sends files without end.
type endless struct{ sent int64 }

var _ bake.Machine = (*endless)(nil)

func (m *endless) send(ctx context.Context, to io.Writer) error {
	text := []byte(strings.Repeat("endless output\n", 1000))
	for ctx.Err() == nil {
		n, err := to.Write(text)
		if m.sent += int64(n); err != nil {
			return err
		}
		if m.sent > 1<<30 {
			return errors.New("took 1 GiB")
		}
	}
	return context.Cause(ctx)
}

func (m *endless) Run(ctx context.Context, cmd *bake.Cmd) error {
	if cmd.Stdout == nil || strings.Contains(cmd.String(), "mktemp") {
		return nil
	}
	return m.send(ctx, cmd.Stdout)
}

func (m *endless) Get(ctx context.Context, down *bake.Download) error {
	return m.send(ctx, down.Content)
}
func (*endless) Put(context.Context, *bake.Upload) error { return nil }
func (*endless) Reboot(context.Context, *bake.Cmd) error { return nil }
func (*endless) Facts(context.Context) (bake.Facts, error) {
	return bake.Facts{OS: "linux"}, nil
}
func (*endless) Close() error { return nil }

// TestEndlessOutput runs what reads the answers of a machine that never ends them.
func TestEndlessOutput(t *testing.T) {
	for _, p := range []bake.Provisioner{
		provision.WaitCloudInit{}, provision.WindowsReboot{}, check.All(check.Service{Name: "x"}),
	} {
		m := &endless{}
		err := p.Provision(t.Context(), m)
		if !errors.Is(err, bake.ErrOutputTooLong) || m.sent > 32<<20 {
			t.Errorf("%v: %v after %d bytes, want ErrOutputTooLong", p, err, m.sent)
		}
	}
}
