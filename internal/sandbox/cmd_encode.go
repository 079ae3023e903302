package sandbox

import (
	"context"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"math"
	"strings"

	"golang.org/x/crypto/blake2b"
)

// encodeBuiltin returns commands that encode and dump data.
func encodeBuiltin(name string) Command {
	switch name {
	case "base32":
		return base32Command
	case "cksum":
		return cksum
	case "unzip":
		return unzip
	case "zip":
		return zipCommand
	case "hexdump", "hd":
		return hexdump
	case "expand":
		return expandTabs
	case "unexpand":
		return unexpandTabs
	}
	return nil
}

func base32Command(_ context.Context, p *Process) int {
	o, names, bad := p.options("dw:i", "decode=d", "wrap=w:", "ignore-garbage=i")
	if bad != 0 {
		return bad
	}
	wrap := 76
	if text, ok := o.value("w"); ok {
		if wrap, ok = number(text); !ok {
			return p.fail(1, "invalid wrap size: %s", p.quote(text))
		}
	}
	return p.inputs(names, func(_ string, r io.Reader) error {
		data, err := p.readAll(r)
		if err != nil {
			return err
		}
		if o.on("d") {
			raw, err := base32.StdEncoding.DecodeString(strings.Join(strings.Fields(string(data)), ""))
			p.print(string(raw))
			if err != nil {
				return errors.New("invalid input")
			}
			return nil
		}
		p.print(inLines(base32.StdEncoding.EncodeToString(data), wrap))
		return nil
	})
}

// cksum prints the CRC of POSIX and the size of files.
func cksum(_ context.Context, p *Process) int {
	_, names, bad := p.options("")
	if bad != 0 {
		return bad
	}
	table := crcTable()
	return p.inputs(names, func(name string, r io.Reader) error {
		crc, size := uint32(0), 0
		buf := make([]byte, maxChunk)
		for {
			n, err := r.Read(buf)
			for _, c := range buf[:n] {
				crc = crc<<8 ^ table[byte(crc>>24)^c]
			}
			size += n
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
		}
		for n := size; n > 0; n >>= 8 {
			crc = crc<<8 ^ table[byte(crc>>24)^byte(n)]
		}
		fprintf(p.Stdout, "%d %d", ^crc, size)
		if len(names) > 0 {
			p.print(" ", name)
		}
		p.print("\n")
		return nil
	})
}

