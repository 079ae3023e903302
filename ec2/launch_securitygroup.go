package ec2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// A securityGroup records the instance's security groups: the caller's, or a
// temporary one.
type securityGroup struct {
	IDs       []string       `json:"ids,omitempty"`
	Temporary bool           `json:"temporary,omitempty"`
	From      []netip.Prefix `json:"from,omitempty"`   // the networks that the temporary group admits
	Wanted    bool           `json:"wanted,omitempty"` // a temporary group may exist although its id is unknown
}

func (s *session) prepareSecurityGroup(ctx context.Context) error {
	if s.builder.Network.ownGroups() {
		return s.findSecurityGroups(ctx)
	}
	from, err := s.sshFrom(ctx)
	if err != nil {
		return err
	}
	if err := s.createSecurityGroup(ctx); err != nil {
		return err
	}
	s.SecurityGroup.From = from
	return s.allowSSH(ctx, from)
}

// findSecurityGroups looks up the caller's groups in the VPC.
func (s *session) findSecurityGroups(ctx context.Context) error {
	b := s.builder
	question := fmt.Sprintf("%s %q %#v", s.Network.VPC, b.Network.SecurityGroups, b.Network.SecurityGroupFilters)
	ids, err := s.region.lookups.groups.get(ctx, question, func(ctx context.Context) ([]string, error) {
		filters := append(b.Network.SecurityGroupFilters.list(), filter("vpc-id", s.Network.VPC))
		groups, err := s.region.describeSecurityGroups(ctx, filters...)
		if err != nil {
			return nil, err
		}
		if len(b.Network.SecurityGroups) > 0 {
			return pickGroups(groups, b.Network.SecurityGroups, s.Network.VPC)
		}
		if len(groups) == 0 {
			return nil, bake.Invalid("Builder.Network.SecurityGroupFilters", "no matching security group in %s", s.Network.VPC)
		}
		ids := make([]string, 0, len(groups))
		for _, g := range groups {
			ids = append(ids, aws.ToString(g.GroupId))
		}
		slices.Sort(ids)
		return ids, nil
	})
	s.SecurityGroup = securityGroup{IDs: ids}
	return err
}

// pickGroups returns the ids of the groups with the wanted ids or names.
func pickGroups(groups []ec2types.SecurityGroup, wanted []string, vpc string) ([]string, error) {
	var ids []string
	var errs []error
	for _, want := range wanted {
		i := slices.IndexFunc(groups, func(g ec2types.SecurityGroup) bool {
			return aws.ToString(g.GroupId) == want || aws.ToString(g.GroupName) == want
		})
		if i < 0 {
			errs = append(errs, bake.Invalid("Builder.Network.SecurityGroups", "security group %q not found in %s", want, vpc))
			continue
		}
		ids = append(ids, aws.ToString(groups[i].GroupId))
	}
	return ids, errors.Join(errs...)
}

func (r *region) describeSecurityGroups(ctx context.Context, filters ...ec2types.Filter) ([]ec2types.SecurityGroup, error) {
	var groups []ec2types.SecurityGroup
	pages := awsec2.NewDescribeSecurityGroupsPaginator(r.client, &awsec2.DescribeSecurityGroupsInput{
		Filters: filters, MaxResults: aws.Int32(pageSize),
	})
	err := eachPage(ctx, pages, func(page *awsec2.DescribeSecurityGroupsOutput) {
		groups = append(groups, page.SecurityGroups...)
	})
	return groups, err
}

// createSecurityGroup creates the temporary group. Its name is derived from the
// build id, so repeating a call that succeeded finds the group.
func (s *session) createSecurityGroup(ctx context.Context) error {
	if len(s.SecurityGroup.IDs) > 0 {
		return nil
	}
	s.SecurityGroup = securityGroup{Temporary: true, Wanted: true}
	out, err := s.region.client.CreateSecurityGroup(ctx, s.groupInput())
	if awsapi.Code(err) == "InvalidGroup.Duplicate" {
		return s.region.settled(ctx, s.findTemporaryGroup)
	}
	if err != nil {
		s.SecurityGroup.Wanted = !awsapi.Rejected(err)
		return err
	}
	id := aws.ToString(out.GroupId)
	if !provesGroup(out, s.run.ID) {
		if err := s.verifyGroup(ctx, id); err != nil {
			return err // undoing finds the group by its tag
		}
	}
	s.SecurityGroup.IDs = []string{id}
	s.run.Created("security group", id)
	return nil
}

