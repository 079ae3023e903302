package guest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/internal/testenv/pack"
)

// FuzzUserData checks that user data of any content is refused or merged so that a MIME
// parser finds Bakestone's own parts at the end, unchanged.
func FuzzUserData(f *testing.F) {
	packed := func(text string) string { return pack.Gzip(f, text) }
	for _, seed := range []string{
		"#!/bin/sh\necho x", "#cloud-config\nruncmd: [a]", packed("#!/bin/sh"), packed(strings.Repeat("#", 2<<20)), "\x1f\x8b",
		"Content-Type: multipart/mixed; boundary=\"x\"\nMIME-Version: 1.0\n\n--x\nContent-Type: text/x-shellscript\n\n#!/bin/sh\n--x--\n",
		"Content-Type: text/plain\r\n\r\nx", "Content-Type:\n\n", "Content-Type: multipart/mixed; boundary=bakestone-id\n\n--bakestone-id--\n--bakestone-id\n\nx",
		"Content-Type: text/x-shellscript\rX-Evil: 1\n\nx", "## template: jinja\n#!x",
		"content-type: Multipart/Mixed;\n boundary=x\n\n--x\nContent-Type: text/x-shellscript\n\n#!/bin/sh\n--x--\n",
	} {
		f.Add([]byte(seed))
	}
	expires := time.Unix(1_800_000_000, 0)
	k := Keys{HostPrivate: "private", HostPublic: "public", ClientPublic: "ssh-ed25519 AAAA"}
	f.Fuzz(func(t *testing.T, user []byte) {
		if len(user) == 0 || bytes.Contains(user, []byte("--bakestone-id")) {
			return // the boundary has the build's id, which is random
		}
		const id = "id"
		doc, err := UserData{User: user, Keys: k, Expires: expires, Boundary: id}.Document()
		if err != nil {
			return
		}
		plain, err := gunzip([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(plain, []byte("\n--bakestone-id--\n--bakestone-id")) {
			return
		}
		m, err := mail.ReadMessage(bytes.NewReader(plain))
		if err != nil {
			t.Fatal(err)
		}
		_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		var bodies [][]byte
		for parts := multipart.NewReader(m.Body, params["boundary"]); ; {
			p, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("user data %q becomes %q: %v", user, plain, err)
			}
			var body io.Reader = p
			if p.Header.Get("Content-Transfer-Encoding") == "base64" {
				body = base64.NewDecoder(base64.StdEncoding, p)
			}
			text, err := io.ReadAll(body)
			if err != nil {
				t.Fatalf("user data %q becomes %q: %v", user, plain, err)
			}
			kinds, bodies = append(kinds, p.Header.Get("Content-Type")), append(bodies, text)
		}
		const parts = 3
		if len(kinds) != parts || kinds[1] != "text/cloud-config" || kinds[2] != "text/cloud-boothook" || string(bodies[2]) != expiryScript(expires) {
			t.Errorf("user data %q becomes parts of kinds %q:\n%s", user, kinds, plain)
		}
	})
}

// FuzzHostKeys checks that stored host keys of any content are all read or refused.
func FuzzHostKeys(f *testing.F) {
	f.Add("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl x\n\n# y\n")
	f.Add("ssh-rsa x")
	f.Fuzz(func(t *testing.T, lines string) {
		keys, err := ParseHostKeys(lines)
		if err == nil && len(keys) == 0 && lines != "" {
			t.Errorf("ParseHostKeys(%q) has neither keys nor an error", lines)
		}
		keyBlob(lines)
	})
}
