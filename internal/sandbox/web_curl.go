package sandbox

import (
	"context"
	"errors"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

func joinSorted(names []string) string {
	slices.Sort(names)
	return strings.Join(names, "\n")
}

// The statuses of curl.
const (
	curlUsage    = 2
	curlResolve  = 6
	curlConnect  = 7
	curlHTTP     = 22
	curlWrite    = 23
	curlReadFile = 37
)

// curl fetches URLs that the machine's Options name.
func curl(ctx context.Context, p *Process) int {
	o, words, bad := p.options("fsSLo:OX:H:d:kIiw:m:u:A:C:GF:v#T:e:b:c:x:4z:JRgq60", "fail=f", "fail-with-body=B", "silent=s", "show-error=S", "location=L", "output=o:", "remote-name=O", "request=X:", "header=H:", "data=d:", "data-raw=d:",
		"data-binary=d:", "data-urlencode=d:", "json=d:", "insecure=k", "head=I", "include=i", "write-out=w:", "max-time=m:", "connect-timeout=m:", "user=u:", "user-agent=A:", "continue-at=C:", "get=G", "verbose=v", "progress-bar=#", "no-progress-meter=s",
		"retry=m:", "retry-delay=m:", "retry-max-time=m:", "retry-connrefused=k", "retry-all-errors=k", "create-dirs=D", "compressed=k", "proto=m:", "proto-redir=m:", "tlsv1.2=k", "tlsv1.3=k", "tlsv1=k", "ssl-reqd=k", "http1.1=k", "http2=k", "ipv4=4", "referer=e:", "cookie=b:", "cookie-jar=c:", "proxy=x:", "noproxy=m:", "remote-time=R", "remote-header-name=J", "globoff=g", "cacert=m:", "cert=m:", "key=m:", "output-dir=Y:", "limit-rate=m:", "speed-time=m:", "speed-limit=m:", "url=U:", "remove-on-error=k", "resolve=m:", "unix-socket=W:", "version=V", "fail-early=k", "parallel=k", "location-trusted=L", "max-redirs=m:", "upload-file=T:", "form=F:")
	switch {
	case bad != 0:
		return curlUsage
	case o.on("V"):
		p.print("curl 8.5.0 (simulated)\n")
		return 0
	case o.on("T"), o.on("F"), o.on("W"):
		return p.fail(curlUsage, "-T, -F and --unix-socket are not supported by this machine: register a func for curl in Commands")
	}
	words = append(words, o.values("U")...)
	if len(words) == 0 {
		return p.fail(curlUsage, "no URL specified")
	}
	outputs := o.values("o")
	status := 0
	for i, address := range words {
		output := ""
		switch {
		case i < len(outputs):
			output = outputs[i]
		case o.on("O"):
			if output = path.Base(strings.SplitN(address, "?", 2)[0]); output == "/" || output == "." {
				return p.curlError(o, curlWrite, "Remote file name has no length")
			}
		}
		if dir, ok := o.value("Y"); ok && output != "" {
			output = dir + "/" + output
		}
		if bad := p.curlOne(ctx, o, address, output); bad != 0 {
			status = bad
		}
	}
	return status
}

// curlError prints a message unless -s is given without -S.
func (p *Process) curlError(o opts, status int, text string) int {
	if !o.on("s") || o.on("S") {
		fprintf(p.Stderr, "curl: (%d) %s\n", status, text)
	}
	return status
}

func (p *Process) curlOne(ctx context.Context, o opts, address, output string) int {
	r := request{method: "GET", url: address, header: map[string]string{}}
	switch method, ok := o.value("X"); {
	case ok:
		r.method = method
	case o.on("I"):
		r.method = "HEAD"
	case o.on("d") && !o.on("G"):
		r.method = "POST"
	}
	for _, line := range o.values("H") {
		name, value, _ := strings.Cut(line, ":")
		r.header[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	for _, data := range o.values("d") {
		if data == "@-" {
			if _, err := p.readAll(p.Stdin); err != nil {
				return p.curlError(o, curlReadFile, errText(err))
			}
		}
	}
	var got response
	var err error
	if u, parseErr := url.Parse(address); parseErr == nil && u.Scheme == "file" {
		data, readErr := p.FS.ReadFile(u.Path)
		if readErr != nil {
			return p.curlError(o, curlReadFile, "Couldn't open file "+u.Path)
		}
		got = response{httpOK, string(data)}
	} else if got, err = p.Host.fetch(ctx, r); err != nil {
		status := curlResolve
		if problem, ok := errors.AsType[webError](err); ok && problem.refused {
			status = curlConnect
		}
		p.curlWriteOut(o, response{}, address)
		return p.curlError(o, status, err.Error())
	}
	failed := got.status >= 400 && (o.on("f") || o.on("B"))
	body := got.body
	head := "HTTP/1.1 " + strconv.Itoa(got.status) + map[bool]string{true: " OK", false: " Error"}[got.status == httpOK] + "\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n"
	switch {
	case o.on("I"):
		body = head
	case o.on("i"):
		body = head + body
	}
	if failed && !o.on("B") {
		p.curlWriteOut(o, got, address)
		return p.curlError(o, curlHTTP, "The requested URL returned error: "+itoa(got.status))
	}
	if bad := p.curlSave(o, output, body); bad != 0 {
		return bad
	}
	p.curlWriteOut(o, got, address)
	if failed {
		return p.curlError(o, curlHTTP, "The requested URL returned error: "+itoa(got.status))
	}
	return 0
}

func (p *Process) curlSave(o opts, output, body string) int {
	if output == "" || output == "-" {
		if !p.print(body) {
			return p.curlError(o, curlWrite, "Failure writing output to destination")
		}
		return 0
	}
	file := p.Path(output)
	if o.on("D") {
		if err := p.FS.MkdirAll(path.Dir(file), 0o755); err != nil {
			return p.curlError(o, curlWrite, errText(err))
		}
	}
	if err := p.FS.WriteFile(file, []byte(body), 0o666); err != nil {
		if !o.on("s") || o.on("S") {
			fprintf(p.Stderr, "Warning: Failed to open the file %s: %s\n", output, errText(err))
		}
		return p.curlError(o, curlWrite, "Failure writing output to destination")
	}
	return 0
}

func (p *Process) curlWriteOut(o opts, got response, address string) {
	format, ok := o.value("w")
	if !ok {
		return
	}
	code := strconv.Itoa(got.status)
	if got.status == 0 {
		code = "000"
	}
	p.print(strings.NewReplacer("%{http_code}", code, "%{response_code}", code, "%{url_effective}", address, "%{size_download}", itoa(len(got.body)), "%{time_total}", "0.000000", "%{exitcode}", "0", `\n`, "\n", `\t`, "\t").Replace(format))
}

// The statuses of wget.
const (
	wgetFile    = 3
	wgetNetwork = 4
	wgetServer  = 8
)

// wget fetches URLs that the machine's Options name.
func wget(ctx context.Context, p *Process) int {
	o, words, bad := p.options("qO:P:cNt:T:SnvU:bi:4e:", "quiet=q", "output-document=O:", "directory-prefix=P:", "no-check-certificate=k", "continue=c", "timestamping=N", "tries=t:", "timeout=T:", "header=H:", "method=X:", "progress=g:", "show-progress=g", "no-verbose=v",
		"user-agent=U:", "spider=s", "server-response=S", "https-only=k", "max-redirect=t:", "retry-connrefused=k", "waitretry=t:", "no-cache=k", "trust-server-names=k", "content-disposition=k", "post-data=d:", "body-data=d:", "inet4-only=4", "secure-protocol=t:", "connect-timeout=T:", "read-timeout=T:", "no-clobber=N", "no-hsts=k", "version=V")
	switch {
	case bad != 0:
		return bad
	case len(words) == 0:
		return p.fail(1, "missing URL")
	}
	status := 0
	for _, address := range words {
		r := request{method: "GET", url: address, header: map[string]string{}}
		if method, ok := o.value("X"); ok {
			r.method = method
		}
		for _, line := range o.values("H") {
			name, value, _ := strings.Cut(line, ":")
			r.header[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
		}
		got, err := p.Host.fetch(ctx, r)
		switch {
		case err != nil:
			if problem, ok := errors.AsType[webError](err); !o.on("q") && ok && !problem.refused {
				fprintf(p.Stderr, "wget: unable to resolve host address ‘%s’\n", problem.host)
			} else if !o.on("q") {
				fprintf(p.Stderr, "wget: %s\n", err)
			}
			status = wgetNetwork
		case got.status >= 400:
			if !o.on("q") {
				fprintf(p.Stderr, "ERROR %d: %s\n", got.status, map[int]string{httpNotFound: "Not Found.", httpUnauthorized: "Unauthorized."}[got.status])
			}
			status = wgetServer
		case o.on("s"):
		default:
			if bad := p.wgetSave(o, address, got.body); bad != 0 {
				status = bad
			}
		}
	}
	return status
}

func (p *Process) wgetSave(o opts, address, body string) int {
	output, ok := o.value("O")
	if output == "-" {
		p.print(body)
		return 0
	}
	if !ok {
		output = path.Base(strings.SplitN(strings.TrimSuffix(address, "/"), "?", 2)[0])
		if u, err := url.Parse(address); err == nil && (u.Path == "" || strings.HasSuffix(u.Path, "/")) {
			output = "index.html"
		}
		if dir, ok := o.value("P"); ok {
			if err := p.FS.MkdirAll(p.Path(dir), 0o755); err != nil {
				return p.fail(wgetFile, "%s: %s", dir, errText(err))
			}
			output = dir + "/" + output
		}
	}
	if err := p.FS.WriteFile(p.Path(output), []byte(body), 0o666); err != nil {
		return p.fail(wgetFile, "%s: %s", output, errText(err))
	}
	return 0
}
