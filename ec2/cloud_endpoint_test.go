package ec2_test

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// An endpointFault changes how a request ends. It may send it, or not.
type endpointFault func(r *http.Request, send func() (*http.Response, error)) (*http.Response, error)

// A badEndpoint is an HTTP client between a Cloud and its server that applies the
// fault which choose returns for an action, if any.
type badEndpoint struct {
	next   aws.HTTPClient
	choose func(action string) endpointFault

	mu     sync.Mutex
	faults int
	mended bool
}

func (e *badEndpoint) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body)) // JSON has no action
	_, target, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	send := func() (*http.Response, error) { return e.next.Do(r) }
	fault := e.faultOf(cmp.Or(form.Get("Action"), target))
	if fault == nil {
		return send()
	}
	return fault(r, send)
}

// faultOf returns the fault for a call of an action, or nil, and counts it.
func (e *badEndpoint) faultOf(action string) endpointFault {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mended {
		return nil
	}
	fault := e.choose(action)
	if fault != nil {
		e.faults++
	}
	return fault
}

// mend ends all faults.
func (e *badEndpoint) mend() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mended = true
}

func (e *badEndpoint) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.faults
}

// cloudVia returns a Cloud whose requests pass through e.
func cloudVia(server *ec2test.Server, e *badEndpoint, o *ec2.CloudOptions) *ec2.Cloud {
	cfg := server.Config(testRegion)
	e.next = cfg.HTTPClient
	cfg.HTTPClient = e
	return ec2.NewCloud(cfg, o)
}

// answer returns a fault that answers without sending the request.
func answer(status int, body string, header ...string) endpointFault {
	return func(r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
		response := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
		for i := 0; i+1 < len(header); i += 2 {
			response.Header.Set(header[i], header[i+1])
		}
		return response, nil
	}
}

