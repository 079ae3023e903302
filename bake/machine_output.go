package bake

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// MaxOutput is the number of bytes that [Output] collects.
const MaxOutput = 1 << 20

// ErrOutputTooLong is returned, wrapped, by Output and OutputLimit for a command that
// prints more than the limit.
var ErrOutputTooLong = errors.New("output too long")

// Output runs cmd on m and returns its standard output without surrounding white
// space. cmd.Stdout must be nil. If the output is longer than MaxOutput, the error
// wraps ErrOutputTooLong; see [OutputLimit].
func Output(ctx context.Context, m Machine, cmd *Cmd) (string, error) {
	return OutputLimit(ctx, m, cmd, MaxOutput)
}

// OutputLimit is Output with another limit in bytes. A command that prints more is
// killed, and nothing of its output is returned.
func OutputLimit(ctx context.Context, m Machine, cmd *Cmd, limit int) (string, error) {
	limited, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	out := &collector{limit: limit}
	out.exceeded = func() {
		stop(fmt.Errorf("%w: more than %d bytes from %s", ErrOutputTooLong, limit, firstLine(cmd.String())))
	}
	with := *cmd
	with.Stdout = out
	err := m.Run(limited, &with)
	if cause := context.Cause(limited); ctx.Err() == nil && cause != nil {
		return "", cause
	}
	return strings.TrimSpace(out.String()), err
}

// A collector keeps what is written to it, up to a limit.
type collector struct {
	limit    int
	exceeded func()

	mu   sync.Mutex
	text []byte
}

// Write never fails, since a command may not stop at once.
func (c *collector) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) > c.limit-len(c.text) {
		c.exceeded()
		c.limit, c.text = 0, nil
		return len(p), nil
	}
	c.text = append(c.text, p...)
	return len(p), nil
}

func (c *collector) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.text)
}
