package ec2test_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	ebstypes "github.com/aws/aws-sdk-go-v2/service/ebs/types"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// reason returns the code and the reason of an error of EBS direct.
func reason(err error) string {
	text := code(err)
	var invalid *ebstypes.ValidationException
	var denied *ebstypes.AccessDeniedException
	var missing *ebstypes.ResourceNotFoundException
	var throttled *ebstypes.RequestThrottledException
	switch {
	case asError(err, &invalid):
		text += " " + string(invalid.Reason)
	case asError(err, &denied):
		text += " " + string(denied.Reason)
	case asError(err, &missing):
		text += " " + string(missing.Reason)
	case asError(err, &throttled):
		text += " " + string(throttled.Reason)
	}
	return text
}

func asError[T error](err error, target *T) bool {
	found, ok := errors.AsType[T](err)
	if ok {
		*target = found
	}
	return ok
}

func TestSnapshotWriteErrors(t *testing.T) {
	srv, c := start(t, nil)
	key := srv.AddKey(region, "alias/images")
	cfg := srv.Config(region)
	direct, foreign := ebsClient(cfg), ebsClient(srv.ConfigFor(otherAccount, region))
	open := *must(direct.StartSnapshot(t.Context(), &ebs.StartSnapshotInput{VolumeSize: aws.Int64(1)}))(t).SnapshotId
	done := upload(t, direct, 2, "", map[int32][]byte{1: randomBlock(1)})
	must(direct.PutSnapshotBlock(t.Context(), putInput(open, 7, randomBlock(1))))(t)
	put := func(change func(*ebs.PutSnapshotBlockInput)) func(context.Context) error {
		return func(ctx context.Context) error {
			in := putInput(open, 0, randomBlock(2))
			change(in)
			_, err := direct.PutSnapshotBlock(ctx, in)
			return err
		}
	}
	begin := func(change func(*ebs.StartSnapshotInput)) func(context.Context) error {
		return func(ctx context.Context) error {
			in := &ebs.StartSnapshotInput{VolumeSize: aws.Int64(2)}
			change(in)
			_, err := direct.StartSnapshot(ctx, in)
			return err
		}
	}
	complete := func(change func(*ebs.CompleteSnapshotInput)) func(context.Context) error {
		return func(ctx context.Context) error {
			in := &ebs.CompleteSnapshotInput{SnapshotId: &open, ChangedBlocksCount: aws.Int32(1)}
			change(in)
			_, err := direct.CompleteSnapshot(ctx, in)
			return err
		}
	}
	const bad = "ValidationException INVALID_PARAMETER_VALUE"
	for _, test := range []struct {
		name string
		call func(context.Context) error
		want string
	}{
		{"checksum", put(func(in *ebs.PutSnapshotBlockInput) { in.Checksum = aws.String(checksum(nil)) }), bad},
		{"short data", put(func(in *ebs.PutSnapshotBlockInput) { in.BlockData = strings.NewReader("short") }), bad},
		{"length", put(func(in *ebs.PutSnapshotBlockInput) { in.DataLength = aws.Int32(512) }), bad},
		{"progress", put(func(in *ebs.PutSnapshotBlockInput) { in.Progress = aws.Int32(101) }), bad},
		{"index after the end", put(func(in *ebs.PutSnapshotBlockInput) { in.BlockIndex = aws.Int32(2048) }), "ValidationException INVALID_BLOCK"},
		{"completed snapshot", put(func(in *ebs.PutSnapshotBlockInput) { in.SnapshotId = &done }), "ValidationException INVALID_SNAPSHOT_ID"},
		{"malformed id", put(func(in *ebs.PutSnapshotBlockInput) { in.SnapshotId = aws.String("snap-x") }), "ValidationException INVALID_SNAPSHOT_ID"},
		{"unknown snapshot", put(func(in *ebs.PutSnapshotBlockInput) { in.SnapshotId = aws.String("snap-0123456789abcdef0") }), "ResourceNotFoundException SNAPSHOT_NOT_FOUND"},
		{"another account", func(ctx context.Context) error {
			_, err := foreign.PutSnapshotBlock(ctx, putInput(open, 0, randomBlock(1)))
			return err
		}, "ResourceNotFoundException SNAPSHOT_NOT_FOUND"},

		{"size zero", begin(func(in *ebs.StartSnapshotInput) { in.VolumeSize = aws.Int64(0) }), "ValidationException INVALID_VOLUME_SIZE"},
		{"size", begin(func(in *ebs.StartSnapshotInput) { in.VolumeSize = aws.Int64(65537) }), "ValidationException INVALID_VOLUME_SIZE"},
		{"smaller than the parent", begin(func(in *ebs.StartSnapshotInput) { in.VolumeSize, in.ParentSnapshotId = aws.Int64(1), &done }), "ValidationException INVALID_VOLUME_SIZE"},
		{"unfinished parent", begin(func(in *ebs.StartSnapshotInput) { in.ParentSnapshotId = &open }), "ValidationException INVALID_SNAPSHOT_ID"},
		{"encrypted with parent", begin(func(in *ebs.StartSnapshotInput) { in.ParentSnapshotId, in.Encrypted = &done, aws.Bool(true) }), bad},
		{"key with parent", begin(func(in *ebs.StartSnapshotInput) { in.ParentSnapshotId, in.KmsKeyArn = &done, &key }), bad},
		{"key without encryption", begin(func(in *ebs.StartSnapshotInput) { in.KmsKeyArn = &key }), bad},
		{"unknown key", begin(func(in *ebs.StartSnapshotInput) {
			in.Encrypted, in.KmsKeyArn = aws.Bool(true), aws.String("arn:aws:kms:us-east-1:123456789012:key/none")
		}), "ValidationException INVALID_CUSTOMER_KEY"},
		{"timeout", begin(func(in *ebs.StartSnapshotInput) { in.Timeout = aws.Int32(9) }), bad},
		{"tag", begin(func(in *ebs.StartSnapshotInput) { in.Tags = []ebstypes.Tag{{Key: aws.String("aws:x")}} }), "ValidationException INVALID_TAG"},

		{"too many blocks", complete(func(in *ebs.CompleteSnapshotInput) { in.ChangedBlocksCount = aws.Int32(2) }), bad},
		{"checksum of all", complete(func(in *ebs.CompleteSnapshotInput) {
			in.Checksum, in.ChecksumAlgorithm, in.ChecksumAggregationMethod = aws.String(checksum(nil)), "SHA256", "LINEAR"
		}), bad},
		{"checksum without method", complete(func(in *ebs.CompleteSnapshotInput) {
			in.Checksum, in.ChecksumAlgorithm = aws.String(linear(map[int32][]byte{7: randomBlock(1)})), "SHA256"
		}), bad},
		{"completed twice, differently", complete(func(in *ebs.CompleteSnapshotInput) { in.SnapshotId, in.ChangedBlocksCount = &done, aws.Int32(5) }), "ValidationException INVALID_SNAPSHOT_ID"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := reason(test.call(t.Context())); got != test.want {
				t.Errorf("error = %q, want %q", got, test.want)
			}
		})
	}
	// None of this has changed the unfinished snapshot, and a completion can be repeated.
	for range 2 {
		must(direct.CompleteSnapshot(t.Context(), &ebs.CompleteSnapshotInput{SnapshotId: &open, ChangedBlocksCount: aws.Int32(1)}))(t)
	}
	sameBlocks(t, "download", download(t, direct, open), map[int32][]byte{7: randomBlock(1)})
	must(c.ModifySnapshotAttribute(t.Context(), &awsec2.ModifySnapshotAttributeInput{
		SnapshotId: &done, Attribute: "createVolumePermission", OperationType: "add", GroupNames: []string{"all"},
	}))(t)
	if _, err := foreign.ListSnapshotBlocks(t.Context(), &ebs.ListSnapshotBlocksInput{SnapshotId: &done}); reason(err) != "AccessDeniedException UNAUTHORIZED_ACCOUNT" {
		t.Errorf("ListSnapshotBlocks of a public snapshot: %v", err)
	}
	must(c.ModifySnapshotAttribute(t.Context(), &awsec2.ModifySnapshotAttributeInput{
		SnapshotId: &done, Attribute: "createVolumePermission", OperationType: "add", UserIds: []string{otherAccount},
	}))(t)
	sameBlocks(t, "download by another account", download(t, foreign, done), map[int32][]byte{1: randomBlock(1)})
}

