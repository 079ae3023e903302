package sshmachine

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

const (
	// killTimeout bounds the killing of a command's processes.
	killTimeout = 15 * time.Second

	// Tenths of a second from TERM to KILL: for a command, and for a script
	// of this package, which removes its temporary files first.
	killGrace       = 10
	killGraceScript = 80

	// Tenths of a second for the mark of a command to appear.
	killPatience = 20
)

// killScript kills the processes that have the mark TAG in their environment,
// their descendants, and the sessions that one of them leads: what sudo has
// given another environment is still a descendant. It looks again until nothing
// is left of them and of all that it has found before, whose parents may be gone
// meanwhile: TERM first, KILL after a second. On a machine without /proc it does
// nothing, and the signal sent over the channel must do.
//
// A command that was only just begun may not have its mark yet: until the mark
// was seen once, the script looks again for PATIENCE tenths of a second.
//
// The script never has the whole mark in it: a forced command of sshd has the
// script in its environment.
const killScript = `[ -r /proc/self/environ ] || exit 0
n=0; w=0; o=' '; m=` + markVariable + `
while :; do
v=$(grep -lszF "$m=TAG" /proc/[0-9]*/environ | sed 's|^/proc/||;s|/.*||' | tr '\n' ' ')
if [ -z "$v" ] && [ "$n" = 0 ]; then
[ "$w" -lt PATIENCE ] || exit 0
w=$((w+1)); sleep 0.1 2>/dev/null || sleep 1
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
case "$v" in *" $2 "* | *" $4 "*) v="$v$p "; more=1 ;; esac
done
done
[ "$v" = ' ' ] && exit 0
o=$v
s=TERM; [ "$n" -ge GRACE ] && s=KILL
if [ "$n" = 0 ] || [ $s = KILL ]; then
for p in $v; do kill -s $s "$p" 2>/dev/null || SUDOkill -s $s "$p" 2>/dev/null; done
fi
n=$((n+1)); [ "$n" -ge $((GRACE+30)) ] && exit 1
sleep 0.1 2>/dev/null || sleep 1
done`

// kill ends every process of p on the machine, in a session of its own that
// needs no slot; on a connection that is silent it gives up. A killing that fails is logged: the caller's error is another.
// What remains of a command that has ended is there or not at once.
func (c *conn) kill(ctx context.Context, p *process, ended bool) {
	if p.tag == "" || !c.alive() {
		return
	}
	ctx, cancel := clock.WithTimeout(ctx, c.cfg.Clock, killTimeout)
	defer cancel()
	stop := c.watchLiveness(ctx)
	defer stop()
	fallback, grace := "sudo -n ", killGrace
	if p.sudo != nil {
		fallback = ": " // it runs as root already
	}
	if p.cleansUp {
		grace = killGraceScript
	}
	patience := killPatience
	if ended {
		patience = 0
	}
	script := strings.NewReplacer("PATIENCE", strconv.Itoa(patience), "TAG", p.tag, "SUDO", fallback, "GRACE", strconv.Itoa(grace)).Replace(killScript)
	killer := &process{line: shellCommand(p.sudo, "", "", script)}
	if p.sudo.needsPassword() {
		killer.stdin = strings.NewReader(p.sudo.passwordLine())
	}
	result, err := c.execInSlot(ctx, killer, func() {})
	if err != nil || result.status != 0 {
		c.cfg.Logger.WarnContext(ctx, "a command may still run on the machine",
			slog.String("addr", c.cfg.Addr), slog.Int("status", result.status), slog.Any("error", err))
	}
}
