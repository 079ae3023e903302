package ec2test

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// instanceType is an instance type. Every zone offers all of them.
type instanceType struct {
	name      string
	seq       uint64
	vcpus     int
	memoryMiB int
	archs     []string
	burstable bool
	nitro     bool
	current   bool
	free      bool
	metal     bool
	pv        bool // supports paravirtual images as well
}

func (c *call) sortedTypes() []instanceType {
	out := slices.Collect(maps.Values(c.server.known.types))
	slices.SortFunc(out, func(a, b instanceType) int { return cmp.Compare(a.seq, b.seq) })
	return out
}

type typeXML struct {
	Name       string               `xml:"instanceType"`
	Current    bool                 `xml:"currentGeneration"`
	Free       bool                 `xml:"freeTierEligible"`
	Usage      ec2query.Set[string] `xml:"supportedUsageClasses"`
	Roots      ec2query.Set[string] `xml:"supportedRootDeviceTypes"`
	Virtual    ec2query.Set[string] `xml:"supportedVirtualizationTypes"`
	BareMetal  bool                 `xml:"bareMetal"`
	Hypervisor string               `xml:"hypervisor,omitempty"`
	Processor  processorXML         `xml:"processorInfo"`
	VCPU       vcpuXML              `xml:"vCpuInfo"`
	Memory     memoryXML            `xml:"memoryInfo"`
	Storage    bool                 `xml:"instanceStorageSupported"`
	EBS        typeEBSXML           `xml:"ebsInfo"`
	Network    typeNetXML           `xml:"networkInfo"`
	Burstable  bool                 `xml:"burstablePerformanceSupported"`
	BootModes  ec2query.Set[string] `xml:"supportedBootModes"`
}

type processorXML struct {
	Archs ec2query.Set[string] `xml:"supportedArchitectures"`
}

type vcpuXML struct {
	Default int `xml:"defaultVCpus"`
}

type memoryXML struct {
	MiB int `xml:"sizeInMiB"`
}

type typeEBSXML struct {
	Optimized  string `xml:"ebsOptimizedSupport"`
	Encryption string `xml:"encryptionSupport"`
	NVMe       string `xml:"nvmeSupport"`
}

type typeNetXML struct {
	ENA string `xml:"enaSupport"`
}

func (t instanceType) xml() typeXML {
	out := typeXML{
		Name: t.name, Current: t.current, Free: t.free, Usage: ec2query.SetOf("on-demand", "spot"), Roots: ec2query.SetOf("ebs"), Virtual: ec2query.SetOf("hvm"),
		Processor: processorXML{ec2query.SetOf(t.archs...)}, VCPU: vcpuXML{t.vcpus}, Memory: memoryXML{t.memoryMiB}, Burstable: t.burstable,
		EBS: typeEBSXML{"unsupported", "supported", "unsupported"}, Network: typeNetXML{"unsupported"}, BootModes: ec2query.SetOf("legacy-bios"),
	}
	if t.pv {
		out.Virtual.Items = append(out.Virtual.Items, "paravirtual")
	}
	switch {
	case t.metal:
		out.BareMetal = true
	case t.nitro:
		out.Hypervisor = "nitro"
	default:
		out.Hypervisor = "xen"
	}
	if t.nitro {
		out.EBS, out.Network = typeEBSXML{"default", "supported", "required"}, typeNetXML{"required"}
		out.BootModes = ec2query.SetOf("legacy-bios", "uefi")
	}
	if slices.Contains(t.archs, "arm64") {
		out.BootModes = ec2query.SetOf("uefi")
	}
	return out
}

