package ec2_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/ec2"
)

func TestHTTPCheck(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/health", http.StatusFound)
		case r.URL.Path != "/health" || r.Host != "shop.example.com":
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(at.Port())
	if err != nil {
		t.Fatal(err)
	}
	group := &ec2.RunningGroup{Name: "shop", Instances: []ec2.GroupInstance{{ID: "i-1", PrivateIP: "127.0.0.1"}, {ID: "i-2", PrivateIP: "127.0.0.1"}}}
	good := ec2.HTTPCheck{Port: port, Path: "health", Host: "shop.example.com"}
	moved, public, other := good, good, good
	moved.Path, public.Public, other.Host = "/moved", true, ""
	for name, c := range map[string]struct {
		check ec2.HTTPCheck
		group *ec2.RunningGroup
		want  string
	}{
		"good":         {good, group, ""},
		"redirection":  {moved, group, "answers 302 Found"},
		"unavailable":  {other, group, "instance i-1: http://127.0.0.1:" + at.Port() + "/health answers 503"},
		"no address":   {public, group, "instance i-1: it has no such address"},
		"no instances": {good, &ec2.RunningGroup{Name: "shop"}, "no instance of shop in service"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.check.CheckGroup(t.Context(), c.group)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("CheckGroup = %v, want %q", err, c.want)
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestHTTPCheckFor asks for as long as For says, or until an instance does not answer.
func TestHTTPCheckFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, fails := map[string]int{}, 0
		check := ec2.HTTPCheck{Scheme: "https", For: time.Minute, Client: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if asked[r.URL.Host]++; asked[r.URL.Host] == fails {
				return nil, net.ErrClosed
			}
			return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}, nil
		})}}
		group := &ec2.RunningGroup{Name: "shop", Instances: []ec2.GroupInstance{{ID: "i-1", PrivateIP: "10.0.0.1"}, {ID: "i-2", PrivateIP: "fd00::2"}}}
		began := time.Now()
		if err := check.CheckGroup(t.Context(), group); err != nil || time.Since(began) != time.Minute {
			t.Errorf("CheckGroup = %v after %v, want nil after a minute", err, time.Since(began))
		}
		if asked["10.0.0.1"] != 7 || asked["[fd00::2]"] != 7 {
			t.Errorf("instances asked: %v, want each seven times", asked)
		}
		clear(asked)
		fails = 3
		if err := check.CheckGroup(t.Context(), group); !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "instance i-1") {
			t.Errorf("CheckGroup = %v, want i-1's error", err)
		}
	})
}
