package testenv

import (
	"context"
	"net/http"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// Moto starts a server of moto, an independent implementation of EC2, and
// returns its endpoint, such as "http://127.0.0.1:34567". The server starts with
// moto's default network and images and rejects unknown images, key pairs and
// instance types. Env is added to its environment. Without moto, t is skipped, as
// by Need.
//
// The server is stopped when t ends, and its log is shown if t has failed.
func Moto(t testing.TB, env ...string) (endpoint string) {
	t.Helper()
	python := Need(t, "moto")
	log := filepath.Join(t.TempDir(), "moto.log")
	env = append([]string{
		"MOTO_ENABLE_AMI_VALIDATION=1",
		"MOTO_ENABLE_KEYPAIR_VALIDATION=1",
		"MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION=1",
	}, env...)
	// With port 0 the system chooses a free port.
	p, err := start(t, log, "BAKESTONE_TEST_MOTO="+log, env, python, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0")
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("testenv: end of moto's log:\n%s", p.tail())
		}
	})
	address := regexp.MustCompile(`Running on (http://127\.0\.0\.1:[0-9]+)`)
	ctx, cancel := context.WithTimeout(t.Context(), readyTimeout)
	defer cancel()
	for {
		if found := address.FindStringSubmatch(p.tail()); found != nil && responds(ctx, found[1]+"/moto-api/data.json") {
			return found[1]
		}
		if p.exited() || !pause(ctx) {
			t.Fatalf("testenv: moto did not start:\n%s", p.tail())
		}
	}
}

// responds reports whether a GET of url succeeds with status 200.
func responds(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}
