package ec2test

import "github.com/bakestone-go/bakestone/internal/ec2query"

type resetImageAttributeInput struct {
	ImageID   string `ec2:"ImageId,required"`
	Attribute string `ec2:"Attribute,required,oneof=launchPermission"`
}

// resetImageAttribute shares an image with no one.
func (c *call) resetImageAttribute(in *resetImageAttributeInput) (*ec2query.Return, *ec2query.Error) {
	return c.changeImage(in.ImageID, func(img *image) *ec2query.Error {
		img.launch.clear()
		return nil
	})
}

// cancelLaunchPermission takes the caller's own permission away from an image
// that another account shares with it by name.
func (c *call) cancelLaunchPermission(in *imageIDInput) (*ec2query.Return, *ec2query.Error) {
	img, err := c.usableImage(in.ImageID)
	if err != nil {
		return nil, err
	}
	if !img.launch.users[c.account] {
		return nil, ec2query.Errorf("InvalidParameterValue", "The image %s is not shared with the account %s by its id", img.id, c.account)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	setMember(&img.launch.users, c.account, false)
	return ec2query.Done(), nil
}

type resetSnapshotAttributeInput struct {
	SnapshotID string `ec2:"SnapshotId,required"`
	Attribute  string `ec2:"Attribute,required,oneof=createVolumePermission"`
}

// resetSnapshotAttribute shares a snapshot with no one.
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
