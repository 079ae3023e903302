package ec2_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/internal/testenv/usage"
	"github.com/bakestone-go/bakestone/provision"
)

// A motoProxy stands before moto for the benchmarks. All instances have the address of
// one sshd, which is that of this very host, and states may take time.
type motoProxy struct {
	t    testing.TB
	moto string
	slow bool // states take as long as those of a fast EC2: a bake at least 35 seconds

	mu    sync.Mutex
	calls int
	until map[string]time.Time // end of the previous state, by id of the instance or image
}

// The durations of states on a slow motoProxy.
const (
	slowInstance = 5 * time.Second
	slowImage    = 20 * time.Second
)

func (m *motoProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
	m.calls++
	m.mu.Unlock()
	if action == "CreateImage" { // moto refuses tags for snapshots
		dropAll(form, "TagSpecification.2.")
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
		answer = instanceAddress.ReplaceAll(answer, []byte("<$1>127.0.0.1<"))
		answer = m.take(action, form, answer)
	}
	w.Header().Set("Content-Type", response.Header.Get("Content-Type"))
	w.WriteHeader(response.StatusCode)
	_, _ = w.Write(answer) // the client may have gone
}

var (
	instanceAddress = regexp.MustCompile(`<(privateIpAddress|ipAddress|publicIp)>[0-9.]+<`)
	instanceID      = regexp.MustCompile(`<instanceId>(i-\w+)`)
	imageID         = regexp.MustCompile(`<imageId>(ami-\w+)`)
	instanceState   = regexp.MustCompile(`(?s)<instanceId>(i-\w+)</instanceId>.*?<instanceState>\s*<code>\d+</code>\s*<name>([a-z-]+)</name>`)
	imageState      = regexp.MustCompile(`(?s)<imageId>(ami-\w+)</imageId>.*?<imageState>([a-z]+)</imageState>`)
)

// take changes an answer so that states take time.
func (m *motoProxy) take(action string, form url.Values, answer []byte) []byte {
	if !m.slow {
		return answer
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch action {
	case "RunInstances":
		m.until[first(instanceID, answer)] = time.Now().Add(slowInstance)
	case "StopInstances", "TerminateInstances":
		m.until[form.Get("InstanceId.1")] = time.Now().Add(slowInstance)
	case "CreateImage":
		m.until[first(imageID, answer)] = time.Now().Add(slowImage)
	case "DescribeInstances":
		return m.before(answer, instanceState, map[string]string{"running": "pending", "stopped": "stopping", "terminated": "shutting-down"})
	case "DescribeImages":
		return m.before(answer, imageState, map[string]string{"available": "pending"})
	}
	return answer
}

func first(pattern *regexp.Regexp, answer []byte) string {
	if found := pattern.FindSubmatch(answer); found != nil {
		return string(found[1])
	}
	return ""
}

// before replaces each state that is not due with the one before it.
func (m *motoProxy) before(answer []byte, state *regexp.Regexp, earlier map[string]string) []byte {
	var out bytes.Buffer
	at := 0
	for _, found := range state.FindAllSubmatchIndex(answer, -1) {
		was, ok := earlier[string(answer[found[4]:found[5]])]
		if ok && time.Now().Before(m.until[string(answer[found[2]:found[3]])]) {
			out.Write(answer[at:found[4]])
			out.WriteString(was)
			at = found[5]
		}
	}
	out.Write(answer[at:])
	return out.Bytes()
}

// benchBake is an environment variable with what a process of BenchmarkBakeBesidePacker bakes.
const benchBake = "BAKESTONE_TEST_BENCH_BAKE"

// A packerBench is what both programs are given.
type packerBench struct {
	URL     string
	Port    int
	User    string
	Key     string // its file
	HostKey string
	Images  int
}

// BenchmarkBakeBesidePacker bakes AMIs with one script and one file, with Bakestone and
// with Packer in turn, each in processes of its own, on one moto and one sshd: one image
// and fifty at once, and the same where states take as long as on EC2. Figures are medians
// of the runs. Call limits are off, since moto has none.
func BenchmarkBakeBesidePacker(b *testing.B) {
	if text := os.Getenv(benchBake); text != "" {
		var p packerBench
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			b.Fatal(err)
		}
		p.bake(b)
		return
	}
	packer := testenv.Need(b, "packer")
	for _, slow := range []bool{false, true} {
		for _, images := range []int{1, 50} {
			name := map[bool]string{false: "instant", true: "slow"}[slow]
			b.Run(fmt.Sprintf("%s/images=%d", name, images), func(b *testing.B) {
				server := testenv.SSHD(b, nil)
				m := &motoProxy{t: b, moto: testenv.Moto(b), slow: slow, until: map[string]time.Time{}}
				proxy := httptest.NewServer(m)
				defer proxy.Close()
				_, port, _ := strings.Cut(server.Addr, ":")
				p := packerBench{
					URL: proxy.URL, User: server.User, Key: filepath.Join(server.Dir, "client_key"), Images: images,
					HostKey: string(ssh.MarshalAuthorizedKey(server.HostKey)),
				}
				var err error
				if p.Port, err = strconv.Atoi(port); err != nil {
					b.Fatal(err)
				}
				// The first call of DescribeImages makes moto load its images.
				if _, err := p.cloud().Client("").DescribeImages(b.Context(), nil); err != nil {
					b.Fatal(err)
				}
				p.compare(b, m, packer)
			})
		}
	}
}

