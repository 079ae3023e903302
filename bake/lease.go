package bake

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// A Lease says who may work on a build. The owner renews it while it works, and stops
// when it cannot. Another process takes the build over when it has seen the record
// unchanged for Length by its own clock, so the clocks of the processes need not agree;
// they only need to run at the same rate. The zero Lease is free.
type Lease struct {
	Owner  string        `json:"owner,omitempty"`  // the process, or empty if the record is free
	Token  int64         `json:"token,omitempty"`  // rises with each owner
	Until  time.Time     `json:"until,omitzero"`   // by the owner's clock, for people
	Length time.Duration `json:"length,omitempty"` // in nanoseconds

	// Under names a build of the same owner that covers this one, which waits for its
	// turn: the lease lasts as long as the owner renews that one's.
	Under string `json:"under,omitempty"`
}

const (
	defaultLease = time.Minute
	longestLease = 24 * time.Hour
	longestOwner = 200 // bytes
	mostTokens   = 1 << 20
)

func (l Lease) validate() error {
	switch {
	case l.Token < 0 || l.Token > mostTokens:
		return fmt.Errorf("invalid lease token %d", l.Token)
	case l.Length < 0 || l.Length > longestLease || l.Owner != "" && l.Length == 0:
		return fmt.Errorf("invalid lease length %v", l.Length)
	case len(l.Owner) > longestOwner:
		return errors.New("lease owner is too long")
	case l.Under != "" && validateBuildID(l.Under) != nil:
		return fmt.Errorf("lease is covered by the invalid build %q", shorten(l.Under, longestOwner))
	}
	return nil
}

// ErrLeased is returned, wrapped, for a record that another process works on.
var ErrLeased = errors.New("another process works on this build")

// ErrLeaseLost is returned, wrapped, for a build that this process stopped working on
// because another process has taken it over, or may have. Nothing was undone.
var ErrLeaseLost = errors.New("lease lost")

// ErrSuspended is the cause to cancel the context of Bake with in order to hand its
// builds over to another process, as on SIGTERM:
//
//	ctx, cancel := context.WithCancelCause(ctx)
//	…
//	cancel(bake.ErrSuspended)
//
// Each build ends after its running step, and at the latest after Options.SuspendWait.
// Nothing is undone; the record stays, free for any process to resume. Builds without
// Options.Store are canceled instead. ErrSuspended is also returned, wrapped, for such
// a build.
var ErrSuspended = errors.New("suspended")

// A CanceledError reports a build that was canceled through its record; see [Cancel].
type CanceledError struct {
	Reason string
}

// Error returns "canceled: REASON".
func (e *CanceledError) Error() string { return "canceled: " + e.Reason }

// newOwner returns a unique name for the owner of leases. It begins with name or, if
// that is empty, the host's name and the process id.
func newOwner(name string) string {
	if name == "" {
		host, _ := os.Hostname()
		name = fmt.Sprintf("%s/%d", cmp.Or(host, "unknown"), os.Getpid())
	}
	const longestName, random = longestOwner / 2, 8
	name = strings.ToValidUTF8(name[:min(len(name), longestName)], "")
	return name + "/" + rand.Text()[:random]
}
