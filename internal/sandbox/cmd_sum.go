package sandbox

import (
	"bytes"
	"context"
	"crypto/md5"  //nolint:gosec // for md5sum
	"crypto/sha1" //nolint:gosec // for sha1sum
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"io"
	"strings"
)

func newHash(command string) hash.Hash {
	switch command {
	case "b2sum":
		return newBlake()
	case "md5sum":
		return md5.New() //nolint:gosec // as above
	case "sha1sum":
		return sha1.New() //nolint:gosec // as above
	case "sha224sum":
		return sha256.New224()
	case "sha384sum":
		return sha512.New384()
	case "sha512sum":
		return sha512.New()
	}
	return sha256.New()
}

// sum implements sha256sum, sha1sum, sha512sum and md5sum.
func sum(_ context.Context, p *Process) int {
	o, names, bad := p.options("cbt", "check=c", "status=S", "quiet=q", "binary=b", "text=t", "strict=x", "ignore-missing=i")
	if bad != 0 {
		return bad
	}
	if o.on("c") {
		return p.checkSums(o, names)
	}
	return p.inputs(names, func(name string, r io.Reader) error {
		h := newHash(p.name())
		if _, err := io.Copy(h, r); err != nil {
			return err
		}
		p.print(hex.EncodeToString(h.Sum(nil)), "  ", name, "\n")
		return nil
	})
}

func (p *Process) checkSums(o opts, names []string) int {
	failed, unread, checked, named := 0, 0, 0, 0
	status := p.inputs(names, func(_ string, r io.Reader) error {
		return lines(r, func(line string) bool {
			want, file, ok := strings.Cut(strings.TrimSpace(line), " ")
			file = strings.TrimPrefix(strings.TrimPrefix(file, " "), "*")
			if digest, err := hex.DecodeString(want); !ok || file == "" || err != nil || len(digest) != newHash(p.name()).Size() {
				return true
			}
			named++
			if _, err := p.FS.Stat(p.Path(file)); err != nil && o.on("i") && file != "-" {
				return true
			}
			checked++
			verdict := "OK"
			h := newHash(p.name())
			in, err := p.input(file)
			if err == nil {
				_, err = io.Copy(h, in)
				_ = in.Close()
			}
			switch {
			case err != nil:
				unread++
				verdict = "FAILED open or read"
				p.fail(1, "%s: %s", file, errText(err))
			case !strings.EqualFold(hex.EncodeToString(h.Sum(nil)), want):
				verdict = "FAILED"
				failed++
			}
			if !o.on("S") && (!o.on("q") || verdict != "OK") {
				p.print(file, ": ", verdict, "\n")
			}
			return true
		})
	})
	switch {
	case named == 0 && status == 0:
		if len(names) == 0 {
			names = []string{"standard input"}
		}
		return p.fail(1, "%s: no properly formatted checksum lines found", names[0])
	case checked == 0 && status == 0:
		return p.fail(1, "%s: no file was verified", names[0])
	case failed+unread > 0:
		warn := func(n int, one, many string) {
			switch {
			case n == 0 || o.on("S"):
			case n == 1:
				p.fail(1, "WARNING: %d %s", n, one)
			default:
				p.fail(1, "WARNING: %d %s", n, many)
			}
		}
		warn(unread, "listed file could not be read", "listed files could not be read")
		warn(failed, "computed checksum did NOT match", "computed checksums did NOT match")
		return 1
	}
	return status
}

func cmp(_ context.Context, p *Process) int {
	o, names, bad := p.options("s", "silent=s", "quiet=s")
	if bad != 0 {
		return bad
	}
	a, b, bad := p.twoFiles(names)
	if bad != 0 {
		return bad
	}
	if bytes.Equal(a, b) {
		return 0
	}
	if o.on("s") {
		return 1
	}
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	if i == len(a) || i == len(b) {
		short := names[0]
		if i == len(b) {
			short = names[1]
		}
		fprintf(p.Stderr, "cmp: EOF on %s after byte %d\n", short, i)
		return 1
	}
	fprintf(p.Stdout, "%s %s differ: byte %d, line %d\n", names[0], names[1], i+1, 1+bytes.Count(a[:i], []byte("\n")))
	return 1
}

func (p *Process) twoFiles(names []string) (a, b []byte, bad int) {
	if len(names) != 2 {
		return nil, nil, p.fail(2, "missing operand")
	}
	var both [2][]byte
	for i, name := range names {
		in, err := p.input(name)
		if err == nil {
			both[i], err = p.readAll(in)
			_ = in.Close()
		}
		if err != nil {
			return nil, nil, p.fail(2, "%s: %s", name, errText(err))
		}
	}
	return both[0], both[1], 0
}

func base64Command(_ context.Context, p *Process) int {
	o, names, bad := p.options("dw:i", "decode=d", "wrap=w:", "ignore-garbage=i")
	if bad != 0 {
		return bad
	}
	width := 76
	if text, ok := o.value("w"); ok {
		if width, ok = number(text); !ok {
			return p.fail(1, "invalid wrap size: %s", quote(text))
		}
	}
	return p.inputs(names, func(_ string, r io.Reader) error {
		if o.on("d") {
			_, err := io.Copy(p.Stdout, base64.NewDecoder(base64.StdEncoding, r)) // ignores newlines
			if err != nil {
				p.fail(1, "invalid input")
			}
			return err
		}
		data, err := p.readAll(r)
		p.print(base64Lines(data, width))
		return err
	})
}

// base64Lines encodes raw in lines of the given width, or in one without an end if that
// is zero.
func base64Lines(raw []byte, width int) string {
	return inLines(base64.StdEncoding.EncodeToString(raw), width)
}

// inLines returns text in lines of the given width, or in one without an end if that is
// zero.
func inLines(text string, width int) string {
	if width == 0 {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		n := min(width, len(text))
		b.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	return b.String()
}
