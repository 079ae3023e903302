package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake/clock"
)

const (
	// killTimeout limits the killing of a command's processes.
	killTimeout = time.Minute

	// Tenths of a second from TERM to KILL: for a command, and for a process
	// that cleans up first.
	killGrace       = 10
	killGraceScript = 80

	// Tenths of a second to wait for a process with the mark to appear: of a command
	// that may not have begun, and of any other.
	killPatience      = 20
	killPatienceBegun = 2
)

// killScript kills the processes with the mark TAG in their environment, their
// descendants, and the sessions these lead. Descendants are included because sudo
// replaces the environment. The script sends TERM, after GRACE tenths of a second
// KILL, and repeats its search until no process remains, including those found
// before whose parents have exited since, and what these had started unseen. It
// reads the time from /proc/uptime, since a search takes seconds on a slow machine.
// Without /proc it does nothing, leaving only the signal sent over the channel.
//
// If AGAIN is yes, processes that start after the first TERM get it as well: a script
// of this package may be about to start one, and ignores TERM while it cleans up.
//
// One search may miss a process: a command started just now does not have its mark yet,
// and an environment is empty for a moment while its process executes a program. So the
// script searches for PATIENCE tenths of a second before it gives up.
//
// The script never contains the complete mark, because sshd's ForceCommand puts
// the script itself into its environment.
const killScript = `[ -r /proc/self/environ ] || exit 0
pause() { sleep 0.1 2>/dev/null || sleep 1; }
n=0; w=0; o=' '; m=` + markVariable + `
while :; do
v=$(grep -lszF "$m=TAG" /proc/[0-9]*/environ | sed 's|^/proc/||;s|/.*||' | tr '\n' ' ')
if [ -z "$v" ] && [ "$n" = 0 ]; then
[ "$w" -lt PATIENCE ] || exit 0
w=$((w+1)); pause
continue
fi
v=" $v"; more=1
while [ "$more" = 1 ]; do
more=0
for f in /proc/[0-9]*/stat; do
read -r l 2>/dev/null <"$f" || continue
p=${l%% *}
set -- ${l##*) }
case $1 in Z) continue ;; esac
case "$v" in *" $p "*) continue ;; esac
case "$o" in *" $p "*) v="$v$p "; more=1; continue ;; esac
case "$v$o" in *" $2 "* | *" $4 "*) v="$v$p "; more=1 ;; esac
done
done
[ "$v" = ' ' ] && exit 0
read -r t l </proc/uptime && t=${t%.*}${t#*.}; [ "$n" = 0 ] && b=$t
s=TERM; { [ "$n" -ge GRACE ] || [ $((t-b)) -ge GRACE0 ]; } && s=KILL
for p in $v; do
case "$n:$s:AGAIN:$o" in 0:* | *:KILL:*) ;; *:no:*) continue ;; *" $p "*) continue ;; esac
kill -s $s "$p" 2>/dev/null || SUDOkill -s $s "$p" 2>/dev/null
done
o=$v
n=$((n+1)); [ "$n" -ge $((GRACE+30)) ] && exit 1
pause
done`

// endTimeout limits the end of commands that another process has left.
const endTimeout = 30 * time.Second

// endMarked ends the commands of Config.EndMarked.
func (c *conn) endMarked(ctx context.Context) error {
	mark := markPrefix(c.cfg.EndMarked)
	if mark == "" || c.raw() {
		return nil
	}
	p := &process{tag: mark}
	if su, err := c.detectSudo(ctx); err == nil {
		p.sudo = su // for those that run as root
	}
	ctx, cancel := context.WithTimeout(ctx, endTimeout) // by the time of the machine, not of Config.Clock
	defer cancel()
	how := killing{patience: killPatienceBegun, grace: 2 * killGrace, again: true} // the process that started them has ended since
	if err := c.killAll(ctx, p, how); err != nil {
		return fmt.Errorf("end the commands that an earlier process has left on %s: %w", c.cfg.Addr, err)
	}
	return nil
}

// kill kills every process of p on the machine, over a session that needs no slot.
// It gives up if the connection is silent, and logs a failure, since the caller
// has another error to return. If p has begun or exited, kill waits only a moment for
// its tag to appear. If the server refuses another session, kill makes another connection.
func (c *conn) kill(ctx context.Context, p *process, begun bool) {
	if p.tag == "" || !c.alive() {
		return
	}
	ctx, cancel := clock.WithTimeout(ctx, c.cfg.Clock, killTimeout)
	defer cancel()
	how := killing{patience: killPatience, grace: killGrace}
	if begun {
		how.patience = killPatienceBegun
	}
	if p.cleansUp {
		how.grace, how.again = killGraceScript, true
	}
	if err := c.killAll(ctx, p, how); err != nil {
		c.cfg.Logger.WarnContext(ctx, "command may still be running on the machine", slog.String("addr", c.cfg.Addr), slog.Any("error", err))
	}
}

// A killing has the parameters of killScript, in tenths of a second.
type killing struct {
	patience, grace int
	again           bool
}

// killAll kills the processes with p's tag.
func (c *conn) killAll(ctx context.Context, p *process, how killing) error {
	stop := c.watchLiveness(ctx)
	defer stop()
	fallback, again := "sudo -n ", "no"
	if p.sudo != nil {
		fallback = ": " // the script runs as root already
	}
	if how.again {
		again = "yes"
	}
	script := strings.NewReplacer("PATIENCE", strconv.Itoa(how.patience), "TAG", p.tag, "AGAIN", again, "SUDO", fallback, "GRACE", strconv.Itoa(how.grace)).Replace(killScript)
	killer := &process{line: shellCommand(p.sudo, "", "", cleanEnvironment+script), urgent: true}
	if p.sudo.needsPassword() {
		killer.stdin = strings.NewReader(p.sudo.passwordLine())
	}
	result, err := c.execInSlot(ctx, killer, func() {})
	if _, refused := errors.AsType[*ssh.OpenChannelError](err); refused {
		if p.sudo.needsPassword() {
			killer.stdin = strings.NewReader(p.sudo.passwordLine())
		}
		result, err = c.execElsewhere(ctx, killer)
	}
	if err == nil && result.status != 0 {
		err = fmt.Errorf("processes still run: exit status %d", result.status)
	}
	return err
}

// execElsewhere runs p over a new connection to the same machine.
func (c *conn) execElsewhere(ctx context.Context, p *process) (exit, error) {
	r, err := attemptOnce(ctx, c.cfg)
	if err != nil {
		return exit{}, err
	}
	other := newConn(ctx, c.cfg, r)
	defer other.close()
	return other.execInSlot(ctx, p, func() {})
}
