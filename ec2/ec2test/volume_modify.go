package ec2test

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// maxModifications is how often AWS lets a volume be modified in a day.
const maxModifications = 4

// volumeModification is a change of a volume's size, type or performance. Machines see
// the new size at once.
type volumeModification struct {
	original, target volumeShape
	start            time.Time
	done             time.Time // until then the volume is optimized
}

// volumeShape is what ModifyVolume changes.
type volumeShape struct {
	sizeGiB    int
	kind       string
	iops       int
	throughput int
}

func (v *volume) shape() volumeShape { return volumeShape{v.sizeGiB, v.kind, v.iops, v.throughput} }

// modification returns the latest modification of a volume, or nil.
func (v *volume) modification() *volumeModification {
	if len(v.modifications) == 0 {
		return nil
	}
	return v.modifications[len(v.modifications)-1]
}

func (m *volumeModification) state(now time.Time) string {
	if now.Before(m.done) {
		return "optimizing"
	}
	return "completed"
}

type modificationXML struct {
	Volume             string `xml:"volumeId"`
	State              string `xml:"modificationState"`
	TargetSize         int    `xml:"targetSize"`
	TargetIOPS         int    `xml:"targetIops,omitempty"`
	TargetType         string `xml:"targetVolumeType"`
	TargetThroughput   int    `xml:"targetThroughput,omitempty"`
	TargetMulti        bool   `xml:"targetMultiAttachEnabled"`
	OriginalSize       int    `xml:"originalSize"`
	OriginalIOPS       int    `xml:"originalIops,omitempty"`
	OriginalType       string `xml:"originalVolumeType"`
	OriginalThroughput int    `xml:"originalThroughput,omitempty"`
	OriginalMulti      bool   `xml:"originalMultiAttachEnabled"`
	Progress           int    `xml:"progress"`
	Start              string `xml:"startTime"`
	End                string `xml:"endTime,omitempty"`
}

func (c *call) modificationXML(v *volume) modificationXML {
	m := v.modification()
	out := modificationXML{
		Volume: v.id, State: m.state(c.now), Start: ec2query.FormatTime(m.start),
		TargetSize: m.target.sizeGiB, TargetIOPS: m.target.iops, TargetType: m.target.kind, TargetThroughput: m.target.throughput,
		OriginalSize: m.original.sizeGiB, OriginalIOPS: m.original.iops, OriginalType: m.original.kind, OriginalThroughput: m.original.throughput,
	}
	if out.State == "completed" {
		out.Progress, out.End = 100, ec2query.FormatTime(m.done)
	} else {
		out.Progress = int(100 * c.now.Sub(m.start) / m.done.Sub(m.start))
	}
	return out
}

type modifyVolumeInput struct {
	VolumeID   string `ec2:"VolumeId,required"`
	Size       *int
	VolumeType string
	Iops       *int
	Throughput *int
}

type modifyVolumeOutput struct {
	Modification modificationXML `xml:"volumeModification"`
}

