package bake

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
)

// An observed machine reports the commands run on the underlying machine, their
// output line by line, and transfers. It masks the secrets of a command before the
// command starts.
type observed struct {
	machine Machine
	run     *Run
}

var _ Machine = (*observed)(nil)

func (o *observed) Run(ctx context.Context, cmd *Cmd) error {
	if err := cmd.Validate(); err != nil {
		return err
	}
	for _, secret := range cmd.Secrets {
		o.run.Mask(secret)
	}
	o.run.Emit(Event{Kind: CommandStarted, Text: cmd.String()})
	stdout := &lines{run: o.run, stream: Stdout}
	stderr := &lines{run: o.run, stream: Stderr}
	with := *cmd
	with.Stdout = tee(cmd.Stdout, stdout)
	with.Stderr = tee(cmd.Stderr, stderr)
	err := o.machine.Run(ctx, &with)
	_ = stdout.Close() // never fails
	_ = stderr.Close()
	if exit, ok := errors.AsType[*ExitError](err); ok {
		masked := *exit
		masked.Command = o.run.mask.mask(exit.Command)
		masked.Output = slices.Clone(exit.Output)
		for i, line := range masked.Output {
			masked.Output[i] = o.run.mask.mask(line)
		}
		if err == error(exit) { //nolint:errorlint // only the bare error may be replaced
			return &masked
		}
	}
	return err
}

func (o *observed) Put(ctx context.Context, up *Upload) error {
	with := *up
	with.Progress = o.progress(up.Dest, up.Progress)
	return o.machine.Put(ctx, &with)
}

func (o *observed) Get(ctx context.Context, down *Download) error {
	with := *down
	with.Progress = o.progress(down.Source, down.Progress)
	return o.machine.Get(ctx, &with)
}

func (o *observed) Reboot(ctx context.Context, cmd *Cmd) error {
	o.run.Say("rebooting")
	return o.machine.Reboot(ctx, cmd)
}

func (o *observed) Facts(ctx context.Context) (Facts, error) { return o.machine.Facts(ctx) }

func (o *observed) Close() error { return o.machine.Close() }

// progress reports a transfer in steps of 5 % or 1 MiB, whichever is larger.
func (o *observed) progress(path string, next func(done, total int64)) func(done, total int64) {
	const smallest = 1 << 20
	var reported int64 = -1
	return func(done, total int64) {
		if next != nil {
			next(done, total)
		}
		end := total > 0 && done >= total
		if reported >= 0 && done-reported < max(smallest, total/20) && (!end || reported == done) {
			return
		}
		reported = done
		o.run.Emit(Event{Kind: BytesMoved, Text: path, Done: done, Total: total})
	}
}

func tee(user io.Writer, own io.Writer) io.Writer {
	if user == nil {
		return own
	}
	return io.MultiWriter(user, own)
}

// lines reports each line written to it, so that a secret within a line is masked as
// a whole. Lines longer than longestLine are split.
type lines struct {
	run    *Run
	stream Stream

	mu      sync.Mutex
	pending []byte
}

const longestLine = 64 << 10

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		line, rest, found := bytes.Cut(p, []byte{'\n'})
		l.pending = append(l.pending, line...)
		p = rest
		if found || len(l.pending) >= longestLine {
			l.report()
		}
	}
	return n, nil
}

// Close reports an unterminated last line.
func (l *lines) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) > 0 {
		l.report()
	}
	return nil
}

func (l *lines) report() {
	// Drop what a progress bar overwrote with carriage returns.
	text := strings.TrimSuffix(strings.ToValidUTF8(string(l.pending), "\uFFFD"), "\r")
	text = text[strings.LastIndexByte(text, '\r')+1:]
	l.run.Emit(Event{Kind: OutputLine, Stream: l.stream, Text: text})
	l.pending = l.pending[:0]
}
