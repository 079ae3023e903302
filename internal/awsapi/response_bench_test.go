package awsapi_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/internal/awsapi"
	"github.com/bakestone-go/bakestone/internal/testenv/memory"
)

// endlessBody answers every call with a response that does not end.
type endlessBody struct{ text string }

func (e endlessBody) Do(r *http.Request) (*http.Response, error) {
	body := io.MultiReader(strings.NewReader(" "), &repeat{text: e.text})
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(body), Request: r}, nil
}

type repeat struct {
	text string
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	return n, nil
}

// BenchmarkHostile measures the peak of the memory for responses that do not end.
func BenchmarkHostile(b *testing.B) {
	for range b.N {
		cfg := config(&fakeHTTP{}, nil)
		cfg.HTTPClient = endlessBody{strings.Repeat("<item/>", 1000)}
		var err error
		peak := memory.Peak(func() { _, err = awsec2.NewFromConfig(cfg).DescribeRegions(b.Context(), nil) })
		if large := new(awsapi.LargeResponseError); !errors.As(err, &large) {
			b.Errorf("DescribeRegions() = %v, want a LargeResponseError", err)
		}
		const mib = 1 << 20
		b.ReportMetric(float64(peak)/mib, "peak-MiB")
		b.Logf("%.1f MiB: %v", float64(peak)/mib, err)
	}
}
