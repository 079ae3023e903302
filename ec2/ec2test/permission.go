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

// flatAccounts is a change of permissions in the flat form, with OperationType
// and lists.
type flatAccounts struct {
	OperationType string   `ec2:"OperationType,oneof=add|remove"`
	UserID        []string `ec2:"UserId"`
	UserGroup     []string
}

// flatChange is a flatAccounts that can also name organizations.
type flatChange struct {
	flatAccounts
	OrganizationArn       []string
	OrganizationalUnitArn []string
}

func (f *flatChange) entries() []permissionParam {
	out := make([]permissionParam, 0, len(f.UserID)+len(f.UserGroup)+len(f.OrganizationArn)+len(f.OrganizationalUnitArn))
	for _, user := range f.UserID {
		out = append(out, permissionParam{UserID: user})
	}
	for _, group := range f.UserGroup {
		out = append(out, permissionParam{Group: group})
	}
	for _, org := range f.OrganizationArn {
		out = append(out, permissionParam{OrganizationArn: org})
	}
	for _, unit := range f.OrganizationalUnitArn {
		out = append(out, permissionParam{OrganizationalUnitArn: unit})
	}
	return out
}

// with returns the change that a request describes in the structured form, the
// flat form or both, or nil if it has neither. Lists without OperationType
// count for nothing beside the structured form, which Packer sends with them.
func (f *flatChange) with(structured *permissionChange) (*permissionChange, *ec2query.Error) {
	entries := f.entries()
	if len(entries) == 0 || f.OperationType == "" && structured != nil {
		return structured, nil
	}
	change := &permissionChange{}
	if structured != nil {
		change.Add, change.Remove = slices.Clone(structured.Add), slices.Clone(structured.Remove)
	}
	switch f.OperationType {
	case "add":
		change.Add = append(change.Add, entries...)
	case "remove":
		change.Remove = append(change.Remove, entries...)
	default:
		return nil, ec2query.MissingParameter("OperationType")
	}
	return change, nil
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
