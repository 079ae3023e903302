package sandbox

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

func wc(_ context.Context, p *Process) int {
	o, names, bad := p.options("lwcmL", "lines=l", "words=w", "bytes=c", "chars=m", "max-line-length=L")
	if bad != 0 {
		return bad
	}
	var total [5]int
	width := p.wcWidth(o, names)
	show := func(n [5]int, name string) {
		var fields []string
		for i, letter := range []string{"l", "w", "m", "c", "L"} {
			if o.on(letter) || len(o.given) == 0 && letter != "m" && letter != "L" {
				fields = append(fields, padSpaces(itoa(n[i]), width))
			}
		}
		if name != "" {
			fields = append(fields, name)
		}
		p.print(strings.Join(fields, " "), "\n")
	}
	status := p.inputs(names, func(name string, r io.Reader) error {
		n, err := count(r)
		for i := range n[:4] {
			total[i] += n[i]
		}
		total[4] = max(total[4], n[4])
		if len(names) == 0 {
			name = ""
		}
		show(n, name)
		return err
	})
	if len(names) > 1 {
		show(total, "total")
	}
	return status
}

// wcWidth returns the width of the columns of wc: that of the sum of the files' sizes, or
// seven if one of them is a pipe or a device. A single number has no width.
func (p *Process) wcWidth(o opts, names []string) int {
	columns := 0
	for _, letter := range []string{"l", "w", "m", "c", "L"} {
		if o.on(letter) {
			columns++
		}
	}
	if len(names) < 2 && columns == 1 {
		return 1
	}
	size, least := int64(0), 1
	if len(names) == 0 {
		names = []string{"-"}
	}
	const wide = 7
	for _, name := range names {
		if name == "-" {
			in := p.Stdin
			if s := p.descriptor(0); s != nil && s.in != nil {
				in = s.in
			}
			f, ok := in.(*memfs.File)
			if !ok {
				least = wide
			} else if info, err := f.Stat(); err == nil {
				size += info.Size()
			}
			continue
		}
		if info, err := p.FS.Stat(p.Path(name)); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		} else if err == nil {
			least = wide
		}
	}
	return max(least, len(itoa(int(size))))
}

// count returns the lines, words, characters, bytes and longest line of r.
func count(r io.Reader) (n [5]int, err error) {
	buf := make([]byte, maxChunk)
	inWord, length := false, 0
	for {
		size, err := r.Read(buf)
		for _, c := range buf[:size] {
			n[3]++
			if utf8.RuneStart(c) {
				n[2]++
				length++
			}
			if c == '\n' {
				n[0]++
				length = 0
			}
			if c == '\t' {
				length += 7 - (length-1)%8
			}
			n[4] = max(n[4], length)
			space := c == ' ' || c >= '\t' && c <= '\r'
			if !space && !inWord {
				n[1]++
			}
			inWord = !space
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

func tee(_ context.Context, p *Process) int {
	o, names, bad := p.options("ai", "append=a", "ignore-interrupts=i")
	if bad != 0 {
		return bad
	}
	flag := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if o.on("a") {
		flag = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	}
	status := 0
	to := []io.Writer{p.Stdout}
	for _, name := range names {
		var f *memfs.File
		f, err := p.FS.OpenFile(p.Path(name), flag, 0o666)
		if err != nil {
			status = p.fail(1, "%s: %s", name, errText(err))
			continue
		}
		defer shut(f)
		to = append(to, f)
	}
	if _, err := io.Copy(io.MultiWriter(to...), p.Stdin); err != nil {
		return p.fail(1, "%s", errText(err))
	}
	return status
}
