package sandbox

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"unicode/utf8"
)

// oneByte returns at most one byte per Read, so that readers which buffer leave
// the rest of the input to the next command.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	return o.r.Read(b[:1])
}

// maxFrames bounds the calls of the parser, which recurses for every bracket.
const maxFrames = 8000

// treeSize is about how much memory the syntax tree of a byte takes.
const treeSize = 128

var errNesting = errors.New("nested too deeply for this machine")

// scriptReader reads a script for the parser. It fails when the parser has
// recursed too deeply, ends the text with a newline, and encodes bytes that are
// not UTF-8, which the parser refuses.
type scriptReader struct {
	r       io.Reader
	limit   int                // of calls more than at the first Read
	room    func(n int64) bool // whether the syntax tree of n bytes fits into memory; may be nil
	size    int64              // since the last complete command
	base    int
	stopped bool // nothing more is wanted
	keep    bool // what is read, for quoteKey
	kept    []byte
	rest    []byte // encoded or incomplete
	last    byte
	err     error
	buf     [512]byte
}

func (s *scriptReader) Read(b []byte) (int, error) {
	if s.stopped {
		return 0, io.EOF
	}
	if s.base == 0 {
		s.base = callDepth()
	} else if deeper(s.base + s.limit) {
		return 0, errNesting
	}
	for len(s.rest) == 0 || s.err == nil && !utf8.FullRune(s.rest) {
		if s.err != nil {
			return 0, s.err
		}
		n, err := s.r.Read(s.buf[:])
		s.size += int64(n)
		if s.room != nil && s.size > int64(len(s.buf)) && !s.room(treeSize*s.size) {
			return 0, errMemory
		}
		s.rest = append(s.rest, s.buf[:n]...)
		if n > 0 {
			s.last = s.buf[n-1]
		}
		if s.err = err; err != nil && s.last != '\n' {
			s.rest, s.last = append(s.rest, '\n'), '\n'
		}
	}
	n := 0
	for n+utf8.UTFMax <= len(b) && len(s.rest) > 0 && (s.err != nil || utf8.FullRune(s.rest)) {
		c, size := utf8.DecodeRune(s.rest)
		if c == utf8.RuneError && size == 1 {
			c = encodedByte + rune(s.rest[0])
			n += utf8.EncodeRune(b[n:], c)
		} else {
			n += copy(b[n:], s.rest[:size])
		}
		s.rest = s.rest[size:]
	}
	if s.keep = s.keep && len(s.kept) < maxKept; s.keep {
		s.kept = append(s.kept, b[:n]...)
	}
	return n, nil
}

// maxKept bounds the text that is kept to be parsed again.
const maxKept = 1 << 20

// encodedByte is the first of 256 private characters that represent bytes which
// are not part of a character.
const encodedByte = 0x10fe00

const encodedPrefix = "\xf4\x8f\xb8" // of the first 64, and similar ones

// decodeBytes undoes the encoding of scriptReader.
func decodeBytes(s string) string {
	if !strings.Contains(s, encodedPrefix[:2]) {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		if c >= encodedByte && c <= encodedByte+0xff {
			b.WriteByte(byte(c - encodedByte))
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// callDepth returns the number of active calls of the goroutine.
func callDepth() int {
	var few [128]uintptr
	pcs := few[:]
	for {
		if n := runtime.Callers(0, pcs); n < len(pcs) {
			return n
		}
		pcs = make([]uintptr, 8*len(pcs))
	}
}

// deeper reports whether the goroutine has more than n active calls.
func deeper(n int) bool {
	var pc [1]uintptr
	return runtime.Callers(n, pc[:]) > 0
}

// readLine reads a line byte by byte, without reading ahead. Unless raw, a
// backslash at the end of a line joins the next one.
func readLine(in io.Reader, raw bool) (line string, complete bool) {
	var b strings.Builder
	escaped := false
	one := make([]byte, 1)
	for in != nil && b.Len() < maxLine {
		n, err := in.Read(one)
		if n > 0 {
			switch {
			case one[0] == '\n' && !escaped:
				return b.String(), true
			case one[0] == 0:
				continue
			}
			escaped = !raw && one[0] == '\\' && !escaped
			b.WriteByte(one[0])
			continue
		}
		if err != nil {
			break
		}
	}
	return b.String(), false
}

// maxLine bounds what is read as one line.
const maxLine = 4 << 20
