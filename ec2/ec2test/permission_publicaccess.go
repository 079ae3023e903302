package ec2test

import (
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// Modes of block public access.
const (
	unblocked = "unblocked"
	blockNew  = "block-new-sharing"
	blockAll  = "block-all-sharing" // only for snapshots
)

// publicAccess is the setting of block public access of an account in a region.
// A change takes effect at a later time.
type publicAccess struct {
	mode, before string
	from         time.Time
}

func (p *publicAccess) at(now time.Time) string {
	if now.Before(p.from) {
		return p.before
	}
	return p.mode
}

func (p *publicAccess) set(mode string, now, from time.Time) {
	p.before, p.mode, p.from = p.at(now), mode, from
}

// publicImage refuses to make an image public if that is blocked.
func (c *call) publicImage(change *permissionChange) *ec2query.Error {
	if !change.makesPublic() || c.accountState(c.account).publicImages.at(c.now) == unblocked {
		return nil
	}
	return ec2query.Errorf("OperationNotPermitted", "You can't publicly share this image because block public access for AMIs is enabled for this account. "+
		"To publicly share the image, you must call the DisableImageBlockPublicAccess API.")
}

// publicSnapshot refuses to make a snapshot public if that is blocked. AWS does
// not document the error.
func (c *call) publicSnapshot(change *permissionChange) *ec2query.Error {
	if !change.makesPublic() || c.accountState(c.account).publicSnapshots.at(c.now) == unblocked {
		return nil
	}
	return ec2query.Errorf("OperationNotPermitted", "You can't publicly share this snapshot because block public access for snapshots is enabled for this account.")
}

// makesPublic reports whether a change adds a public permission.
func (change *permissionChange) makesPublic() bool {
	for _, entry := range change.Add {
		if entry.Group != "" {
			return true
		}
	}
	return false
}

// blocksPublicSnapshots reports whether the owner's public snapshots are hidden
// from other accounts.
func (r *region) blocksPublicSnapshots(owner string, now time.Time) bool {
	of := r.accounts[owner] // nil for vendors, who make no calls
	return of != nil && of.publicSnapshots.at(now) == blockAll
}

type imageAccessXML struct {
	State string `xml:"imageBlockPublicAccessState"`
}

type imageAccessInfoXML struct {
	imageAccessXML
	Manager string `xml:"managedBy"`
}

type enableImageBlockInput struct {
	State string `ec2:"ImageBlockPublicAccessState,required,oneof=block-new-sharing"`
}

func (c *call) getImageBlock(*noInput) (*imageAccessInfoXML, *ec2query.Error) {
	return &imageAccessInfoXML{imageAccessXML{c.accountState(c.account).publicImages.at(c.now)}, "account"}, nil
}

func (c *call) enableImageBlock(in *enableImageBlockInput) (*imageAccessXML, *ec2query.Error) {
	return c.setImageBlock(in.State)
}

func (c *call) disableImageBlock(*noInput) (*imageAccessXML, *ec2query.Error) {
	return c.setImageBlock(unblocked)
}

func (c *call) setImageBlock(mode string) (*imageAccessXML, *ec2query.Error) {
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	c.accountState(c.account).publicImages.set(mode, c.now, c.now.Add(c.server.opts.Latency.PublicAccess))
	return &imageAccessXML{mode}, nil
}

type snapshotAccessXML struct {
	State string `xml:"state"`
}

type snapshotAccessInfoXML struct {
	snapshotAccessXML
	Manager string `xml:"managedBy"`
}

type enableSnapshotBlockInput struct {
	State string `ec2:"State,required,oneof=block-all-sharing|block-new-sharing"`
}

func (c *call) getSnapshotBlock(*noInput) (*snapshotAccessInfoXML, *ec2query.Error) {
	return &snapshotAccessInfoXML{snapshotAccessXML{c.accountState(c.account).publicSnapshots.at(c.now)}, "account"}, nil
}

func (c *call) enableSnapshotBlock(in *enableSnapshotBlockInput) (*snapshotAccessXML, *ec2query.Error) {
	return c.setSnapshotBlock(in.State)
}

func (c *call) disableSnapshotBlock(*noInput) (*snapshotAccessXML, *ec2query.Error) {
	return c.setSnapshotBlock(unblocked)
}

func (c *call) setSnapshotBlock(mode string) (*snapshotAccessXML, *ec2query.Error) {
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	c.accountState(c.account).publicSnapshots.set(mode, c.now, c.now)
	return &snapshotAccessXML{mode}, nil
}