// groupInput returns the request that creates the temporary group.
func (s *session) groupInput() *awsec2.CreateSecurityGroupInput {
	name := namePrefix + s.run.ID
	return &awsec2.CreateSecurityGroupInput{
		GroupName:         aws.String(name),
		Description:       aws.String("SSH access for the bake " + s.run.ID),
		VpcId:             aws.String(s.Network.VPC),
		TagSpecifications: tagged(s.tags(name), ec2types.ResourceTypeSecurityGroup),
	}
}

// findTemporaryGroup looks for the temporary group by its tag.
func (s *session) findTemporaryGroup(ctx context.Context) (bool, error) {
	groups, err := s.region.describeSecurityGroups(ctx, filter("tag:"+TagBuild, s.run.ID))
	if err != nil || len(groups) == 0 {
		return false, err
	}
	s.SecurityGroup.IDs = []string{aws.ToString(groups[0].GroupId)}
	return true, nil
}

func (s *session) allowSSH(ctx context.Context, from []netip.Prefix) error {
	if len(s.SecurityGroup.IDs) == 0 {
		return errors.New("new security group not found")
	}
	if len(from) == 0 {
		return nil
	}
	port := int32(s.builder.SSH.port()) //nolint:gosec // G115: validated
	rule := ec2types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(port), ToPort: aws.Int32(port)}
	for _, p := range from {
		if p.Addr().Is4() {
			rule.IpRanges = append(rule.IpRanges, ec2types.IpRange{CidrIp: aws.String(p.String())})
		} else {
			rule.Ipv6Ranges = append(rule.Ipv6Ranges, ec2types.Ipv6Range{CidrIpv6: aws.String(p.String())})
		}
	}
	return s.region.onceVisible(ctx, func(ctx context.Context) error {
		out, err := s.region.client.AuthorizeSecurityGroupIngress(ctx, &awsec2.AuthorizeSecurityGroupIngressInput{
			GroupId: aws.String(s.SecurityGroup.IDs[0]), IpPermissions: []ec2types.IpPermission{rule},
		})
		if awsapi.Code(err) == "InvalidPermission.Duplicate" {
			return nil // by an earlier attempt whose response was lost
		}
		if err == nil && len(out.SecurityGroupRules) > 0 {
			s.Account = cmp.Or(s.Account, aws.ToString(out.SecurityGroupRules[0].GroupOwnerId))
		}
		return err
	})
}

// deleteSecurityGroup deletes the temporary group, found by its id or its tag. It
// waits while EC2 still considers it in use by the terminated instance.
func (s *session) deleteSecurityGroup(ctx context.Context, _ bake.Outcome) error {
	known := len(s.SecurityGroup.IDs) > 0
	if !s.SecurityGroup.Temporary && (known || s.builder.Network.ownGroups()) {
		return nil // they are the caller's
	}
	if !known && s.SecurityGroup.Temporary && !s.SecurityGroup.Wanted {
		return nil // EC2 refused to create it
	}
	if !known {
		if err := s.region.settled(ctx, s.findTemporaryGroup); err != nil {
			return err
		}
	}
	if len(s.SecurityGroup.IDs) == 0 {
		return nil
	}
	id := s.SecurityGroup.IDs[0]
	err := clock.WaitFor(ctx, s.region.clock, retryEvery, func(ctx context.Context) (bool, error) {
		err := s.region.gone(ctx, func(ctx context.Context) error {
			_, err := s.region.client.DeleteSecurityGroup(ctx, &awsec2.DeleteSecurityGroupInput{GroupId: aws.String(id)})
			return err
		})
		if awsapi.Code(err) == "DependencyViolation" {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("security group %s: %w", id, err)
	}
	s.SecurityGroup = securityGroup{Temporary: true}
	s.run.Removed("security group", id)
	return nil
}
