package awsapi

import (
	"bytes"
	"context"
	"io"
	"slices"
	"unicode/utf8"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// A list takes the elements of a list out of the responses of a call.
type list struct {
	name  string // of the list's element, a child of the response
	begin func()
	take  func(*Elements)
	body  bytes.Buffer // of the last response
}

// TakeList returns an option for calls of EC2 that passes the items of the list
// with this XML name in a response to take, which reads one item, and leaves the
// rest of the response to the SDK. It calls begin before the first item of each
// response: what was taken before belongs to an attempt that is repeated. If the
// response is not in the form that [Elements] reads, it calls begin again, and the
// SDK decodes all of it.
func TakeList(name string, begin func(), take func(item *Elements)) func(*awsec2.Options) {
	l := &list{name: name, begin: begin, take: take}
	return func(o *awsec2.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Deserialize.Insert(l, "OperationDeserializer", middleware.After)
		})
	}
}

func (*list) ID() string { return "BakestoneList" }

func (l *list) HandleDeserialize(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	out, meta, err := next.HandleDeserialize(withBuffer(ctx, &l.body), in)
	response, ok := out.RawResponse.(*smithyhttp.Response)
	if err != nil || !ok || response.StatusCode < 200 || response.StatusCode >= 300 {
		return out, meta, err
	}
	body, err := readBody(withBuffer(ctx, &l.body), response)
	if err != nil {
		return out, meta, err
	}
	l.begin()
	rest, ok := l.takeFrom(body)
	if !ok {
		l.begin()
		rest = body
	}
	response.Body = io.NopCloser(bytes.NewReader(rest))
	return out, meta, nil
}

// takeFrom takes the list out of body and returns the rest.
func (l *list) takeFrom(body []byte) (rest []byte, ok bool) {
	if !utf8.Valid(body) {
		return nil, false
	}
	e := &Elements{data: body}
	if !e.root() {
		return nil, false
	}
	from, to := 0, 0 // where the list is
	for {
		start := e.at
		name, ok := e.Next()
		switch {
		case !ok:
			e.space()
			return slices.Concat(body[:from], body[to:]), e.Valid() && e.at == len(body)
		case string(name) != l.name:
			e.Skip()
		case to > 0:
			return nil, false
		default:
			l.takeItems(e)
			from, to = start, e.at
		}
	}
}

func (l *list) takeItems(e *Elements) {
	for name, ok := e.Next(); ok; name, ok = e.Next() {
		if string(name) != "item" {
			e.fail()
			return
		}
		l.take(e)
	}
}
