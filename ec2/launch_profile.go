package ec2

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// The temporary instance profile, its role and the role's policy have the same name,
// derived from the build id. IAM names are unique in an account, so the name also
// finds what was created by a call whose response was lost.

// A tempProfile records the temporary instance profile.
type tempProfile struct {
	Name string `json:"name,omitempty"`
	None bool   `json:"none,omitempty"` // it does not exist: IAM refused it, or it was removed
}

func (s *session) profileName() string { return namePrefix + s.run.ID }

// trustEC2 allows instances to assume the role.
const trustEC2 = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// profileSettles is how long EC2 may take to see a new instance profile.
const profileSettles = time.Minute

func (b Builder) validateProfile() []error {
	if b.InstanceProfilePolicy == "" {
		return nil
	}
	var errs []error
	invalid := func(format string, args ...any) {
		errs = append(errs, bake.Invalid("Builder.InstanceProfilePolicy", format, args...))
	}
	if b.InstanceProfile != "" {
		invalid("cannot be set together with InstanceProfile")
	}
	var policy struct{ Statement json.RawMessage }
	if err := json.Unmarshal([]byte(b.InstanceProfilePolicy), &policy); err != nil {
		invalid("is not JSON: %w", err)
	} else if len(policy.Statement) == 0 {
		invalid("has no Statement")
	}
	return errs
}

// makeProfile creates the role with its policy, and the profile with the role.
func (s *session) makeProfile(ctx context.Context) error {
	name := s.profileName()
	s.Profile = tempProfile{Name: name}
	list := tagList(s.tags(name))
	tags := make([]iamtypes.Tag, 0, len(list))
	for _, t := range list {
		tags = append(tags, iamtypes.Tag{Key: t.Key, Value: t.Value})
	}
	client, id := s.region.iam, aws.String(name)
	_, err := client.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: id, AssumeRolePolicyDocument: aws.String(trustEC2), Tags: tags,
		Description: aws.String("Instance role of the bake " + s.run.ID),
	})
	if err := unlessCode(err, "EntityAlreadyExists"); err != nil {
		s.Profile.None = awsapi.Rejected(err)
		return err
	}
	s.run.Created("role", name)
	if err := s.region.onceVisible(ctx, func(ctx context.Context) error {
		_, err := client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
			RoleName: id, PolicyName: id, PolicyDocument: aws.String(s.builder.InstanceProfilePolicy),
		})
		return err
	}); err != nil {
		return err
	}
	_, err = client.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: id, Tags: tags})
	if err := unlessCode(err, "EntityAlreadyExists"); err != nil {
		return err
	}
	s.run.Created("instance profile", name)
	return s.region.onceVisible(ctx, func(ctx context.Context) error {
		_, err := client.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: id, RoleName: id})
		return unlessCode(err, "LimitExceeded") // it already has a role
	})
}

// unlessCode returns err, or nil if its code says that an earlier attempt succeeded.
func unlessCode(err error, code string) error {
	if awsapi.Code(err) == code {
		return nil
	}
	return err
}

// onceProfileKnown repeats launch while EC2 does not see the new temporary profile.
func (s *session) onceProfileKnown(ctx context.Context, launch func(context.Context) error) error {
	until := s.region.clock.Now().Add(profileSettles)
	for {
		err := s.region.onceVisible(ctx, launch)
		if s.Profile.Name == "" || !profileUnknown(err) || !s.region.clock.Now().Before(until) {
			return err
		}
		if err := s.region.clock.Sleep(ctx, retryEvery); err != nil {
			return err
		}
	}
}

func profileUnknown(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorCode() == "InvalidParameterValue" &&
		(strings.Contains(api.ErrorMessage(), "iamInstanceProfile") || strings.Contains(api.ErrorMessage(), "associated IAM Roles"))
}

// removeProfile removes what makeProfile created, the newest first. It needs no
// record of which calls succeeded.
func (s *session) removeProfile(ctx context.Context, _ bake.Outcome) error {
	if s.Profile.None {
		return nil
	}
	name := s.profileName()
	client := s.region.iam
	for _, remove := range append(profileRemovals(client, name), roleRemovals(client, name)...) {
		if err := s.region.gone(ctx, remove); err != nil {
			return fmt.Errorf("instance profile %s: %w", name, err)
		}
	}
	s.run.Removed("instance profile", name)
	s.run.Removed("role", name)
	s.Profile = tempProfile{None: true}
	return nil
}

// profileRemovals returns the calls that remove an instance profile, in order.
func profileRemovals(client *iam.Client, name string) []func(context.Context) error {
	id := aws.String(name)
	return []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := client.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: id, RoleName: id})
			return err
		},
		func(ctx context.Context) error {
			_, err := client.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: id})
			return err
		},
	}
}

// roleRemovals returns the calls that remove a role with its policy, in order.
func roleRemovals(client *iam.Client, name string) []func(context.Context) error {
	id := aws.String(name)
	return []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := client.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: id, PolicyName: id})
			return err
		},
		func(ctx context.Context) error {
			_, err := client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: id})
			return err
		},
	}
}

// profileGrants returns the permissions that a temporary instance profile needs.
func profileGrants(r string) grants {
	named := "arn:" + iampolicy.Partition(r) + ":iam::*:"
	roles, profiles := []string{named + "role/bakestone-*"}, []string{named + "instance-profile/bakestone-*"}
	return grants{
		{"CreateRole", []string{"iam:CreateRole", "iam:TagRole", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:DeleteRole"}, roles, nil},
		{"CreateProfile", []string{
			"iam:CreateInstanceProfile", "iam:TagInstanceProfile", "iam:AddRoleToInstanceProfile",
			"iam:RemoveRoleFromInstanceProfile", "iam:DeleteInstanceProfile",
		}, profiles, nil},
		{"PassRole", []string{"iam:PassRole"}, roles, map[string]map[string][]string{
			"StringEquals": {"iam:PassedToService": {"ec2.amazonaws.com"}},
		}},
	}
}
