package ec2

import (
	"context"

	"github.com/bakestone-go/bakestone/internal/guest"
)

func (s *session) makeKeys(context.Context) error { return s.newKeys() }

// newKeys creates the keys that the caller does not provide.
func (s *session) newKeys() error {
	s.Keys = guest.Keys{}
	if s.builder.SSH.HostKey == nil && !s.builder.SSH.ConsoleHostKey {
		if err := s.Keys.AddHostKeys(s.run); err != nil {
			return err
		}
	}
	if len(s.builder.SSH.Auth) == 0 {
		return s.Keys.AddClientKeys(s.run)
	}
	return nil
}
