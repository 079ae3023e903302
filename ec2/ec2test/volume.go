package ec2test

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type volume struct {
	base

	zone          string
	sizeGiB       int
	kind          string // "gp3" and so on
	iops          int
	throughput    int
	encrypted     bool
	kmsKey        string
	snapshot      string // id it was created from
	lineage       string // of the snapshot; empty without one
	disk          *diskRef
	modifications []*volumeModification // oldest first
	attachment
}

func (v *volume) state() string {
	if v.instance != nil {
		return "in-use"
	}
	return "available"
}

// volumeTypes returns the values of VolumeType.
func volumeTypes() []string {
	return []string{"gp3", "gp2", "io1", "io2", "st1", "sc1", "standard"}
}

// ebsParams is the EBS part of a block device mapping.
type ebsParams struct {
	SnapshotID               string `ec2:"SnapshotId"`
	VolumeSize               *int
	VolumeType               string
	Iops                     *int
	Throughput               *int
	Encrypted                *bool
	KmsKeyID                 string `ec2:"KmsKeyId"`
	DeleteOnTermination      *bool
	VolumeInitializationRate *int
}

// check rejects sizes and rates that EBS does not support.
func (p ebsParams) check() *ec2query.Error {
	if err := inSet("VolumeType", p.VolumeType, volumeTypes()...); err != nil {
		return err
	}
	kind := p.VolumeType
	switch {
	case p.VolumeSize != nil && (*p.VolumeSize < 1 || *p.VolumeSize > 65536):
		return ec2query.InvalidValue("volumeSize", strconv.Itoa(*p.VolumeSize), "It must be between 1 and 65536 GiB.")
	case p.Throughput != nil && kind != "gp3":
		return ec2query.InvalidCombination("throughput can only be specified for volumeType gp3.")
	case p.Throughput != nil && (*p.Throughput < 125 || *p.Throughput > 2000):
		return ec2query.InvalidValue("throughput", strconv.Itoa(*p.Throughput), "It must be between 125 and 2000 MiB/s.")
	case p.Iops != nil && kind != "gp3" && kind != "io1" && kind != "io2":
		return ec2query.InvalidCombination("The parameter iops is not supported for %s volumes.", cmp.Or(kind, "gp2"))
	case p.Iops != nil && kind == "gp3" && (*p.Iops < 3000 || *p.Iops > 80000):
		return ec2query.InvalidValue("iops", strconv.Itoa(*p.Iops), "Volume iops of gp3 must be between 3000 and 80000.")
	case p.Iops == nil && (kind == "io1" || kind == "io2"):
		return ec2query.InvalidCombination("The parameter iops must be specified for %s volumes.", kind)
	case p.KmsKeyID != "" && (p.Encrypted == nil || !*p.Encrypted):
		return ec2query.Errorf("InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
	case p.VolumeInitializationRate != nil && (*p.VolumeInitializationRate < 100 || *p.VolumeInitializationRate > 300):
		return ec2query.InvalidValue("volumeInitializationRate", strconv.Itoa(*p.VolumeInitializationRate), "It must be between 100 and 300 MiB/s.")
	}
	return nil
}

// checkSize checks the size of a volume and its IOPS against the limits of its type.
func (v *volume) checkSize(iops *int) *ec2query.Error {
	limits := map[string]struct{ least, most, leastIOPS, mostIOPS, perGiB int }{
		"standard": {1, 1024, 0, 0, 0}, "gp2": {1, 16384, 0, 0, 0}, "gp3": {1, 65536, 3000, 80000, 500},
		"io1": {4, 16384, 100, 64000, 50}, "io2": {4, 65536, 100, 256000, 1000}, "st1": {125, 16384, 0, 0, 0}, "sc1": {125, 16384, 0, 0, 0},
	}
	l, ok := limits[v.kind]
	switch {
	case !ok:
		return nil
	case v.sizeGiB < l.least || v.sizeGiB > l.most:
		return ec2query.Errorf("InvalidParameterValue", "Invalid volume size %dGiB for volume type %s. The size must be between %d and %d GiB.", v.sizeGiB, v.kind, l.least, l.most)
	case iops == nil || l.mostIOPS == 0:
		return nil
	case *iops < l.leastIOPS || *iops > l.mostIOPS:
		return ec2query.Errorf("InvalidParameterValue", "Invalid iops %d for volume type %s. It must be between %d and %d.", *iops, v.kind, l.leastIOPS, l.mostIOPS)
	case *iops > max(l.leastIOPS, v.sizeGiB*l.perGiB):
		return ec2query.Errorf("InvalidParameterValue", "Iops to volume size ratio of %f is too high; maximum is %f", float64(*iops)/float64(v.sizeGiB), float64(l.perGiB))
	}
	return nil
}

// rates sets the given rates, or the defaults of the volume's type.
func (v *volume) rates(iops, throughput *int) {
	switch v.kind {
	case "gp3":
		v.iops, v.throughput = 3000, 125
	case "gp2":
		v.iops = max(100, 3*v.sizeGiB)
	}
	if iops != nil {
		v.iops = *iops
	}
	if throughput != nil {
		v.throughput = *throughput
	}
}

type volumeXML struct {
	ID          string                      `xml:"volumeId"`
	Size        int                         `xml:"size"`
	Snapshot    string                      `xml:"snapshotId"`
	Zone        string                      `xml:"availabilityZone"`
	Status      string                      `xml:"status"`
	Created     string                      `xml:"createTime"`
	Attachments ec2query.Set[attachmentXML] `xml:"attachmentSet"`
	Type        string                      `xml:"volumeType"`
	IOPS        int                         `xml:"iops,omitempty"`
	Throughput  int                         `xml:"throughput,omitempty"`
	Encrypted   bool                        `xml:"encrypted"`
	KMSKey      string                      `xml:"kmsKeyId,omitempty"`
	MultiAttach bool                        `xml:"multiAttachEnabled"`
	Tags        *ec2query.Set[tagXML]       `xml:"tagSet,omitempty"`
}

type attachmentXML struct {
	Volume              string `xml:"volumeId"`
	Instance            string `xml:"instanceId"`
	Device              string `xml:"device"`
	Status              string `xml:"status"`
	Attached            string `xml:"attachTime"`
	DeleteOnTermination bool   `xml:"deleteOnTermination"`
}

func (c *call) volumeXML(v *volume) volumeXML {
	out := volumeXML{
		ID: v.id, Size: v.sizeGiB, Snapshot: v.snapshot, Zone: v.zone, Status: v.state(), Created: ec2query.FormatTime(v.created),
		Type: v.kind, IOPS: v.iops, Throughput: v.throughput, Encrypted: v.encrypted, KMSKey: v.kmsKey,
		Tags: v.tags.optional(c.now),
	}
	if v.instance != nil {
		out.Attachments = ec2query.SetOf(c.attachmentXML(v))
	}
	return out
}

func volumeFilters() filters[*volume] {
	onInstance := func(get func(attachmentXML) string) func(*call, *volume) []string {
		return func(c *call, v *volume) []string {
			if v.instance == nil {
				return nil
			}
			return one(get(c.attachmentXML(v)))
		}
	}
	return filters[*volume]{
		"volume-id":              func(_ *call, v *volume) []string { return one(v.id) },
		"status":                 func(_ *call, v *volume) []string { return one(v.state()) },
		"snapshot-id":            func(_ *call, v *volume) []string { return one(v.snapshot) },
		"size":                   func(_ *call, v *volume) []string { return one(strconv.Itoa(v.sizeGiB)) },
		"volume-type":            func(_ *call, v *volume) []string { return one(v.kind) },
		"encrypted":              func(_ *call, v *volume) []string { return truth(v.encrypted) },
		"availability-zone":      func(_ *call, v *volume) []string { return one(v.zone) },
		"availability-zone-id":   func(c *call, v *volume) []string { return one(c.zoneID(v.zone)) },
		"multi-attach-enabled":   func(*call, *volume) []string { return one("false") },
		"fast-restored":          func(*call, *volume) []string { return one("false") },
		"operator.managed":       func(*call, *volume) []string { return one("false") },
		"create-time":            func(_ *call, v *volume) []string { return one(ec2query.FormatTime(v.created)) },
		"attachment.instance-id": onInstance(func(a attachmentXML) string { return a.Instance }),
		"attachment.device":      onInstance(func(a attachmentXML) string { return a.Device }),
		"attachment.status":      onInstance(func(a attachmentXML) string { return a.Status }),
		"attachment.attach-time": onInstance(func(a attachmentXML) string { return a.Attached }),
		"attachment.delete-on-termination": onInstance(func(a attachmentXML) string {
			return truth(a.DeleteOnTermination)[0]
		}),
	}
}

type describeVolumesInput struct {
	Filter                  []filterParam
	VolumeID                []string `ec2:"VolumeId"`
	IncludeManagedResources bool
	pageParams
}

type describeVolumesOutput struct {
	Volumes ec2query.Set[volumeXML] `xml:"volumeSet"`
	Next    string                  `xml:"nextToken,omitempty"`
}

func (c *call) describeVolumes(in *describeVolumesInput) (*describeVolumesOutput, *ec2query.Error) {
	items, next, err := find(c, &c.volumes, query[*volume]{
		kind: volumeKind(), ids: in.VolumeID, filters: in.Filter, known: c.server.known.volumes,
		idName: "volume-id", page: in.pageParams,
	})
	return &describeVolumesOutput{Next: next, Volumes: ec2query.MapSet(items, c.volumeXML)}, err
}

type createVolumeInput struct {
	AvailabilityZone string `ec2:"AvailabilityZone,required"`
	ClientToken      string
	Size             *int
	SnapshotID       string `ec2:"SnapshotId"`
	VolumeType       string
	Iops             *int
	Throughput       *int
	Encrypted        *bool
	KmsKeyID         string `ec2:"KmsKeyId"`
	TagSpecification []tagSpecification
}

func (c *call) createVolume(in *createVolumeInput) (*volumeXML, *ec2query.Error) {
	known, err := c.usedToken(in.ClientToken)
	if err != nil {
		return nil, err
	}
	if len(known) > 0 {
		v, ok := c.volumes.get(known[0])
		if !ok {
			return nil, ec2query.Errorf("IdempotentParameterMismatch", "The client token you have provided is associated with a resource that is already deleted.")
		}
		out := c.volumeXML(v)
		return &out, nil
	}
	switch {
	case !slices.Contains(c.zones(), in.AvailabilityZone):
		return nil, ec2query.Errorf("InvalidZone.NotFound", "The zone '%s' does not exist.", in.AvailabilityZone)
	case in.VolumeType != "" && !slices.Contains(volumeTypes(), in.VolumeType):
		return nil, ec2query.Errorf("UnknownVolumeType", "Unknown volume type: %s", in.VolumeType)
	}
	specs, err := tagSpecs(in.TagSpecification, "volume")
	if err != nil {
		return nil, err
	}
	ebs := ebsParams{
		SnapshotID: in.SnapshotID, VolumeSize: in.Size, VolumeType: in.VolumeType,
		Iops: in.Iops, Throughput: in.Throughput, Encrypted: in.Encrypted, KmsKeyID: in.KmsKeyID,
	}
	plan, err := c.planVolume(mapping{EBS: &ebs}, nil)
	if err != nil && err.Code == badMapping { // this call has no mapping
		err = ec2query.Errorf("InvalidParameterValue", "%s", err.Message)
	}
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	v := c.makeVolume(plan, in.AvailabilityZone, specs["volume"])
	c.rememberToken(in.ClientToken, v.id)
	out := c.volumeXML(v)
	out.Status = "creating"
	if plan.keyStatus != keyUsable { // EBS deletes it without notice
		c.dropVolume(v)
	}
	return &out, nil
}

type volumeIDInput struct {
	VolumeID string `ec2:"VolumeId,required"`
}

func (c *call) deleteVolume(in *volumeIDInput) (*ec2query.Return, *ec2query.Error) {
	v, err := lookup(c, &c.volumes, volumeKind(), in.VolumeID)
	if err != nil {
		return nil, err
	}
	if v.instance != nil {
		return nil, ec2query.Errorf("VolumeInUse", "Volume %s is currently attached to %s", v.id, v.instance.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	c.dropVolume(v)
	return ec2query.Done(), nil
}

func (r *region) dropVolume(v *volume) {
	r.volumes.remove(v.id)
	r.server.closeDisk(v.disk, nil)
}