func (c *call) modifyVolume(in *modifyVolumeInput) (*modifyVolumeOutput, *ec2query.Error) {
	v, err := lookup(c, &c.volumes, volumeKind(), in.VolumeID)
	if err != nil {
		return nil, err
	}
	target, err := v.reshaped(in)
	if err != nil {
		return nil, err
	}
	v.modifications = slices.DeleteFunc(v.modifications, func(m *volumeModification) bool {
		return m != v.modification() && c.now.Sub(m.start) >= 24*time.Hour
	})
	recent := 0
	for _, m := range v.modifications {
		if c.now.Sub(m.start) < 24*time.Hour {
			recent++
		}
	}
	switch last := v.modification(); {
	case target == v.shape():
		return nil, ec2query.Errorf("InvalidParameterValue", "The volume '%s' already has the requested size, type and performance.", v.id)
	case last != nil && last.state(c.now) != "completed":
		return nil, ec2query.Errorf("IncorrectModificationState", "Cannot modify volume %s in modification state %s", v.id, cmp.Or(last.state(c.now), "none"))
	case recent >= maxModifications:
		return nil, ec2query.Errorf("VolumeModificationRateExceeded", "You've reached the maximum modification rate per volume limit. A volume can be modified %d times in 24 hours.", maxModifications)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	m := &volumeModification{original: v.shape(), target: target, start: c.now, done: c.now.Add(c.server.opts.Latency.Optimized)}
	v.modifications = append(v.modifications, m)
	v.sizeGiB, v.kind, v.iops, v.throughput = target.sizeGiB, target.kind, target.iops, target.throughput
	if target.sizeGiB > m.original.sizeGiB {
		disk := v.disk
		c.afterwards(func(ctx context.Context) *ec2query.Error { return ec2query.Internal(disk.grow(ctx, target.sizeGiB)) })
	}
	out := c.modificationXML(v)
	out.State, out.Progress, out.End = "modifying", 0, ""
	return &modifyVolumeOutput{out}, nil
}

// reshaped returns what a volume becomes by a modification.
func (v *volume) reshaped(in *modifyVolumeInput) (volumeShape, *ec2query.Error) {
	if in.Size == nil && in.VolumeType == "" && in.Iops == nil && in.Throughput == nil {
		return volumeShape{}, ec2query.InvalidCombination("The request must contain at least one of size, volumeType, iops and throughput")
	}
	if in.Size != nil && *in.Size < v.sizeGiB {
		return volumeShape{}, ec2query.Errorf("InvalidParameterValue", "New size cannot be smaller than existing size")
	}
	p := ebsParams{VolumeSize: in.Size, VolumeType: cmp.Or(in.VolumeType, v.kind), Iops: in.Iops, Throughput: in.Throughput}
	if p.Iops == nil && v.kind == p.VolumeType && (p.VolumeType == "io1" || p.VolumeType == "io2") {
		p.Iops = &v.iops
	}
	if err := p.check(); err != nil {
		return volumeShape{}, err
	}
	next := volume{sizeGiB: v.sizeGiB, kind: p.VolumeType}
	if in.Size != nil {
		next.sizeGiB = *in.Size
	}
	if p.VolumeType == v.kind && p.VolumeType == "gp3" { // what is not given stays
		setIf(&p.Iops, cmp.Or(in.Iops, &v.iops))
		setIf(&p.Throughput, cmp.Or(in.Throughput, &v.throughput))
	}
	if err := next.checkSize(p.Iops); err != nil {
		return volumeShape{}, err
	}
	next.rates(p.Iops, p.Throughput)
	return next.shape(), nil
}

func modificationFilters() filters[*volume] {
	of := func(get func(*call, *volumeModification) string) func(*call, *volume) []string {
		return func(c *call, v *volume) []string { return one(get(c, v.modification())) }
	}
	size := func(get func(*volumeModification) int) func(*call, *volume) []string {
		return of(func(_ *call, m *volumeModification) string { return strconv.Itoa(get(m)) })
	}
	return filters[*volume]{
		"volume-id":            func(_ *call, v *volume) []string { return one(v.id) },
		"modification-state":   of(func(c *call, m *volumeModification) string { return m.state(c.now) }),
		"start-time":           of(func(_ *call, m *volumeModification) string { return ec2query.FormatTime(m.start) }),
		"original-volume-type": of(func(_ *call, m *volumeModification) string { return m.original.kind }),
		"target-volume-type":   of(func(_ *call, m *volumeModification) string { return m.target.kind }),
		"original-size":        size(func(m *volumeModification) int { return m.original.sizeGiB }),
		"target-size":          size(func(m *volumeModification) int { return m.target.sizeGiB }),
		"original-iops":        size(func(m *volumeModification) int { return m.original.iops }),
		"target-iops":          size(func(m *volumeModification) int { return m.target.iops }),
	}
}

type describeModificationsInput struct {
	Filter   []filterParam
	VolumeID []string `ec2:"VolumeId"`
	pageParams
}

type describeModificationsOutput struct {
	Modifications ec2query.Set[modificationXML] `xml:"volumeModificationSet"`
	Next          string                        `xml:"nextToken,omitempty"`
}

func (c *call) describeModifications(in *describeModificationsInput) (*describeModificationsOutput, *ec2query.Error) {
	for _, id := range in.VolumeID {
		v, err := lookup(c, &c.volumes, volumeKind(), id)
		if err != nil {
			return nil, err
		}
		if v.modification() == nil {
			return nil, ec2query.Errorf("InvalidVolumeModification.NotFound", "Modification for volume '%s' does not exist.", id)
		}
	}
	items, next, err := find(c, &c.volumes, query[*volume]{
		kind: volumeKind(), ids: in.VolumeID, filters: in.Filter, known: c.server.known.modifications, page: in.pageParams,
		scope: func(v *volume) bool { return c.owns(&v.base) && v.modification() != nil },
	})
	return &describeModificationsOutput{ec2query.MapSet(items, c.modificationXML), next}, err
}
