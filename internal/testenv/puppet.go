package testenv

import (
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
	"sync"
	"testing"
	"time"
)

// A PuppetServer implements as much of Puppet's protocol as the real agent needs
// to get a certificate and a catalog. Its fields must not be used while an agent
// runs.
type PuppetServer struct {
	Port int // on loopback

	Wait         int      // number of certificate requests that fail before one is signed
	Command      string   // run by the catalog; empty means none
	Reports      []string // statuses of the reported runs
	Environments []string // of the requested catalogs

	t   testing.TB
	key *ecdsa.PrivateKey
	ca  *x509.Certificate

	mu     sync.Mutex
	signed map[string][]byte // PEM certificates by name
}

// Puppet starts a server that runs on loopback until t ends. Names are the host
// names in its certificate. Its catalog writes the agent's name to
// /etc/configured-as.
func Puppet(t testing.TB, names ...string) *PuppetServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &PuppetServer{t: t, key: key, signed: map[string][]byte{}}
	s.ca = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Puppet CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{1},
	}
	s.ca = s.sign(s.ca, s.ca, &key.PublicKey)
	leaf := s.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "puppet"}, DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
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
	if s.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *PuppetServer) sign(cert, parent *x509.Certificate, public any) *x509.Certificate {
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

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (s *PuppetServer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	name := path.Base(r.URL.Path)
	write := func(text []byte) { _, _ = w.Write(text) }
	writeJSON := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	switch path.Dir(r.URL.Path) {
	case "/puppet-ca/v1/certificate":
		switch signed := s.signed[name]; {
		case name == "ca":
			write(certificatePEM(s.ca.Raw))
		case signed != nil && s.Wait == 0:
			write(signed)
		default:
			s.Wait = max(0, s.Wait-1)
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
		s.signed[name] = certificatePEM(s.sign(&x509.Certificate{SerialNumber: big.NewInt(3), Subject: request.Subject}, s.ca, request.PublicKey).Raw)
	case "/puppet/v3/file_metadatas":
		writeJSON([]map[string]any{{
			"path": "/plugins", "relative_path": ".", "links": "follow", "owner": 0, "group": 0, "mode": 0o755, "type": "directory", "destination": nil,
			"checksum": map[string]string{"type": "ctime", "value": "{ctime}2026-01-01 00:00:00 +0000"},
		}})
	case "/puppet/v3/node":
		writeJSON(map[string]any{"name": name, "parameters": map[string]string{}, "environment": "production"})
	case "/puppet/v3/catalog":
		if len(r.TLS.PeerCertificates) == 0 || r.TLS.PeerCertificates[0].Subject.CommonName != name {
			http.Error(w, "certificate does not match the node name", http.StatusForbidden)
			return
		}
		s.Environments = append(s.Environments, r.FormValue("environment"))
		writeJSON(s.catalog(name))
	case "/puppet/v3/report":
		var report struct{ Status string }
		_ = json.Unmarshal(body, &report)
		s.Reports = append(s.Reports, report.Status)
		writeJSON([]string{"log"})
	default:
		http.NotFound(w, r)
	}
}

// catalog returns the catalog of the machine with a name.
func (s *PuppetServer) catalog(name string) any {
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
	const builtIn = "compilable_type" // in Puppet itself
	resources := []resource{
		{Kind: builtIn, Type: "Stage", Title: "main", Parameters: map[string]any{"name": "main"}},
		{Kind: "unknown", Type: "Class", Title: "main", Parameters: map[string]any{"name": "main"}},
		{Kind: builtIn, Type: "File", Title: "/etc/configured-as", Parameters: map[string]any{"ensure": "file", "content": name + "\n"}},
	}
	edges := []edge{{"Stage[main]", "Class[main]"}, {"Class[main]", "File[/etc/configured-as]"}}
	if s.Command != "" {
		resources = append(resources, resource{Kind: builtIn, Type: "Exec", Title: s.Command})
		edges = append(edges, edge{"Class[main]", "Exec[" + s.Command + "]"})
	}
	return map[string]any{
		"name": name, "version": 1, "environment": "production", "catalog_format": 2, "catalog_uuid": "1", "tags": []string{}, "classes": []string{},
		"resources": resources, "edges": edges,
	}
}
