package ec2test

import (
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// profileAssociation is the use of an instance profile by an instance.
type profileAssociation struct {
	base

	instance *instance
	profile  string // ARN
}

func associationKind() kind {
	return kind{"iip-assoc-", "iam-instance-profile-association", "InvalidAssociationID.Malformed", "InvalidAssociationID.NotFound", "An invalid association-id of '%s' was given"}
}

// useProfile gives an instance another profile, by its ARN; "" means none.
func (i *instance) useProfile(arn string, now time.Time) {
	i.profile, i.association = arn, base{}
	if arn != "" {
		s := i.region.server
		i.association = base{id: newID(associationKind().prefix, s.nextSeq()), seq: s.nextSeq(), owner: i.owner, created: now}
	}
}

// associations returns the profiles of the instances.
func (r *region) associations(now time.Time) *table[*profileAssociation] {
	all := &table[*profileAssociation]{}
	for i := range r.instances.all() {
		if i.profile != "" && i.phase.code(now) != terminated {
			all.put(&profileAssociation{base: i.association, instance: i, profile: i.profile})
		}
	}
	return all
}

type profileAssociationXML struct {
	ID       string     `xml:"associationId"`
	Instance string     `xml:"instanceId"`
	Profile  profileXML `xml:"iamInstanceProfile"`
	State    string     `xml:"state"`
	Time     string     `xml:"timestamp"`
}

func (a *profileAssociation) xml(state string) profileAssociationXML {
	return profileAssociationXML{a.id, a.instance.id, profileXML{a.profile, namedID("AIPA", a.profile)}, state, ec2query.FormatTime(a.created)}
}

type profileAssociationOutput struct {
	Association profileAssociationXML `xml:"iamInstanceProfileAssociation"`
}

// associated returns the response of a call that gives an instance a profile.
func (i *instance) associated() *profileAssociationOutput {
	return &profileAssociationOutput{(&profileAssociation{i.association, i, i.profile}).xml("associating")}
}

type associateProfileInput struct {
	IamInstanceProfile *profileParams `ec2:"IamInstanceProfile,required"`
	InstanceID         string         `ec2:"InstanceId,required"`
}

func (c *call) associateProfile(in *associateProfileInput) (*profileAssociationOutput, *ec2query.Error) {
	i, err := lookup(c, &c.instances, instanceKind(), in.InstanceID)
	if err != nil {
		return nil, err
	}
	arn, err := c.namedProfile(in.IamInstanceProfile)
	if err != nil {
		return nil, err
	}
	switch code := i.phase.code(c.now); {
	case code != pending && code != running && code != stopping && code != stopped:
		return nil, ec2query.Errorf("IncorrectInstanceState", "The instance '%s' is not in a state in which it can have an instance profile: %s", i.id, code)
	case i.profile != "":
		return nil, ec2query.Errorf("IncorrectState", "There is an existing association for instance %s", i.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	i.useProfile(arn, c.now)
	return i.associated(), nil
}

type disassociateProfileInput struct {
	AssociationID string `ec2:"AssociationId,required"`
}

func (c *call) disassociateProfile(in *disassociateProfileInput) (*profileAssociationOutput, *ec2query.Error) {
	a, err := lookup(c, c.associations(c.now), associationKind(), in.AssociationID)
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	a.instance.useProfile("", c.now)
	return &profileAssociationOutput{a.xml("disassociating")}, nil
}

type replaceProfileInput struct {
	IamInstanceProfile *profileParams `ec2:"IamInstanceProfile,required"`
	AssociationID      string         `ec2:"AssociationId,required"`
}

func (c *call) replaceProfile(in *replaceProfileInput) (*profileAssociationOutput, *ec2query.Error) {
	a, err := lookup(c, c.associations(c.now), associationKind(), in.AssociationID)
	if err != nil {
		return nil, err
	}
	arn, err := c.namedProfile(in.IamInstanceProfile)
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	a.instance.useProfile(arn, c.now)
	return a.instance.associated(), nil
}

func associationFilters() filters[*profileAssociation] {
	return filters[*profileAssociation]{
		"instance-id": func(_ *call, a *profileAssociation) []string { return one(a.instance.id) },
		"state":       func(*call, *profileAssociation) []string { return one("associated") },
	}
}

type describeAssociationsInput struct {
	AssociationID []string `ec2:"AssociationId"`
	Filter        []filterParam
	pageParams
}

type describeAssociationsOutput struct {
	Associations ec2query.Set[profileAssociationXML] `xml:"iamInstanceProfileAssociationSet"`
	Next         string                              `xml:"nextToken,omitempty"`
}

func (c *call) describeAssociations(in *describeAssociationsInput) (*describeAssociationsOutput, *ec2query.Error) {
	items, next, err := find(c, c.associations(c.now), query[*profileAssociation]{
		kind: associationKind(), ids: in.AssociationID, filters: in.Filter, known: c.server.known.associations, page: in.pageParams,
	})
	return &describeAssociationsOutput{ec2query.MapSet(items, func(a *profileAssociation) profileAssociationXML { return a.xml("associated") }), next}, err
}
