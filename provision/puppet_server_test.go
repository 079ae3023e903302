package provision_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
)

// A puppetServer speaks as much of Puppet's protocol as the real agent needs to
// get a certificate and a catalog.
type puppetServer struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	ca   *x509.Certificate
	port int

	mu      sync.Mutex
	wait    int               // how often it is asked for a certificate before it has signed it
	command string            // what the catalog has Puppet run
	signed  map[string][]byte // certificates in PEM, by name
	reports []string          // the states of runs that were reported
	asked   []string          // environments of catalogs
}

// startPuppetServer runs one on loopback until t ends.
func startPuppetServer(t *testing.T) *puppetServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &puppetServer{t: t, key: key, signed: map[string][]byte{}}
	s.ca = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Puppet CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{1},
	}
	s.ca = s.sign(s.ca, s.ca, &key.PublicKey)
	leaf := s.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, s.ca, &key.PublicKey)
	server := httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{
		MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert,
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}},
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	if s.port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *puppetServer) sign(cert, parent *x509.Certificate, public any) *x509.Certificate {
	s.t.Helper()
	cert.NotBefore, cert.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, public, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return parsed
}

func inPEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func (s *puppetServer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	name := path.Base(r.URL.Path)
	answer := func(text []byte) { _, _ = w.Write(text) }
	inJSON := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	switch path.Dir(r.URL.Path) {
	case "/puppet-ca/v1/certificate":
		switch signed := s.signed[name]; {
		case name == "ca":
			answer(inPEM("CERTIFICATE", s.ca.Raw))
		case signed != nil && s.wait == 0:
			answer(signed)
		default:
			s.wait = max(0, s.wait-1)
			http.NotFound(w, r)
		}
	case "/puppet-ca/v1/certificate_request":
		block, _ := pem.Decode(body)
		if r.Method != http.MethodPut || block == nil {
			http.NotFound(w, r)
			return
		}
		request, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.signed[name] = inPEM("CERTIFICATE", s.sign(&x509.Certificate{SerialNumber: big.NewInt(3), Subject: request.Subject}, s.ca, request.PublicKey).Raw)
	case "/puppet/v3/file_metadatas":
		inJSON([]map[string]any{{
			"path": "/plugins", "relative_path": ".", "links": "follow", "owner": 0, "group": 0, "mode": 0o755, "type": "directory", "destination": nil,
			"checksum": map[string]string{"type": "ctime", "value": "{ctime}2026-01-01 00:00:00 +0000"},
		}})
	case "/puppet/v3/node":
		inJSON(map[string]any{"name": name, "parameters": map[string]string{}, "environment": "production"})
	case "/puppet/v3/catalog":
		if len(r.TLS.PeerCertificates) == 0 || r.TLS.PeerCertificates[0].Subject.CommonName != name {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		s.asked = append(s.asked, r.FormValue("environment"))
		inJSON(s.catalog(name))
	case "/puppet/v3/report":
		var report struct{ Status string }
		_ = json.Unmarshal(body, &report)
		s.reports = append(s.reports, report.Status)
		inJSON([]string{"log"})
	default:
		http.NotFound(w, r)
	}
}

// catalog configures a machine for its name.
func (s *puppetServer) catalog(name string) any {
	type resource struct {
		Type       string         `json:"type"`
		Title      string         `json:"title"`
		Tags       []string       `json:"tags"`
		Kind       string         `json:"kind"`
		Parameters map[string]any `json:"parameters,omitempty"`
	}
	type edge struct {
		Source string `json:"source"`
		Target string `json:"target"`
	}
	const known = "compilable_type" // by the agent itself
	resources := []resource{
		{Kind: known, Type: "Stage", Title: "main", Parameters: map[string]any{"name": "main"}},
		{Kind: "unknown", Type: "Class", Title: "main", Parameters: map[string]any{"name": "main"}},
		{Kind: known, Type: "File", Title: "/etc/configured-as", Parameters: map[string]any{"ensure": "file", "content": name + "\n"}},
	}
	edges := []edge{{"Stage[main]", "Class[main]"}, {"Class[main]", "File[/etc/configured-as]"}}
	if s.command != "" {
		resources = append(resources, resource{Kind: known, Type: "Exec", Title: s.command})
		edges = append(edges, edge{"Class[main]", "Exec[" + s.command + "]"})
	}
	return map[string]any{
		"name": name, "version": 1, "environment": "production", "catalog_format": 2, "catalog_uuid": "1", "tags": []string{}, "classes": []string{},
		"resources": resources, "edges": edges,
	}
}

func (s *puppetServer) agent(name string) provision.PuppetAgent {
	return provision.PuppetAgent{
		Server: "localhost", CertName: name, Environment: "production",
		Args: []string{"--serverport=" + strconv.Itoa(s.port), "--certificate_revocation=false"},
	}
}

func TestPuppetAgent(t *testing.T) {
	testenv.Need(t, "puppet")
	m := guest(t, nil, nil)
	server := startPuppetServer(t)
	server.wait = 2
	agent := server.agent("web-1.internal")
	agent.WaitForCert = time.Second
	agent.Secrets = bake.Secrets(map[string]string{"FACTER_token": "correct-horse"})
	if _, err := baked(t.Context(), t, m, agent, nil, "correct-horse"); err != nil {
		t.Fatal(err)
	}
	if got := says(t, m, "cat /etc/configured-as"); got != "web-1.internal" {
		t.Errorf("the machine is configured as %q", got)
	}
	again, err := baked(t.Context(), t, m, agent, nil)
	if err != nil || strings.Contains(again.output(), "content changed") {
		t.Errorf("the second run: %v\n%s", err, again.output())
	}
	if got := strings.Join(server.reports, " "); got != "changed unchanged" {
		t.Errorf("the runs are reported as %q", got)
	}
	tidy(t, m)

	server.command = "/bin/sh -c 'echo to the output; exit 7'"
	failsWith(t, m, agent, 4, "resources failed: ", "'/bin/sh -c ", "returned 7")
	server.command = "/bin/sleep 1000"
	stopped(t, m, agent, "/bin/sleep 1000")

	server.command = ""
	agent.ForgetKeys = true
	if _, err := baked(t.Context(), t, m, agent, nil); err != nil {
		t.Error(err)
	}
	if got := says(t, m, "ls -d /var/lib/puppet/ssl /etc/puppet/ssl 2>/dev/null || true"); got != "" {
		t.Errorf("the agent's keys are left in %s", got)
	}

	// Nobody signs, and the agent does not wait.
	server.wait = 1000
	failsWith(t, m, server.agent("stranger.internal"), 1, "the run failed, or did not begin")
	nowhere := server.agent("stranger.internal")
	nowhere.Args[0] = "--serverport=9"
	failsWith(t, m, nowhere, 1, "the run failed, or did not begin: ", "9")
	if !bytes.Contains([]byte(strings.Join(server.asked, ",")), []byte("production")) {
		t.Errorf("the environment it asked for is %q", server.asked)
	}
}
