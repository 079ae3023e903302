package ec2_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
)

// Durations of states behind slowMoto. With them, a bake takes at least
// 35 seconds.
const (
	slowRunning    = 5 * time.Second
	slowStopped    = 5 * time.Second
	slowTerminated = 5 * time.Second
	slowImage      = 20 * time.Second
)

// A slowMoto is a proxy in front of moto that makes states take time and starts
// an sshd for each instance.
type slowMoto struct {
	t    testing.TB
	moto string

	mu    sync.Mutex
	calls map[string]int
	until map[string]time.Time // end of the previous state, by id of the instance or image
	sshd  map[string]string    // address of the sshd, by address of the instance
}

func (m *slowMoto) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	action := form.Get("Action")
	m.mu.Lock()
	m.calls[action]++
	m.mu.Unlock()
	if action == "CreateImage" { // moto refuses tags for snapshots
		dropAll(form, "TagSpecification.2.")
	}
	var sshd string
	if action == "RunInstances" {
		sshd = startGuest(m.t, form.Get("UserData"))
	}
	request := r.Clone(r.Context())
	request.URL, request.RequestURI, request.Host = nil, "", ""
	if request.URL, err = url.Parse(m.moto); err != nil {
		m.t.Error(err)
		return
	}
	text := form.Encode()
	request.Body, request.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	answer, err := io.ReadAll(response.Body)
	_ = response.Body.Close() // it was read
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	if response.StatusCode == http.StatusOK {
		answer = m.slow(action, form, answer, sshd)
	}
	w.Header().Set("Content-Type", response.Header.Get("Content-Type"))
	w.WriteHeader(response.StatusCode)
	_, _ = w.Write(answer) // the client may have gone
}

// slow changes a response so that states take time.
func (m *slowMoto) slow(action string, form url.Values, answer []byte, sshd string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := func(pattern string) string {
		if found := regexp.MustCompile(pattern).FindSubmatch(answer); found != nil {
			return string(found[1])
		}
		return ""
	}
	switch action {
	case "RunInstances":
		m.until[first(`<instanceId>(i-\w+)`)] = time.Now().Add(slowRunning)
		for _, at := range regexp.MustCompile(`<(?:privateIpAddress|ipAddress|publicIp)>([0-9.]+)<`).FindAllSubmatch(answer, -1) {
			m.sshd[string(at[1])] = sshd
		}
	case "StopInstances":
		m.until[form.Get("InstanceId.1")] = time.Now().Add(slowStopped)
	case "TerminateInstances":
		m.until[form.Get("InstanceId.1")] = time.Now().Add(slowTerminated)
	case "CreateImage":
		m.until[first(`<imageId>(ami-\w+)`)] = time.Now().Add(slowImage)
	case "DescribeInstances":
		for _, at := range regexp.MustCompile(`<(?:privateIpAddress|ipAddress|publicIp)>([0-9.]+)<`).FindAllSubmatch(answer, -1) {
			m.addressOf(answer, string(at[1]))
		}
		return m.before(answer, `<instanceId>(i-\w+)</instanceId>.*?<instanceState>\s*<code>\d+</code>\s*<name>([a-z-]+)</name>`, map[string]string{
			"running": "pending", "stopped": "stopping", "terminated": "shutting-down",
		})
	case "DescribeImages":
		return m.before(answer, `<imageId>(ami-\w+)</imageId>.*?<imageState>([a-z]+)</imageState>`, map[string]string{"available": "pending"})
	}
	return answer
}

// addressOf records the sshd of an address that moto has assigned since the
// launch, which is that of the instance's other addresses.
func (m *slowMoto) addressOf(answer []byte, addr string) {
	if m.sshd[addr] != "" {
		return
	}
	for _, item := range strings.Split(string(answer), "<instanceId>")[1:] {
		if !strings.Contains(item, ">"+addr+"<") {
			continue
		}
		for known, sshd := range m.sshd {
			if strings.Contains(item, ">"+known+"<") {
				m.sshd[addr] = sshd
				return
			}
		}
	}
}

