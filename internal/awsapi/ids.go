package awsapi

import (
	"context"
	"fmt"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go/middleware"
)

// An IDError reports a successful call whose response does not have the id of what
// it created. The resource may exist.
type IDError struct {
	Action string
	Kind   string // the kind of resource: "instance"
	ID     string // in the response
}

// Error names the action and the id.
func (e *IDError) Error() string {
	if e.ID == "" {
		return fmt.Sprintf("%s: response without the id of the new %s, which may exist", e.Action, e.Kind)
	}
	return fmt.Sprintf("%s: response with %q, which is not the id of the new %s, which may exist", e.Action, e.ID, e.Kind)
}

// A createdID is an id in the response of a call that creates.
type createdID struct {
	kind, prefix string
	id           *string
}

// createdIDs returns the ids in the output of a call.
func createdIDs(output any) []createdID {
	var ids []createdID
	add := func(kind, prefix string, id *string) { ids = append(ids, createdID{kind, prefix, id}) }
	switch out := output.(type) {
	case *awsec2.CreateSecurityGroupOutput:
		add("security group", "sg", out.GroupId)
	case *awsec2.RunInstancesOutput:
		for _, i := range out.Instances {
			add("instance", "i", i.InstanceId)
		}
		if len(out.Instances) == 0 {
			add("instance", "i", nil)
		}
	case *awsec2.CreateImageOutput:
		add("image", "ami", out.ImageId)
	case *awsec2.CopyImageOutput:
		add("image", "ami", out.ImageId)
	case *awsec2.RegisterImageOutput:
		add("image", "ami", out.ImageId)
	case *awsec2.CreateSnapshotOutput:
		add("snapshot", "snap", out.SnapshotId)
	case *awsec2.CopySnapshotOutput:
		add("snapshot", "snap", out.SnapshotId)
	case *awsec2.CreateSnapshotsOutput:
		for _, s := range out.Snapshots {
			add("snapshot", "snap", s.SnapshotId)
		}
		if len(out.Snapshots) == 0 {
			add("snapshot", "snap", nil)
		}
	case *awsec2.CreateVolumeOutput:
		add("volume", "vol", out.VolumeId)
	case *awsec2.CreateKeyPairOutput:
		add("key pair", "key", out.KeyPairId)
	case *awsec2.ImportKeyPairOutput:
		add("key pair", "key", out.KeyPairId)
	case *awsec2.CreateLaunchTemplateOutput:
		if out.LaunchTemplate == nil {
			add("launch template", "lt", nil)
		} else {
			add("launch template", "lt", out.LaunchTemplate.LaunchTemplateId)
		}
	case *awsec2.CreateLaunchTemplateVersionOutput:
		if out.LaunchTemplateVersion == nil {
			add("launch template version", "lt", nil)
		} else {
			add("launch template version", "lt", out.LaunchTemplateVersion.LaunchTemplateId)
		}
	}
	return ids
}

// idPattern matches what follows an id's prefix.
var idPattern = regexp.MustCompile(`^-[0-9a-z]{1,40}$`)

// checkIDs reports an output that lacks the id of what was created, or has an id of
// another kind, or the name of another IAM resource than in.
func checkIDs(action string, in, out any) error {
	for _, c := range createdIDs(out) {
		id := aws.ToString(c.id)
		if len(id) <= len(c.prefix) || id[:len(c.prefix)] != c.prefix || !idPattern.MatchString(id[len(c.prefix):]) {
			return &IDError{Action: action, Kind: c.kind, ID: id}
		}
	}
	kind, want, got := createdName(in, out)
	if aws.ToString(want) != aws.ToString(got) {
		return &IDError{Action: action, Kind: kind, ID: aws.ToString(got)}
	}
	return nil
}

// createdName returns the name that a call requests for a new IAM resource, and the
// one in its response.
func createdName(in, out any) (kind string, want, got *string) {
	switch out := out.(type) {
	case *iam.CreateRoleOutput:
		if in, ok := in.(*iam.CreateRoleInput); ok {
			want = in.RoleName
		}
		if out.Role != nil {
			got = out.Role.RoleName
		}
		return "role", want, got
	case *iam.CreateInstanceProfileOutput:
		if in, ok := in.(*iam.CreateInstanceProfileInput); ok {
			want = in.InstanceProfileName
		}
		if out.InstanceProfile != nil {
			got = out.InstanceProfile.InstanceProfileName
		}
		return "instance profile", want, got
	}
	return "", nil, nil
}

// idMiddleware checks the ids in the result of each call.
type idMiddleware struct{}

func (idMiddleware) ID() string { return "BakestoneID" }

func (idMiddleware) HandleInitialize(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	out, meta, err := next.HandleInitialize(ctx, in)
	if err == nil {
		err = checkIDs(middleware.GetOperationName(ctx), in.Parameters, out.Result)
	}
	return out, meta, err
}