// alter returns a fault that sends the request and changes the body of the response,
// whose last Read returns end unless it is nil.
func alter(end error, change func(body []byte) []byte) endpointFault {
	return func(_ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		response, err := send()
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close() // already read
		if err != nil {
			return nil, err
		}
		response.Body = io.NopCloser(io.MultiReader(bytes.NewReader(change(body)), failingReader{cmp.Or(end, io.EOF)}))
		response.ContentLength = -1
		return response, nil
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func half(body []byte) []byte { return body[:len(body)/2] }
func none([]byte) []byte      { return nil }

// endpointFaults returns the kinds of faults of the table.
func endpointFaults() map[string]endpointFault {
	const html = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Welcome</body></html>"
	failed := func(code string) string {
		return "<Response><Errors><Error><Code>" + code + "</Code><Message>fault</Message></Error></Errors></Response>"
	}
	return map[string]endpointFault{
		"connection refused": func(*http.Request, func() (*http.Response, error)) (*http.Response, error) {
			return nil, syscall.ECONNREFUSED
		},
		"response lost": func(_ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
			response, err := send()
			if err == nil {
				_ = response.Body.Close() // dropped
			}
			return nil, cmp.Or(err, io.ErrUnexpectedEOF)
		},
		"body cut":          alter(io.ErrUnexpectedEOF, half),
		"connection reset":  alter(syscall.ECONNRESET, half),
		"truncated":         alter(nil, half),
		"empty 200":         alter(nil, none),
		"HTML page":         answer(http.StatusOK, html, "Content-Type", "text/html"),
		"redirect to login": answer(http.StatusFound, html, "Location", "https://login.example.com/"),
		"proxy 403":         answer(http.StatusForbidden, html, "Content-Type", "text/html", "Server", "squid"),
		"proxy 502":         answer(http.StatusBadGateway, html, "Content-Type", "text/html", "Server", "squid"),
		"server error":      answer(http.StatusInternalServerError, failed("InternalError")),
		"throttled":         answer(http.StatusServiceUnavailable, failed("RequestLimitExceeded")),
	}
}

// A faultResult counts the ends of the bakes with one kind of fault.
type faultResult struct {
	bakes, faults, baked, failed, leaked, wrong int
}

// bakeWithFaults bakes n images of a server each, with a fault in one of ten calls.
func bakeWithFaults(t *testing.T, n int, kinds ...endpointFault) faultResult {
	t.Helper()
	var mu sync.Mutex
	result := faultResult{bakes: n}
	var bakes sync.WaitGroup
	slots := make(chan bool, 8)
	for i := range n {
		bakes.Go(func() {
			slots <- true
			defer func() { <-slots }()
			server := ec2test.New(nil)
			defer server.Close()
			random := rand.New(rand.NewPCG(uint64(i), uint64(len(kinds)))) //nolint:gosec // G404: repeatable
			end := &badEndpoint{choose: func(string) endpointFault {
				if random.IntN(10) > 0 {
					return nil
				}
				return kinds[random.IntN(len(kinds))]
			}}
			results, err := bake.Bake(t.Context(), nil, simple(cloudVia(server, end, cloudOptions(server))))
			mu.Lock()
			defer mu.Unlock()
			result.faults += end.count()
			switch named, _ := errors.AsType[*bake.Error](err); {
			case err == nil:
				result.baked++
				text, readErr := server.ReadFile(results[0].Artifact.ID(), "/etc/made")
				if readErr != nil || string(text) != "made with care\n" {
					result.wrong++
				}
				end.mend()
				destroy(t, results[0].Artifact)
				if left := server.Leftovers(); len(left) > 0 {
					result.leaked++
					t.Logf("left after success: %v", left)
				}
			case named == nil || named.Step == "":
				result.wrong++
				t.Logf("error without a step: %v", err)
			default:
				result.failed++
				t.Logf("failed: %v", err)
				if results[0].Artifact != nil { // the undo of another resource failed
					end.mend()
					destroy(t, results[0].Artifact)
				}
				if left := server.Leftovers(); len(left) > 0 {
					result.leaked++
					t.Logf("left after %v: %v", err, left)
				}
			}
		})
	}
	bakes.Wait()
	return result
}

// TestFaultTable bakes with a fault of each kind in one of ten API calls, and with
// all kinds mixed. Set BAKESTONE_FAULT_BAKES to the number of bakes of each kind.
func TestFaultTable(t *testing.T) {
	t.Parallel()
	n := 4
	if text := os.Getenv("BAKESTONE_FAULT_BAKES"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	faults := endpointFaults()
	kinds := slices.Sorted(maps.Keys(faults))
	for _, kind := range append(kinds, "all kinds") {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := []endpointFault{faults[kind]}
				if kind == "all kinds" {
					list = slices.Collect(maps.Values(faults))
				}
				r := bakeWithFaults(t, n, list...)
				t.Logf("| %s | %d | %d | %d | %d | %d | %d |", kind, r.bakes, r.faults, r.baked, r.failed, r.leaked, r.wrong)
				if r.baked+r.failed != r.bakes || r.leaked > 0 || r.wrong > 0 {
					t.Errorf("ends of bakes = %+v, want each baked or failed, none leaked or wrong", r)
				}
			})
		})
	}
}

// TestCutResponses cuts one of ten responses. All bakes must succeed.
func TestCutResponses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faults := endpointFaults()
		r := bakeWithFaults(t, 30, faults["body cut"], faults["connection reset"], faults["truncated"])
		if r.baked != r.bakes || r.leaked > 0 || r.wrong > 0 || r.faults == 0 {
			t.Errorf("ends of bakes = %+v, want all baked, some with faults", r)
		}
	})
}

// onlyCall returns a choice of the fault for all calls of an action.
func onlyCall(action string, fault endpointFault) func(string) endpointFault {
	return func(called string) endpointFault {
		if called == action {
			return fault
		}
		return nil
	}
}