// before replaces each state that is not due with the one before it.
func (m *slowMoto) before(answer []byte, pattern string, earlier map[string]string) []byte {
	text := string(answer)
	var out strings.Builder
	at := 0
	for _, found := range regexp.MustCompile(`(?s)`+pattern).FindAllStringSubmatchIndex(text, -1) {
		id, state := text[found[2]:found[3]], text[found[4]:found[5]]
		if was, ok := earlier[state]; ok && time.Now().Before(m.until[id]) {
			out.WriteString(text[at:found[4]])
			out.WriteString(was)
			at = found[5]
		}
	}
	out.WriteString(text[at:])
	return []byte(out.String())
}

func (m *slowMoto) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	sshd := m.sshd[host]
	m.mu.Unlock()
	if sshd == "" {
		return nil, fmt.Errorf("no instance has the address %s", host)
	}
	return new(net.Dialer).DialContext(ctx, network, sshd)
}

// BenchmarkSlowEC2 bakes one image, and fifty at once, on a slowMoto. It is not
// for CI, as an image takes half a minute. Call limits are off, since moto has
// none; AWS's limit makes fifty launches at once take 23 seconds longer.
func BenchmarkSlowEC2(b *testing.B) {
	for _, size := range []int{1, 50} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			testenv.Need(b, "sshd")
			m := &slowMoto{t: b, moto: testenv.Moto(b), calls: map[string]int{}, until: map[string]time.Time{}, sshd: map[string]string{}}
			proxy := httptest.NewServer(m)
			defer proxy.Close()
			cloud := ec2.NewCloud(aws.Config{
				Region: "us-east-1", BaseEndpoint: aws.String(proxy.URL),
				Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
			}, &ec2.CloudOptions{
				Dial: m.dial, NoCallLimits: true,
				SourceAddress: func(context.Context) (netip.Addr, error) { return netip.MustParseAddr("192.0.2.1"), nil },
			})
			// The first call of DescribeImages makes moto load its images.
			if _, err := ec2.NewCloud(aws.Config{
				Region: "us-east-1", BaseEndpoint: aws.String(m.moto), Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
			}, nil).Client("").DescribeImages(b.Context(), nil); err != nil {
				b.Fatal(err)
			}
			dir := b.TempDir()
			images := make([]*bake.Image, 0, size)
			for i := range size {
				dest := fmt.Sprintf("%s/page%d", dir, i)
				images = append(images, &bake.Image{
					Name: fmt.Sprintf("slow%d", i),
					Builder: ec2.Builder{
						Cloud: cloud, InstanceTypes: []string{"t3.small"}, SSH: ec2.SSH{User: "root"}, GuestCleanup: ec2.GuestCleanup{Off: true}, // the guest is this very host
						Source: ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd/*amd64*"},
					},
					Provisioners: []bake.Provisioner{
						provision.File{Content: "a page\n", Dest: dest},
						provision.Shell("grep -q page " + dest),
					},
					Tags: map[string]string{"team": "web"},
				})
			}
			most := watchHeap()
			spent := map[string]time.Duration{} // longest time of each kind of step
			observe := func(e bake.Event) {
				if e.Kind == bake.StepFinished || e.Kind == bake.UndoFinished {
					step, _, _ := strings.Cut(e.Step, ": ")
					spent[step] = max(spent[step], e.Elapsed.Round(10*time.Millisecond))
				}
			}
			for b.Loop() {
				if _, err := bake.Bake(b.Context(), &bake.Options{Observe: observe}, images...); err != nil {
					b.Fatal(err)
				}
			}
			b.Logf("the longest of each step: %v", spent)
			calls := 0
			for _, n := range m.calls {
				calls += n
			}
			b.Logf("calls of %d runs: %v", b.N, m.calls)
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/run")
			b.ReportMetric(float64(calls)/float64(b.N), "calls/run")
			b.ReportMetric(float64(most())/(1<<20), "MiB-heap")
			b.ReportMetric(residentMiB(), "MiB-resident")
		})
	}
}

// residentMiB returns the peak resident memory of the process on Linux, and zero
// elsewhere.
func residentMiB() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	var kiB float64
	if found := regexp.MustCompile(`VmHWM:\s*(\d+)`).FindSubmatch(status); found != nil {
		if _, err := fmt.Sscan(string(found[1]), &kiB); err != nil {
			return 0
		}
	}
	return kiB / 1024
}
