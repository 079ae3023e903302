package ec2test

import (
	"maps"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type iamTagXML struct {
	Key   string `xml:"Key"`
	Value string `xml:"Value"`
}

// usualSession is the longest session of a role in seconds, unless it says otherwise.
const usualSession = 3600

// members returns the tags as IAM lists them, or nil if there are none. Calls that
// list roles and profiles leave them out, as those of AWS do.
func (t tags) members(c *call) *ec2query.Members[iamTagXML] {
	list := t.list(c.now)
	made := make([]iamTagXML, 0, len(list))
	for _, one := range list {
		made = append(made, iamTagXML(one))
	}
	return ec2query.OptionalMembers(made)
}

func (c *call) getRole(in *roleInput) (*createRoleOutput, *ec2query.Error) {
	r, err := c.iamRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	out := r.xml()
	out.Tags, out.Longest = r.tags.members(c), usualSession
	return &createRoleOutput{out}, nil
}

type iamListInput struct {
	PathPrefix string
	iamPageInput
}

type iamPageInput struct {
	Marker   string
	MaxItems *int
}

// iamPage returns the account's entries of a list that in selects, sorted by name,
// and the marker of the next page.
func iamPage[T any](c *call, all map[string]T, in *iamListInput, pathOf func(T) string) (found []T, next string, err *ec2query.Error) {
	const most, usual = 1000, 100
	limit := usual
	if in.MaxItems != nil {
		limit = *in.MaxItems
	}
	if limit < 1 || limit > most {
		return nil, "", ec2query.Errorf("ValidationError", "Value '%d' at 'maxItems' failed to satisfy constraint: Member must have value between 1 and %d", limit, most)
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		name, own := strings.CutPrefix(key, c.account+" ")
		switch {
		case !own || name <= in.Marker || !strings.HasPrefix(pathOf(all[key]), in.PathPrefix):
		case len(found) == limit:
			return found, next, nil
		default:
			found = append(found, all[key])
			next = name
		}
	}
	return found, "", nil
}

type listRolesOutput struct {
	Roles     ec2query.Members[roleXML] `xml:"Roles"`
	Truncated bool                      `xml:"IsTruncated"`
	Marker    string                    `xml:"Marker,omitempty"`
}

func (c *call) listRoles(in *iamListInput) (*listRolesOutput, *ec2query.Error) {
	found, next, err := iamPage(c, c.server.identities.roles, in, func(r *role) string { return r.path })
	out := &listRolesOutput{Truncated: next != "", Marker: next}
	for _, r := range found {
		out.Roles.Items = append(out.Roles.Items, r.xml())
	}
	return out, err
}

type listProfilesOutput struct {
	Profiles  ec2query.Members[iamProfileXML] `xml:"InstanceProfiles"`
	Truncated bool                            `xml:"IsTruncated"`
	Marker    string                          `xml:"Marker,omitempty"`
}

func (c *call) listProfiles(in *iamListInput) (*listProfilesOutput, *ec2query.Error) {
	found, next, err := iamPage(c, c.server.identities.profiles, in, func(p *profile) string { return p.path })
	out := &listProfilesOutput{Truncated: next != "", Marker: next}
	for _, p := range found {
		out.Profiles.Items = append(out.Profiles.Items, p.xml())
	}
	return out, err
}
