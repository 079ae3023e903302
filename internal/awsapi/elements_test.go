package awsapi

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// outline returns the names and texts of a document as Elements reads it.
func outline(data []byte) (string, bool) {
	var text strings.Builder
	e := &Elements{data: data}
	if !e.root() {
		return "", false
	}
	var walk func()
	walk = func() {
		for name, ok := e.Next(); ok; name, ok = e.Next() {
			fmt.Fprintf(&text, "<%s>", name)
			if string(name) == "item" || string(name) == "set" {
				walk()
			} else {
				fmt.Fprintf(&text, "%q", e.Text())
			}
			text.WriteString("</>")
		}
	}
	walk()
	e.space()
	return text.String(), e.Valid() && e.at == len(data)
}

// outlineXML returns what outline does, by encoding/xml.
func outlineXML(data []byte) (string, error) {
	var text strings.Builder
	d := xml.NewDecoder(bytes.NewReader(data))
	var open []string
	chars := ""
	leaf := func(name string) bool { return len(open) > 1 && name != "item" && name != "set" }
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && len(open) == 0 {
			return text.String(), nil
		}
		if err != nil {
			return "", err
		}
		switch token := token.(type) {
		case xml.StartElement:
			open, chars = append(open, token.Name.Local), ""
			if len(open) > 1 {
				fmt.Fprintf(&text, "<%s>", token.Name.Local)
			}
		case xml.CharData:
			chars += string(token)
		case xml.EndElement:
			if leaf(token.Name.Local) {
				fmt.Fprintf(&text, "%q", chars)
			}
			if len(open) > 1 {
				text.WriteString("</>")
			}
			open, chars = open[:len(open)-1], ""
		}
	}
}

func TestElements(t *testing.T) {
	for _, tt := range []struct {
		xml   string
		valid bool
	}{
		{`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<R xmlns="http://ec2"><a>1</a><set><item><b>x</b><c/></item></set></R>` + "\n", true},
		{`<R><a>&lt;&amp;&gt;&quot;&apos;&#65;&#x42;&#xd;é</a></R>`, true},
		{`<R><a></a><a/><set/><set></set></R>`, true},
		{"<R>\n\t<set>\n<item>\n<b> two\nlines </b></item></set>\n</R>", true},

		{`<R><a>1</a>`, false},
		{`<R><a>1</b></R>`, false},
		{`<R><a>1</a></R>rest`, false},
		{`<R><a>1</a></R><R></R>`, false},
		{`<R><set>text<item></item></set></R>`, false},
		{`<R><a>1<!-- 2 --></a></R>`, false},
		{`<R><a><![CDATA[1]]></a></R>`, false},
		{`<R><a b="c">1</a></R>`, false},
		{`<R><a>&nbsp;</a></R>`, false},
		{`<R><a>&#0;</a></R>`, false},
		{"<R><a>\x01</a></R>", false},
		{"<R><a>1\r\n</a></R>", false},
		{`<R`, false}, {`<R/>`, false}, {``, false}, {`{}`, false},
	} {
		got, ok := outline([]byte(tt.xml))
		if ok != tt.valid {
			t.Errorf("Valid() of %s = %v, want %v", tt.xml, ok, tt.valid)
			continue
		}
		if !ok {
			continue
		}
		if want, err := outlineXML([]byte(tt.xml)); got != want || err != nil {
			t.Errorf("Elements of %s = %s, want as encoding/xml %s, %v", tt.xml, got, want, err)
		}
		skipped := &Elements{data: []byte("<all>" + tt.xml[strings.Index(tt.xml, "<R"):] + "</all>")}
		if skipped.root(); strings.Contains(tt.xml, "xmlns") {
			continue // only the document's element may have an attribute
		}
		skipped.Next()
		skipped.Skip()
		if name, ok := skipped.Next(); ok || !skipped.Valid() || skipped.at != len(skipped.data) {
			t.Errorf("after Skip of %s: Next() = %q, %v at %d, Valid() = %v; want the end", tt.xml, name, ok, skipped.at, skipped.Valid())
		}
	}
}

// FuzzElements checks that Elements reads whatever it accepts as encoding/xml does.
func FuzzElements(f *testing.F) {
	f.Add([]byte(`<R xmlns="x"><a>1</a><set><item><b>&lt;</b><c/></item></set></R>`))
	f.Add([]byte("<?xml?><R> <a>\u00e9&#x10FFFF;</a>\n</R>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, ok := outline(data)
		if !ok {
			return
		}
		l := list{name: "set", begin: func() {}, take: (*Elements).Skip}
		if rest, taken := l.takeFrom(data); taken {
			if _, err := outlineXML(rest); err != nil {
				t.Errorf("what TakeList leaves of %q is %q: %v", data, rest, err)
			}
		}
		if want, err := outlineXML(data); err == nil && got != want {
			t.Errorf("Elements of %q = %s, want as encoding/xml %s", data, got, want)
		}
	})
}
