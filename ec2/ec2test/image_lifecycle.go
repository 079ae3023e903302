package ec2test

import (
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// protectionCooldown is how long an image with a cooldown stays protected after
// its protection is disabled.
const protectionCooldown = 24 * time.Hour

// longestDeprecation limits how far ahead an image's deprecation may be.
const longestDeprecation = 10 * 365 * 24 * time.Hour

type imageIDInput struct {
	ImageID string `ec2:"ImageId,required"`
}

type deregisterImageInput struct {
	ImageID                   string `ec2:"ImageId,required"`
	DeleteAssociatedSnapshots bool
}

type deleteResultXML struct {
	Snapshot string `xml:"snapshotId"`
	Code     string `xml:"returnCode"`
}

type deregisterImageOutput struct {
	Return  bool                           `xml:"return"`
	Results *ec2query.Set[deleteResultXML] `xml:"deleteSnapshotResultSet,omitempty"`
}

func (c *call) deregisterImage(in *deregisterImageInput) (*deregisterImageOutput, *ec2query.Error) {
	img, err := c.ownImage(in.ImageID)
	if err != nil {
		return nil, err
	}
	if p := img.protection(c.now); p != "disabled" {
		return nil, ec2query.Errorf("OperationNotPermitted", "The image %s has deregistration protection: %s", img.id, p)
	}
	if managedByBackup(img.tags) {
		return nil, ec2query.Errorf("AuthFailure", "This image is managed by AWS Backup and cannot be deleted via EC2 APIs. To delete this image, please use the AWS Backup APIs, CLI, or console.")
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	c.dropImage(img)
	moveToBin(c, &c.imageBin, "EC2_IMAGE", img)
	out := &deregisterImageOutput{Return: true}
	if !in.DeleteAssociatedSnapshots {
		return out, nil
	}
	out.Results = &ec2query.Set[deleteResultXML]{}
	for _, id := range img.snapshots() {
		result := deleteResultXML{id, "success"}
		snap, ok := c.snapshots.get(id)
		switch {
		case !ok:
			result.Code = "client-error"
		case !c.owns(&snap.base):
			result.Code = "missing-permissions"
		case c.imageUsing(snap) != nil:
			result.Code = "skipped"
		case c.mayDelete(snap) != nil:
			result.Code = "client-error"
		default:
			c.dropSnapshot(snap)
		}
		out.Results.Items = append(out.Results.Items, result)
	}
	return out, nil
}

type enableDeprecationInput struct {
	ImageID     string    `ec2:"ImageId,required"`
	DeprecateAt time.Time `ec2:"DeprecateAt,required"`
}

func (c *call) enableImageDeprecation(in *enableDeprecationInput) (*ec2query.Return, *ec2query.Error) {
	img, err := c.ownImage(in.ImageID)
	if err != nil {
		return nil, err
	}
	at := in.DeprecateAt.UTC()
	// EC2 rounds to the nearest minute.
	at = at.Add(30 * time.Second).Truncate(time.Minute)
	switch {
	case at.Before(c.now.Truncate(time.Minute)):
		return nil, ec2query.InvalidValue("DeprecateAt", ec2query.FormatTime(in.DeprecateAt), "The deprecation date cannot be in the past.")
	case at.Sub(c.now) > longestDeprecation+3*24*time.Hour:
		return nil, ec2query.InvalidValue("DeprecateAt", ec2query.FormatTime(in.DeprecateAt), "The deprecation date can be at most 10 years from now.")
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	img.deprecateAt = at
	return ec2query.Done(), nil
}

func (c *call) disableImageDeprecation(in *imageIDInput) (*ec2query.Return, *ec2query.Error) {
	return c.changeImage(in.ImageID, func(img *image) *ec2query.Error {
		img.deprecateAt = time.Time{}
		return nil
	})
}

// changeImage runs f on an image of the caller unless the call is a dry run.
func (c *call) changeImage(id string, f func(*image) *ec2query.Error) (*ec2query.Return, *ec2query.Error) {
	img, err := c.ownImage(id)
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	if err := f(img); err != nil {
		return nil, err
	}
	return ec2query.Done(), nil
}

func (c *call) disableImage(in *imageIDInput) (*ec2query.Return, *ec2query.Error) {
	return c.changeImage(in.ImageID, func(img *image) *ec2query.Error {
		if state := img.state(c.now); state != "available" && state != "disabled" {
			return ec2query.Errorf("IncorrectState", "The image %s is %s and cannot be disabled", img.id, state)
		}
		img.disabled = true
		img.launch.clear()
		return nil
	})
}

func (c *call) enableImage(in *imageIDInput) (*ec2query.Return, *ec2query.Error) {
	return c.changeImage(in.ImageID, func(img *image) *ec2query.Error {
		img.disabled = false
		return nil
	})
}

type enableProtectionInput struct {
	ImageID      string `ec2:"ImageId,required"`
	WithCooldown bool
}

type protectionOutput struct {
	Return string `xml:"return"`
}

func (c *call) enableProtection(in *enableProtectionInput) (*protectionOutput, *ec2query.Error) {
	out := &protectionOutput{}
	_, err := c.changeImage(in.ImageID, func(img *image) *ec2query.Error {
		img.protected, img.cooldown, img.protectedUntil = true, in.WithCooldown, time.Time{}
		out.Return = img.protection(c.now)
		return nil
	})
	return out, err
}

func (c *call) disableProtection(in *imageIDInput) (*protectionOutput, *ec2query.Error) {
	out := &protectionOutput{}
	_, err := c.changeImage(in.ImageID, func(img *image) *ec2query.Error {
		if img.protected && img.cooldown {
			img.protectedUntil = c.now.Add(protectionCooldown)
		}
		img.protected, img.cooldown = false, false
		out.Return = img.protection(c.now)
		return nil
	})
	return out, err
}
