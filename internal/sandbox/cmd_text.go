package sandbox

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// input opens a file for reading. "-" and /dev/stdin are the standard input. Reading
// counts as work of the session, since it may be endless.
func (p *Process) input(name string) (io.ReadCloser, error) {
	if name == "-" || name == "/dev/stdin" {
		return io.NopCloser(&workingReader{p, p.Stdin}), nil
	}
	full := p.Path(name)
	if fd, ok := standardFD(full); ok {
		if s := p.descriptor(fd); s != nil && s.in != nil {
			return io.NopCloser(&workingReader{p, s.in}), nil
		}
	}
	f, err := p.FS.Open(full)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		_ = f.Close()
		return nil, syscall.EISDIR
	}
	return struct {
		io.Reader
		io.Closer
	}{&workingReader{p, f}, f}, nil
}

// workingReader counts what a process reads.
type workingReader struct {
	p *Process
	r io.Reader
}

func (w *workingReader) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if !w.p.session.step(n >> 12) { //nolint:mnd // a step for each page
		w.p.kill(signal("XCPU"))
		return 0, syscall.EINTR
	}
	return n, err
}

// inputs calls do for every file, or for the standard input if there are none.
func (p *Process) inputs(names []string, do func(name string, r io.Reader) error) int {
	if len(names) == 0 {
		names = []string{"-"}
	}
	status := 0
	for _, name := range names {
		in, err := p.input(name)
		if err == nil {
			err = do(name, in)
			_ = in.Close()
		}
		if errors.Is(err, syscall.EPIPE) {
			return signal("PIPE").status()
		}
		if err != nil {
			status = p.fail(1, "%s: %s", name, errText(err))
		}
	}
	return status
}

// lines calls do for every line of r, including its newline, until do returns
// false.
func lines(r io.Reader, do func(line string) bool) error {
	in := bufio.NewReader(r)
	for {
		line, err := readString(in)
		if line != "" && !do(line) {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readString reads a line of up to maxLine bytes, with its newline.
func readString(in *bufio.Reader) (string, error) { return readUntilByte(in, '\n') }

// readUntilByte reads up to a delimiter, at most maxLine bytes.
func readUntilByte(in *bufio.Reader, delim byte) (string, error) {
	var all []byte
	for {
		piece, err := in.ReadSlice(delim)
		if err == nil && all == nil {
			return string(piece), nil
		}
		all = append(all, piece...)
		switch {
		case len(all) > maxLine:
			return "", errMemory
		case !errors.Is(err, bufio.ErrBufferFull):
			return string(all), err
		}
	}
}

// keepLines appends the lines of r to all, without their newlines.
func (p *Process) keepLines(r io.Reader, all *[]string) error {
	full := false
	err := lines(r, func(line string) bool {
		full = !p.hold(int64(len(line)) + 48)
		*all = append(*all, strings.TrimSuffix(line, "\n"))
		return !full
	})
	if full {
		return errMemory
	}
	return err
}

// countFlags parses the flags of head and tail, including a count like -5.
func (p *Process) countFlags(extra string) (o opts, names []string, bad int) {
	args := []string{p.Args[0]}
	for i, arg := range p.Args[1:] {
		if _, err := strconv.Atoi(arg); err == nil && i == 0 && arg[0] == '-' {
			args = append(args, "-n", arg[1:])
			continue
		}
		args = append(args, arg)
	}
	p.Args = args
	return p.options("n:c:qv"+extra, "lines=n:", "bytes=c:", "quiet=q", "verbose=v", "follow=F")
}

func (p *Process) titlePrinter(names []string, o opts) func(name string) {
	shown := 0
	return func(name string) {
		if len(names) < 2 && !o.on("v") || o.on("q") {
			return
		}
		if shown++; shown > 1 {
			p.print("\n")
		}
		if name == "-" {
			name = "standard input"
		}
		p.print("==> ", name, " <==\n")
	}
}

func head(_ context.Context, p *Process) int {
	o, names, bad := p.countFlags("")
	if bad != 0 {
		return bad
	}
	title := p.titlePrinter(names, o)
	if text, ok := o.value("c"); ok {
		n, ok := parseSize(text)
		if !ok {
			return p.fail(1, "invalid number of bytes: %s", quote(text))
		}
		return p.inputs(names, func(name string, r io.Reader) error {
			title(name)
			_, err := io.Copy(p.Stdout, io.LimitReader(r, n))
			return err
		})
	}
	n := 10
	if text, ok := o.value("n"); ok {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			return p.fail(1, "invalid number of lines: %s", quote(text))
		}
	}
	return p.inputs(names, func(name string, r io.Reader) error {
		title(name)
		if n < 0 {
			var all []string
			err := p.keepLines(r, &all)
			for i := range all {
				all[i] += "\n"
			}
			p.print(all[:max(0, len(all)+n)]...)
			return err
		}
		left := n
		if left == 0 {
			return nil
		}
		// Leave the rest of the input to the next command.
		return lines(oneByte{r}, func(line string) bool {
			left--
			return p.print(line) && left > 0
		})
	})
}

func tail(ctx context.Context, p *Process) int {
	o, names, bad := p.countFlags("fF")
	if bad != 0 {
		return bad
	}
	if o.on("f") || o.on("F") {
		return tailFollow(ctx, p, names)
	}
	title := p.titlePrinter(names, o)
	unit, text := "n", "10"
	for _, u := range []string{"n", "c"} {
		if given, ok := o.value(u); ok {
			unit, text = u, given
		}
	}
	n, ok := parseSize(strings.TrimLeft(text, "+-"))
	if !ok {
		return p.fail(1, "invalid number: %s", quote(text))
	}
	from := strings.HasPrefix(text, "+")
	return p.inputs(names, func(name string, r io.Reader) error {
		title(name)
		data, err := p.readAll(r)
		if err != nil {
			return err
		}
		pieces := strings.SplitAfter(string(data), "\n")
		if unit == "c" {
			pieces = strings.Split(string(data), "")
			if len(pieces) != len(data) { // not ASCII
				pieces = make([]string, len(data))
				for i := range data {
					pieces[i] = string(data[i : i+1])
				}
			}
		} else if len(pieces) > 0 && pieces[len(pieces)-1] == "" {
			pieces = pieces[:len(pieces)-1]
		}
		start := max(0, len(pieces)-int(n))
		if from {
			start = min(len(pieces), max(0, int(n)-1))
		}
		p.print(strings.Join(pieces[start:], ""))
		return nil
	})
}

// tailFollow prints a file and data appended to it, until the process is killed.
func tailFollow(ctx context.Context, p *Process, names []string) int {
	if len(names) != 1 {
		return p.fail(2, "-f requires exactly one file on this machine")
	}
	f, err := p.FS.Open(p.Path(names[0]))
	if err != nil {
		return p.fail(1, "cannot open %s for reading: %s", quote(names[0]), errText(err))
	}
	defer shut(f)
	for {
		if _, err := io.Copy(p.Stdout, f); err != nil {
			return 1
		}
		if p.Host.o.Clock.Sleep(ctx, followInterval) != nil {
			return 1
		}
	}
}

const followInterval = 200 * time.Millisecond
