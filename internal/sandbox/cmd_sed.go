package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
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
		in, err := p.input(file)
		if err != nil {
			return p.fail(1, "couldn't open file %s: %s", file, errText(err))
		}
		data, err := p.readAll(in)
		_ = in.Close()
		if err != nil {
			return p.fail(1, "couldn't read file %s: %s", file, errText(err))
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
	run := func(name string, flush func(string) error) *sedRun {
		end := "\n"
		if o.on("z") {
			end = "\x00"
		}
		for _, c := range program {
			c.inside, c.began, c.lastLine = false, false, 0
		}
		return &sedRun{p: p, program: program, quiet: o.on("n"), name: name, end: end, flush: flush}
	}
	suffix, inPlace := o.value("i")
	if inPlace || o.on("s") {
		return p.sedEach(names, suffix, inPlace, run)
	}
	all := &fileSequence{p: p, names: names}
	defer all.close()
	name := "-"
	if len(names) > 0 {
		name = names[0]
	}
	one := run(name, p.write)
	if err := one.run(all); err != nil && !errors.Is(err, syscall.EPIPE) {
		return p.fail(4, "%v", err) //nolint:mnd // as sed
	}
	return max(one.finishFiles(), one.status, all.status)
}

// write prints text.
func (p *Process) write(text string) error {
	_, err := io.WriteString(p.Stdout, text)
	return err
}

// sedEach edits files one by one, in place or to the standard output.
func (p *Process) sedEach(names []string, suffix string, inPlace bool, run func(string, func(string) error) *sedRun) int {
	status := 0
	if len(names) == 0 && !inPlace {
		names = []string{"-"}
	}
	for _, name := range names {
		var err error
		if inPlace {
			err = p.sedFile(name, suffix, run)
		} else {
			var in io.ReadCloser
			if in, err = p.input(name); err == nil {
				one := run(name, p.write)
				err = one.run(in)
				_ = in.Close()
				status = max(status, one.status, one.finishFiles())
			}
		}
		if err != nil {
			status = p.fail(4, "can't edit %s: %s", name, errText(err))
		}
	}
	return status
}

// finishFiles writes the files of w and returns the status.
func (s *sedRun) finishFiles() int {
	for name, b := range s.files {
		if name == "/dev/stderr" {
			fprintf(s.p.Stderr, "%s", b)
		} else if name != "/dev/stdout" {
			if err := s.p.FS.WriteFile(s.p.Path(name), []byte(b.String()), 0o666); err != nil {
				return s.p.fail(4, "couldn't open file %s: %s", name, errText(err))
			}
		}
	}
	return 0
}

// fileSequence reads files one after the other. Those that cannot be read are
// reported and passed over.
type fileSequence struct {
	p      *Process
	names  []string // if empty, the standard input
	open   io.ReadCloser
	began  bool
	status int
}

func (f *fileSequence) Read(b []byte) (int, error) {
	for {
		if f.open == nil {
			if len(f.names) == 0 && f.began {
				return 0, io.EOF
			}
			name := "-"
			if len(f.names) > 0 {
				name, f.names = f.names[0], f.names[1:]
			}
			f.began = true
			in, err := f.p.input(name)
			if err != nil {
				f.status = f.p.fail(2, "can't read %s: %s", name, errText(err))
				continue
			}
			f.open = in
		}
		n, err := f.open.Read(b)
		if n > 0 {
			return n, nil
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				f.status = f.p.fail(2, "read error: %s", errText(err))
			}
			f.close()
		}
	}
}

func (f *fileSequence) close() {
	if f.open != nil {
		_ = f.open.Close()
		f.open = nil
	}
}

// sedFile replaces a file by its edited text. Like sed, it creates a new file with
// the same owner and mode.
func (p *Process) sedFile(name, suffix string, run func(string, func(string) error) *sedRun) error {
	file := p.Path(name)
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
	var edited strings.Builder
	one := run(name, func(text string) error {
		edited.WriteString(text)
		if !p.hold(2 * int64(len(text))) {
			return errMemory
		}
		return nil
	})
	if err := one.run(bytes.NewReader(data)); err != nil {
		return err
	}
	if one.finishFiles() != 0 {
		return errors.New("cannot write a file of w")
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
	_, err = out.WriteString(edited.String())
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