// TestCreateWithoutID answers each create call with no id, or one of another kind. The
// error must say so, and what was created must be removed.
func TestCreateWithoutID(t *testing.T) {
	snapshots := func(cloud *ec2.Cloud) *bake.Image { return captured(cloud, ec2.Capture{FromSnapshots: true}) }
	profiled := func(cloud *ec2.Cloud) *bake.Image {
		return configure(multiRegion(cloud), func(b *ec2.Builder) { b.InstanceProfilePolicy = readBucket })
	}
	for action, test := range map[string]struct {
		define  func(*ec2.Cloud) *bake.Image
		element string
		kind    string
	}{
		"CreateSecurityGroup":   {simple, "groupId", "security group"},
		"RunInstances":          {simple, "instanceId", "instance"},
		"CreateImage":           {simple, "imageId", "image"},
		"CopyImage":             {multiRegion, "imageId", "image"},
		"CreateSnapshots":       {snapshots, "snapshotId", "snapshot"},
		"RegisterImage":         {snapshots, "imageId", "image"},
		"CreateRole":            {profiled, "RoleName", "role"},
		"CreateInstanceProfile": {profiled, "InstanceProfileName", "instance profile"},
	} {
		pattern := regexp.MustCompile("<" + test.element + ">[^<]*<")
		for name, body := range map[string]func([]byte) []byte{
			"empty":      none,
			"no id":      func(b []byte) []byte { return pattern.ReplaceAll(b, []byte("<"+test.element+"><")) },
			"other kind": func(b []byte) []byte { return pattern.ReplaceAll(b, []byte("<"+test.element+">vpc-12345678<")) },
		} {
			t.Run(action+" "+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					server := roleServer(t, nil)
					end := &badEndpoint{choose: onlyCall(action, alter(nil, body))}
					_, err := bake.Bake(t.Context(), nil, test.define(cloudVia(server, end, cloudOptions(server))))
					want := "the new " + test.kind
					if name == "empty" {
						want = ""
					}
					// A repetition may find what the first call made; the step that copies is repeated.
					if err == nil && name != "empty" && action != "CopyImage" {
						t.Errorf("Bake() error = nil, want one that contains %q", want)
					}
					if err != nil {
						wantError(t, "Bake", err, want)
						wantNoLeftovers(t, server)
					}
				})
			})
		}
	}
}

// A stranger holds the resources of somebody else.
type stranger struct{ instance, group, image, snapshot string }

// newStranger creates resources without the tag of a build.
func newStranger(t *testing.T, server *ec2test.Server) stranger {
	t.Helper()
	client := awsec2.NewFromConfig(server.Config(testRegion))
	vendors, err := client.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{ec2.Canonical}})
	if err != nil {
		t.Fatal(err)
	}
	run, err := client.RunInstances(t.Context(), &awsec2.RunInstancesInput{
		ImageId: vendors.Images[0].ImageId, InstanceType: ec2types.InstanceTypeT3Small, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	group, err := client.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{GroupName: aws.String("theirs"), Description: aws.String("theirs")})
	if err != nil {
		t.Fatal(err)
	}
	image, err := client.CreateImage(t.Context(), &awsec2.CreateImageInput{InstanceId: run.Instances[0].InstanceId, Name: aws.String("theirs")})
	if err != nil {
		t.Fatal(err)
	}
	snapshots, err := client.CreateSnapshots(t.Context(), &awsec2.CreateSnapshotsInput{
		InstanceSpecification: &ec2types.InstanceSpecification{InstanceId: run.Instances[0].InstanceId},
	})
	if err != nil {
		t.Fatal(err)
	}
	return stranger{*run.Instances[0].InstanceId, *group.GroupId, *image.ImageId, *snapshots.Snapshots[0].SnapshotId}
}

// TestCreateWithForeignID answers each create call with the id of somebody else's
// resource, or of none. The other's resources must stay, and ours must go.
func TestCreateWithForeignID(t *testing.T) {
	snapshots := func(cloud *ec2.Cloud) *bake.Image { return captured(cloud, ec2.Capture{FromSnapshots: true}) }
	for action, test := range map[string]struct {
		define  func(*ec2.Cloud) *bake.Image
		element string
		id      func(stranger) string
	}{
		"CreateSecurityGroup": {simple, "groupId", func(s stranger) string { return s.group }},
		"RunInstances":        {simple, "instanceId", func(s stranger) string { return s.instance }},
		"CreateImage":         {simple, "imageId", func(s stranger) string { return s.image }},
		"CopyImage":           {multiRegion, "imageId", func(s stranger) string { return s.image }},
		"RegisterImage":       {snapshots, "imageId", func(s stranger) string { return s.image }},
		"CreateSnapshots":     {snapshots, "snapshotId", func(s stranger) string { return s.snapshot }},
		"RegisterImage to replace": {func(cloud *ec2.Cloud) *bake.Image {
			return configure(simple(cloud), func(b *ec2.Builder) {
				b.AMIName, b.ReplaceAMI, b.Distribute.Attempts = "web", true, 1
			})
		}, "imageId", func(s stranger) string { return s.image }},
	} {
		called, _, _ := strings.Cut(action, " ")
		for _, shown := range []bool{true, false} {
			t.Run(action+" shown "+strconv.FormatBool(shown), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					server := roleServer(t, nil)
					id := test.id(newStranger(t, server))
					before := ids(server.Resources(nil))
					want := "without the tag " + ec2.TagBuild
					if !shown {
						id, want = id[:len(id)-4]+"ffff", "has not shown it for CloudOptions.SettleTime"
					}
					if action == "CreateSnapshots" {
						want = "has not shown it for" // in the build's list
					}
					pattern := regexp.MustCompile("<" + test.element + ">[^<]*<")
					end := &badEndpoint{choose: onlyCall(called, alter(nil, func(b []byte) []byte {
						return pattern.ReplaceAll(b, []byte("<"+test.element+">"+id+"<"))
					}))}
					results, err := bake.Bake(t.Context(), nil, test.define(cloudVia(server, end, cloudOptions(server))))
					if action != "CopyImage" { // its step is repeated, and finds the copy by its tag
						wantError(t, "Bake", err, want, id)
					} else if err != nil {
						t.Errorf("Bake() error = %v, want nil", err)
					}
					end.mend()
					destroy(t, results[0].Artifact)
					if after := ids(server.Resources(nil)); !slices.Equal(before, after) {
						t.Errorf("resources = %v, want those of before: %v", after, before)
					}
				})
			})
		}
	}
}

