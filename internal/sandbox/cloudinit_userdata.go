package sandbox

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
)

// A part is a single document of user data.
type part struct {
	kind    string // its MIME type
	name    string
	content []byte
}

// The supported kinds of parts.
const (
	cloudConfigPart = "text/cloud-config"
	scriptPart      = "text/x-shellscript"
	boothookPart    = "text/cloud-boothook"
)

const (
	maxNesting   = 8
	mostUnpacked = 4 << 20 // bytes; EC2 accepts 16 KiB, compressed
)

func (p part) fileName(i int) string {
	if p.name != "" {
		return strings.ReplaceAll(p.name, "/", "_")
	}
	return fmt.Sprintf("part-%03d", i+1)
}

// parseUserData returns the parts of user data. It decodes gzip, base64 and MIME
// and recognizes plain documents by their first line.
func parseUserData(raw []byte) ([]part, error) { return parsePart(raw, "", "", 0) }

func parsePart(raw []byte, kind, name string, depth int) ([]part, error) {
	if depth > maxNesting {
		return nil, errors.New("user data nested too deeply")
	}
	raw, err := unpack(raw)
	if err != nil {
		return nil, err
	}
	head, _, _ := bytes.Cut(raw, []byte("\n"))
	switch {
	case len(bytes.TrimSpace(raw)) == 0:
		return nil, nil
	case bytes.HasPrefix(raw, []byte("Content-Type:")) || bytes.HasPrefix(raw, []byte("MIME-Version:")) || bytes.HasPrefix(raw, []byte("From ")):
		return parseMessage(raw, depth)
	case kind == cloudConfigPart || kind == scriptPart || kind == boothookPart:
	case bytes.HasPrefix(raw, []byte("#!")):
		kind = scriptPart
	case bytes.HasPrefix(raw, []byte("#cloud-config-archive")), bytes.HasPrefix(raw, []byte("#include")), bytes.HasPrefix(raw, []byte("## template")):
		return nil, fmt.Errorf("user data %q is not supported by this machine", head)
	case bytes.HasPrefix(raw, []byte("#cloud-config")):
		kind = cloudConfigPart
	case bytes.HasPrefix(raw, []byte("#cloud-boothook")):
		kind = boothookPart
	default:
		return nil, fmt.Errorf("unhandled non-multipart userdata (starts with %q)", clip(string(head)))
	}
	if kind == boothookPart {
		raw = bytes.TrimPrefix(bytes.TrimPrefix(raw, []byte("#cloud-boothook")), []byte("\n"))
	}
	return []part{{kind: kind, name: name, content: raw}}, nil
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40]
	}
	return s
}

// unpack decompresses gzip, and decodes base64 that encodes gzip or the start of
// a known document.
func unpack(raw []byte) ([]byte, error) {
	for range 3 {
		switch {
		case bytes.HasPrefix(raw, []byte{0x1f, 0x8b}):
			var err error
			if raw, err = gunzip(raw); err != nil {
				return nil, fmt.Errorf("user data: %w", err)
			}
		case bytes.HasPrefix(raw, []byte("H4sI")), bytes.HasPrefix(raw, []byte("I2Nsb3")), bytes.HasPrefix(raw, []byte("IyEv")):
			text, err := decodeBase64(raw)
			if err != nil {
				return raw, nil //nolint:nilerr // not base64
			}
			raw = text
		default:
			return raw, nil
		}
	}
	return raw, nil
}

func gunzip(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(z, mostUnpacked+1))
	if err == nil && len(text) > mostUnpacked {
		err = fmt.Errorf("more than %d MiB uncompressed", mostUnpacked>>20)
	}
	return text, err
}

// decodeBase64 decodes base64 that may contain white space.
func decodeBase64(text []byte) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(text)), ""))
}

func parseMessage(raw []byte, depth int) ([]part, error) {
	if bytes.HasPrefix(raw, []byte("From ")) {
		_, raw, _ = bytes.Cut(raw, []byte("\n"))
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("user data: %w", err)
	}
	return parseEntity(m.Body, m.Header.Get, depth)
}

func parseEntity(body io.Reader, header func(string) string, depth int) ([]part, error) {
	kind, params, err := mime.ParseMediaType(header("Content-Type"))
	if err != nil {
		kind = "text/plain"
	}
	if strings.HasPrefix(kind, "multipart/") {
		if depth > maxNesting {
			return nil, errors.New("user data nested too deeply")
		}
		var all []part
		var errs []error // of parts, of which cloud-init uses the others
		r := multipart.NewReader(body, params["boundary"])
		for {
			p, err := r.NextRawPart()
			if errors.Is(err, io.EOF) {
				return all, errors.Join(errs...)
			}
			if err != nil {
				return nil, fmt.Errorf("user data: %w", err)
			}
			parts, err := parseEntity(p, p.Header.Get, depth+1)
			all, errs = append(all, parts...), append(errs, err)
		}
	}
	switch strings.ToLower(header("Content-Transfer-Encoding")) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	content, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("user data: %w", err)
	}
	_, disposition, _ := mime.ParseMediaType(header("Content-Disposition")) // optional
	return parsePart(content, kind, disposition["filename"], depth+1)
}
