package ec2

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

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
	k := keys{HostPrivate: "private", HostPublic: "public", ClientPublic: "ssh-ed25519 AAAA"}
	f.Fuzz(func(t *testing.T, user []byte) {
		if len(user) == 0 || bytes.Contains(user, []byte("--bakestone-id")) {
			return // the boundary has the build's id, which is random
		}
		const id = "id"
		doc, err := userData(user, k, expires, id)
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

// FuzzConsole checks that only whole lists of valid keys are read from a console.
func FuzzConsole(f *testing.F) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
	const begin, end = "-----BEGIN SSH HOST KEY KEYS-----\n", "-----END SSH HOST KEY KEYS-----\n"
	for _, seed := range []string{
		begin + key + " root@x\n" + end, "[   12.3] ci-info: " + begin + "[  1.2] " + key + "\r\n" + end, begin + key, end + begin, begin + "ssh-rsa AAAA\n" + end,
		begin + "cert-authority " + key + "\n" + end, begin + key + "\n" + key + "\n" + end,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, console string) {
		lines := consoleKeys(console)
		if lines == "" {
			return
		}
		parsed, err := hostKeys(lines)
		if err != nil || len(parsed) == 0 {
			t.Errorf("keys %q of console %q: %v", lines, console, err)
		}
		for _, key := range parsed {
			if blob := keyBlob(string(ssh.MarshalAuthorizedKey(key))); !strings.Contains(console, strings.TrimRight(blob, "=")) {
				t.Errorf("key %q is not in console %q", blob, console)
			}
		}
		fingerprints(lines)
	})
}

// FuzzHostKeys checks that stored host keys of any content are all read or refused.
func FuzzHostKeys(f *testing.F) {
	f.Add("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl x\n\n# y\n")
	f.Add("ssh-rsa x")
	f.Fuzz(func(t *testing.T, lines string) {
		keys, err := hostKeys(lines)
		if err == nil && len(keys) == 0 && lines != "" {
			t.Errorf("hostKeys(%q) has neither keys nor an error", lines)
		}
		keyBlob(lines)
	})
}

// FuzzSession checks that a stored session of any content is refused, or stored again
// as it is.
func FuzzSession(f *testing.F) {
	f.Add([]byte(`{"Source":{"ID":"ami-1"},"Instance":{"ID":"i-1"},"Copies":[{"ID":"ami-2"}]}`))
	f.Add([]byte("null"))
	f.Add([]byte(`{"Machine":{"Disks":[null]},"Keys":null}`))
	f.Fuzz(func(t *testing.T, record []byte) {
		var s, again session
		if json.Unmarshal(record, &s) != nil {
			return
		}
		first, err := json.Marshal(&s)
		if err != nil {
			t.Skip("a value that JSON cannot hold")
		}
		if err := json.Unmarshal(first, &again); err != nil {
			t.Fatalf("Unmarshal of a stored session = %v:\n%s", err, first)
		}
		if second, err := json.Marshal(&again); err != nil || !bytes.Equal(first, second) {
			t.Errorf("session stored again is %s, %v, was %s", second, err, first)
		}
		if s.resumed != (s.Source.ID != "") {
			t.Errorf("resumed = %v with source %q", s.resumed, s.Source.ID)
		}
	})
}

// FuzzManifest checks that builds are appended to a manifest of any content without
// losing others, or that the file stays as it is.
func FuzzManifest(f *testing.F) {
	for _, seed := range []string{"", "null", "{}", `{"builds":[{"name":"other","x":1}],"last_run_uuid":"u"}`, `{"builds":[null,1,"x"]}`, `{"builds":{}}`, `{"builds":null,"more":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "m.json")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		var before, after manifestFile
		valid := json.Unmarshal(content, &before) == nil
		m := PackerManifest{Path: path, Name: "fuzz"}
		ami := &AMI{Build: "20260102t030405-abcdefgh"}
		err := m.Publish(t.Context(), ami)
		text, readErr := os.ReadFile(path)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if err != nil {
			if valid || !bytes.Equal(text, content) {
				t.Errorf("Publish to %q = %v, and the file is %q", content, err, text)
			}
			return
		}
		if err := json.Unmarshal(text, &after); err != nil || len(after.Builds) < len(before.Builds) {
			t.Errorf("Publish to %q leaves %q, %v", content, text, err)
		}
		if err := m.Publish(t.Context(), ami); err != nil {
			t.Errorf("Publish again = %v", err)
		}
		if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, text) {
			t.Errorf("Publish again leaves %q, %v, was %q", again, err, text)
		}
	})
}
