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

// EC2 takes any name of a KMS key, and looks whether it can be used when the
// call has long succeeded: an instance then ends with the reason
// "Client.InternalError", a copy fails with "Given key ID is not accessible".
// Neither says which key it was, so errors here name those that it can be.

// needsKeys adds to err the keys that something could not be made without.
func needsKeys(err error, keys []string) error {
	keys = slices.DeleteFunc(keys, func(key string) bool { return key == "" })
	slices.Sort(keys)
	switch keys = slices.Compact(keys); len(keys) {
	case 0:
		return err
	case 1:
		return fmt.Errorf("%w; it needs the KMS key %s", err, keys[0])
	}
	return fmt.Errorf("%w; it needs the KMS keys %s", err, strings.Join(keys, " and "))
}

// launchKeys are the keys that the Builder names for the volumes, if the reason
// for which the instance ended can be one of them.
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

// copyKeys are the keys that a copy needs: its own, and those that the AMI is
// encrypted with.
func (s *session) copyKeys(ctx context.Context, c Copy) []string {
	keys := []string{c.KMSKey}
	out, err := s.region.client.DescribeSnapshots(ctx, &awsec2.DescribeSnapshotsInput{SnapshotIds: s.Image.Snapshots})
	if err != nil {
		s.run.Log.Debug("the keys of the AMI cannot be named", slog.Any("reason", err))
		return keys
	}
	for _, snapshot := range out.Snapshots {
		keys = append(keys, aws.ToString(snapshot.KmsKeyId))
	}
	return keys
}
