package awsapi

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// Elements reads XML in the form that AWS writes: elements with names and text,
// without attributes, comments and sections. It is many times faster than
// [encoding/xml], which must know all of XML. Anything else ends the reading and
// is reported by Valid; the SDK can then decode the document.
//
// A caller at the start tag of an element reads it by one call of Text or Skip,
// or by calling Next until it returns false.
type Elements struct {
	data    []byte
	at      int
	open    [][]byte // names of the elements that contain the position
	closed  bool     // the current element is empty: <name/>
	invalid bool
}

// root goes to the first child of the document's element.
func (e *Elements) root() bool {
	e.space()
	if e.has("<?xml") {
		length := bytes.Index(e.data[e.at:], []byte("?>"))
		if length < 0 {
			return e.fail()
		}
		e.at += length + len("?>")
		e.space()
	}
	if !e.has("<") {
		return e.fail()
	}
	length := bytes.IndexByte(e.data[e.at:], '>')
	if length < 0 {
		return e.fail()
	}
	name, namespace, found := bytes.Cut(e.data[e.at+1:e.at+length], []byte(` xmlns="`))
	if found {
		namespace, found = bytes.CutSuffix(namespace, []byte(`"`))
		if !found || bytes.ContainsAny(namespace, "<&\"\r") {
			return e.fail()
		}
	}
	if !isName(name) {
		return e.fail()
	}
	e.open = append(e.open, name)
	e.at += length + 1
	return true
}

// Next goes to the next child of the current element and returns its name. It
// leaves the current element at its end tag, and returns false.
func (e *Elements) Next() (name []byte, ok bool) {
	if e.closed {
		e.closed = false
		return nil, false
	}
	e.space()
	if !e.has("<") {
		return nil, e.fail()
	}
	if e.has("</") {
		return nil, e.end()
	}
	return e.start()
}

// start reads a start tag.
func (e *Elements) start() (name []byte, ok bool) {
	length := bytes.IndexByte(e.data[e.at:], '>')
	if length < 0 {
		return nil, e.fail()
	}
	name = e.data[e.at+1 : e.at+length]
	e.at += length + 1
	if end := len(name) - 1; end > 0 && name[end] == '/' {
		name, e.closed = name[:end], true
	} else {
		e.open = append(e.open, name)
	}
	if !isName(name) {
		return nil, e.fail()
	}
	return name, true
}

// end reads the end tag of the innermost element. It returns false, as Next does.
func (e *Elements) end() bool {
	last := len(e.open) - 1
	if last < 0 {
		return e.fail()
	}
	name := e.open[last]
	tag := e.data[e.at+len("</"):]
	if !bytes.HasPrefix(tag, name) || len(tag) == len(name) || tag[len(name)] != '>' {
		return e.fail()
	}
	e.open = e.open[:last]
	e.at += len("</") + len(name) + len(">")
	return false
}

// Text returns the text of the current element, which must have no children, and
// leaves it. The text is valid until the document changes.
func (e *Elements) Text() []byte {
	if e.closed {
		e.closed = false
		return nil
	}
	length := bytes.IndexByte(e.data[e.at:], '<')
	if length < 0 {
		e.fail()
		return nil
	}
	text := e.data[e.at : e.at+length]
	e.at += length
	if !e.has("</") {
		e.fail()
		return nil
	}
	e.end()
	return e.unescape(text)
}

// Skip leaves the current element.
func (e *Elements) Skip() {
	depth := 1
	if e.closed {
		e.closed = false
		return
	}
	for depth > 0 && !e.invalid {
		length := bytes.IndexByte(e.data[e.at:], '<')
		if length < 0 {
			e.fail()
			return
		}
		e.at += length
		if e.has("</") {
			e.end()
			depth--
			continue
		}
		e.start()
		if e.closed {
			e.closed = false
		} else {
			depth++
		}
	}
}

// Valid reports whether everything so far had the form that Elements reads.
func (e *Elements) Valid() bool { return !e.invalid }

// Reject makes the document invalid, and ends the reading.
func (e *Elements) Reject() { e.fail() }

func (e *Elements) fail() bool {
	e.invalid, e.closed = true, false
	e.at = len(e.data)
	return false
}

func (e *Elements) has(text string) bool { return bytes.HasPrefix(e.data[e.at:], []byte(text)) }

func (e *Elements) space() {
	for e.at < len(e.data) {
		switch e.data[e.at] {
		case ' ', '\n', '\t':
			e.at++
		default:
			return
		}
	}
}

func isName(name []byte) bool {
	for i, c := range name {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return len(name) > 0
}

// unescape replaces the references to characters.
func (e *Elements) unescape(text []byte) []byte {
	plain := true
	for _, c := range text {
		if c == '&' || c < ' ' && c != '\t' && c != '\n' {
			plain = false
			break
		}
	}
	if plain {
		return text
	}
	var out []byte
	for len(text) > 0 {
		c := text[0]
		switch {
		case c == '&':
			length := bytes.IndexByte(text, ';')
			r := rune(-1)
			if length > 0 {
				r = reference(string(text[1:length]))
			}
			if r < 0 {
				e.fail()
				return nil
			}
			out = utf8.AppendRune(out, r)
			text = text[length+1:]
			continue
		case c < ' ' && c != '\t' && c != '\n': // also \r, which XML takes for \n
			e.fail()
			return nil
		}
		out = append(out, c)
		text = text[1:]
	}
	return out
}

// reference returns the character of a reference, or -1 if it is not a common one.
func reference(name string) rune {
	switch name {
	case "amp":
		return '&'
	case "lt":
		return '<'
	case "gt":
		return '>'
	case "quot":
		return '"'
	case "apos":
		return '\''
	}
	digits, base := "", 10
	switch {
	case len(name) > 2 && name[:2] == "#x":
		digits, base = name[2:], 16
	case len(name) > 1 && name[0] == '#':
		digits = name[1:]
	}
	n, err := strconv.ParseUint(digits, base, 21)
	if r := rune(n); err == nil && utf8.ValidRune(r) && (r >= ' ' || r == '\t' || r == '\n' || r == '\r') && r != 0xFFFE && r != 0xFFFF {
		return r
	}
	return -1
}
