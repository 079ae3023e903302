package awsapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// maxResponse is the size limit of a response in bytes. The largest responses, of
// a thousand images, have less than a tenth of it.
const maxResponse = 64 << 20

// mostForeign is the number of attempts of a call that foreign responses may cost,
// unless their status promises that a later attempt helps.
const mostForeign = 3

// A BrokenResponseError reports a response of AWS that is incomplete or empty. The
// call may have taken effect. It is retried.
type BrokenResponseError struct {
	Action string
	Err    error
}

// Error names the action and the reason.
func (e *BrokenResponseError) Error() string {
	return fmt.Sprintf("%s: incomplete response: %v", e.Action, e.Err)
}

// Unwrap returns the reason.
func (e *BrokenResponseError) Unwrap() error { return e.Err }

// RetryableError makes the SDK's retryer retry the call.
func (e *BrokenResponseError) RetryableError() bool { return true }

// A LargeResponseError reports a response that exceeds the size limit.
type LargeResponseError struct {
	Action string
	Limit  int // in bytes
}

// Error names the action and the limit.
func (e *LargeResponseError) Error() string {
	return fmt.Sprintf("%s: response exceeds %d MiB", e.Action, e.Limit>>20)
}

// RetryableError keeps the SDK's retryer from retrying the call.
func (e *LargeResponseError) RetryableError() bool { return false }

// A ForeignResponseError reports a response that is not of the AWS API: of a proxy,
// a captive portal or another server at the endpoint.
type ForeignResponseError struct {
	Action      string
	Status      int
	ContentType string
	Server      string // the header of this name
	Location    string // of a redirect
	Text        string // the beginning of the body, at most 200 bytes

	retry bool
}

// Error describes the response and its likely sender.
func (e *ForeignResponseError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s: response is not from AWS but perhaps from %s: status %d %s", e.Action, e.sender(), e.Status, http.StatusText(e.Status))
	for _, part := range []struct{ name, value string }{
		{"content type", e.ContentType}, {"server", e.Server}, {"redirect to", e.Location}, {"body", e.Text},
	} {
		if part.value != "" {
			fmt.Fprintf(&text, ", %s %s", part.name, strconv.QuoteToGraphic(part.value))
		}
	}
	return text.String()
}

func (e *ForeignResponseError) sender() string {
	switch {
	case e.Status == http.StatusProxyAuthRequired:
		return "a proxy that needs a login"
	case e.Status >= 300 && e.Status < 400:
		return "a login page or captive portal"
	case e.Status < 300:
		return "a captive portal or another server at the endpoint"
	default:
		return "a proxy"
	}
}

// RetryableError makes the SDK's retryer retry responses that may be temporary, and
// others a few times.
func (e *ForeignResponseError) RetryableError() bool { return e.retry }

// protocolOf returns the encoding of a service's responses, by the SDK's service id.
// It is empty if they are not checked: other services may send streams.
func protocolOf(service string) string {
	switch service {
	case "EC2", "IAM", "STS", "Auto Scaling":
		return "xml"
	case "SSM", "KMS", "rbin", "EKS", "Batch", "imagebuilder":
		return "json"
	}
	return ""
}

// responseMiddleware reads each response whole and checks that it is a complete one
// of AWS, before the SDK decodes it. The SDK would take an empty response for an
// empty result, and does not retry one that was cut off.
type responseMiddleware struct{}

func (responseMiddleware) ID() string { return "BakestoneResponse" }

func (responseMiddleware) HandleDeserialize(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	out, meta, err := next.HandleDeserialize(ctx, in)
	response, ok := out.RawResponse.(*smithyhttp.Response)
	if err != nil || !ok {
		return out, meta, err
	}
	protocol, action := protocolOf(awsmiddleware.GetServiceID(ctx)), middleware.GetOperationName(ctx)
	if protocol == "" {
		return out, meta, nil
	}
	c, _ := middleware.GetStackValue(ctx, callKey{}).(*call)
	body, err := readBody(ctx, response)
	if err != nil {
		return out, meta, err
	}
	return out, meta, checkResponse(protocol, action, response, body, c)
}

// A wholeBody is the body of a response that has been read.
type wholeBody struct {
	*bytes.Reader
	content []byte
}

func (wholeBody) Close() error { return nil }

type bufferKey struct{}

// withBuffer makes readBody use a buffer again that has been read.
func withBuffer(ctx context.Context, b *bytes.Buffer) context.Context {
	return middleware.WithStackValue(ctx, bufferKey{}, b)
}

