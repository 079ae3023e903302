package ec2test

import (
	"cmp"
	"encoding/base64"
	"strconv"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type describeInstanceAttributeInput struct {
	InstanceID string `ec2:"InstanceId,required"`
	Attribute  string `ec2:"Attribute,required,oneof=instanceType|kernel|ramdisk|userData|disableApiTermination|disableApiStop|instanceInitiatedShutdownBehavior|rootDeviceName|blockDeviceMapping|sourceDestCheck|groupSet|ebsOptimized|enaSupport|productCodes|sriovNetSupport|enclaveOptions"`
}

type instanceAttributeOutput struct {
	ID         string                            `xml:"instanceId"`
	Type       *ec2query.Value[string]           `xml:"instanceType,omitempty"`
	Kernel     *ec2query.Text                    `xml:"kernel,omitempty"`
	Ramdisk    *ec2query.Text                    `xml:"ramdisk,omitempty"`
	SRIOV      *ec2query.Text                    `xml:"sriovNetSupport,omitempty"`
	Enclave    *enabledXML                       `xml:"enclaveOptions,omitempty"`
	UserData   *ec2query.Text                    `xml:"userData,omitempty"`
	NoTerm     *ec2query.Value[bool]             `xml:"disableApiTermination,omitempty"`
	NoStop     *ec2query.Value[bool]             `xml:"disableApiStop,omitempty"`
	Shutdown   *ec2query.Value[string]           `xml:"instanceInitiatedShutdownBehavior,omitempty"`
	RootDevice *ec2query.Value[string]           `xml:"rootDeviceName,omitempty"`
	Mappings   *ec2query.Set[instanceMappingXML] `xml:"blockDeviceMapping,omitempty"`
	DestCheck  *ec2query.Value[bool]             `xml:"sourceDestCheck,omitempty"`
	Groups     *ec2query.Set[groupIDXML]         `xml:"groupSet,omitempty"`
	EBS        *ec2query.Value[bool]             `xml:"ebsOptimized,omitempty"`
	ENA        *ec2query.Value[bool]             `xml:"enaSupport,omitempty"`
	Products   *ec2query.Set[ec2query.Empty]     `xml:"productCodes,omitempty"`
}

func (c *call) describeInstanceAttribute(in *describeInstanceAttributeInput) (*instanceAttributeOutput, *ec2query.Error) {
	i, err := lookup(c, &c.instances, instanceKind(), in.InstanceID)
	if err != nil {
		return nil, err
	}
	full := c.instanceXML(i)
	out := &instanceAttributeOutput{ID: i.id}
	switch in.Attribute {
	case "instanceType":
		out.Type = ec2query.ValueOf(i.kind)
	case "userData":
		out.UserData = ec2query.TextOf(base64.StdEncoding.EncodeToString(i.userData))
	case "disableApiTermination":
		out.NoTerm = ec2query.ValueOf(i.noTermination)
	case "disableApiStop":
		out.NoStop = ec2query.ValueOf(i.noStop)
	case "instanceInitiatedShutdownBehavior":
		out.Shutdown = ec2query.ValueOf(i.shutdownBehavior)
	case "rootDeviceName":
		out.RootDevice = ec2query.ValueOf(i.rootDevice)
	case "blockDeviceMapping":
		out.Mappings = &full.Mappings
	case "sourceDestCheck":
		out.DestCheck = ec2query.ValueOf(i.destCheck)
	case "groupSet":
		out.Groups = &full.Groups
	case "ebsOptimized":
		out.EBS = ec2query.ValueOf(i.ebsOptimal)
	case "enaSupport":
		out.ENA = ec2query.ValueOf(i.ena)
	case "kernel":
		out.Kernel = &ec2query.Text{}
	case "ramdisk":
		out.Ramdisk = &ec2query.Text{}
	case "sriovNetSupport":
		out.SRIOV = ec2query.TextOf(i.sriov)
	case "enclaveOptions":
		out.Enclave = &enabledXML{i.enclave}
	case "productCodes":
		out.Products = &ec2query.Set[ec2query.Empty]{}
	}
	return out, nil
}

type boolParam struct{ Value bool }

type blobParam struct{ Value []byte }

type instanceMappingParam struct {
	Device string `ec2:"DeviceName,required"`
	EBS    *struct {
		DeleteOnTermination *bool
		VolumeID            string `ec2:"VolumeId"`
	} `ec2:"Ebs"`
}

type modifyInstanceAttributeInput struct {
	InstanceID                        string `ec2:"InstanceId,required"`
	Attribute                         string `ec2:"Attribute,oneof=instanceType|kernel|ramdisk|userData|disableApiTermination|disableApiStop|instanceInitiatedShutdownBehavior|rootDeviceName|blockDeviceMapping|sourceDestCheck|groupSet|ebsOptimized|enaSupport|productCodes|sriovNetSupport|enclaveOptions"`
	Value                             *string
	Kernel                            *valueParam
	Ramdisk                           *valueParam
	DisableAPITermination             *boolParam `ec2:"DisableApiTermination"`
	DisableAPIStop                    *boolParam `ec2:"DisableApiStop"`
	SourceDestCheck                   *boolParam
	EbsOptimized                      *boolParam
	EnaSupport                        *boolParam
	SriovNetSupport                   *valueParam
	InstanceType                      *valueParam
	InstanceInitiatedShutdownBehavior *valueParam
	UserData                          *blobParam
	GroupID                           []string `ec2:"GroupId"`
	BlockDeviceMapping                []instanceMappingParam
}

// named moves the value of the form with Attribute and Value to the attribute's
// own field.
func (in *modifyInstanceAttributeInput) named() *ec2query.Error {
	switch {
	case in.Attribute == "":
		if in.Value != nil {
			return ec2query.MissingParameter("Attribute")
		}
		return nil
	case in.Attribute == "blockDeviceMapping" || in.Attribute == "groupSet":
		return nil // their values have fields of their own
	case in.Value == nil:
		return ec2query.MissingParameter("Value")
	}
	text := &valueParam{*in.Value}
	setFlag := func(to **boolParam) *ec2query.Error {
		b, err := strconv.ParseBool(*in.Value)
		if err != nil {
			return ec2query.InvalidValue("Value", *in.Value, "It must be true or false.")
		}
		*to = &boolParam{b}
		return nil
	}
	switch in.Attribute {
	case "instanceType":
		in.InstanceType = text
	case "kernel":
		in.Kernel = text
	case "ramdisk":
		in.Ramdisk = text
	case "instanceInitiatedShutdownBehavior":
		in.InstanceInitiatedShutdownBehavior = text
	case "sriovNetSupport":
		in.SriovNetSupport = text
	case "userData":
		raw, err := base64.StdEncoding.DecodeString(*in.Value)
		if err != nil {
			return ec2query.InvalidValue("Value", "...", "Invalid BASE64 encoding.")
		}
		in.UserData = &blobParam{raw}
	case "disableApiTermination":
		return setFlag(&in.DisableAPITermination)
	case "disableApiStop":
		return setFlag(&in.DisableAPIStop)
	case "sourceDestCheck":
		return setFlag(&in.SourceDestCheck)
	case "ebsOptimized":
		return setFlag(&in.EbsOptimized)
	case "enaSupport":
		return setFlag(&in.EnaSupport)
	default:
		return ec2query.InvalidValue("Attribute", in.Attribute, "It cannot be modified.")
	}
	return nil
}

func (c *call) modifyInstanceAttribute(in *modifyInstanceAttributeInput) (*ec2query.Return, *ec2query.Error) {
	i, err := lookup(c, &c.instances, instanceKind(), in.InstanceID)
	if err != nil {
		return nil, err
	}
	if err := in.named(); err != nil {
		return nil, err
	}
	given := 0
	for _, set := range []bool{
		in.Kernel != nil, in.Ramdisk != nil, in.DisableAPITermination != nil, in.DisableAPIStop != nil, in.SourceDestCheck != nil, in.EbsOptimized != nil, in.EnaSupport != nil, in.SriovNetSupport != nil,
		in.InstanceType != nil, in.InstanceInitiatedShutdownBehavior != nil, in.UserData != nil, len(in.GroupID) > 0, len(in.BlockDeviceMapping) > 0,
	} {
		if set {
			given++
		}
	}
	if given != 1 {
		return nil, ec2query.InvalidCombination("Exactly one attribute must be specified, not %d", given)
	}
	needsStopped := in.Kernel != nil || in.Ramdisk != nil || in.InstanceType != nil || in.UserData != nil || in.EbsOptimized != nil || in.EnaSupport != nil || in.SriovNetSupport != nil
	if code := i.phase.code(c.now); needsStopped && code != stopped {
		return nil, ec2query.Errorf("IncorrectInstanceState", "The instance '%s' is not in the 'stopped' state.", i.id)
	}
	if in.Kernel != nil || in.Ramdisk != nil {
		return nil, ec2query.Errorf("UnsupportedOperation", "The instance '%s' uses hardware virtualization, which has no kernel or RAM disk of its own", i.id)
	}
	var kind instanceType
	if in.InstanceType != nil {
		if kind, err = c.launchType(&runInstancesInput{launchParams: launchParams{InstanceType: in.InstanceType.Value}}, i.image); err != nil {
			return nil, err
		}
	}
	if in.InstanceInitiatedShutdownBehavior != nil {
		if err := inSet("instanceInitiatedShutdownBehavior", cmp.Or(in.InstanceInitiatedShutdownBehavior.Value, "?"), "stop", "terminate"); err != nil {
			return nil, err
		}
	}
	if in.SriovNetSupport != nil && in.SriovNetSupport.Value != "simple" {
		return nil, ec2query.InvalidValue("sriovNetSupport", in.SriovNetSupport.Value, "The only value is simple.")
	}
	groups, err := c.chooseGroups(in.GroupID, nil, i.subnet)
	if err != nil {
		return nil, err
	}
	for _, m := range in.BlockDeviceMapping {
		if i.volumeAt(m.Device) == nil {
			return nil, ec2query.Errorf("InvalidInstanceAttributeValue", "No device is currently mapped at %s", m.Device)
		}
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	switch {
	case in.DisableAPITermination != nil:
		i.noTermination = in.DisableAPITermination.Value
	case in.DisableAPIStop != nil:
		i.noStop = in.DisableAPIStop.Value
	case in.SourceDestCheck != nil:
		i.destCheck = in.SourceDestCheck.Value
	case in.EbsOptimized != nil:
		i.ebsOptimal = in.EbsOptimized.Value
	case in.InstanceType != nil:
		i.kind = kind.name
	case in.InstanceInitiatedShutdownBehavior != nil:
		i.shutdownBehavior = in.InstanceInitiatedShutdownBehavior.Value
	case in.UserData != nil:
		i.userData = in.UserData.Value
	case in.EnaSupport != nil:
		i.ena = in.EnaSupport.Value
	case in.SriovNetSupport != nil:
		i.sriov = in.SriovNetSupport.Value
	case len(in.GroupID) > 0:
		i.groups = groups
		for _, nic := range i.interfaces {
			nic.groups = groups
		}
	}
	for _, m := range in.BlockDeviceMapping {
		if m.EBS != nil && m.EBS.DeleteOnTermination != nil {
			i.volumeAt(m.Device).deleteOnTermination = *m.EBS.DeleteOnTermination
		}
	}
	return ec2query.Done(), nil
}
