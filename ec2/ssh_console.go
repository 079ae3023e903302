package ec2

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/awsapi"
	"github.com/bakestone-go/bakestone/internal/guest"
)

// consoleEvery is the time between two reads of a console. GetConsoleOutput has one
// of the lowest rate limits and needs a call for each instance.
const consoleEvery = 5 * time.Second

// readHostKeys waits until cloud-init has printed the host keys to the console.
func (s *session) readHostKeys(ctx context.Context) error {
	latest := true
	err := clock.WaitFor(ctx, s.run.Clock, consoleEvery, func(ctx context.Context) (bool, error) {
		out, err := s.region.client.GetConsoleOutput(ctx, &awsec2.GetConsoleOutputInput{
			InstanceId: aws.String(s.Instance.ID), Latest: aws.Bool(latest),
		})
		if latest && awsapi.Code(err) == "UnsupportedOperation" { // only Nitro supports Latest
			latest = false
			return false, nil
		}
		if isNotFound(err) {
			return false, nil // the new instance is not visible yet
		}
		if err != nil {
			return false, err
		}
		text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
		if err != nil {
			return false, fmt.Errorf("console of %s: %w", s.Instance.ID, err)
		}
		s.Keys.HostPublic = consoleKeys(string(text))
		return s.Keys.HostPublic != "", nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no host keys in the console output of %s: %w", s.Instance.ID, err)
	}
	if err == nil {
		s.run.Say("host keys read from the console: %s", fingerprints(s.Keys.HostPublic))
	}
	return err
}

// consoleKeys returns the host keys that cloud-init printed last, one per line, or
// an empty string while the list is incomplete. It skips prefixes that the console
// adds to lines.
func consoleKeys(console string) string {
	const begin, end = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
	at := strings.LastIndex(console, begin)
	if at < 0 {
		return ""
	}
	list, _, complete := strings.Cut(console[at+len(begin):], end)
	if !complete {
		return ""
	}
	var keys strings.Builder
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		for i := range max(0, len(fields)-1) {
			key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(fields[i] + " " + fields[i+1]))
			if err == nil {
				keys.Write(ssh.MarshalAuthorizedKey(key))
				break
			}
		}
	}
	return keys.String()
}

func fingerprints(lines string) string {
	keys, err := guest.ParseHostKeys(lines)
	if err != nil {
		return err.Error()
	}
	shown := make([]string, 0, len(keys))
	for _, key := range keys {
		shown = append(shown, key.Type()+" "+ssh.FingerprintSHA256(key))
	}
	return strings.Join(shown, ", ")
}
