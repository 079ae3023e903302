package sandbox

import (
	"context"
	"encoding/hex"
	"io"
	"slices"
	"strings"
)

// od dumps bytes in octal, hexadecimal or as characters.
func od(_ context.Context, p *Process) int {
	o, names, bad := p.options("A:t:vcxN:w:", "address-radix=A:", "format=t:", "read-bytes=N:")
	if bad != 0 {
		return bad
	}
	format := "o2"
	if text, ok := o.value("t"); ok {
		format = text
	} else if o.on("c") {
		format = "c"
	}
	radix := "o"
	if text, ok := o.value("A"); ok {
		radix = text
	}
	var data []byte
	status := p.inputs(names, func(_ string, r io.Reader) error {
		if text, ok := o.value("N"); ok {
			n, _ := number(text)
			r = io.LimitReader(r, int64(n))
		}
		more, err := p.readAll(r)
		data = append(data, more...)
		return err
	})
	address := func(n int) string {
		switch radix {
		case "n":
			return ""
		case "x":
			return padLeft(strings.ToLower(hexOf(n)), 6)
		case "d":
			return padded(n, 7)
		}
		return padLeft(octal(n), 7)
	}
	for at := 0; at < len(data); at += 16 {
		p.print(address(at))
		for _, c := range data[at:min(len(data), at+16)] {
			switch format {
			case "x1", "xC":
				p.print(" ", hex.EncodeToString([]byte{c}))
			case "u1":
				p.print(padSpaces(itoa(int(c)), 4))
			case "o1":
				p.print(" ", padLeft(octal(int(c)), 3))
			case "c", "a":
				p.print(padSpaces(charName(c), 4))
			default:
				return p.fail(2, "format %s is not supported by this machine", format)
			}
		}
		p.print("\n")
	}
	if radix != "n" {
		p.print(address(len(data)), "\n")
	}
	return status
}

func charName(c byte) string {
	if at := strings.IndexByte("\x00\a\b\t\n\v\f\r", c); at >= 0 {
		return `\` + "0abtnvfr"[at:at+1]
	}
	if c >= ' ' && c < 127 {
		return string(rune(c))
	}
	return padLeft(octal(int(c)), 3)
}

func octal(n int) string { return numeral(n, 8) }

func hexOf(n int) string { return numeral(n, 16) }

func numeral(n, base int) string {
	if n == 0 {
		return "0"
	}
	s := ""
	for ; n > 0; n /= base {
		s = "0123456789abcdef"[n%base:n%base+1] + s
	}
	return s
}

func padLeft(s string, width int) string { return strings.Repeat("0", max(0, width-len(s))) + s }

func padSpaces(s string, width int) string { return strings.Repeat(" ", max(0, width-len(s))) + s }

// xxd dumps bytes in hexadecimal, or with -r reads such a dump.
func xxd(_ context.Context, p *Process) int {
	o, names, bad := p.options("prc:l:ui", "plain=p", "revert=r", "cols=c:", "len=l:")
	if bad != 0 {
		return bad
	}
	var data []byte
	status := p.inputs(names, func(_ string, r io.Reader) error {
		if text, ok := o.value("l"); ok {
			n, _ := number(text)
			r = io.LimitReader(r, int64(n))
		}
		var err error
		data, err = p.readAll(r)
		return err
	})
	switch {
	case o.on("r") && o.on("p"):
		raw, _ := hex.DecodeString(strings.Join(strings.Fields(string(data)), "")) // an invalid digit ends the text
		p.print(string(raw))
	case o.on("r"):
		return p.fail(2, "-r without -p is not supported by this machine")
	case o.on("p"):
		width := 30
		if text, ok := o.value("c"); ok {
			width, _ = number(text)
		}
		for part := range slices.Chunk(data, max(1, width)) {
			p.print(hex.EncodeToString(part), "\n")
		}
	default:
		for at := 0; at < len(data); at += 16 {
			line := data[at:min(len(data), at+16)]
			var cells, text strings.Builder
			for i, c := range line {
				if i%2 == 0 {
					cells.WriteByte(' ')
				}
				cells.WriteString(hex.EncodeToString([]byte{c}))
				if c < ' ' || c > '~' {
					c = '.'
				}
				text.WriteByte(c)
			}
			fprintf(p.Stdout, "%08x:%-40s  %s\n", at, cells.String(), text.String())
		}
	}
	return status
}
