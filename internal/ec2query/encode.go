package ec2query

import (
	"bytes"
	"encoding/xml"
	"time"
)

const namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"

// A Set is a list as EC2 encodes it: an element holding one <item> for each
// value. An empty list still has its element; see [Optional].
type Set[T any] struct {
	Items []T `xml:"item"`
}

// SetOf returns a set of items.
func SetOf[T any](items ...T) Set[T] { return Set[T]{Items: items} }

// MapSet returns the set of f's results for items.
func MapSet[T, U any](items []T, f func(T) U) Set[U] {
	out := make([]U, 0, len(items))
	for _, item := range items {
		out = append(out, f(item))
	}
	return Set[U]{Items: out}
}

// Optional returns nil for an empty set, so that a field with omitempty is left
// out, and &s otherwise.
func Optional[T any](s Set[T]) *Set[T] {
	if len(s.Items) == 0 {
		return nil
	}
	return &s
}

// A Value is EC2's element around the value of an attribute.
type Value[T any] struct {
	Value T `xml:"value"`
}

// ValueOf returns v as a Value.
func ValueOf[T any](v T) *Value[T] { return &Value[T]{v} }

// A Text is an attribute that is an empty element while it is not set.
type Text struct {
	Value string `xml:"value,omitempty"`
}

// TextOf returns s as a Text.
func TextOf(s string) *Text { return &Text{s} }

// A Return is the response of actions that only report success.
type Return struct {
	Return bool `xml:"return"`
}

// Done returns the response of a successful action without a result.
func Done() *Return { return &Return{Return: true} }

// EncodeResponse encodes body, a struct, as the response of an EC2 action.
func EncodeResponse(action, requestID string, body any) ([]byte, error) {
	var inner bytes.Buffer
	start := xml.StartElement{
		Name: xml.Name{Local: action + "Response"},
		Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: namespace}},
	}
	if err := xml.NewEncoder(&inner).EncodeElement(body, start); err != nil {
		return nil, err
	}
	// The request id comes first, before the fields of the body.
	head, rest, _ := bytes.Cut(inner.Bytes(), []byte{'>'})
	var out bytes.Buffer
	out.WriteString(xml.Header)
	out.Write(head)
	out.WriteString("><requestId>" + requestID + "</requestId>")
	out.Write(rest)
	return out.Bytes(), nil
}

type errorXML struct {
	XMLName   xml.Name `xml:"Response"`
	Code      string   `xml:"Errors>Error>Code"`
	Message   string   `xml:"Errors>Error>Message"`
	RequestID string   `xml:"RequestID"`
}

// EncodeError encodes the response of an EC2 action that failed.
func EncodeError(err *Error, requestID string) ([]byte, error) {
	body, encodeErr := xml.Marshal(errorXML{Code: err.Code, Message: err.Message, RequestID: requestID})
	return append([]byte(xml.Header), body...), encodeErr
}

// FormatTime formats a time as EC2 does, in UTC with milliseconds. It returns
// "" for the zero time.
func FormatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
