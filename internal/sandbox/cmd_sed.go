package sandbox

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
)

func sed(_ context.Context, p *Process) int {
	args := make([]string, 1, len(p.Args))
	args[0] = p.Args[0]
	for _, arg := range p.Args[1:] { // the suffix of -i is optional and attached
		if suffix, ok := strings.CutPrefix(arg, "-i"); ok && !strings.HasPrefix(arg, "--") {
			arg = "--in-place=" + suffix
		} else if arg == "--in-place" {
			arg += "="
		}
		args = append(args, arg)
	}
	p.Args = args
	o, names, bad := p.options("nErse:f:zu", "quiet=n", "silent=n", "regexp-extended=E", "expression=e:", "file=f:", "in-place=i:", "separate=s", "null-data=z", "unbuffered=u", "version=V", "posix=p")
	if bad != 0 {
		return bad
	}
	if o.on("V") {
		p.print("sed (GNU sed) 4.9\n")
		return 0
	}
	texts := o.values("e")
	for _, file := range o.values("f") {
		data, err := p.FS.ReadFile(p.Path(file))
		if err != nil {
			return p.fail(1, "couldn't open file %s: %s", file, errText(err))
		}
		texts = append(texts, string(data))
	}
	if len(texts) == 0 {
		if len(names) == 0 {
			return p.fail(1, "no script specified")
		}
		texts, names = names[:1], names[1:]
	}
	program, err := parseSed(strings.Join(texts, "\n"), o.on("E") || o.on("r"))
	if err != nil {
		return p.fail(1, "-e expression #1: %v", err)
	}
	run := &sedRun{p: p, program: program, quiet: o.on("n"), name: "-", read: func(name string) string {
		data, _ := p.FS.ReadFile(p.Path(name)) // a missing file is empty
		return string(data)
	}}
	if o.on("z") {
		run.end = "\x00"
	}
	if len(names) > 0 {
		run.name = names[0]
	}
	suffix, inPlace := o.value("i")
	if !inPlace {
		var all strings.Builder
		status := p.inputs(names, func(_ string, r io.Reader) error {
			data, err := p.readAll(r)
			if err == nil {
				all.Write(data)
			}
			return err
		})
		p.print(run.text(all.String()))
		if run.failed != nil {
			return p.fail(4, "%v", run.failed)
		}
		if status == 0 {
			status = run.status
		}
		return status
	}
	status := 0
	for _, name := range names {
		if err := p.sedFile(p.Path(name), suffix, run); err != nil {
			status = p.fail(4, "can't edit %s: %s", name, errText(err))
		}
	}
	return status
}

// sedFile replaces a file by its edited text. Like sed, it creates a new file with
// the same owner and mode.
func (p *Process) sedFile(file, suffix string, run *sedRun) error {
	data, err := p.FS.ReadFile(file)
	if err != nil {
		return err
	}
	info, err := p.FS.Stat(file)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	one := &sedRun{p: p, program: run.program, quiet: run.quiet, read: run.read, name: run.name, end: run.end}
	edited := one.text(string(data))
	if one.failed != nil {
		return one.failed
	}
	if suffix != "" {
		if err := p.FS.WriteFile(file+suffix, data, info.Mode().Perm()); err != nil {
			return err
		}
	}
	temp := file + ".sed" + itoa(p.PID)
	out, err := p.FS.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = out.WriteString(edited)
	if err == nil {
		_ = out.Chown(info.UID(), info.GID()) // fails unless root or owner
		err = out.Chmod(info.Mode())
	}
	_ = out.Close()
	if err == nil {
		err = p.FS.Rename(temp, file)
	}
	if err != nil {
		_ = p.FS.Remove(temp)
	}
	return err
}
