package ec2test

import (
	"bytes"
	"encoding/xml"
	"reflect"
	"strings"
	"time"
)

const namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"

// set is a list as EC2 writes it: an element that is there even when the list
// is empty, with one <item> for each.
type set[T any] struct {
	Items []T `xml:"item"`
}

func setOf[T any](items ...T) set[T] { return set[T]{Items: items} }

// mapSet makes a set of what f makes of each item.
func mapSet[T, U any](items []T, f func(T) U) set[U] {
	out := make([]U, 0, len(items))
	for _, item := range items {
		out = append(out, f(item))
	}
	return set[U]{Items: out}
}

// optional is a set that is left out when it is empty.
func optional[T any](s set[T]) *set[T] {
	if len(s.Items) == 0 {
		return nil
	}
	return &s
}

// valueXML is EC2's wrapper of an attribute.
type valueXML[T any] struct {
	Value T `xml:"value"`
}

// emptyXML is the answer of the actions that only say that they succeeded.
type returnXML struct {
	Return bool `xml:"return"`
}

func done() *returnXML { return &returnXML{Return: true} }

// answerNames lists the elements with a value of an answer.
func answerNames(t reflect.Type, prefix string) []string {
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("xml"), ",")
		name = strings.ReplaceAll(name, ">", ".")
		ft := f.Type
		for ft.Kind() == reflect.Pointer || ft.Kind() == reflect.Slice {
			ft = ft.Elem()
		}
		switch {
		case f.Anonymous:
			names = append(names, answerNames(ft, prefix)...)
		case ft.Kind() == reflect.Struct:
			names = append(names, answerNames(ft, prefix+name+".")...)
		default:
			names = append(names, prefix+name)
		}
	}
	return names
}

// encodeAnswer writes body, a struct, as the answer of action.
func encodeAnswer(action, requestID string, body any) ([]byte, error) {
	var inner bytes.Buffer
	start := xml.StartElement{
		Name: xml.Name{Local: action + "Response"},
		Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: namespace}},
	}
	if err := xml.NewEncoder(&inner).EncodeElement(body, start); err != nil {
		return nil, err
	}
	// The request id comes first, and belongs to no body.
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

func encodeError(err *apiError, requestID string) ([]byte, error) {
	body, encodeErr := xml.Marshal(errorXML{Code: err.Code, Message: err.Message, RequestID: requestID})
	return append([]byte(xml.Header), body...), encodeErr
}

// stamp is a time as EC2 writes it.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
