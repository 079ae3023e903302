package ec2query

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
)

// A Members is a list as the plain query protocol encodes it, with one <member>
// for each value.
type Members[T any] struct {
	Items []T `xml:"member"`
}

// MembersOf returns a list of items.
func MembersOf[T any](items ...T) Members[T] { return Members[T]{Items: items} }

// MapMembers returns the list of f's results for items.
func MapMembers[T, U any](items []T, f func(T) U) Members[U] {
	return Members[U](MapSet(items, f))
}

// OptionalMembers returns nil for an empty list, so that a field with omitempty
// is left out, and a list of items otherwise.
func OptionalMembers[T any](items []T) *Members[T] {
	if len(items) == 0 {
		return nil
	}
	return &Members[T]{Items: items}
}

// An Empty is the result of actions that have none.
type Empty struct{}

// Flatten returns a request of the plain query protocol in the form that
// [Decode] takes, without "member" in the names of lists.
func Flatten(form url.Values) url.Values {
	flat := make(url.Values, len(form))
	for key, values := range form {
		flat[strings.ReplaceAll(key, ".member.", ".")] = values
	}
	return flat
}

// EncodePlainResponse encodes result, a struct, as the response of an action in
// the plain query protocol. An *[Empty] leaves the result element out.
func EncodePlainResponse(space, action, requestID string, result any) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(xml.Header + "<" + action + `Response xmlns="` + space + `">`)
	start := xml.StartElement{Name: xml.Name{Local: action + "Result"}}
	if _, empty := result.(*Empty); !empty {
		if err := xml.NewEncoder(&out).EncodeElement(result, start); err != nil {
			return nil, err
		}
	}
	out.WriteString("<ResponseMetadata><RequestId>" + requestID + "</RequestId></ResponseMetadata></" + action + "Response>")
	return out.Bytes(), nil
}

type plainErrorXML struct {
	XMLName   xml.Name `xml:"ErrorResponse"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

// EncodePlainError encodes the response of an action of the plain query protocol
// that failed.
func EncodePlainError(err *Error, requestID string) ([]byte, error) {
	fault := "Sender"
	if err.Status >= http.StatusInternalServerError {
		fault = "Receiver"
	}
	body, encodeErr := xml.Marshal(plainErrorXML{Type: fault, Code: err.Code, Message: err.Message, RequestID: requestID})
	return append([]byte(xml.Header), body...), encodeErr
}
