package ec2

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// EC2 accepts any KMS key name, and finds out after the call whether it can use the
// key: an instance then terminates with the reason "Client.InternalError", a copy
// fails with "Given key ID is not accessible". Neither names the key, so errors here
// list the possible ones.

// needsKeys adds to err the keys that the failed operation needs.
func needsKeys(err error, keys []string) error {
	keys = slices.DeleteFunc(keys, func(key string) bool { return key == "" })
	slices.Sort(keys)
	switch keys = slices.Compact(keys); len(keys) {
	case 0:
		return err
	case 1:
		return fmt.Errorf("%w; requires KMS key %s", err, keys[0])
	}
	return fmt.Errorf("%w; requires KMS keys %s", err, strings.Join(keys, " and "))
}

// launchKeys returns the keys of Builder.BlockDevices if the instance may have
// terminated because of one.
func (s *session) launchKeys(i ec2types.Instance) []string {
	if i.StateReason == nil {
		return nil
	}
	code := aws.ToString(i.StateReason.Code)
	if code != "Client.InternalError" && !strings.HasPrefix(code, "Client.InvalidKMSKey") {
		return nil
	}
	var keys []string
	for _, d := range s.builder.BlockDevices {
		keys = append(keys, d.KMSKey)
	}
	return keys
}

// copyKeys returns the keys that a copy needs: its own and those of the AMI's
// snapshots.
func (s *session) copyKeys(ctx context.Context, c Copy) []string {
	keys := []string{c.KMSKey}
	out, err := s.region.client.DescribeSnapshots(ctx, &awsec2.DescribeSnapshotsInput{SnapshotIds: s.Image.Snapshots})
	if err != nil {
		s.run.Log.Debug("cannot look up the keys of the AMI", slog.Any("reason", err))
		return keys
	}
	for _, snapshot := range out.Snapshots {
		keys = append(keys, aws.ToString(snapshot.KmsKeyId))
	}
	return keys
}