func TestSnapshotEncryption(t *testing.T) {
	srv, c := start(t, nil)
	direct := ebsClient(srv.Config(region))
	key := srv.AddKey(region, "alias/images")
	begin := func(in ebs.StartSnapshotInput) *ebs.StartSnapshotOutput {
		in.VolumeSize = aws.Int64(1)
		return must(direct.StartSnapshot(t.Context(), &in))(t)
	}
	if out := begin(ebs.StartSnapshotInput{Encrypted: aws.Bool(true)}); !strings.HasSuffix(aws.ToString(out.KmsKeyArn), "11111111-2222-3333-4444-555555555555") {
		t.Errorf("key without KmsKeyArn = %s, want the AWS managed one", aws.ToString(out.KmsKeyArn))
	}
	out := begin(ebs.StartSnapshotInput{Encrypted: aws.Bool(true), KmsKeyArn: &key})
	if *out.KmsKeyArn != key || out.SseType != ebstypes.SSETypeSseKms {
		t.Errorf("StartSnapshot = key %s, %s, want %s", *out.KmsKeyArn, out.SseType, key)
	}
	must(direct.PutSnapshotBlock(t.Context(), putInput(*out.SnapshotId, 3, randomBlock(1))))(t)
	must(direct.CompleteSnapshot(t.Context(), &ebs.CompleteSnapshotInput{SnapshotId: out.SnapshotId, ChangedBlocksCount: aws.Int32(1)}))(t)
	if child := begin(ebs.StartSnapshotInput{ParentSnapshotId: out.SnapshotId}); *child.KmsKeyArn != key {
		t.Errorf("key of the child = %s, want the parent's", *child.KmsKeyArn)
	}
	plain := upload(t, direct, 1, "", nil)
	must(c.EnableEbsEncryptionByDefault(t.Context(), nil))(t)
	if out := begin(ebs.StartSnapshotInput{}); out.KmsKeyArn == nil {
		t.Error("StartSnapshot with encryption by default is not encrypted")
	}
	if _, err := direct.StartSnapshot(t.Context(), &ebs.StartSnapshotInput{VolumeSize: aws.Int64(1), ParentSnapshotId: &plain}); code(err) != "ValidationException" {
		t.Errorf("StartSnapshot of an unencrypted parent with encryption by default: %v", err)
	}
	if err := srv.DisableKey(key); err != nil {
		t.Fatal(err)
	}
	if _, err := direct.ListSnapshotBlocks(t.Context(), &ebs.ListSnapshotBlocksInput{SnapshotId: out.SnapshotId}); reason(err) != "ValidationException INVALID_CUSTOMER_KEY" {
		t.Errorf("ListSnapshotBlocks with a disabled key: %v", err)
	}
	if err := srv.DeleteKey(key); err != nil {
		t.Fatal(err)
	}
	if _, err := direct.ListSnapshotBlocks(t.Context(), &ebs.ListSnapshotBlocksInput{SnapshotId: out.SnapshotId}); reason(err) != "AccessDeniedException DEPENDENCY_ACCESS_DENIED" {
		t.Errorf("ListSnapshotBlocks with a deleted key: %v", err)
	}
}

