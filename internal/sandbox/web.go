package sandbox

import (
	"context"
	"net/url"
	"strings"
)

// response is the answer to a simulated HTTP request.
type response struct {
	status int // of HTTP
	body   string
}

// webError is the reason that there is no answer.
type webError struct {
	host    string
	refused bool // the host exists, but the port is closed
	port    string
}

func (e webError) Error() string {
	if e.refused {
		return "Failed to connect to " + e.host + " port " + e.port + ": Connection refused"
	}
	return "Could not resolve host: " + e.host
}

const (
	httpOK           = 200
	httpUnauthorized = 401
	httpNotFound     = 404
)

const (
	metadataHost  = "169.254.169.254"
	metadataToken = "simulated"
)

// request is a simulated HTTP request of curl or wget.
type request struct {
	method string
	url    string
	header map[string]string // by name in lower case
}

// fetch answers a request from Options.URLs or the metadata.
func (h *Host) fetch(ctx context.Context, r request) (response, error) {
	full := r.url
	if !strings.Contains(full, "://") {
		full = "http://" + full
	}
	u, err := url.Parse(full)
	if err != nil {
		return response{}, webError{host: full}
	}
	if u.Hostname() == metadataHost && h.o.Metadata != nil {
		return h.metadata(r, strings.TrimPrefix(u.Path, "/latest/")), nil
	}
	known := false
	for candidate, body := range h.o.URLs {
		if candidate == r.url || candidate == full || strings.TrimSuffix(candidate, "/") == strings.TrimSuffix(full, "/") {
			return response{httpOK, body}, nil
		}
		if other, err := url.Parse(candidate); err == nil && other.Host == u.Host {
			known = true
		}
	}
	if known {
		return response{httpNotFound, "not found\n"}, nil
	}
	h.note(ctx, "host "+u.Host, "there is no network, and "+u.Host+" is not in URLs: add the URLs that curl and wget download")
	local := u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1"
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443"}[u.Scheme]
	}
	if port == "" {
		port = "80"
	}
	return response{}, webError{host: u.Hostname(), refused: local, port: port}
}

// metadata answers a request to the instance metadata service, version 2.
func (h *Host) metadata(r request, path string) response {
	if r.method == "PUT" {
		if path == "api/token" && r.header["x-aws-ec2-metadata-token-ttl-seconds"] != "" {
			return response{httpOK, metadataToken}
		}
		return response{400, "Bad Request\n"}
	}
	if r.header["x-aws-ec2-metadata-token"] != metadataToken {
		return response{httpUnauthorized, "Unauthorized\n"}
	}
	if value, ok := h.o.Metadata[path]; ok {
		return response{httpOK, value}
	}
	seen := map[string]bool{}
	var names []string
	dir := strings.TrimSuffix(path, "/") + "/"
	for name := range h.o.Metadata {
		rest, ok := strings.CutPrefix(name, strings.TrimPrefix(dir, "/"))
		if first, _, more := strings.Cut(rest, "/"); ok && !seen[first] {
			seen[first] = true
			names = append(names, first+map[bool]string{true: "/"}[more])
		}
	}
	if len(names) == 0 {
		return response{httpNotFound, "Not Found\n"}
	}
	return response{httpOK, joinSorted(names)}
}
