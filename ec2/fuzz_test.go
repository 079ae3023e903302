package ec2

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/internal/guest"
)

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
		parsed, err := guest.ParseHostKeys(lines)
		if err != nil || len(parsed) == 0 {
			t.Errorf("keys %q of console %q: %v", lines, console, err)
		}
		for _, key := range parsed {
			if blob := strings.Fields(string(ssh.MarshalAuthorizedKey(key)))[1]; !strings.Contains(console, strings.TrimRight(blob, "=")) {
				t.Errorf("key %q is not in console %q", blob, console)
			}
		}
		fingerprints(lines)
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