func TestSnapshotRatesAndFaults(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	srv, _ := start(t, &ec2test.Options{Clock: clock, Throttle: true, Consistency: time.Second})
	direct := ebsClient(srv.Config(region))
	id := *must(direct.StartSnapshot(t.Context(), &ebs.StartSnapshotInput{VolumeSize: aws.Int64(1)}))(t).SnapshotId
	zeros := make([]byte, blockSize)
	if _, err := direct.PutSnapshotBlock(t.Context(), putInput(id, 0, zeros)); reason(err) != "ResourceNotFoundException SNAPSHOT_NOT_FOUND" {
		t.Errorf("PutSnapshotBlock right after StartSnapshot with a delay: %v", err)
	}
	clock.Advance(time.Second)
	for i := range int32(1000) {
		must(direct.PutSnapshotBlock(t.Context(), putInput(id, i, zeros)))(t)
	}
	if _, err := direct.PutSnapshotBlock(t.Context(), putInput(id, 0, zeros)); !strings.HasPrefix(reason(err), "RequestThrottledException ") {
		t.Errorf("request 1,001 of a second: %v, want RequestThrottledException", err)
	}
	clock.Advance(time.Second)
	for _, f := range []struct {
		rule ec2test.Fault
		want string
	}{
		{ec2test.Fault{Code: "RequestThrottledException"}, "RequestThrottledException ACCOUNT_THROTTLED"},
		{ec2test.Fault{Code: "InternalServerException"}, "InternalServerException"},
		{ec2test.Fault{Denied: &ec2test.Denial{}}, "AccessDeniedException UNAUTHORIZED_ACCOUNT"},
	} {
		f.rule.Action = "PutSnapshotBlock"
		f.rule.Match = func(params url.Values) bool { return params.Get("BlockIndex") == "7" && params.Get("SnapshotId") == id }
		srv.Fail(f.rule)
		must(direct.PutSnapshotBlock(t.Context(), putInput(id, 6, zeros)))(t)
		if _, err := direct.PutSnapshotBlock(t.Context(), putInput(id, 7, zeros)); reason(err) != f.want {
			t.Errorf("PutSnapshotBlock with a fault: %v, want %s", err, f.want)
		}
	}
	srv.Fail(ec2test.Fault{Action: "StartSnapshot", When: ec2test.After})
	in := &ebs.StartSnapshotInput{VolumeSize: aws.Int64(1), ClientToken: aws.String("retry")}
	if _, err := direct.StartSnapshot(t.Context(), in); err == nil {
		t.Error("StartSnapshot with a lost response succeeded")
	}
	must(direct.StartSnapshot(t.Context(), in))(t)
	if n := len(srv.Leftovers()); n != 2 {
		t.Errorf("%d snapshots after a repeated StartSnapshot, want 2", n)
	}
	for range 98 {
		clock.Advance(time.Second)
		must(direct.StartSnapshot(t.Context(), &ebs.StartSnapshotInput{VolumeSize: aws.Int64(1)}))(t)
	}
	if _, err := direct.StartSnapshot(t.Context(), &ebs.StartSnapshotInput{VolumeSize: aws.Int64(1)}); code(err) != "ConcurrentLimitExceededException" {
		t.Errorf("the 101st unfinished snapshot: %v", err)
	}
}
