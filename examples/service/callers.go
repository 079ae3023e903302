package main

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// Callers are those who may use the service. Sessions of browsers are signed with the
// token, so every process knows them, and a new token ends them.
type callers struct {
	names   []string
	digests [][sha256.Size]byte // of the tokens
}

const (
	shortestToken = 20
	sessionTime   = 12 * time.Hour
)

var callerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._@-]{0,63}$`)

// readCallers reads a file of names and tokens. Without a file there is one caller,
// operator, with a new token, which it returns.
func readCallers(file string) (who *callers, token string, err error) {
	if file == "" {
		token = rand.Text()
		who, err = parseCallers([]byte("operator " + token))
		return who, token, err
	}
	text, err := os.ReadFile(file) //nolint:gosec // the caller chooses it
	if err != nil {
		return nil, "", fmt.Errorf("read the tokens: %w", err)
	}
	who, err = parseCallers(text)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", file, err)
	}
	return who, "", nil
}

func parseCallers(text []byte) (*callers, error) {
	who := &callers{}
	seen := map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		field := fmt.Sprintf("-tokens, line %d", n) // errors must not contain tokens
		switch {
		case len(fields) != 2:
			return nil, bake.Invalid(field, "want a name and a token")
		case !callerName.MatchString(fields[0]):
			return nil, bake.Invalid(field, "invalid name: want at most 64 letters, digits and ._@-")
		case len(fields[1]) < shortestToken:
			return nil, bake.Invalid(field, "the token has fewer than %d characters, so it can be guessed", shortestToken)
		case seen[fields[0]] || seen[" "+fields[1]]:
			return nil, bake.Invalid(field, "another line has this name or token")
		}
		seen[fields[0]], seen[" "+fields[1]] = true, true
		who.names = append(who.names, fields[0])
		who.digests = append(who.digests, sha256.Sum256([]byte(fields[1])))
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(who.names) == 0 {
		return nil, bake.Invalid("-tokens", "has no caller")
	}
	return who, nil
}

// byToken returns the caller with a token, in a time that does not depend on the token.
func (c *callers) byToken(token string) (name string, ok bool) {
	digest := sha256.Sum256([]byte(token))
	found := -1
	for i := range c.digests {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(digest[:], c.digests[i][:]), i, found)
	}
	if found < 0 {
		return "", false
	}
	return c.names[found], true
}

// session returns the value of a cookie for the caller.
func (c *callers) session(name string, now time.Time) string {
	until := strconv.FormatInt(now.Add(sessionTime).Unix(), 10)
	return name + "|" + until + "|" + base64.RawURLEncoding.EncodeToString(c.sign(name, until))
}

// sign returns the signature of a session, or nil if there is no such caller.
func (c *callers) sign(name, until string) []byte {
	for i := range c.names {
		if c.names[i] == name {
			mac := hmac.New(sha256.New, c.digests[i][:])
			_, _ = mac.Write([]byte("session of " + name + " until " + until)) // never fails
			return mac.Sum(nil)
		}
	}
	return nil
}

// bySession returns the caller of a cookie.
func (c *callers) bySession(value string, now time.Time) (name string, ok bool) {
	name, rest, _ := strings.Cut(value, "|")
	until, signature, _ := strings.Cut(rest, "|")
	given, err := base64.RawURLEncoding.DecodeString(signature)
	want := c.sign(name, until)
	if err != nil || want == nil || !hmac.Equal(given, want) {
		return "", false
	}
	end, err := strconv.ParseInt(until, 10, 64)
	if err != nil || now.Unix() >= end {
		return "", false
	}
	return name, true
}
