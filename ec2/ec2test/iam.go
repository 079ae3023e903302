package ec2test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

const iamNamespace = "https://iam.amazonaws.com/doc/2010-05-08/"

// identities holds the IAM roles and instance profiles of all accounts. IAM is
// not regional.
type identities struct {
	mu       sync.Mutex
	roles    map[string]*role    // by account and name
	profiles map[string]*profile // by account and name
}

type role struct {
	base

	name        string
	path        string // "/", or "/bake/"
	description string
	trust       string            // the document that says who may assume it
	policies    map[string]string // documents by name
	attached    []string          // ARNs of managed policies, in the order of their names
}

type profile struct {
	base

	name  string
	path  string
	role  *role
	known time.Time // when EC2 knows the profile with its role
}

func iamTable() map[string]action {
	return tableOf(
		handle("CreateRole", guarded((*call).createRole)),
		handle("GetRole", guarded((*call).getRole)),
		handle("ListRoles", guarded((*call).listRoles)),
		handle("ListInstanceProfiles", guarded((*call).listProfiles)),
		handle("PutRolePolicy", guarded((*call).putRolePolicy)),
		handle("GetRolePolicy", guarded((*call).getRolePolicy)),
		handle("ListRolePolicies", guarded((*call).listRolePolicies)),
		handle("AttachRolePolicy", guarded((*call).attachRolePolicy)),
		handle("DetachRolePolicy", guarded((*call).detachRolePolicy)),
		handle("ListAttachedRolePolicies", guarded((*call).listAttachedRolePolicies)),
		handle("ListInstanceProfilesForRole", guarded((*call).listProfilesForRole)),
		handle("UpdateAssumeRolePolicy", guarded((*call).updateAssumeRolePolicy)),
		handle("DeleteRolePolicy", guarded((*call).deleteRolePolicy)),
		handle("DeleteRole", guarded((*call).deleteRole)),
		handle("CreateInstanceProfile", guarded((*call).createProfile)),
		handle("GetInstanceProfile", guarded((*call).getProfile)),
		handle("AddRoleToInstanceProfile", guarded((*call).addRole)),
		handle("RemoveRoleFromInstanceProfile", guarded((*call).removeRole)),
		handle("DeleteInstanceProfile", guarded((*call).deleteProfile)),
	)
}

// guarded returns f run with IAM locked. A region is locked before IAM.
func guarded[In, Out any](f func(*call, *In) (*Out, *ec2query.Error)) func(*call, *In) (*Out, *ec2query.Error) {
	return func(c *call, in *In) (*Out, *ec2query.Error) {
		c.server.identities.mu.Lock()
		defer c.server.identities.mu.Unlock()
		return f(c, in)
	}
}

// iam handles a call of IAM, which may come from any region.
func (s *Server) iam(ctx context.Context, req *request) response {
	flat := *req
	if !slices.Contains(s.opts.Regions, flat.region) {
		flat.region = s.opts.Regions[0]
	}
	return s.plainQuery(ctx, iamNamespace, &flat)
}

// trustOfEC2 lets instances assume a role.
const trustOfEC2 = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// AddInstanceProfile creates an IAM instance profile in Options.Account, with a
// role of the same name.
func (s *Server) AddInstanceProfile(name string) {
	s.identities.mu.Lock()
	defer s.identities.mu.Unlock()
	now, key := s.now(), s.opts.Account+" "+name
	made := base{id: namedID("AROA", key), seq: s.nextSeq(), owner: s.opts.Account, created: now}
	r := &role{base: made, name: name, path: "/", policies: map[string]string{}, trust: trustOfEC2}
	made.id = namedID("AIPA", key)
	s.identities.add(r, &profile{base: made, name: name, path: "/", role: r, known: now})
}

func (ids *identities) add(r *role, p *profile) {
	if ids.roles == nil {
		ids.roles, ids.profiles = make(map[string]*role), make(map[string]*profile)
	}
	if r != nil {
		ids.roles[r.owner+" "+r.name] = r
	}
	if p != nil {
		ids.profiles[p.owner+" "+p.name] = p
	}
}

// resources returns all roles and profiles.
func (ids *identities) resources() []Resource {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	var out []Resource
	add := func(kind, name string, b *base) {
		r := Resource{Type: kind, ID: b.id, Account: b.owner, Name: name, Created: b.created, Tags: make(map[string]string, len(b.tags)), Region: "aws-global"}
		for key, v := range b.tags {
			r.Tags[key] = v.value
		}
		out = append(out, r)
	}
	for _, r := range ids.roles {
		add("role", r.name, &r.base)
	}
	for _, p := range ids.profiles {
		add("instance-profile", p.name, &p.base)
	}
	slices.SortFunc(out, func(a, b Resource) int { return strings.Compare(a.Type+a.Name, b.Type+b.Name) })
	return out
}

func iamFail(status int, code, format string, args ...any) *ec2query.Error {
	err := ec2query.Errorf(code, format, args...)
	err.Status = status
	return err
}

func (c *call) iamRole(name string) (*role, *ec2query.Error) {
	if r := c.server.identities.roles[c.account+" "+name]; r != nil {
		return r, nil
	}
	return nil, iamFail(http.StatusNotFound, "NoSuchEntity", "The role with name %s cannot be found.", name)
}

func (c *call) iamProfile(name string) (*profile, *ec2query.Error) {
	if p := c.server.identities.profiles[c.account+" "+name]; p != nil {
		return p, nil
	}
	return nil, iamFail(http.StatusNotFound, "NoSuchEntity", "Instance Profile %s cannot be found.", name)
}

// namedProfile is launchProfile for a profile that must be named in one way.
func (c *call) namedProfile(in *profileParams) (string, *ec2query.Error) {
	switch {
	case in.ARN != "" && in.Name != "":
		return "", ec2query.InvalidCombination("The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'")
	case in.ARN == "" && in.Name == "":
		return "", ec2query.MissingParameter("IamInstanceProfile.Name")
	}
	return c.launchProfile(in)
}

// launchProfile returns the ARN of the instance profile named by a launch.
func (c *call) launchProfile(in *profileParams) (string, *ec2query.Error) {
	name, field, what := in.Name, "name", "name"
	if in.ARN != "" {
		field, what = "arn", "ARN"
		prefix := "arn:aws:iam::" + c.account + ":instance-profile/"
		path, own := strings.CutPrefix(in.ARN, prefix)
		if !own {
			return "", ec2query.Errorf("InvalidParameterValue", "Value (%s) for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN", in.ARN)
		}
		name = path[strings.LastIndexByte(path, '/')+1:]
	}
	ids := &c.server.identities
	ids.mu.Lock()
	defer ids.mu.Unlock()
	p := ids.profiles[c.account+" "+name]
	switch {
	case p == nil || c.now.Before(p.known):
		return "", ec2query.Errorf("InvalidParameterValue", "Value (%s) for parameter iamInstanceProfile.%s is invalid. Invalid IAM Instance Profile %s", in.ARN+in.Name, field, what)
	case p.role == nil:
		return "", ec2query.Errorf("InvalidParameterValue", "IAM Instance Profile \"%s\" has no associated IAM Roles", p.name)
	}
	return p.xml().ARN, nil
}

// checkPolicy checks that a document has the form of an IAM policy.
func checkPolicy(document string) *ec2query.Error {
	var policy struct {
		Version   string
		Statement json.RawMessage
	}
	if err := json.Unmarshal([]byte(document), &policy); err != nil || len(policy.Statement) == 0 {
		return ec2query.Errorf("MalformedPolicyDocument", "Syntax errors in policy.")
	}
	return nil
}
