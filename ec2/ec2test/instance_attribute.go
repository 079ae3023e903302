package ec2test

import (
	"encoding/base64"
	"slices"
)

type describeInstanceAttributeInput struct {
	InstanceID string `ec2:"InstanceId,required"`
	Attribute  string `ec2:"Attribute,required,oneof=instanceType|userData|disableApiTermination|disableApiStop|instanceInitiatedShutdownBehavior|rootDeviceName|blockDeviceMapping|sourceDestCheck|groupSet|ebsOptimized|enaSupport|productCodes"`
}

type instanceAttributeOutput struct {
	ID         string                   `xml:"instanceId"`
	Type       *valueXML[string]        `xml:"instanceType,omitempty"`
	UserData   *valueXML[string]        `xml:"userData,omitempty"`
	NoTerm     *valueXML[bool]          `xml:"disableApiTermination,omitempty"`
	NoStop     *valueXML[bool]          `xml:"disableApiStop,omitempty"`
	Shutdown   *valueXML[string]        `xml:"instanceInitiatedShutdownBehavior,omitempty"`
	RootDevice *valueXML[string]        `xml:"rootDeviceName,omitempty"`
	Mappings   *set[instanceMappingXML] `xml:"blockDeviceMapping,omitempty"`
	DestCheck  *valueXML[bool]          `xml:"sourceDestCheck,omitempty"`
	Groups     *set[groupIDXML]         `xml:"groupSet,omitempty"`
	EBS        *valueXML[bool]          `xml:"ebsOptimized,omitempty"`
	ENA        *valueXML[bool]          `xml:"enaSupport,omitempty"`
	Products   *set[emptyXML]           `xml:"productCodes,omitempty"`
}

