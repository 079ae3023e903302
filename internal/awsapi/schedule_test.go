package awsapi_test

import (
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

// answers is an HTTP client that gives one status after the other, the last
// one for ever. A status of 0 never comes.
type answers struct {
	statuses []int
	code     string
	calls    int
}

func (a *answers) Do(r *http.Request) (*http.Response, error) {
	status := a.statuses[min(a.calls, len(a.statuses)-1)]
	a.calls++
	if status == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	body := `<R><requestId>r</requestId></R>`
	if status != http.StatusOK {
		body = `<Response><Errors><Error><Code>` + a.code + `</Code><Message>m</Message></Error></Errors></Response>`
	} else if r.Header.Get("X-Amz-Target") != "" {
		body = `{}`
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func config(a *answers, limiter *awsapi.Limiter) aws.Config {
	return awsapi.Schedule{
		Limiter: limiter, Clock: clock.System(), CallTimeout: 30 * time.Second, MaxBackoff: 5 * time.Second,
	}.Apply(aws.Config{
		Region: "eu-west-1", HTTPClient: a, BaseEndpoint: aws.String("http://ec2.invalid"),
		Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
	})
}

// TestRetries runs where time is not real: that it ends shows that every pause
// is on the clock.
func TestRetries(t *testing.T) {
	tests := []struct {
		name        string
		answers     answers
		calls       int
		code        string // of the error; empty is none
		least, most time.Duration
	}{
		{"at once", answers{statuses: []int{200}}, 1, "", 0, 0},
		{"after two failures", answers{statuses: []int{500, 500, 200}, code: "InternalError"}, 3, "", 750 * time.Millisecond, 1500 * time.Millisecond},
		{"never", answers{statuses: []int{500}, code: "InternalError"}, 8, "InternalError", 11 * time.Second, 23 * time.Second},
		{"refused", answers{statuses: []int{400}, code: "InvalidParameterValue"}, 1, "InvalidParameterValue", 0, 0},
		{"throttled", answers{statuses: []int{503, 200}, code: "RequestLimitExceeded"}, 2, "", 250 * time.Millisecond, 2 * time.Second},
		{"no answer, then one", answers{statuses: []int{0, 200}}, 2, "", 30 * time.Second, 31 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := awsec2.NewFromConfig(config(&test.answers, awsapi.NewLimiter(clock.System(), nil)))
				start := time.Now()
				_, err := client.DescribeRegions(t.Context(), &awsec2.DescribeRegionsInput{})
				took := time.Since(start)
				if got := awsapi.Code(err); got != test.code || (err == nil) != (test.code == "") {
					t.Errorf("error %v, want code %q", err, test.code)
				}
				if test.answers.calls != test.calls {
					t.Errorf("%d attempts, want %d", test.answers.calls, test.calls)
				}
				if took < test.least || took > test.most {
					t.Errorf("took %v, want %v to %v", took, test.least, test.most)
				}
			})
		})
	}
}

func TestTimeoutNamesTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := awsec2.NewFromConfig(config(&answers{statuses: []int{0}}, nil))
		_, err := client.DescribeRegions(t.Context(), &awsec2.DescribeRegionsInput{})
		timeout, ok := errors.AsType[*awsapi.TimeoutError](err)
		if !ok || timeout.Action != "DescribeRegions" || timeout.After != 30*time.Second {
			t.Errorf("error %v, want a TimeoutError of DescribeRegions after 30 s", err)
		}
	})
}

// TestClientsShareBuckets makes calls of one action by two clients, and of
// several services by one Limiter.
func TestClientsShareBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := awsapi.NewLimiter(clock.System(), map[string]awsapi.Limit{"DescribeRegions": {Requests: awsapi.Rate{Burst: 2, PerSecond: 1}}})
		a := &answers{statuses: []int{200}}
		one, two := awsec2.NewFromConfig(config(a, limiter)), awsec2.NewFromConfig(config(a, limiter))
		start := time.Now()
		for _, client := range []*awsec2.Client{one, two, one} {
			if _, err := client.DescribeRegions(t.Context(), &awsec2.DescribeRegionsInput{}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("three calls by two clients took %v, want 2 s: one at once, then one a second", took)
		}
		parameters := ssm.NewFromConfig(config(a, limiter))
		for range 4 {
			if _, err := parameters.PutParameter(t.Context(), &ssm.PutParameterInput{Name: aws.String("p"), Value: aws.String("v")}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start) - 2*time.Second; took < 600*time.Millisecond || took > time.Second {
			t.Errorf("four parameters took %v, want that of two at once and three a second", took)
		}
	})
}

// TestLaunchesCountInstances launches more instances than fit the bucket of
// resources.
func TestLaunchesCountInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := awsec2.NewFromConfig(config(&answers{statuses: []int{200}}, awsapi.NewLimiter(clock.System(), nil)))
		start := time.Now()
		for _, n := range []int32{900, 10} {
			if _, err := client.RunInstances(t.Context(), &awsec2.RunInstancesInput{MinCount: aws.Int32(n), MaxCount: aws.Int32(n)}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took.Round(time.Millisecond) != 5*time.Second {
			t.Errorf("910 instances took %v, want 5 s: 900 at once, then two a second", took)
		}
	})
}

// A refusal is proof of nothing after an attempt that was not answered.
func TestRejectedAfterNoAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		statuses []int
		want     bool
	}{
		"refused":            {[]int{http.StatusForbidden}, true},
		"no answer, refused": {[]int{0, http.StatusForbidden}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &answers{statuses: test.statuses, code: "UnauthorizedOperation"}
			_, err := awsec2.NewFromConfig(config(a, nil)).CreateImage(t.Context(), &awsec2.CreateImageInput{InstanceId: aws.String("i-1"), Name: aws.String("web")})
			if got := awsapi.Rejected(err); got != test.want || awsapi.Code(err) != "UnauthorizedOperation" {
				t.Errorf("%s: rejected %t, want %t: %v", name, got, test.want, err)
			}
		})
	}
}
