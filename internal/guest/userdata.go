package guest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// mostUncompressed is the size from which user data is compressed: EC2 accepts no
// more.
const mostUncompressed = 16 << 10

// UserData is what cloud-init is told when the machine boots.
type UserData struct {
	User      []byte    // the caller's, in any format of cloud-init; may be empty
	Keys      Keys      // of the build
	RootLogin bool      // lets root log in with the client keys
	Expires   time.Time // when the guest shuts itself down
	Boundary  string    // between the parts: the build's id
}

// Document returns the caller's and Bakestone's user data as parts of a MIME
// multipart document for cloud-init, compressed if necessary. It is deterministic,
// because a repeated launch must be the same request.
func (u UserData) Document() (string, error) {
	var doc bytes.Buffer
	w := multipart.NewWriter(&doc)
	if err := w.SetBoundary("bakestone-" + u.Boundary); err != nil {
		return "", err
	}
	fmt.Fprintf(&doc, "Content-Type: multipart/mixed; boundary=%q\nMIME-Version: 1.0\n\n", w.Boundary())
	var errs []error
	add := func(kind, merge string, body []byte) {
		header := textproto.MIMEHeader{"Content-Type": {kind}}
		text := string(body)
		if !strings.HasPrefix(strings.ToLower(kind), "multipart/") { // MIME does not allow encoding these
			header.Set("Content-Transfer-Encoding", "base64")
			text = wrap(base64.StdEncoding.EncodeToString(body))
		}
		if merge != "" {
			header.Set("X-Merge-Type", merge)
		}
		part, err := w.CreatePart(header)
		if err == nil {
			_, err = io.WriteString(part, text)
		}
		errs = append(errs, err)
	}
	if len(u.User) > 0 {
		kind, body, err := userPart(u.User)
		if err != nil {
			return "", err
		}
		add(kind, "", body)
	}
	config, err := json.Marshal(u.cloudConfig())
	if err != nil {
		return "", err
	}
	// JSON is valid YAML. Lists are appended to those of the caller's cloud-config.
	add("text/cloud-config", "list(append)+dict(no_replace,recurse_list)+str()", append([]byte("#cloud-config\n"), config...))
	add("text/cloud-boothook", "", []byte(expiryScript(u.Expires)))
	errs = append(errs, w.Close())
	if doc.Len() > mostUncompressed {
		var compressed bytes.Buffer
		z := gzip.NewWriter(&compressed)
		_, err := z.Write(doc.Bytes())
		errs = append(errs, err, z.Close())
		doc = compressed
	}
	return doc.String(), errors.Join(errs...)
}

// A cloudConfig configures the keys in cloud-init. The host keys replace those of
// the source image.
type cloudConfig struct {
	HostKeys    map[string]string `json:"ssh_keys,omitempty"`
	Authorized  []string          `json:"ssh_authorized_keys,omitempty"`
	DisableRoot *bool             `json:"disable_root,omitempty"`
}

func (u UserData) cloudConfig() cloudConfig {
	k := u.Keys
	var c cloudConfig
	if u.RootLogin {
		c.DisableRoot = new(bool)
	}
	if k.HostPrivate != "" {
		c.HostKeys = map[string]string{
			"ed25519_private": k.HostPrivate, "ed25519_public": k.HostPublic,
			"ecdsa_private": k.HostECDSAPrivate, "ecdsa_public": k.HostECDSAPublic,
		}
	}
	if k.ClientPublic != "" {
		c.Authorized = []string{k.ClientPublic, k.ClientECDSAPublic}
	}
	return c
}

// expiryScript shuts the guest down at its expiry, which ends the machine, in case the
// baking host has died. It is a boothook, because these run again after a reboot and not
// on machines made from the image. Boothooks run before sysinit.target, and timers start
// after it, so to wait for the timer here would be to wait for ever.
func expiryScript(expires time.Time) string {
	return fmt.Sprintf(`#cloud-boothook
#!/bin/sh
# Shuts down this build instance if it has been abandoned.
left=$((%d - $(date +%%s)))
[ "$left" -gt 60 ] || left=60
later="+$(((left + 59) / 60))"
if command -v systemd-run >/dev/null 2>&1; then
	{ systemd-run --unit=bakestone-expiry --on-active="$left" /sbin/shutdown -P now || shutdown -P "$later"; } </dev/null >/dev/null 2>&1 &
	exit 0
fi
shutdown -P "$later"
`, expires.Unix())
}

// userDataKinds returns cloud-init's user data formats by prefix, longer prefixes
// first.
func userDataKinds() [][2]string {
	return [][2]string{
		{"#cloud-config-archive", "text/cloud-config-archive"},
		{"#cloud-config", "text/cloud-config"},
		{"#cloud-boothook", "text/cloud-boothook"},
		{"#include-once", "text/x-include-once-url"},
		{"#include", "text/x-include-url"},
		{"#part-handler", "text/part-handler"},
		{"## template: jinja", "text/jinja2"},
		{"#!", "text/x-shellscript"},
	}
}

// windowsUserData matches the user data of EC2Launch and EC2Config: its tags, which may
// come in any order, and EC2Launch v2's tasks.
var windowsUserData = regexp.MustCompile(`(?i)^(\x{feff}|\s)*(<(powershell|powershellArguments|script|persist|runAsLocalSystem|detach)>|version: *["']?1\.)`)

// userPart returns the MIME type and the body of the caller's user data.
func userPart(data []byte) (kind string, body []byte, err error) {
	data, err = gunzip(data)
	if err != nil {
		return "", nil, err
	}
	for _, k := range userDataKinds() {
		if bytes.HasPrefix(data, []byte(k[0])) {
			return k[1], data, nil
		}
	}
	if windowsUserData.Match(data) {
		return "", nil, errors.New("is for Windows: a Builder needs a guest with cloud-init and a POSIX shell")
	}
	header, rest, found := bytes.Cut(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	if found {
		for line := range strings.Lines(strings.NewReplacer("\n\t", " ", "\n ", " ").Replace(string(header))) {
			name, value, _ := strings.Cut(line, ":")
			if value = strings.TrimSpace(value); !strings.EqualFold(name, "Content-Type") {
				continue
			}
			if value == "" || strings.ContainsFunc(value, unicode.IsControl) || !utf8.ValidString(value) {
				return "", nil, fmt.Errorf("invalid Content-Type %q", value)
			}
			return value, rest, nil
		}
	}
	return "", nil, errors.New("unknown cloud-init format: want a prefix such as #! or #cloud-config, or MIME headers")
}

// gunzip decompresses data if it is compressed, which cloud-init accepts.
func gunzip(data []byte) ([]byte, error) {
	const largest = 1 << 20
	if !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		return data, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, largest))
	if len(plain) == largest {
		err = fmt.Errorf("is more than %d bytes uncompressed", largest)
	}
	return plain, errors.Join(err, r.Close())
}

// wrap breaks base64 into lines of the length that MIME allows.
func wrap(text string) string {
	const width = 76
	var b strings.Builder
	for len(text) > width {
		b.WriteString(text[:width])
		b.WriteByte('\n')
		text = text[width:]
	}
	b.WriteString(text)
	b.WriteByte('\n')
	return b.String()
}
