package awsapi_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// fakeHTTP is an HTTP client that responds with each status in turn, repeating
// the last. A status of 0 stands for a request without a response.
type fakeHTTP struct {
	statuses []int
	code     string // of the errors
	body     string // of successes; if empty, a result without fields
	calls    int
}

func (f *fakeHTTP) Do(r *http.Request) (*http.Response, error) {
	status := f.statuses[min(f.calls, len(f.statuses)-1)]
	f.calls++
	if status == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	body := `<Response><requestId>r</requestId></Response>`
	if status != http.StatusOK {
		body = `<Response><Errors><Error><Code>` + f.code + `</Code><Message>m</Message></Error></Errors></Response>`
	} else if f.body != "" {
		body = f.body
	} else if r.Header.Get("X-Amz-Target") != "" {
		body = `{}`
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func config(fake *fakeHTTP, limiter *awsapi.Limiter) aws.Config {
	return awsapi.Schedule{
		Limiter: limiter, Clock: clock.System(), CallTimeout: 30 * time.Second, MaxBackoff: 5 * time.Second,
	}.Apply(aws.Config{
		Region: "eu-west-1", HTTPClient: fake, BaseEndpoint: aws.String("http://ec2.invalid"),
		Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
	})
}

func TestRetries(t *testing.T) {
	tests := []struct {
		name             string
		http             fakeHTTP
		calls            int
		code             string // of the error; empty if the call succeeds
		minTime, maxTime time.Duration
	}{
		{"success", fakeHTTP{statuses: []int{200}}, 1, "", 0, 0},
		{"success after two failures", fakeHTTP{statuses: []int{500, 500, 200}, code: "InternalError"}, 3, "", 750 * time.Millisecond, 1500 * time.Millisecond},
		{"only failures", fakeHTTP{statuses: []int{500}, code: "InternalError"}, 8, "InternalError", 11 * time.Second, 23 * time.Second},
		{"client error", fakeHTTP{statuses: []int{400}, code: "InvalidParameterValue"}, 1, "InvalidParameterValue", 0, 0},
		{"throttled", fakeHTTP{statuses: []int{503, 200}, code: "RequestLimitExceeded"}, 2, "", 250 * time.Millisecond, 2 * time.Second},
		{"success after a timeout", fakeHTTP{statuses: []int{0, 200}}, 2, "", 30 * time.Second, 31 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := awsec2.NewFromConfig(config(&test.http, awsapi.NewLimiter(clock.System(), nil)))
				start := time.Now()
				_, err := client.DescribeRegions(t.Context(), &awsec2.DescribeRegionsInput{})
				took := time.Since(start)
				if got := awsapi.Code(err); got != test.code || (err == nil) != (test.code == "") {
					t.Errorf("DescribeRegions = %v, want error code %q", err, test.code)
				}
				if test.http.calls != test.calls {
					t.Errorf("DescribeRegions made %d attempts, want %d", test.http.calls, test.calls)
				}
				if took < test.minTime || took > test.maxTime {
					t.Errorf("DescribeRegions took %v, want %v to %v", took, test.minTime, test.maxTime)
				}
			})
		})
	}
}

func TestTimeoutError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := awsec2.NewFromConfig(config(&fakeHTTP{statuses: []int{0}}, nil))
		_, err := client.DescribeRegions(t.Context(), &awsec2.DescribeRegionsInput{})
		timeout, ok := errors.AsType[*awsapi.TimeoutError](err)
		if !ok || timeout.Action != "DescribeRegions" || timeout.After != 30*time.Second {
			t.Errorf("DescribeRegions = %v, want a TimeoutError of DescribeRegions after 30s", err)
		}
	})
}

func TestLimiterSharedByClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := awsapi.NewLimiter(clock.System(), map[string]awsapi.Limit{"DescribeRegions": {Requests: awsapi.Rate{Burst: 2, PerSecond: 1}}})
		fake := &fakeHTTP{statuses: []int{200}}
		one, two := awsec2.NewFromConfig(config(fake, limiter)), awsec2.NewFromConfig(config(fake, limiter))
		start := time.Now()
		for _, client := range []*awsec2.Client{one, two, one} {
			if _, err := client.DescribeRegions(t.Context(), &awsec2.DescribeRegionsInput{}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("three calls by two clients took %v, want 2s: one at once, then one a second", took)
		}
		parameters := ssm.NewFromConfig(config(fake, limiter))
		for range 4 {
			if _, err := parameters.PutParameter(t.Context(), &ssm.PutParameterInput{Name: aws.String("p"), Value: aws.String("v")}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start) - 2*time.Second; took < 600*time.Millisecond || took > time.Second {
			t.Errorf("four calls of PutParameter took %v, want 0.6s to 1s: two at once, then three a second", took)
		}
	})
}

func TestLimiterCountsInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := awsec2.NewFromConfig(config(&fakeHTTP{
			statuses: []int{200}, body: `<RunInstancesResponse><instancesSet><item><instanceId>i-1</instanceId></item></instancesSet></RunInstancesResponse>`,
		}, awsapi.NewLimiter(clock.System(), nil)))
		start := time.Now()
		for _, n := range []int32{900, 10} {
			if _, err := client.RunInstances(t.Context(), &awsec2.RunInstancesInput{MinCount: aws.Int32(n), MaxCount: aws.Int32(n)}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took.Round(time.Millisecond) != 5*time.Second {
			t.Errorf("launching 910 instances took %v, want 5s: 900 at once, then two a second", took)
		}
	})
}

// A rejection does not prove that a call had no effect if an earlier attempt got
// no response.
func TestRejectedAfterTimeout(t *testing.T) {
	for name, test := range map[string]struct {
		statuses []int
		want     bool
	}{
		"rejected":               {[]int{http.StatusForbidden}, true},
		"timeout, then rejected": {[]int{0, http.StatusForbidden}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			fake := &fakeHTTP{statuses: test.statuses, code: "UnauthorizedOperation"}
			_, err := awsec2.NewFromConfig(config(fake, nil)).CreateImage(t.Context(), &awsec2.CreateImageInput{InstanceId: aws.String("i-1"), Name: aws.String("web")})
			if got := awsapi.Rejected(err); got != test.want || awsapi.Code(err) != "UnauthorizedOperation" {
				t.Errorf("%s: Rejected(%v) = %t, want %t", name, err, got, test.want)
			}
		})
	}
}

// TestAllow refuses calls that may change something immediately before they are sent.
func TestAllow(t *testing.T) {
	refusal := errors.New("the lease is lost")
	allowed, asked := true, 0
	fake := &fakeHTTP{statuses: []int{500, 200}, code: "InternalError"}
	var reports int
	client := awsec2.NewFromConfig(awsapi.Schedule{
		Clock: clock.System(), CallTimeout: time.Minute,
		Allow: func(context.Context) error {
			asked++
			if allowed {
				return nil
			}
			return refusal
		},
		Report: func(context.Context, awsapi.Attempt) { reports++ },
	}.Apply(aws.Config{
		Region: "eu-west-1", HTTPClient: fake, BaseEndpoint: aws.String("http://ec2.invalid"),
		Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
	}))
	terminate := func() error {
		_, err := client.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{"i-0123456789abcdef0"}})
		return err
	}
	if err := terminate(); err != nil || asked != 2 || fake.calls != 2 {
		t.Errorf("TerminateInstances = %v with %d attempts, asked %d times; want success, 2, 2", err, fake.calls, asked)
	}
	allowed = false
	if err := terminate(); !errors.Is(err, refusal) || asked != 3 || fake.calls != 2 || reports != 2 {
		t.Errorf("refused TerminateInstances = %v, asked %d times, %d attempts sent, %d reported; want the refusal, 3, 2, 2", err, asked, fake.calls, reports)
	}
	if _, err := client.DescribeRegions(t.Context(), nil); err != nil || asked != 3 {
		t.Errorf("DescribeRegions = %v, asked %d times; want nil without being asked", err, asked)
	}
}
