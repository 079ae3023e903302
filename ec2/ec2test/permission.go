package ec2test

import (
	"maps"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// permissions lists who may use an image or snapshot besides its owner.
type permissions struct {
	all   bool
	users map[string]bool // accounts
	orgs  map[string]bool // ARNs of organizations
	units map[string]bool // ARNs of organizational units
}

// permissionParam is a permission to add or remove.
type permissionParam struct {
	Group                 string
	UserID                string `ec2:"UserId"`
	OrganizationArn       string
	OrganizationalUnitArn string
}

type permissionChange struct {
	Add    []permissionParam
	Remove []permissionParam
}

type permissionXML struct {
	Group  string `xml:"group,omitempty"`
	UserID string `xml:"userId,omitempty"`
	Org    string `xml:"organizationArn,omitempty"`
	Unit   string `xml:"organizationalUnitArn,omitempty"`
}

func (p *permissions) list() []permissionXML {
	var out []permissionXML
	if p.all {
		out = append(out, permissionXML{Group: "all"})
	}
	for _, user := range slices.Sorted(maps.Keys(p.users)) {
		out = append(out, permissionXML{UserID: user})
	}
	for _, org := range slices.Sorted(maps.Keys(p.orgs)) {
		out = append(out, permissionXML{Org: org})
	}
	for _, unit := range slices.Sorted(maps.Keys(p.units)) {
		out = append(out, permissionXML{Unit: unit})
	}
	return out
}

// clear removes all permissions.
func (p *permissions) clear() { *p = permissions{} }

// check validates a change. The error for an invalid account or group has the
// code malformed.
func (change *permissionChange) check(malformed string) *ec2query.Error {
	for _, entry := range slices.Concat(change.Add, change.Remove) {
		if entry == (permissionParam{}) {
			return ec2query.MissingParameter("LaunchPermission.UserId")
		}
		if entry.UserID != "" && !isAccount(entry.UserID) {
			return ec2query.Errorf(malformed, "Invalid attribute item value %q for userId item type.", entry.UserID)
		}
		if entry.Group != "" && entry.Group != "all" {
			return ec2query.Errorf(malformed, "Invalid attribute item value %q for group item type.", entry.Group)
		}
		if entry.OrganizationArn != "" && !isOrganizationARN(entry.OrganizationArn, "organization/o-") {
			return ec2query.InvalidValue("OrganizationArn", entry.OrganizationArn, "It must be the ARN of an organization.")
		}
		if entry.OrganizationalUnitArn != "" && !isOrganizationARN(entry.OrganizationalUnitArn, "ou/o-") {
			return ec2query.InvalidValue("OrganizationalUnitArn", entry.OrganizationalUnitArn, "It must be the ARN of an organizational unit.")
		}
	}
	if len(change.Add)+len(change.Remove) == 0 {
		return ec2query.InvalidCombination("No operation specified")
	}
	return nil
}

// isOrganizationARN reports whether arn is a resource of AWS Organizations of a
// kind.
func isOrganizationARN(arn, kind string) bool {
	parts := strings.Split(arn, ":")
	return len(parts) == 6 && parts[0] == "arn" && parts[2] == "organizations" && isAccount(parts[4]) && strings.HasPrefix(parts[5], kind)
}

// shareable refuses to share a snapshot encrypted with the AWS managed key, or
// to make an encrypted one public.
func (change *permissionChange) shareable(c *call, s *snapshot) *ec2query.Error {
	if len(change.Add) == 0 || !s.encrypted {
		return nil
	}
	if s.kmsKey == c.managedKey(s.owner) {
		return ec2query.Errorf("InvalidParameter", "Snapshots encrypted with the AWS Managed CMK can't be shared. Specify another snapshot.")
	}
	for _, entry := range change.Add {
		if entry.Group != "" {
			return ec2query.Errorf("OperationNotPermitted", "Encrypted snapshots cannot be made public")
		}
	}
	return nil
}

func isAccount(id string) bool {
	for _, c := range id {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(id) == 12
}

func (p *permissions) apply(change *permissionChange) {
	for _, entry := range change.Add {
		p.set(entry, true)
	}
	for _, entry := range change.Remove {
		p.set(entry, false)
	}
}

func (p *permissions) set(entry permissionParam, on bool) {
	if entry.Group == "all" {
		p.all = on
	}
	setMember(&p.users, entry.UserID, on)
	setMember(&p.orgs, entry.OrganizationArn, on)
	setMember(&p.units, entry.OrganizationalUnitArn, on)
}

func setMember(set *map[string]bool, key string, on bool) {
	switch {
	case key == "":
	case !on:
		delete(*set, key)
	default:
		if *set == nil {
			*set = make(map[string]bool)
		}
		(*set)[key] = true
	}
}

// legacyChange returns a change given in the flat form, with OperationType and
// lists, or nil if there is none.
func legacyChange(operation string, users, groups, orgs, units []string) (*permissionChange, *ec2query.Error) {
	if len(users)+len(groups)+len(orgs)+len(units) == 0 {
		return nil, nil
	}
	var entries []permissionParam
	for _, user := range users {
		entries = append(entries, permissionParam{UserID: user})
	}
	for _, group := range groups {
		entries = append(entries, permissionParam{Group: group})
	}
	for _, org := range orgs {
		entries = append(entries, permissionParam{OrganizationArn: org})
	}
	for _, unit := range units {
		entries = append(entries, permissionParam{OrganizationalUnitArn: unit})
	}
	switch operation {
	case "add":
		return &permissionChange{Add: entries}, nil
	case "remove":
		return &permissionChange{Remove: entries}, nil
	}
	return nil, ec2query.MissingParameter("OperationType")
}

// matchesOwner reports whether a describe call with these Owner values includes
// resources of owner. No values include all.
func (c *call) matchesOwner(owner, alias string, owners []string) bool {
	return len(owners) == 0 || slices.ContainsFunc(owners, func(want string) bool {
		return want == owner || want == "self" && owner == c.account || want == alias && alias != ""
	})
}

// matchesSharing does the same for ExecutableBy and RestorableBy. For "self" it
// includes resources shared with the caller's organization; for another account
// only those shared with it by account id.
func (c *call) matchesSharing(p *permissions, owner string, with []string) bool {
	return len(with) == 0 || slices.ContainsFunc(with, func(want string) bool {
		switch want {
		case "all":
			return p.all
		case "self", c.account:
			return owner != c.account && c.admitsByName(p)
		}
		return p.users[want]
	})
}