// compare runs both programs in turn.
func (p packerBench) compare(b *testing.B, m *motoProxy, packer string) {
	b.Helper()
	took := usage.Series{}
	measure := func(name string, cmd *exec.Cmd) {
		before := m.calls
		used, err := usage.Of(cmd, "")
		if err != nil {
			b.Fatal(err)
		}
		took.Add(name+"-s", used.Clock.Seconds())
		took.Add(name+"-cpu-s", used.Processor.Seconds())
		took.Add(name+"-MiB", float64(used.Memory)/(1<<20))
		took.Add(name+"-calls/image", float64(m.calls-before)/float64(p.Images))
	}
	own, err := json.Marshal(p)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^$", "-test.bench=BakeBesidePacker$", "-test.benchtime=1x")
		cmd.Env = append(os.Environ(), benchBake+"="+string(own))
		measure("bakestone", cmd)
		dir := b.TempDir()
		cmd = exec.CommandContext(b.Context(), packer, "build", "-color=false", p.template(b, dir))
		cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "AWS_EC2_METADATA_DISABLED=true", "PACKER_CONFIG_DIR="+dir)
		measure("packer", cmd)
	}
	b.ReportMetric(usage.Median(took["packer-s"])/usage.Median(took["bakestone-s"]), "packer/own")
	took.Report(b)
}

func (p packerBench) cloud() *ec2.Cloud {
	return ec2.NewCloud(aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(p.URL), Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}, &ec2.CloudOptions{
		NoCallLimits:  true,
		SourceAddress: func(context.Context) (netip.Addr, error) { return netip.MustParseAddr("192.0.2.1"), nil },
	})
}

const benchSource = "ubuntu/images/hvm-ssd/*amd64*"

// bake bakes the images in this process.
func (p packerBench) bake(b *testing.B) {
	b.Helper()
	host, _, _, _, err := ssh.ParseAuthorizedKey([]byte(p.HostKey))
	if err != nil {
		b.Fatal(err)
	}
	key, err := os.ReadFile(p.Key)
	if err != nil {
		b.Fatal(err)
	}
	cloud, dir := p.cloud(), b.TempDir()
	images := make([]*bake.Image, 0, p.Images)
	for i := range p.Images {
		dest := filepath.Join(dir, fmt.Sprint("page", i))
		images = append(images, &bake.Image{
			Name: fmt.Sprintf("bench%d", i),
			Builder: ec2.Builder{
				Cloud: cloud, Source: ec2.Newest{Owners: []string{ec2.Canonical}, Name: benchSource},
				SSH: ec2.SSH{
					User: p.User, Port: p.Port, Auth: []sshmachine.Auth{sshmachine.PrivateKey(key, bake.Secret{})}, HostKey: sshmachine.FixedHostKey(host),
				},
				GuestCleanup: ec2.GuestCleanup{Off: true}, // the guest is this very host
			},
			Provisioners: []bake.Provisioner{provision.File{Content: "a page\n", Dest: dest}, provision.Shell("grep -q page " + dest)},
			Tags:         map[string]string{"team": "web"},
		})
	}
	if _, err := bake.Bake(b.Context(), &bake.Options{Parallel: p.Images}, images...); err != nil {
		b.Fatal(err)
	}
}

// template writes a template for the same images.
func (p packerBench) template(b *testing.B, dir string) string {
	b.Helper()
	page := filepath.Join(dir, "page")
	var builders []any
	for i := range p.Images {
		builders = append(builders, map[string]any{
			"type": "amazon-ebs", "name": fmt.Sprint("bench", i), "ami_name": fmt.Sprintf("%s %d", filepath.Base(dir), i), "custom_endpoint_ec2": p.URL,
			"skip_region_validation": true, "skip_metadata_api_check": true, "skip_credential_validation": true,
			"access_key": "test", "secret_key": "test", "region": "us-east-1", "instance_type": "t3.small", "tags": map[string]string{"team": "web"},
			"source_ami_filter":    map[string]any{"filters": map[string]string{"name": benchSource}, "owners": []string{ec2.Canonical}, "most_recent": true},
			"ssh_private_key_file": p.Key, "ssh_username": p.User, "ssh_port": p.Port, "ssh_interface": "public_ip",
		})
	}
	template, err := json.Marshal(map[string]any{
		"builders": builders,
		"provisioners": []any{
			map[string]any{"type": "file", "source": page, "destination": filepath.Join(dir, "{{build_name}}")},
			map[string]any{ // Packer's own names of scripts are of four digits, and all instances are this host
				"type": "shell", "inline": []string{"grep -q page " + filepath.Join(dir, "$PACKER_BUILD_NAME")},
				"remote_path": filepath.Join(dir, "script-{{build_name}}"),
			},
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(dir, "template.json")
	for name, data := range map[string][]byte{page: []byte("a page\n"), path: template} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return path
}
