package bake

import (
	"context"
	"io"
)

// An observed machine reports the commands run on the underlying machine, their
// output line by line, and transfers. It masks the secrets of a command before the
// command starts. It refuses to use the machine once the build may belong to another
// process.
type observed struct {
	machine Machine
	run     *Run
	hold    *hold
}

var _ Machine = (*observed)(nil)

func (o *observed) Run(ctx context.Context, cmd *Cmd) error {
	if err := cmd.Validate(); err != nil {
		return err
	}
	if err := o.hold.current(ctx); err != nil {
		return err
	}
	for _, secret := range cmd.Secrets {
		o.run.Mask(secret)
	}
	finished := o.run.Command(cmd.String())
	last := &tail{}
	stdout, stderr := newLines(o.run, Stdout, last), newLines(o.run, Stderr, last)
	stdout.quiet = cmd.Quiet
	with := *cmd
	with.Stdout = tee(cmd.Stdout, stdout)
	with.Stderr = tee(cmd.Stderr, stderr)
	err := o.machine.Run(ctx, &with)
	_ = stdout.Close() // never fails
	_ = stderr.Close()
	err = o.run.maskError(err, last.all())
	finished(err)
	return err
}

func (o *observed) Put(ctx context.Context, up *Upload) error {
	if err := o.hold.current(ctx); err != nil {
		return err
	}
	with := *up
	with.Progress = o.progress(up.Dest, up.Progress)
	return o.run.maskError(o.machine.Put(ctx, &with), nil)
}

func (o *observed) Get(ctx context.Context, down *Download) error {
	if err := o.hold.current(ctx); err != nil {
		return err
	}
	with := *down
	with.Progress = o.progress(down.Source, down.Progress)
	return o.run.maskError(o.machine.Get(ctx, &with), nil)
}

func (o *observed) Reboot(ctx context.Context, cmd *Cmd) error {
	if err := o.hold.current(ctx); err != nil {
		return err
	}
	o.run.Say("rebooting")
	return o.run.maskError(o.machine.Reboot(ctx, cmd), nil)
}

func (o *observed) Facts(ctx context.Context) (Facts, error) {
	if err := o.hold.current(ctx); err != nil {
		return Facts{}, err
	}
	facts, err := o.machine.Facts(ctx)
	return facts, o.run.maskError(err, nil)
}

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
