package ec2test

import (
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type describeImageAttributeInput struct {
	ImageID   string `ec2:"ImageId,required"`
	Attribute string `ec2:"Attribute,required,oneof=description|kernel|ramdisk|launchPermission|productCodes|blockDeviceMapping|sriovNetSupport|bootMode|tpmSupport|uefiData|lastLaunchedTime|imdsSupport|deregistrationProtection"`
}

type imageAttributeOutput struct {
	ImageID      string                        `xml:"imageId"`
	Description  *ec2query.Text                `xml:"description,omitempty"`
	Kernel       *ec2query.Text                `xml:"kernel,omitempty"`
	Ramdisk      *ec2query.Text                `xml:"ramdisk,omitempty"`
	Launch       *ec2query.Set[permissionXML]  `xml:"launchPermission,omitempty"`
	Products     *ec2query.Set[ec2query.Empty] `xml:"productCodes,omitempty"`
	BootMode     *ec2query.Text                `xml:"bootMode,omitempty"`
	IMDS         *ec2query.Text                `xml:"imdsSupport,omitempty"`
	TPM          *ec2query.Text                `xml:"tpmSupport,omitempty"`
	UEFI         *ec2query.Text                `xml:"uefiData,omitempty"`
	SRIOV        *ec2query.Text                `xml:"sriovNetSupport,omitempty"`
	LastLaunched *ec2query.Text                `xml:"lastLaunchedTime,omitempty"`
	Protection   *ec2query.Text                `xml:"deregistrationProtection,omitempty"`
}

func (c *call) describeImageAttribute(in *describeImageAttributeInput) (*imageAttributeOutput, *ec2query.Error) {
	img, err := c.ownImage(in.ImageID)
	if err != nil {
		return nil, err
	}
	out := &imageAttributeOutput{ImageID: img.id}
	switch in.Attribute {
	case "description":
		out.Description = ec2query.TextOf(img.description)
	case "launchPermission":
		list := ec2query.SetOf(img.launch.list()...)
		out.Launch = &list
	case "blockDeviceMapping":
		// EC2 refuses this attribute even to the owner.
		return nil, ec2query.Errorf("AuthFailure", "Unauthorized attempt to access restricted resource")
	case "kernel":
		out.Kernel = &ec2query.Text{}
	case "ramdisk":
		out.Ramdisk = &ec2query.Text{}
	case "productCodes":
		out.Products = &ec2query.Set[ec2query.Empty]{}
	case "uefiData":
		out.UEFI = &ec2query.Text{}
	case "bootMode":
		out.BootMode = ec2query.TextOf(img.bootMode)
	case "imdsSupport":
		out.IMDS = ec2query.TextOf(img.imds)
	case "tpmSupport":
		out.TPM = ec2query.TextOf(img.tpm)
	case "sriovNetSupport":
		out.SRIOV = ec2query.TextOf(img.sriov)
	case "lastLaunchedTime":
		out.LastLaunched = ec2query.TextOf(ec2query.FormatTime(img.lastLaunched))
	case "deregistrationProtection":
		out.Protection = ec2query.TextOf(img.protection(c.now))
	}
	return out, nil
}

type valueParam struct {
	Value string `ec2:"Value"`
}

type modifyImageAttributeInput struct {
	ImageID          string `ec2:"ImageId,required"`
	Attribute        string
	Value            string
	Description      *valueParam
	ImdsSupport      *valueParam
	LaunchPermission *permissionChange
	ProductCode      []string
	flatChange
}

// anyCase returns the allowed attribute that a name stands for. The calls that
// modify permissions accept names in any case, and none.
func anyCase(name string, allowed ...string) (string, *ec2query.Error) {
	for _, want := range allowed {
		if strings.EqualFold(name, want) {
			return want, nil
		}
	}
	return "", inSet("attribute", name, allowed...)
}

func (c *call) modifyImageAttribute(in *modifyImageAttributeInput) (*ec2query.Return, *ec2query.Error) {
	img, err := c.ownImage(in.ImageID)
	if err != nil {
		return nil, err
	}
	if in.Attribute, err = anyCase(in.Attribute, "description", "launchPermission", "productCodes", "imdsSupport"); err != nil {
		return nil, err
	}
	switch in.Attribute {
	case "description":
		in.Description = &valueParam{in.Value}
	case "imdsSupport":
		in.ImdsSupport = &valueParam{in.Value}
	}
	if in.Attribute == "productCodes" || len(in.ProductCode) > 0 {
		return nil, ec2query.Errorf("AuthFailure", "Not authorized for product codes: only sellers of AWS Marketplace can attach them")
	}
	if in.LaunchPermission, err = in.with(in.LaunchPermission); err != nil {
		return nil, err
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

type resetImageAttributeInput struct {
	ImageID   string `ec2:"ImageId,required"`
	Attribute string `ec2:"Attribute,required,oneof=launchPermission"`
}

// resetImageAttribute removes all launch permissions.
func (c *call) resetImageAttribute(in *resetImageAttributeInput) (*ec2query.Return, *ec2query.Error) {
	return c.changeImage(in.ImageID, func(img *image) *ec2query.Error {
		img.launch.clear()
		return nil
	})
}

// cancelLaunchPermission removes the caller's own launch permission from
// another account's image. The image must be shared with the caller's account
// id.
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
