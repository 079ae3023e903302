package bake

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"strings"
	"time"
)

const (
	buildIDTime   = "20060102t150405"
	buildIDRandom = 8 // characters

	// The id of a build that a Request with an ID began.
	requestPrefix = "request-"
	requestDigest = 16 // characters
)

// newBuildID returns a unique id that sorts by time and is valid in names and tags.
func newBuildID(now time.Time) string {
	var random [buildIDRandom * 5 / 8]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the program instead
	return now.UTC().Format(buildIDTime) + "-" + strings.ToLower(base32.StdEncoding.EncodeToString(random[:]))
}

// validateBuildID reports an id that newBuildID and requestBuildID do not return. Ids
// become the names of files and resources.
func validateBuildID(id string) error {
	timestamp, random, _ := strings.Cut(id, "-")
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	if digest, ok := strings.CutPrefix(id, requestPrefix); ok && len(digest) == requestDigest && strings.Trim(digest, letters) == "" {
		return nil
	}
	if _, err := time.Parse(buildIDTime, timestamp); err == nil && len(timestamp) == len(buildIDTime) &&
		len(random) == buildIDRandom && strings.Trim(random, letters) == "" {
		return nil
	}
	return fmt.Errorf("invalid build id %q", shorten(id, 2*len(buildIDTime)))
}
