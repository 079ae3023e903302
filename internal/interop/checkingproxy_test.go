package interop_test

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bakestone-go/bakestone/internal/awsmodel"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// A checkingProxy is an HTTP proxy for ec2test that checks all XML responses
// against the models of their services.
type checkingProxy struct {
	models map[string]*awsmodel.Model
	target string // endpoint of ec2test

	mu         sync.Mutex
	violations map[string]bool
	checked    map[string]bool // actions
}

// newCheckingProxy starts a proxy for the server at target. When the test ends,
// it reports the violations as test errors.
func newCheckingProxy(t *testing.T, target string) (endpoint string) {
	t.Helper()
	data := testenv.Botocore(t)
	p := &checkingProxy{target: target, models: map[string]*awsmodel.Model{}, violations: map[string]bool{}, checked: map[string]bool{}}
	for _, service := range []string{"ec2", "autoscaling", "iam", "sts"} {
		p.models[service] = readModel(t, data, service)
	}
	server := httptest.NewServer(p)
	t.Cleanup(func() {
		server.Close()
		for _, violation := range slices.Sorted(maps.Keys(p.violations)) {
			t.Errorf("response does not match the model: %s", violation)
		}
		t.Logf("checked responses of %d actions", len(p.checked))
	})
	return server.URL
}

// ServeHTTP forwards a request and checks the response.
func (p *checkingProxy) ServeHTTP(w http.ResponseWriter, in *http.Request) {
	body, err := io.ReadAll(in.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out := in.Clone(in.Context())
	out.RequestURI, out.Body = "", io.NopCloser(bytes.NewReader(body))
	out.URL, err = url.Parse(p.target + in.URL.RequestURI())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	response, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	maps.Copy(w.Header(), response.Header)
	w.WriteHeader(response.StatusCode)
	_, _ = w.Write(text) // the client reports an incomplete response
	if form, err := url.ParseQuery(string(body)); err == nil && response.StatusCode == http.StatusOK {
		p.check(serviceOf(in), form.Get("Action"), text)
	}
}

// serviceOf returns the service in the scope of a request's signature.
func serviceOf(in *http.Request) string {
	if scope := strings.Split(in.Header.Get("Authorization"), "/"); len(scope) > 3 {
		return scope[3]
	}
	return ""
}

func (p *checkingProxy) check(service, action string, text []byte) {
	model := p.models[service]
	if model == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checked[action] = true
	for _, violation := range model.CheckResponse(action, text) {
		p.violations[violation] = true
	}
}
