package ec2test

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
)

// The services beside EC2 speak AWS's plain query protocol: lists have the
// element "member" in their names and answers, and every answer is wrapped.

// members is a list as the plain query protocol writes it.
type members[T any] struct {
	Items []T `xml:"member"`
}

func mapMembers[T, U any](items []T, f func(T) U) members[U] {
	return members[U]{Items: mapSet(items, f).Items}
}

// optionalMembers is a list that is left out when it is empty.
func optionalMembers[T any](items []T) *members[T] {
	if len(items) == 0 {
		return nil
	}
	return &members[T]{Items: items}
}

// flatten takes "member" out of the names of a form, so that its lists look
// like those of EC2.
func flatten(form url.Values) url.Values {
	flat := make(url.Values, len(form))
	for key, values := range form {
		flat[strings.ReplaceAll(key, ".member.", ".")] = values
	}
	return flat
}

// encodeResult writes body, a struct, as the answer of action in the plain
// query protocol. What answers nothing has no result.
func encodeResult(space, action, requestID string, body any) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(xml.Header + "<" + action + `Response xmlns="` + space + `">`)
	result := xml.StartElement{Name: xml.Name{Local: action + "Result"}}
	if _, empty := body.(*emptyXML); !empty {
		if err := xml.NewEncoder(&out).EncodeElement(body, result); err != nil {
			return nil, err
		}
	}
	out.WriteString("<ResponseMetadata><RequestId>" + requestID + "</RequestId></ResponseMetadata></" + action + "Response>")
	return out.Bytes(), nil
}

type queryErrorXML struct {
	XMLName   xml.Name `xml:"ErrorResponse"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

// queryError is an error in the plain query protocol.
func queryError(err *apiError, requestID string) answer {
	kind := "Sender"
	if err.Status >= http.StatusInternalServerError {
		kind = "Receiver"
	}
	body, encodeErr := xml.Marshal(queryErrorXML{Type: kind, Code: err.Code, Message: err.Message, RequestID: requestID})
	if encodeErr != nil {
		return answer{status: http.StatusInternalServerError, code: err.Code}
	}
	return answer{status: err.Status, contentType: "text/xml", body: append([]byte(xml.Header), body...), code: err.Code}
}
