package sandbox

import (
	"context"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/memfs"
)

func env(ctx context.Context, p *Process) int {
	o, rest, bad := p.options("+iu:C:0S:", "ignore-environment=i", "unset=u:", "chdir=C:", "null=0", "split-string=S:")
	if bad != 0 {
		return bad
	}
	if text, ok := o.value("S"); ok {
		rest = append(shellWords(text), rest...)
	}
	c := p.child(nil)
	if o.on("i") || len(rest) > 0 && rest[0] == "-" {
		c.Env = map[string]string{}
		rest = rest[min(len(rest), map[bool]int{true: 0, false: 1}[o.on("i")]):]
	}
	for _, name := range o.values("u") {
		delete(c.Env, name)
	}
	rest = c.assign(rest)
	if dir, ok := o.value("C"); ok {
		c.Dir = p.Path(dir)
	}
	if len(rest) > 0 {
		c.Args = rest
		return c.exec(ctx)
	}
	end := "\n"
	if o.on("0") {
		end = "\x00"
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		p.print(name, "=", c.Env[name], end)
	}
	return 0
}

func printenv(ctx context.Context, p *Process) int {
	_, names, bad := p.options("0", "null=0")
	if bad != 0 {
		return bad
	}
	if len(names) == 0 {
		return p.Run(ctx, append([]string{"env"}, p.Args[1:]...)...)
	}
	status := 0
	for _, name := range names {
		value, ok := p.Env[name]
		if !ok {
			status = 1
			continue
		}
		p.print(value, "\n")
	}
	return status
}

// assign adds leading NAME=value words to the environment and returns the rest.
func (p *Process) assign(args []string) []string {
	if p.Env == nil {
		p.Env = map[string]string{}
	}
	for len(args) > 0 {
		name, value, ok := strings.Cut(args[0], "=")
		if !ok || !bake.ValidEnvName(name) {
			break
		}
		p.Env[name] = value
		args = args[1:]
	}
	return args
}

// nohup does not redirect the output, since the simulated terminal persists.
func nohup(ctx context.Context, p *Process) int { return p.wrap(ctx, "+") }

func setsid(ctx context.Context, p *Process) int {
	o, command, bad := p.options("+wf", "wait=w", "fork=f")
	switch {
	case bad != 0:
		return bad
	case len(command) == 0:
		return p.fail(1, "no command specified")
	case !o.on("f"):
		return p.child(command).exec(ctx)
	}
	running, stop := p.Host.detach(ctx)
	c := p.child(command)
	c.sid = 0
	p.Host.outlive(ctx, func() {
		c.exec(running)
		stop(nil)
	})
	return 0
}

func nice(ctx context.Context, p *Process) int {
	return p.wrap(ctx, "+n:c:", "adjustment=n:", "class=c:")
}

func (p *Process) wrap(ctx context.Context, short string, long ...string) int {
	_, command, bad := p.options(short, long...)
	if bad != 0 {
		return bad
	}
	if len(command) == 0 {
		return p.fail(125, "missing operand")
	}
	return p.child(command).exec(ctx)
}

// duration parses intervals such as "5", "0.5s", "2m", "1h" and "1d".
func duration(s string) (time.Duration, bool) {
	unit := time.Second
	if s == "infinity" {
		return 1<<63 - 1, true
	}
	switch {
	case strings.HasSuffix(s, "s"):
	case strings.HasSuffix(s, "m"):
		unit = time.Minute
	case strings.HasSuffix(s, "h"):
		unit = time.Hour
	case strings.HasSuffix(s, "d"):
		unit = 24 * time.Hour
	}
	n, err := strconv.ParseFloat(strings.TrimRight(s, "smhd"), 64)
	return time.Duration(n * float64(unit)), err == nil && n >= 0
}

func timeout(ctx context.Context, p *Process) int {
	o, rest, bad := p.options("+k:s:v", "kill-after=k:", "signal=s:", "preserve-status=P", "foreground=f")
	if bad != 0 {
		return bad
	}
	if len(rest) < 2 {
		return p.fail(125, "missing operand")
	}
	limit, ok := duration(rest[0])
	if !ok {
		return p.fail(125, "invalid time interval %s", quote(rest[0]))
	}
	sig := signal("TERM")
	if name, given := o.value("s"); given {
		if sig, ok = parseSignal(name); !ok {
			return p.fail(125, "%s: invalid signal", quote(name))
		}
	}
	c := p.child(rest[1:])
	run, problem := c.find()
	if problem != nil {
		c.reportStartError(problem)
		return problem.status
	}
	limited, cancel := context.WithCancelCause(ctx)
	over := make(chan bool, 1)
	p.Host.outlive(ctx, func() {
		late := limit > 0 && p.Host.o.Clock.Sleep(limited, limit) == nil
		if late {
			cancel(sig)
		}
		over <- late
	})
	status := c.start(limited, run)
	cancel(nil)
	if <-over && !o.on("P") {
		if sig == "KILL" {
			return sig.status()
		}
		return 124
	}
	return status
}