// readBody reads the body of a response, which can then be read again.
func readBody(ctx context.Context, response *smithyhttp.Response) ([]byte, error) {
	if whole, ok := response.Body.(wholeBody); ok {
		return whole.content, nil
	}
	b, ok := middleware.GetStackValue(ctx, bufferKey{}).(*bytes.Buffer)
	if !ok {
		b = &bytes.Buffer{}
	}
	b.Reset()
	_, err := b.ReadFrom(io.LimitReader(response.Body, maxResponse+1))
	_ = response.Body.Close() // already read
	action := middleware.GetOperationName(ctx)
	switch {
	case err != nil:
		return nil, &BrokenResponseError{Action: action, Err: err}
	case b.Len() > maxResponse:
		return nil, &LargeResponseError{Action: action, Limit: maxResponse}
	}
	response.Body = wholeBody{bytes.NewReader(b.Bytes()), b.Bytes()}
	return b.Bytes(), nil
}

func checkResponse(protocol, action string, response *smithyhttp.Response, body []byte, c *call) error {
	success := response.StatusCode >= 200 && response.StatusCode < 300
	redirected := response.StatusCode >= 300 && response.StatusCode < 400
	if len(bytes.TrimSpace(body)) == 0 {
		switch {
		case success && protocol == "json" && !returnsBody(action):
			return nil
		case success || isAWS(response) && !redirected:
			return &BrokenResponseError{Action: action, Err: fmt.Errorf("it is empty, with status %d %s", response.StatusCode, http.StatusText(response.StatusCode))}
		}
		return foreignResponse(action, response, body, c)
	}
	ours := isXML
	if protocol == "json" {
		ours = isJSON
	}
	known, err := ours(body)
	switch {
	case redirected || !known:
		return foreignResponse(action, response, body, c)
	case err != nil:
		return &BrokenResponseError{Action: action, Err: err}
	}
	return nil
}

// isAWS reports whether the response has the header that AWS sends with each.
func isAWS(response *smithyhttp.Response) bool {
	return response.Header.Get("X-Amzn-Requestid") != "" || response.Header.Get("X-Amz-Request-Id") != ""
}

// returnsBody reports whether the response of a JSON call is never empty.
func returnsBody(action string) bool {
	for _, prefix := range []string{"Get", "Describe", "List", "Put"} {
		if strings.HasPrefix(action, prefix) {
			return true
		}
	}
	return false
}

// isXML reports whether body is, or begins as, the XML of an AWS query protocol. The
// error says why it is not complete. It looks at the beginning and end only: the SDK
// reads the rest.
func isXML(body []byte) (bool, error) {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	for {
		token, err := decoder.Token()
		if err != nil {
			return beginsXML(body), err
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		name := start.Name.Local
		if !strings.HasSuffix(name, "Response") {
			return false, nil
		}
		// An element without content ends itself.
		end := bytes.TrimSpace(body[decoder.InputOffset():])
		if next, err := decoder.Token(); !bytes.HasSuffix(end, []byte("</"+name+">")) && (err != nil || next != xml.Token(start.End())) {
			return true, io.ErrUnexpectedEOF
		}
		return true, nil
	}
}

// beginsXML reports whether body was cut off before its first element.
func beginsXML(body []byte) bool {
	body = bytes.TrimSpace(body)
	return bytes.HasPrefix(body, []byte("<?xml")) && !bytes.Contains(bytes.ToLower(body), []byte("<html")) || len(body) < len("<?xml") && bytes.HasPrefix([]byte("<?xml"), body)
}

// isJSON reports whether body is, or begins as, a JSON object.
func isJSON(body []byte) (bool, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return false, nil
	}
	var fields map[string]json.RawMessage
	return true, json.Unmarshal(body, &fields)
}

func foreignResponse(action string, response *smithyhttp.Response, body []byte, c *call) error {
	const longest = 200
	foreign := &ForeignResponseError{
		Action: action, Status: response.StatusCode, ContentType: response.Header.Get("Content-Type"),
		Server:   cmp.Or(response.Header.Get("Server"), response.Header.Get("Via")),
		Location: response.Header.Get("Location"), Text: strings.ToValidUTF8(string(body[:min(len(body), longest)]), "\ufffd"),
	}
	switch response.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		foreign.retry = true
	case http.StatusProxyAuthRequired:
	default:
		if c != nil {
			c.foreign++
			foreign.retry = c.foreign < mostForeign
		}
	}
	return foreign
}
