package ec2test

import (
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// protectionCooldown is how long an image with a cooldown stays protected
// after its protection is lifted.
const protectionCooldown = 24 * time.Hour

// longestDeprecation is how far in the future an image may be deprecated.
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
		return nil, ec2query.InvalidValue("DeprecateAt", ec2query.FormatTime(in.DeprecateAt), "The deprecation date can not be in the past.")
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

// change runs f on an image of the caller, after the dry run.
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
			return ec2query.Errorf("IncorrectState", "The image %s is %s and can not be disabled", img.id, state)
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

type describeImageAttributeInput struct {
	ImageID   string `ec2:"ImageId,required"`
	Attribute string `ec2:"Attribute,required,oneof=description|launchPermission|blockDeviceMapping|bootMode|imdsSupport|tpmSupport|sriovNetSupport|lastLaunchedTime|deregistrationProtection"`
}

type imageAttributeOutput struct {
	ImageID      string                       `xml:"imageId"`
	Description  *ec2query.Value[string]      `xml:"description,omitempty"`
	Launch       *ec2query.Set[permissionXML] `xml:"launchPermission,omitempty"`
	Mappings     *ec2query.Set[mappingXML]    `xml:"blockDeviceMapping,omitempty"`
	BootMode     *ec2query.Value[string]      `xml:"bootMode,omitempty"`
	IMDS         *ec2query.Value[string]      `xml:"imdsSupport,omitempty"`
	TPM          *ec2query.Value[string]      `xml:"tpmSupport,omitempty"`
	SRIOV        *ec2query.Value[string]      `xml:"sriovNetSupport,omitempty"`
	LastLaunched *ec2query.Value[string]      `xml:"lastLaunchedTime,omitempty"`
	Protection   *ec2query.Value[string]      `xml:"deregistrationProtection,omitempty"`
}

func (c *call) describeImageAttribute(in *describeImageAttributeInput) (*imageAttributeOutput, *ec2query.Error) {
	img, err := c.ownImage(in.ImageID)
	if err != nil {
		return nil, err
	}
	out := &imageAttributeOutput{ImageID: img.id}
	switch in.Attribute {
	case "description":
		out.Description = ec2query.ValueOf(img.description)
	case "launchPermission":
		list := ec2query.SetOf(img.launch.list()...)
		out.Launch = &list
	case "blockDeviceMapping":
		list := ec2query.MapSet(img.mappings, mapping.xml)
		out.Mappings = &list
	case "bootMode":
		out.BootMode = ec2query.ValueOf(img.bootMode)
	case "imdsSupport":
		out.IMDS = ec2query.ValueOf(img.imds)
	case "tpmSupport":
		out.TPM = ec2query.ValueOf(img.tpm)
	case "sriovNetSupport":
		out.SRIOV = ec2query.ValueOf(img.sriov)
	case "lastLaunchedTime":
		out.LastLaunched = ec2query.ValueOf(ec2query.FormatTime(img.lastLaunched))
	case "deregistrationProtection":
		out.Protection = ec2query.ValueOf(img.protection(c.now))
	}
	return out, nil
}

type valueParam struct {
	Value string `ec2:"Value"`
}

type modifyImageAttributeInput struct {
	ImageID               string `ec2:"ImageId,required"`
	Attribute             string `ec2:"Attribute,oneof=description|launchPermission|imdsSupport"`
	Value                 string
	Description           *valueParam
	ImdsSupport           *valueParam
	LaunchPermission      *permissionChange
	OperationType         string
	UserID                []string `ec2:"UserId"`
	UserGroup             []string
	OrganizationArn       []string
	OrganizationalUnitArn []string
}

func (c *call) modifyImageAttribute(in *modifyImageAttributeInput) (*ec2query.Return, *ec2query.Error) {
	img, err := c.ownImage(in.ImageID)
	if err != nil {
		return nil, err
	}
	switch in.Attribute {
	case "description":
		in.Description = &valueParam{in.Value}
	case "imdsSupport":
		in.ImdsSupport = &valueParam{in.Value}
	}
	legacy, err := legacyChange(in.OperationType, in.UserID, in.UserGroup, in.OrganizationArn, in.OrganizationalUnitArn)
	if err != nil {
		return nil, err
	}
	if legacy != nil {
		in.LaunchPermission = legacy
	}
	given := 0
	for _, set := range []bool{in.Description != nil, in.ImdsSupport != nil, in.LaunchPermission != nil} {
		if set {
			given++
		}
	}
	if given != 1 {
		return nil, ec2query.InvalidCombination("Exactly one attribute must be specified, not %d", given)
	}
	if in.ImdsSupport != nil && in.ImdsSupport.Value != "v2.0" {
		return nil, ec2query.InvalidValue("imdsSupport", in.ImdsSupport.Value, "The only value is v2.0.")
	}
	if in.LaunchPermission != nil {
		if err := in.LaunchPermission.check("InvalidAMIAttributeItemValue"); err != nil {
			return nil, err
		}
		if state := img.state(c.now); state != "available" {
			return nil, ec2query.Errorf("InvalidAMIID.Unavailable", "The image ID '%s' is not available: %s", img.id, state)
		}
		if err := c.publicImage(in.LaunchPermission); err != nil {
			return nil, err
		}
		for _, m := range img.mappings {
			if m.EBS == nil {
				continue
			}
			if snap, ok := c.snapshots.get(m.EBS.SnapshotID); ok {
				if err := in.LaunchPermission.shareable(c, snap); err != nil {
					return nil, err
				}
			}
		}
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	switch {
	case in.Description != nil:
		img.description = in.Description.Value
	case in.ImdsSupport != nil:
		img.imds = in.ImdsSupport.Value
	default:
		img.launch.apply(in.LaunchPermission)
	}
	return ec2query.Done(), nil
}