func sleep(ctx context.Context, p *Process) int {
	if len(p.Args) < 2 {
		return p.fail(1, "missing operand")
	}
	total := time.Duration(0)
	for _, arg := range p.Args[1:] {
		d, ok := duration(arg)
		if !ok {
			return p.fail(1, "invalid time interval %s", quote(arg))
		}
		total += d
	}
	if p.Host.o.Clock.Sleep(ctx, total) != nil {
		return killed
	}
	return 0
}

func kill(_ context.Context, p *Process) int {
	sig, args := signal("TERM"), p.Args[1:]
	if len(args) > 0 && strings.HasPrefix(args[0], "-") && args[0] != "--" {
		name := args[0][1:]
		args = args[1:]
		if (name == "s" || name == "n") && len(args) > 0 {
			name, args = args[0], args[1:]
		}
		var ok bool
		if sig, ok = parseSignal(name); !ok {
			return p.fail(1, "%s: invalid signal specification", name)
		}
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return p.fail(2, "usage: kill [-s sigspec | -signum | -sigspec] pid ...")
	}
	status := 0
	for _, arg := range args {
		pid, ok := number(arg)
		if !ok {
			status = p.fail(1, "%s: arguments must be process or job IDs", arg)
			continue
		}
		if err := p.Host.table.signal(pid, sig, p.UID); err != nil {
			status = p.fail(1, "(%d) - %s", pid, errText(err))
		}
	}
	return status
}

func ps(_ context.Context, p *Process) int {
	args := strings.Join(p.Args[1:], " ")
	switch args {
	case "", "-e", "-ef", "aux", "ax", "-A", "-aux":
	default:
		return p.fail(2, "arguments %s are not supported by this machine", quote(args))
	}
	p.print("USER         PID    PPID COMMAND\n")
	fprintf(p.Stdout, "%-8s %7d %7d %s\n", "root", 1, 0, "/sbin/init")
	for _, e := range p.Host.table.list() {
		fprintf(p.Stdout, "%-8s %7d %7d %s\n", e.user, e.pid, e.parent, strings.Join(e.args, " "))
	}
	return 0
}

func which(_ context.Context, p *Process) int {
	o, names, bad := p.options("as")
	if bad != 0 {
		return bad
	}
	status := 0
	for _, name := range names {
		if o.on("a") && !strings.Contains(name, "/") {
			found := false
			for dir := range strings.SplitSeq(p.Env["PATH"], ":") {
				file := strings.TrimRight(dir, "/") + "/" + name
				if info, err := p.FS.Stat(p.Path(file)); err == nil && !info.IsDir() && p.FS.Access(p.Path(file), memfs.Execute) == nil {
					found = true
					p.print(file, "\n")
				}
			}
			if !found {
				status = 1
			}
			continue
		}
		file, problem := p.which(name)
		if strings.Contains(name, "/") {
			file = name
			_, problem = p.load(p.Path(name), 0)
		}
		if problem != nil {
			status = 1
			continue
		}
		p.print(file, "\n")
	}
	return status
}

// logger writes its arguments, or else the lines of its input, to the machine's
// console instead of a log.
func logger(_ context.Context, p *Process) int {
	o, words, bad := p.options("t:p:sif:", "tag=t:", "priority=p:", "stderr=s", "id=i")
	if bad != 0 {
		return bad
	}
	tag, ok := o.value("t")
	if !ok {
		tag = p.User
	}
	put := func(text string) {
		p.Host.log("%s: %s", tag, text)
		if o.on("s") {
			fprintf(p.Stderr, "%s: %s\n", tag, text)
		}
	}
	if len(words) > 0 {
		put(strings.Join(words, " "))
		return 0
	}
	return p.inputs(nil, func(_ string, r io.Reader) error {
		return lines(r, func(line string) bool {
			put(strings.TrimSuffix(line, "\n"))
			return true
		})
	})
}
