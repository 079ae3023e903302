package ec2test

import (
	"net/http"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type createRoleInput struct {
	RoleName                 string `ec2:"RoleName,required"`
	AssumeRolePolicyDocument string `ec2:"AssumeRolePolicyDocument,required"`
	Description              string
	Path                     string
	Tags                     []struct{ Key, Value string }
}

type roleXML struct {
	Path    string                       `xml:"Path"`
	Name    string                       `xml:"RoleName"`
	ID      string                       `xml:"RoleId"`
	ARN     string                       `xml:"Arn"`
	Created string                       `xml:"CreateDate"`
	Trust   string                       `xml:"AssumeRolePolicyDocument,omitempty"`
	Text    string                       `xml:"Description,omitempty"`
	Longest int                          `xml:"MaxSessionDuration,omitempty"`
	Tags    *ec2query.Members[iamTagXML] `xml:"Tags,omitempty"`
}

type createRoleOutput struct {
	Role roleXML `xml:"Role"`
}

func (r *role) xml() roleXML {
	return roleXML{
		Path: r.path, Name: r.name, ID: r.id, ARN: "arn:aws:iam::" + r.owner + ":role" + r.path + r.name, Created: ec2query.FormatTime(r.created),
		Trust: policyText(r.trust), Text: r.description,
	}
}

func iamTags(list []struct{ Key, Value string }) tags {
	made := make(tags, len(list))
	for _, t := range list {
		made[t.Key] = tagValue{value: t.Value}
	}
	return made
}

func (c *call) createRole(in *createRoleInput) (*createRoleOutput, *ec2query.Error) {
	if _, err := c.iamRole(in.RoleName); err == nil {
		return nil, iamFail(http.StatusConflict, "EntityAlreadyExists", "Role with name %s already exists.", in.RoleName)
	}
	if len(in.RoleName) > 64 {
		return nil, ec2query.Errorf("ValidationError", "Member must have length less than or equal to 64")
	}
	if err := checkPolicy(in.AssumeRolePolicyDocument); err != nil {
		return nil, err
	}
	path, err := iamPath(in.Path)
	if err != nil {
		return nil, err
	}
	r := &role{
		base: c.newBase(kind{prefix: "AROA"}, iamTags(in.Tags)), name: in.RoleName, path: path, description: in.Description,
		trust: in.AssumeRolePolicyDocument, policies: make(map[string]string),
	}
	c.server.identities.add(r, nil)
	out := r.xml()
	out.Text, out.Tags = "", r.tags.members(c)
	return &createRoleOutput{out}, nil
}

type rolePolicyInput struct {
	RoleName   string `ec2:"RoleName,required"`
	PolicyName string `ec2:"PolicyName,required"`
}

type putRolePolicyInput struct {
	rolePolicyInput
	PolicyDocument string `ec2:"PolicyDocument,required"`
}

func (c *call) putRolePolicy(in *putRolePolicyInput) (*ec2query.Empty, *ec2query.Error) {
	r, err := c.iamRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	if err := checkPolicy(in.PolicyDocument); err != nil {
		return nil, err
	}
	r.policies[in.PolicyName] = in.PolicyDocument
	return &ec2query.Empty{}, nil
}

func (c *call) deleteRolePolicy(in *rolePolicyInput) (*ec2query.Empty, *ec2query.Error) {
	r, err := c.iamRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	if _, ok := r.policies[in.PolicyName]; !ok {
		return nil, iamFail(http.StatusNotFound, "NoSuchEntity", "The role policy with name %s cannot be found.", in.PolicyName)
	}
	delete(r.policies, in.PolicyName)
	return &ec2query.Empty{}, nil
}

type roleInput struct {
	RoleName string `ec2:"RoleName,required"`
}

func (c *call) deleteRole(in *roleInput) (*ec2query.Empty, *ec2query.Error) {
	r, err := c.iamRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	if len(r.policies) > 0 {
		return nil, iamFail(http.StatusConflict, "DeleteConflict", "Cannot delete entity, must delete policies first.")
	}
	if len(r.attached) > 0 {
		return nil, iamFail(http.StatusConflict, "DeleteConflict", "Cannot delete entity, must detach all policies first.")
	}
	for _, p := range c.server.identities.profiles {
		if p.role == r {
			return nil, iamFail(http.StatusConflict, "DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.")
		}
	}
	delete(c.server.identities.roles, c.account+" "+r.name)
	return &ec2query.Empty{}, nil
}

type createProfileInput struct {
	InstanceProfileName string `ec2:"InstanceProfileName,required"`
	Path                string
	Tags                []struct{ Key, Value string }
}

type iamProfileXML struct {
	Path    string                       `xml:"Path"`
	Name    string                       `xml:"InstanceProfileName"`
	ID      string                       `xml:"InstanceProfileId"`
	ARN     string                       `xml:"Arn"`
	Created string                       `xml:"CreateDate"`
	Roles   ec2query.Members[roleXML]    `xml:"Roles"`
	Tags    *ec2query.Members[iamTagXML] `xml:"Tags,omitempty"`
}

type profileOutput struct {
	Profile iamProfileXML `xml:"InstanceProfile"`
}

func (p *profile) xml() iamProfileXML {
	out := iamProfileXML{
		Path: p.path, Name: p.name, ID: p.id, ARN: "arn:aws:iam::" + p.owner + ":instance-profile" + p.path + p.name, Created: ec2query.FormatTime(p.created),
	}
	if p.role != nil {
		out.Roles.Items = []roleXML{p.role.xml()}
	}
	return out
}

func (c *call) createProfile(in *createProfileInput) (*profileOutput, *ec2query.Error) {
	if _, err := c.iamProfile(in.InstanceProfileName); err == nil {
		return nil, iamFail(http.StatusConflict, "EntityAlreadyExists", "Instance Profile %s already exists.", in.InstanceProfileName)
	}
	path, err := iamPath(in.Path)
	if err != nil {
		return nil, err
	}
	p := &profile{base: c.newBase(kind{prefix: "AIPA"}, iamTags(in.Tags)), name: in.InstanceProfileName, path: path, known: c.visibleAt()}
	c.server.identities.add(nil, p)
	return &profileOutput{p.xml()}, nil
}

type profileInput struct {
	InstanceProfileName string `ec2:"InstanceProfileName,required"`
}

func (c *call) getProfile(in *profileInput) (*profileOutput, *ec2query.Error) {
	p, err := c.iamProfile(in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	out := p.xml()
	out.Tags = p.tags.members(c)
	return &profileOutput{out}, nil
}

type profileRoleInput struct {
	profileInput
	roleInput
}

func (c *call) addRole(in *profileRoleInput) (*ec2query.Empty, *ec2query.Error) {
	p, err := c.iamProfile(in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	r, err := c.iamRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	if p.role != nil {
		return nil, iamFail(http.StatusConflict, "LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
	}
	p.role, p.known = r, c.visibleAt()
	return &ec2query.Empty{}, nil
}

func (c *call) removeRole(in *profileRoleInput) (*ec2query.Empty, *ec2query.Error) {
	p, err := c.iamProfile(in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	if p.role == nil || p.role.name != in.RoleName {
		return nil, iamFail(http.StatusNotFound, "NoSuchEntity", "Role %s in InstanceProfile %s cannot be found.", in.RoleName, p.name)
	}
	p.role = nil
	return &ec2query.Empty{}, nil
}

func (c *call) deleteProfile(in *profileInput) (*ec2query.Empty, *ec2query.Error) {
	p, err := c.iamProfile(in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	if p.role != nil {
		return nil, iamFail(http.StatusConflict, "DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.")
	}
	delete(c.server.identities.profiles, c.account+" "+p.name)
	return &ec2query.Empty{}, nil
}
