package check

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// HTTP is a request that must be answered when it is made on the machine. It
// needs curl or wget there.
type HTTP struct {
	// URL is what is asked for, of the schemes http and https.
	URL string

	// Status is that of the answer. Zero is 200. Redirections are not followed
	// by curl.
	Status int

	// Contains is a text in the body, and Matches an extended regular expression
	// of grep that some line of it must match.
	Contains string
	Matches  string

	// InsecureTLS takes any certificate.
	InsecureTLS bool
}

// String is "HTTP URL".
func (h HTTP) String() string { return "HTTP " + h.URL }

const (
	lowestHTTPStatus  = 100
	highestHTTPStatus = 599
)

// Validate reports what is not a URL, and a Status that is none.
func (h HTTP) Validate() error {
	errs := []error{checkLine("HTTP.Matches", h.Matches), checkLine("HTTP.URL", h.URL)}
	if u, err := url.Parse(h.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		errs = append(errs, bake.Invalid("HTTP.URL", "%q is not a URL of http or https", h.URL))
	}
	if h.Status != 0 && (h.Status < lowestHTTPStatus || h.Status > highestHTTPStatus) {
		errs = append(errs, bake.Invalid("HTTP.Status", "%d is not a status", h.Status))
	}
	return errors.Join(errs...)
}

// script asks with curl, or with wget, whose two kinds agree on no more than to
// print the headers with -S; BusyBox of Debian 12 crashes at -T.
func (h HTTP) script() string {
	want, curl, wget := 200, "", ""
	if h.Status != 0 {
		want = h.Status
	}
	if h.InsecureTLS {
		curl, wget = "-k ", "--no-check-certificate "
	}
	return fmt.Sprintf(`url=%s
if have curl; then
	out=$(curl -sS -m 10 %s-w '\n%%{http_code}' "$url" 2>&1) || { bad "no answer: $out"; exit; }
	status=$(printf '%%s\n' "$out" | tail -n 1)
elif have wget; then
	limit=
	if timeout 10 true 2>/dev/null; then limit="timeout 10"; fi
	head=$($limit wget -S %s-O /dev/null "$url" 2>&1) || :
	status=$(printf '%%s\n' "$head" | sed -n 's|.*HTTP/[0-9.]* \([0-9][0-9][0-9]\).*|\1|p' | tail -n 1)
	[ -n "$status" ] || { bad "no answer: $head"; exit; }
	out=$($limit wget -q %[3]s-O - "$url" 2>/dev/null)
else
	bad "neither curl nor wget is on the machine"
	exit
fi
is "the status" "$status" %[4]d
`, posixsh.Quote(h.URL), curl, wget, want) + contentScript("the body", h.Contains, h.Matches)
}
