package awsapi

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// FuzzResponse checks that a response is accepted only if it is complete, and that the
// error of another is short.
func FuzzResponse(f *testing.F) {
	for _, seed := range []struct {
		protocol, body string
		status         int
	}{
		{"xml", `<?xml version="1.0"?><DescribeImagesResponse xmlns="x"><a/></DescribeImagesResponse>`, 200},
		{"xml", `<Response><Errors/></Response>`, 400}, {"xml", "<AResponse/>", 200}, {"xml", "<html><body>login</body></html>", 200},
		{"xml", "", 200}, {"xml", "<?xm", 200}, {"json", `{"a":1}`, 200}, {"json", "{", 500}, {"json", "", 200}, {"json", "[]", 302}, {"xml", "", 407},
	} {
		f.Add(seed.protocol == "json", seed.status, []byte(seed.body), "text/html\x1b[2J")
	}
	f.Fuzz(func(t *testing.T, isJSON bool, status int, body []byte, header string) {
		protocol := "xml"
		if isJSON {
			protocol = "json"
		}
		response := &smithyhttp.Response{Response: &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {header}, "Server": {header}, "Location": {header}}}}
		err := checkResponse(protocol, "DescribeImages", response, body, nil)
		if err != nil {
			const most = 200*4 + 200 // the text's bytes may each be written as \x00
			if text := err.Error(); strings.ContainsAny(text, "\x00\x1b\n") || len(text) > most+3*4*len(header)+len(body) {
				t.Errorf("error %q", text)
			}
			return
		}
		if status >= 200 && status < 300 && !bytes.ContainsAny(body, ">}") {
			t.Errorf("%s response %q is accepted", protocol, body)
		}
		if isJSON || !wellFormed(body) || bytes.Count(body, []byte("Response")) > 2 {
			return
		}
		for n := range len(bytes.TrimSpace(body)) {
			if err := checkResponse(protocol, "DescribeImages", response, body[:n], nil); n > 0 && err == nil && !wellFormed(body[:n]) {
				t.Errorf("the first %d bytes of %q are accepted", n, body)
			}
		}
	})
}

func wellFormed(body []byte) bool {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	for {
		if _, err := decoder.Token(); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

// FuzzID checks that only plain ids of the right kind are accepted.
func FuzzID(f *testing.F) {
	for _, seed := range []string{"i-0123456789abcdef0", "i-", "", "ami-1", "i-1 2", "i-\x00", "../i-1", "i-" + strings.Repeat("0", 50), "sg-12\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		for _, out := range []any{
			&awsec2.CreateImageOutput{ImageId: aws.String(id)}, &awsec2.CreateVolumeOutput{VolumeId: aws.String(id)},
			&awsec2.CreateSecurityGroupOutput{GroupId: aws.String(id)},
		} {
			kind, after, _ := strings.Cut(id, "-")
			valid := len(after) > 0 && len(after) <= 40 && strings.Trim(after, "0123456789abcdefghijklmnopqrstuvwxyz") == "" &&
				kind == createdIDs(out)[0].prefix
			if err := checkIDs("Create", nil, out); (err == nil) != valid {
				t.Errorf("checkIDs of %T with %q = %v, want valid %v", out, id, err, valid)
			}
		}
	})
}
