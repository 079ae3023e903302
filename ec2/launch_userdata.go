package ec2

import (
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/guest"
)

const (
	mostUserData = 16 << 10 // EC2's limit
	keysVary     = 128      // by how many bytes the compressed size of keys varies
)

// validateUserData reports user data that cloud-init does not know, or that EC2
// does not accept merged with Bakestone's own.
func (b Builder) validateUserData() []error {
	const field = "Builder.UserData"
	if len(b.UserData) == 0 {
		return nil
	}
	var s session
	s.builder, s.run = b, bake.NewRun(strings.Repeat("x", len("20060102t150405-abcdefgh-check")), "", nil, nil)
	if err := s.newKeys(); err != nil {
		return []error{err}
	}
	data, err := s.userData()
	if err != nil {
		return []error{bake.Invalid(field, "%w", err)}
	}
	if limit := mostUserData - keysVary; len(data) > limit {
		return []error{bake.Invalid(field, "is %d bytes merged with Bakestone's own and compressed, want at most %d", len(data), limit)}
	}
	return nil
}

// userData returns the instance's user data.
func (s *session) userData() (string, error) {
	return guest.UserData{User: s.builder.UserData, Keys: s.Keys, Expires: s.run.Expires, Boundary: s.run.ID}.Document()
}
