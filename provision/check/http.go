package check

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// An HTTP sends a GET request from the machine, with a timeout of ten seconds, and
// verifies the response. The machine needs curl or wget.
type HTTP struct {
	// URL is the URL to request, with scheme http or https. It is required.
	URL string

	// Status is the expected status code. Zero means 200. curl does not follow
	// redirects, but wget does.
	Status int

	// Contains is text that the body must contain. Matches is an extended regular
	// expression (grep -E) that a line of it must match. Both are optional.
	Contains string
	Matches  string

	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool
}

var _ Test = HTTP{}

// String returns "HTTP URL".
func (h HTTP) String() string { return "HTTP " + h.URL }

const (
	minHTTPStatus = 100
	maxHTTPStatus = 599
)

// Validate reports an invalid URL, Status or text.
func (h HTTP) Validate() error {
	errs := []error{checkLine("HTTP.Matches", h.Matches), checkLine("HTTP.URL", h.URL)}
	if u, err := url.Parse(h.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		errs = append(errs, bake.Invalid("HTTP.URL", "invalid http or https URL %q", h.URL))
	}
	if h.Status != 0 && (h.Status < minHTTPStatus || h.Status > maxHTTPStatus) {
		errs = append(errs, bake.Invalid("HTTP.Status", "invalid status code %d", h.Status))
	}
	return errors.Join(errs...)
}

// script uses curl or wget. Of wget it uses only options that GNU's and BusyBox's
// share. It avoids -T, with which BusyBox of Debian 12 crashes.
func (h HTTP) script() string {
	want, curl, wget := 200, "", ""
	if h.Status != 0 {
		want = h.Status
	}
	if h.InsecureSkipVerify {
		curl, wget = "-k ", "--no-check-certificate "
	}
	return fmt.Sprintf(`url=%s
if have curl; then
	out=$(curl -sS -m 10 %s-w '\n%%{http_code}' "$url" 2>&1) || { bad "no response: $out"; exit; }
	status=$(printf '%%s\n' "$out" | tail -n 1)
elif have wget; then
	limit=
	if timeout 10 true 2>/dev/null; then limit="timeout 10"; fi
	head=$($limit wget -S %s-O /dev/null "$url" 2>&1) || :
	status=$(printf '%%s\n' "$head" | sed -n 's|.*HTTP/[0-9.]* \([0-9][0-9][0-9]\).*|\1|p' | tail -n 1)
	[ -n "$status" ] || { bad "no response: $head"; exit; }
	out=$($limit wget -q %[3]s-O - "$url" 2>/dev/null)
else
	bad "curl and wget not found"
	exit
fi
is "the status" "$status" %[4]d
`, posixsh.Quote(h.URL), curl, wget, want) + contentScript("the body", h.Contains, h.Matches)
}