// TestForeignLaunchTemplateVersion answers CreateLaunchTemplateVersion with a version of
// another template, with that of another image, and without a number. It must not
// become the default.
func TestForeignLaunchTemplateVersion(t *testing.T) {
	for name, test := range map[string]struct{ pattern, replacement, want string }{
		"other template": {"<launchTemplateName>[^<]*<", "<launchTemplateName>theirs<", `version of lt-`},
		"other image":    {"<imageId>[^<]*<", "<imageId>ami-12345678<", "which has ami-12345678"},
		"no number":      {"<versionNumber>[^<]*</versionNumber>", "", "without the new version's number"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				pattern := regexp.MustCompile(test.pattern)
				end := &badEndpoint{choose: onlyCall("CreateLaunchTemplateVersion", alter(nil, func(b []byte) []byte {
					return pattern.ReplaceAll(b, []byte(test.replacement))
				}))}
				cloud := cloudVia(server, end, cloudOptions(server))
				if _, err := cloud.Client("").CreateLaunchTemplate(t.Context(), &awsec2.CreateLaunchTemplateInput{
					LaunchTemplateName: aws.String("web"), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{InstanceType: ec2types.InstanceTypeT3Small},
				}); err != nil {
					t.Fatal(err)
				}
				img := simple(cloud)
				img.Publishers = []bake.Publisher{ec2.LaunchTemplate{Name: "web", MakeDefault: true}}
				_, err := bake.Bake(t.Context(), nil, img)
				wantError(t, "Bake", err, test.want)
				if n := server.CallCount("ModifyLaunchTemplate"); n > 0 || end.count() == 0 {
					t.Errorf("calls of ModifyLaunchTemplate = %d with %d faults, want none with some", n, end.count())
				}
			})
		})
	}
}

// TestNeverShown lets each call that uses a new resource fail as if EC2 never showed it.
// The bake must end with an error that says so, and remove what it made. See
// TestCreateWithForeignID for the calls that describe new resources.
func TestNeverShown(t *testing.T) {
	snapshots := func(cloud *ec2.Cloud) *bake.Image { return captured(cloud, ec2.Capture{FromSnapshots: true}) }
	for action, test := range map[string]struct {
		define func(*ec2.Cloud) *bake.Image
		code   string
	}{
		"AuthorizeSecurityGroupIngress": {simple, "InvalidGroup.NotFound"},
		"RunInstances":                  {simple, "InvalidAMIID.NotFound"},
		"RegisterImage":                 {snapshots, "InvalidSnapshot.NotFound"},
		"CopyImage":                     {multiRegion, "InvalidAMIID.NotFound"},
		"ModifyImageAttribute":          {multiRegion, "InvalidAMIID.NotFound"},
	} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := roleServer(t, nil)
				server.Fail(ec2test.Fault{Action: action, Times: -1, Code: test.code})
				results, err := bake.Bake(t.Context(), nil, test.define(newCloud(server)))
				wantError(t, "Bake", err, "not shown within CloudOptions.SettleTime (10s)", test.code)
				if results[0].Artifact != nil {
					server.Mend()
					destroy(t, results[0].Artifact)
				}
				wantNoLeftovers(t, server)
			})
		})
	}
}

// ids returns the ids of resources, sorted.
func ids(resources []ec2test.Resource) []string {
	var list []string
	for _, r := range resources {
		list = append(list, r.ID)
	}
	slices.Sort(list)
	return list
}
