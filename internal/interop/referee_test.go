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

// A referee stands between a client and the embedded EC2, and has every answer
// in XML judged by the model of its service.
type referee struct {
	models map[string]*awsmodel.Model
	to     string

	mu     sync.Mutex
	faults map[string]bool
	judged map[string]bool // actions
}

// newReferee starts a referee before the server at an endpoint. When the test
// ends it reports what it saw.
func newReferee(t *testing.T, to string) (endpoint string) {
	t.Helper()
	data := testenv.Botocore(t)
	r := &referee{to: to, models: map[string]*awsmodel.Model{}, faults: map[string]bool{}, judged: map[string]bool{}}
	for _, service := range []string{"ec2", "autoscaling", "iam", "sts"} {
		r.models[service] = readModel(t, data, service)
	}
	server := httptest.NewServer(r)
	t.Cleanup(func() {
		server.Close()
		for _, fault := range slices.Sorted(maps.Keys(r.faults)) {
			t.Error(fault)
		}
		t.Logf("%d kinds of answers were judged", len(r.judged))
	})
	return server.URL
}

// ServeHTTP hands a call on and its answer back.
func (r *referee) ServeHTTP(w http.ResponseWriter, in *http.Request) {
	body, err := io.ReadAll(in.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out := in.Clone(in.Context())
	out.RequestURI, out.Body = "", io.NopCloser(bytes.NewReader(body))
	out.URL, err = url.Parse(r.to + in.URL.RequestURI())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	maps.Copy(w.Header(), answer.Header)
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(text) // the client says if it did not get it
	if form, err := url.ParseQuery(string(body)); err == nil && answer.StatusCode == http.StatusOK {
		r.judge(serviceOf(in), form.Get("Action"), text)
	}
}

// serviceOf reads the service out of the scope of the signature.
func serviceOf(in *http.Request) string {
	if scope := strings.Split(in.Header.Get("Authorization"), "/"); len(scope) > 3 {
		return scope[3]
	}
	return ""
}

func (r *referee) judge(service, action string, text []byte) {
	model := r.models[service]
	if model == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.judged[action] = true
	for _, fault := range model.Judge(action, text) {
		r.faults[fault] = true
	}
}
