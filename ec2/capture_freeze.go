package ec2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// frozen returns a step that cleans the guest and runs do while its file systems
// are frozen.
func (s *session) frozen(do func(ctx context.Context) error) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		return s.withGuest(ctx, func(ctx context.Context, m bake.Machine) error {
			if err := s.clean(ctx, m); err != nil {
				return err
			}
			return whileFrozen(ctx, m, do)
		})
	}
}

// whileFrozen runs do while the file systems of m are frozen. The guest thaws them
// when do returns, when the connection ends, and at the latest after a minute; it
// is an error if do took longer.
func whileFrozen(ctx context.Context, m bake.Machine, do func(ctx context.Context) error) error {
	thaw, tell := io.Pipe()
	frozen := &textWaiter{text: []byte("frozen"), seen: make(chan struct{})}
	ended := make(chan error, 1)
	go func() {
		err := m.Run(ctx, &bake.Cmd{Line: freezeScript, Sudo: true, Stdin: thaw, Stdout: frozen})
		_ = thaw.Close() // never fails
		ended <- err
	}()
	select {
	case <-frozen.seen:
	case err := <-ended:
		if err == nil {
			err = errors.New("guest did not freeze its file systems")
		}
		return err
	}
	err := do(ctx)
	_ = tell.Close() // never fails
	return errors.Join(err, <-ended)
}

// A textWaiter is an io.Writer that closes seen when text has been written.
type textWaiter struct {
	text []byte
	seen chan struct{}

	mu   sync.Mutex
	got  []byte
	done bool
}

func (a *textWaiter) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got = append(a.got, p...)
	if !a.done && bytes.Contains(a.got, a.text) {
		a.done = true
		close(a.seen)
	}
	return len(p), nil
}

// createFrozenImage creates the image without a reboot and waits until EC2 has
// begun its snapshots, so that the file systems can thaw.
func (s *session) createFrozenImage(ctx context.Context) error {
	if err := s.createImage(ctx); err != nil {
		return err
	}
	return s.region.images.Wait(ctx, s.Image.ID, func(i ec2types.Image, found bool) (bool, error) {
		if !found || len(i.BlockDeviceMappings) == 0 {
			return false, nil
		}
		for _, m := range i.BlockDeviceMappings {
			if m.Ebs != nil && aws.ToString(m.Ebs.SnapshotId) == "" {
				return false, nil
			}
		}
		return true, nil
	})
}

// freezeScript freezes all file systems on block devices, the root last, until its
// input ends. Meanwhile it writes to none of them.
const freezeScript = `set -e
command -v fsfreeze >/dev/null || { echo 'Capture.CrashConsistent needs fsfreeze in the guest' >&2; exit 1; }
set --
seen=
while read -r device dir type rest; do
	case $type in ext3|ext4|xfs|btrfs|f2fs|jfs) ;; *) continue ;; esac
	case " $seen " in *" $device "*) continue ;; esac
	seen="$seen $device"
	set -- "$(printf '%b' "$dir")" "$@"
done </proc/mounts
[ $# -gt 0 ] || { echo 'found no file system to freeze' >&2; exit 1; }
thaw() { for dir in "$@"; do fsfreeze -u "$dir" 2>/dev/null || true; done; }
sync
( sleep 60; thaw "$@" ) >/dev/null 2>&1 </dev/null &
guard=$!
trap 'thaw "$@"' EXIT
trap 'exit 1' HUP INT TERM
for dir in "$@"; do fsfreeze -f "$dir"; done
echo frozen
read -r answer || true
kill "$guard" 2>/dev/null || { echo 'the file systems thawed before the snapshots had begun' >&2; exit 1; }
`