func typeFilters() filters[instanceType] {
	return filters[instanceType]{
		"instance-type":                         func(_ *call, t instanceType) []string { return one(t.name) },
		"processor-info.supported-architecture": func(_ *call, t instanceType) []string { return t.archs },
		"current-generation":                    func(_ *call, t instanceType) []string { return truth(t.current) },
		"burstable-performance-supported":       func(_ *call, t instanceType) []string { return truth(t.burstable) },
		"free-tier-eligible":                    func(_ *call, t instanceType) []string { return truth(t.free) },
		"bare-metal":                            func(_ *call, t instanceType) []string { return truth(t.metal) },
		"supported-usage-class":                 func(*call, instanceType) []string { return []string{"on-demand", "spot"} },
		"supported-root-device-type":            func(*call, instanceType) []string { return one("ebs") },
		"supported-virtualization-type":         func(_ *call, t instanceType) []string { return t.xml().Virtual.Items },
		"hypervisor":                            func(_ *call, t instanceType) []string { return one(t.xml().Hypervisor) },
		"vcpu-info.default-vcpus":               func(_ *call, t instanceType) []string { return one(strconv.Itoa(t.vcpus)) },
		"instance-storage-supported":            func(_ *call, t instanceType) []string { return truth(t.xml().Storage) },
		"supported-boot-mode":                   func(_ *call, t instanceType) []string { return t.xml().BootModes.Items },
		"ebs-info.ebs-optimized-support":        func(_ *call, t instanceType) []string { return one(t.xml().EBS.Optimized) },
		"ebs-info.encryption-support":           func(_ *call, t instanceType) []string { return one(t.xml().EBS.Encryption) },
		"ebs-info.nvme-support":                 func(_ *call, t instanceType) []string { return one(t.xml().EBS.NVMe) },
		"network-info.ena-support":              func(_ *call, t instanceType) []string { return one(t.xml().Network.ENA) },
		"memory-info.size-in-mib":               func(_ *call, t instanceType) []string { return one(strconv.Itoa(t.memoryMiB)) },
	}
}

type describeTypesInput struct {
	Filter       []filterParam
	InstanceType []string
	pageParams
}

type describeTypesOutput struct {
	Types ec2query.Set[typeXML] `xml:"instanceTypeSet"`
	Next  string                `xml:"nextToken,omitempty"`
}

func (c *call) describeTypes(in *describeTypesInput) (*describeTypesOutput, *ec2query.Error) {
	m, err := c.server.known.typeFilters.compile(c, in.Filter, nil)
	if err != nil {
		return nil, err
	}
	if len(in.InstanceType) > 0 && in.MaxResults != nil {
		return nil, ec2query.InvalidCombination("The parameter MaxResults cannot be used with the parameter InstanceTypes")
	}
	var unknown []string
	for _, name := range in.InstanceType {
		if _, ok := c.server.known.types[name]; !ok {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return nil, ec2query.Errorf("InvalidInstanceType", "The following supplied instance types do not exist: %s", unknown)
	}
	var found []instanceType
	for _, t := range c.sortedTypes() {
		if (len(in.InstanceType) == 0 || slices.Contains(in.InstanceType, t.name)) && m.match(t) {
			found = append(found, t)
		}
	}
	// EC2 pages this call even without MaxResults.
	p := in.pageParams
	if hundred := 100; p.MaxResults == nil && len(in.InstanceType) == 0 {
		p.MaxResults = &hundred
	}
	items, next, err := page(c, found, p, pageLimits{5, 100}, func(t instanceType) uint64 { return t.seq })
	return &describeTypesOutput{Next: next, Types: ec2query.MapSet(items, instanceType.xml)}, err
}

type offering struct {
	kind     instanceType
	location string
	where    string // location type
	seq      uint64
}

type offeringXML struct {
	Type     string `xml:"instanceType"`
	Where    string `xml:"locationType"`
	Location string `xml:"location"`
}

func offeringFilters() filters[offering] {
	return filters[offering]{
		"instance-type": func(_ *call, o offering) []string { return one(o.kind.name) },
		"location":      func(_ *call, o offering) []string { return one(o.location) },
	}
}

type describeOfferingsInput struct {
	Filter       []filterParam
	LocationType string `ec2:"LocationType,oneof=region|availability-zone|availability-zone-id"`
	pageParams
}

type describeOfferingsOutput struct {
	Offerings ec2query.Set[offeringXML] `xml:"instanceTypeOfferingSet"`
	Next      string                    `xml:"nextToken,omitempty"`
}

func (c *call) describeOfferings(in *describeOfferingsInput) (*describeOfferingsOutput, *ec2query.Error) {
	m, err := c.server.known.offerings.compile(c, in.Filter, nil)
	if err != nil {
		return nil, err
	}
	where := cmp.Or(in.LocationType, "region")
	locations := []string{c.name}
	if where != "region" {
		locations = c.zones()
	}
	var found []offering
	for _, t := range c.sortedTypes() {
		for _, location := range locations {
			if where != "region" && !c.offered(t.name, location) {
				continue
			}
			if where == "availability-zone-id" {
				location = c.zoneID(location)
			}
			o := offering{t, location, where, uint64(len(found)) + 1}
			if m.match(o) {
				found = append(found, o)
			}
		}
	}
	items, next, err := page(c, found, in.pageParams, pageLimits{5, 1000}, func(o offering) uint64 { return o.seq })
	return &describeOfferingsOutput{Next: next, Offerings: ec2query.MapSet(items, func(o offering) offeringXML {
		return offeringXML{o.kind.name, o.where, o.location}
	})}, err
}