func crcTable() (table [256]uint32) {
	const polynomial = 0x04c11db7
	for i := range table {
		crc := uint32(i) << 24
		for range 8 {
			if crc&(1<<31) != 0 {
				crc = crc<<1 ^ polynomial
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}

// newBlake returns the hash of b2sum.
func newBlake() hash.Hash {
	h, _ := blake2b.New512(nil) // fails only for a bad key
	return h
}

// hexdump prints bytes with -C as lines of sixteen, or else as words of two.
func hexdump(_ context.Context, p *Process) int {
	o, names, bad := p.options("Cvn:s:", "canonical=C", "length=n:", "skip=s:", "no-squeezing=v")
	if bad != 0 {
		return bad
	}
	from, most := 0, math.MaxInt
	if text, given := o.value("s"); given {
		var ok bool
		if from, ok = number(text); !ok {
			return p.fail(1, "failed to parse offset: %s", quote(text))
		}
	}
	if text, given := o.value("n"); given {
		n, ok := number(text)
		if !ok {
			return p.fail(1, "failed to parse length: %s", quote(text))
		}
		most = from + min(n, math.MaxInt-from) // the input may be endless
	}
	in := &fileSequence{p: p, names: names}
	defer in.close()
	data, err := p.readAll(io.LimitReader(in, int64(most)))
	if err != nil {
		return p.fail(1, "%s", errText(err))
	}
	if in.status != 0 {
		return in.status
	}
	data = data[min(from, len(data)):]
	canonical := o.on("C") || p.name() == "hd"
	before, squeezed := "", false
	for at := 0; at < len(data); at += 16 {
		line := data[at:min(len(data), at+16)]
		if string(line) == before && len(line) == 16 && !o.on("v") {
			if !squeezed {
				p.print("*\n")
			}
			squeezed = true
			continue
		}
		before, squeezed = string(line), false
		if canonical {
			p.print(padLeft(hexOf(from+at), 8), "  ", canonicalHex(line), "\n")
			continue
		}
		p.print(padLeft(hexOf(from+at), 7))
		for i := 0; i < 16; i += 2 {
			switch {
			case i+1 < len(line):
				p.print(" ", hex.EncodeToString([]byte{line[i+1], line[i]}))
			case i < len(line):
				p.print(" 00", hex.EncodeToString(line[i:i+1]))
			default:
				p.print("     ")
			}
		}
		p.print("\n")
	}
	if len(data) > 0 {
		width := 7
		if canonical {
			width = 8
		}
		p.print(padLeft(hexOf(from+len(data)), width), "\n")
	}
	return 0
}

func canonicalHex(line []byte) string {
	var cells, text strings.Builder
	for i := range 16 {
		if i == 8 {
			cells.WriteByte(' ')
		}
		if i >= len(line) {
			cells.WriteString("   ")
			continue
		}
		cells.WriteString(hex.EncodeToString(line[i:i+1]) + " ")
		if c := line[i]; c < ' ' || c > '~' {
			text.WriteByte('.')
		} else {
			text.WriteByte(c)
		}
	}
	return cells.String() + " |" + text.String() + "|"
}

// expandTabs replaces tabs by spaces.
func expandTabs(_ context.Context, p *Process) int {
	o, names, bad := p.options("it:", "initial=i", "tabs=t:")
	if bad != 0 {
		return bad
	}
	width, bad := p.tabWidth(o)
	if bad != 0 {
		return bad
	}
	all, status := p.allLines(names)
	for _, line := range all {
		var b strings.Builder
		column, initial := 0, true
		for _, c := range line {
			initial = initial && (c == ' ' || c == '\t')
			if c != '\t' || o.on("i") && !initial {
				b.WriteRune(c)
				column++
				continue
			}
			n := width - column%width
			b.WriteString(strings.Repeat(" ", n))
			column += n
		}
		p.print(b.String(), "\n")
	}
	return status
}

// unexpandTabs replaces leading spaces, or with -a all runs of them, by tabs.
func unexpandTabs(_ context.Context, p *Process) int {
	o, names, bad := p.options("at:", "all=a", "first-only=f", "tabs=t:")
	if bad != 0 {
		return bad
	}
	width, bad := p.tabWidth(o)
	if bad != 0 {
		return bad
	}
	everywhere := (o.on("a") || o.on("t")) && !o.on("f")
	all, status := p.allLines(names)
	for _, line := range all {
		var b strings.Builder
		column, blanks, initial := 0, 0, true
		for _, c := range line {
			if c == ' ' && (initial || everywhere) {
				column++
				if blanks++; column%width == 0 && (blanks > 1 || initial) {
					b.WriteByte('\t')
					blanks = 0
				}
				continue
			}
			if c == '\t' {
				column += width - column%width
				blanks = 0
			} else {
				column++
				initial = false
			}
			b.WriteString(strings.Repeat(" ", blanks))
			blanks = 0
			b.WriteRune(c)
		}
		p.print(b.String(), strings.Repeat(" ", blanks), "\n")
	}
	return status
}

// tabWidth returns the value of -t.
func (p *Process) tabWidth(o opts) (width, bad int) {
	width = 8
	if text, ok := o.value("t"); ok {
		if width, ok = number(text); !ok {
			return 0, p.fail(1, "tab size contains invalid character(s): %s", p.quote(text))
		}
		if width == 0 || width > 1<<10 {
			return 0, p.fail(1, "tab size cannot be 0")
		}
	}
	return width, 0
}