func (c *call) describeInstanceAttribute(in *describeInstanceAttributeInput) (*instanceAttributeOutput, *apiError) {
	i, err := lookup(c, &c.instances, instanceKind(), in.InstanceID)
	if err != nil {
		return nil, err
	}
	full := c.instanceXML(i)
	out := &instanceAttributeOutput{ID: i.id}
	switch in.Attribute {
	case "instanceType":
		out.Type = &valueXML[string]{i.kind}
	case "userData":
		out.UserData = &valueXML[string]{base64.StdEncoding.EncodeToString(i.userData)}
	case "disableApiTermination":
		out.NoTerm = &valueXML[bool]{i.keepOnline}
	case "disableApiStop":
		out.NoStop = &valueXML[bool]{i.keepRunning}
	case "instanceInitiatedShutdownBehavior":
		out.Shutdown = &valueXML[string]{i.atShutdown}
	case "rootDeviceName":
		out.RootDevice = &valueXML[string]{i.rootDevice}
	case "blockDeviceMapping":
		out.Mappings = &full.Mappings
	case "sourceDestCheck":
		out.DestCheck = &valueXML[bool]{i.destCheck}
	case "groupSet":
		out.Groups = &full.Groups
	case "ebsOptimized":
		out.EBS = &valueXML[bool]{i.ebsOptimal}
	case "enaSupport":
		out.ENA = &valueXML[bool]{i.ena}
	case "productCodes":
		out.Products = &set[emptyXML]{}
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
	InstanceID                        string     `ec2:"InstanceId,required"`
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

func (c *call) modifyInstanceAttribute(in *modifyInstanceAttributeInput) (*returnXML, *apiError) {
	i, err := lookup(c, &c.instances, instanceKind(), in.InstanceID)
	if err != nil {
		return nil, err
	}
	given := 0
	for _, set := range []bool{
		in.DisableAPITermination != nil, in.DisableAPIStop != nil, in.SourceDestCheck != nil, in.EbsOptimized != nil, in.EnaSupport != nil, in.SriovNetSupport != nil,
		in.InstanceType != nil, in.InstanceInitiatedShutdownBehavior != nil, in.UserData != nil, len(in.GroupID) > 0, len(in.BlockDeviceMapping) > 0,
	} {
		if set {
			given++
		}
	}
	if given != 1 {
		return nil, combination("Exactly one attribute must be specified, not %d", given)
	}
	needsStopped := in.InstanceType != nil || in.UserData != nil || in.EbsOptimized != nil || in.EnaSupport != nil || in.SriovNetSupport != nil
	if code := i.phase.code(c.now); needsStopped && code != stopped {
		return nil, fail("IncorrectInstanceState", "The instance '%s' is not in the 'stopped' state.", i.id)
	}
	var kind instanceType
	if in.InstanceType != nil {
		if kind, err = c.launchType(&runInstancesInput{launchParams: launchParams{InstanceType: in.InstanceType.Value}}, i.image); err != nil {
			return nil, err
		}
	}
	if in.InstanceInitiatedShutdownBehavior != nil {
		if err := inSet("instanceInitiatedShutdownBehavior", orText(in.InstanceInitiatedShutdownBehavior.Value, "?"), "stop", "terminate"); err != nil {
			return nil, err
		}
	}
	if in.SriovNetSupport != nil && in.SriovNetSupport.Value != "simple" {
		return nil, invalidValue("sriovNetSupport", in.SriovNetSupport.Value, "The only value is simple.")
	}
	groups, err := c.chooseGroups(in.GroupID, nil, i.subnet)
	if err != nil {
		return nil, err
	}
	for _, m := range in.BlockDeviceMapping {
		if i.volumeAt(m.Device) == nil {
			return nil, fail("InvalidInstanceAttributeValue", "No device is currently mapped at %s", m.Device)
		}
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	switch {
	case in.DisableAPITermination != nil:
		i.keepOnline = in.DisableAPITermination.Value
	case in.DisableAPIStop != nil:
		i.keepRunning = in.DisableAPIStop.Value
	case in.SourceDestCheck != nil:
		i.destCheck = in.SourceDestCheck.Value
	case in.EbsOptimized != nil:
		i.ebsOptimal = in.EbsOptimized.Value
	case in.InstanceType != nil:
		i.kind = kind.name
	case in.InstanceInitiatedShutdownBehavior != nil:
		i.atShutdown = in.InstanceInitiatedShutdownBehavior.Value
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
			i.volumeAt(m.Device).withDelete = *m.EBS.DeleteOnTermination
		}
	}
	return done(), nil
}

type describeInstanceStatusInput struct {
	Filter                  []filterParam
	InstanceID              []string `ec2:"InstanceId"`
	IncludeAllInstances     bool
	IncludeManagedResources bool
	pageParams
}

type statusXML struct {
	ID       string           `xml:"instanceId"`
	Zone     string           `xml:"availabilityZone"`
	ZoneID   string           `xml:"availabilityZoneId"`
	State    stateXML         `xml:"instanceState"`
	System   statusSummaryXML `xml:"systemStatus"`
	Instance statusSummaryXML `xml:"instanceStatus"`
}

type statusSummaryXML struct {
	Status  string                `xml:"status"`
	Details set[statusDetailsXML] `xml:"details"`
}

type statusDetailsXML struct {
	Name   string `xml:"name"`
	Status string `xml:"status"`
}

type describeInstanceStatusOutput struct {
	Statuses set[statusXML] `xml:"instanceStatusSet"`
	Next     string         `xml:"nextToken,omitempty"`
}

// health is the result of the status checks of an instance: they pass when its
// machine answers.
func (c *call) health(i *instance) string {
	switch {
	case i.phase.code(c.now) != running:
		return "not-applicable"
	case i.machine != nil && i.machine.up(c.now):
		return "ok"
	}
	return "initializing"
}

func statusFilters() filters[*instance] {
	health := func(c *call, i *instance) []string { return one(c.health(i)) }
	all := instanceFilters()
	out := filters[*instance]{
		"instance-status.status":       health,
		"instance-status.reachability": func(c *call, i *instance) []string { return one(passed(c.health(i))) },
		"system-status.status":         health,
		"system-status.reachability":   func(c *call, i *instance) []string { return one(passed(c.health(i))) },
	}
	for _, name := range []string{"availability-zone", "instance-state-code", "instance-state-name"} {
		out[name] = all[name]
	}
	return out
}

func passed(health string) string {
	if health == "ok" {
		return "passed"
	}
	return "initializing"
}

func (c *call) describeInstanceStatus(in *describeInstanceStatusInput) (*describeInstanceStatusOutput, *apiError) {
	items, next, err := find(c, &c.instances, query[*instance]{
		kind: instanceKind(), ids: in.InstanceID, filters: in.Filter, known: c.server.known.statuses, page: in.pageParams,
		unlists: func(i *instance) bool { return !in.IncludeAllInstances && i.phase.code(c.now) != running },
	})
	if !in.IncludeAllInstances {
		items = slices.DeleteFunc(items, func(i *instance) bool { return i.phase.code(c.now) != running })
	}
	return &describeInstanceStatusOutput{Next: next, Statuses: mapSet(items, func(i *instance) statusXML {
		summary := statusSummaryXML{Status: c.health(i)}
		if summary.Status != "not-applicable" {
			summary.Details = setOf(statusDetailsXML{"reachability", passed(summary.Status)})
		}
		return statusXML{i.id, i.subnet.zone, c.zoneID(i.subnet.zone), i.phase.code(c.now).xml(), summary, summary}
	})}, err
}

type consoleInput struct {
	InstanceID string `ec2:"InstanceId,required"`
	Latest     bool
}

type consoleOutput struct {
	ID     string `xml:"instanceId"`
	Time   string `xml:"timestamp"`
	Output string `xml:"output"`
}

// maxConsole is how much of the end of the console EC2 keeps.
const maxConsole = 64 << 10

func (c *call) getConsole(in *consoleInput) (*consoleOutput, *apiError) {
	i, err := lookup(c, &c.instances, instanceKind(), in.InstanceID)
	if err != nil {
		return nil, err
	}
	if in.Latest && !c.server.known.types[i.kind].nitro {
		return nil, fail("UnsupportedOperation", "The instance type '%s' does not support the latest console output", i.kind)
	}
	out := &consoleOutput{ID: i.id, Time: stamp(c.now)}
	if i.machine != nil {
		text := i.machine.console()
		out.Output = base64.StdEncoding.EncodeToString(text[max(0, len(text)-maxConsole):])
	}
	return out, nil
}
