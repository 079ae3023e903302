package ec2test

import "github.com/bakestone-go/bakestone/internal/ec2query"

type resetSnapshotAttributeInput struct {
	SnapshotID string `ec2:"SnapshotId,required"`
	Attribute  string `ec2:"Attribute,required,oneof=createVolumePermission"`
}

// resetSnapshotAttribute removes all permissions.
func (c *call) resetSnapshotAttribute(in *resetSnapshotAttributeInput) (*ec2query.Return, *ec2query.Error) {
	s, err := lookup(c, &c.snapshots, snapshotKind(), in.SnapshotID)
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	s.shares.clear()
	return ec2query.Done(), nil
}

type modifySnapshotAttributeInput struct {
	SnapshotID             string `ec2:"SnapshotId,required"`
	Attribute              string
	CreateVolumePermission *struct {
		Add    []volumePermissionParam
		Remove []volumePermissionParam
	}
	flatAccounts
}

// volumePermissionParam is a permission of a snapshot, which can be shared with
// accounts or made public.
type volumePermissionParam struct {
	Group  string
	UserID string `ec2:"UserId"`
}

func ofVolumes(list []volumePermissionParam) []permissionParam {
	out := make([]permissionParam, 0, len(list))
	for _, p := range list {
		out = append(out, permissionParam{Group: p.Group, UserID: p.UserID})
	}
	return out
}

func (c *call) modifySnapshotAttribute(in *modifySnapshotAttributeInput) (*ec2query.Return, *ec2query.Error) {
	s, err := lookup(c, &c.snapshots, snapshotKind(), in.SnapshotID)
	if err != nil {
		return nil, err
	}
	if in.Attribute, err = anyCase(in.Attribute, "createVolumePermission", "productCodes"); err != nil {
		return nil, err
	}
	if in.Attribute == "productCodes" {
		return nil, ec2query.Errorf("AuthFailure", "Not authorized for product codes: only sellers of AWS Marketplace can attach them")
	}
	var change *permissionChange
	if given := in.CreateVolumePermission; given != nil {
		change = &permissionChange{ofVolumes(given.Add), ofVolumes(given.Remove)}
	}
	flat := flatChange{flatAccounts: in.flatAccounts}
	if change, err = flat.with(change); err != nil {
		return nil, err
	}
	if change == nil {
		return nil, ec2query.MissingParameter("CreateVolumePermission")
	}
	if err := change.check("InvalidParameterValue"); err != nil {
		return nil, err
	}
	if err := c.publicSnapshot(change); err != nil {
		return nil, err
	}
	if err := change.shareable(c, s); err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	s.shares.apply(change)
	return ec2query.Done(), nil
}

type describeSnapshotAttributeInput struct {
	SnapshotID string `ec2:"SnapshotId,required"`
	Attribute  string `ec2:"Attribute,required,oneof=createVolumePermission|productCodes"`
}

type describeSnapshotAttributeOutput struct {
	ID           string                             `xml:"snapshotId"`
	Permissions  *ec2query.Set[volumePermissionXML] `xml:"createVolumePermission,omitempty"`
	ProductCodes *ec2query.Set[ec2query.Empty]      `xml:"productCodes,omitempty"`
}

type volumePermissionXML struct {
	Group  string `xml:"group,omitempty"`
	UserID string `xml:"userId,omitempty"`
}

func (c *call) describeSnapshotAttribute(in *describeSnapshotAttributeInput) (*describeSnapshotAttributeOutput, *ec2query.Error) {
	s, err := lookup(c, &c.snapshots, snapshotKind(), in.SnapshotID)
	if err != nil {
		return nil, err
	}
	out := &describeSnapshotAttributeOutput{ID: s.id}
	if in.Attribute == "productCodes" {
		out.ProductCodes = &ec2query.Set[ec2query.Empty]{}
		return out, nil
	}
	list := ec2query.MapSet(s.shares.list(), func(p permissionXML) volumePermissionXML { return volumePermissionXML{p.Group, p.UserID} })
	out.Permissions = &list
	return out, nil
}
