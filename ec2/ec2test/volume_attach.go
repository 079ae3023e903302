package ec2test

import (
	"context"
	"regexp"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// attachment is a volume's place in an instance.
type attachment struct {
	instance            *instance // nil if not attached
	device              string
	attached            time.Time
	done                time.Time // when attaching, or detaching, ends
	detaching           bool
	deleteOnTermination bool
}

func (v *volume) attachmentState(now time.Time) string {
	switch {
	case v.detaching:
		return "detaching"
	case now.Before(v.done):
		return "attaching"
	}
	return "attached"
}

func (c *call) attachmentXML(v *volume) attachmentXML {
	return attachmentXML{v.id, v.instance.id, v.device, v.attachmentState(c.now), ec2query.FormatTime(v.attached), v.deleteOnTermination}
}

// deviceName matches the device names that EC2 accepts for volumes.
var deviceName = regexp.MustCompile(`^(/dev/)?(sd[a-z]([1-9]|1[0-5])?|xvd[a-z]{1,2}([1-9]|1[0-5])?|hd[a-z]([1-9]|1[0-5])?)$`)

// maxVolumes limits the volumes of an instance. EC2's limit depends on the type
// and on its network interfaces.
const maxVolumes = 27

type attachVolumeInput struct {
	Device     string `ec2:"Device,required"`
	InstanceID string `ec2:"InstanceId,required"`
	VolumeID   string `ec2:"VolumeId,required"`
}

func (c *call) attachVolume(in *attachVolumeInput) (*attachmentXML, *ec2query.Error) {
	v, err := lookup(c, &c.volumes, volumeKind(), in.VolumeID)
	if err != nil {
		return nil, err
	}
	i, err := lookup(c, &c.instances, instanceKind(), in.InstanceID)
	if err != nil {
		return nil, err
	}
	code := i.phase.code(c.now)
	switch {
	case !deviceName.MatchString(in.Device):
		return nil, ec2query.Errorf("InvalidParameterValue", "Value (%s) for parameter device is invalid. %s is not a valid EBS device name.", in.Device, in.Device)
	case v.instance != nil:
		return nil, ec2query.Errorf("VolumeInUse", "%s is already attached to an instance", v.id)
	case code != running && code != stopped:
		return nil, ec2query.Errorf("IncorrectState", "Instance '%s' is not 'running'.", i.id)
	case v.zone != i.subnet.zone:
		return nil, ec2query.Errorf("InvalidVolume.ZoneMismatch", "The volume '%s' is not in the same availability zone as instance '%s'", v.id, i.id)
	case i.volumeAt(in.Device) != nil:
		return nil, ec2query.Errorf("InvalidParameterValue", "Invalid value '%s' for unixDevice. Attachment point %s is already in use", in.Device, in.Device)
	case len(i.volumes) > maxVolumes:
		return nil, ec2query.Errorf("AttachmentLimitExceeded", "Volume limit exceeded: instance %s already has %d volumes", i.id, len(i.volumes))
	case c.statusOfKey(v.kmsKey) != keyUsable:
		return nil, ec2query.Errorf("InvalidVolume.KmsKey", "The KMS key of the volume '%s' cannot be used", v.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	v.attachment = attachment{instance: i, device: in.Device, attached: c.now, done: c.now.Add(c.server.opts.Latency.Attached)}
	i.volumes = append(i.volumes, v)
	if m := i.machine; m != nil && code == running {
		c.afterwards(func(ctx context.Context) *ec2query.Error {
			if err := m.attach(ctx, v.attachedRef()); err != nil {
				return ec2query.Internal(err)
			}
			return nil
		})
	}
	out := c.attachmentXML(v)
	out.Status = "attaching"
	return &out, nil
}

type detachVolumeInput struct {
	VolumeID   string `ec2:"VolumeId,required"`
	InstanceID string `ec2:"InstanceId"`
	Device     string
	Force      bool
}

func (c *call) detachVolume(in *detachVolumeInput) (*attachmentXML, *ec2query.Error) {
	v, err := lookup(c, &c.volumes, volumeKind(), in.VolumeID)
	if err != nil {
		return nil, err
	}
	if in.InstanceID != "" {
		if _, err := lookup(c, &c.instances, instanceKind(), in.InstanceID); err != nil {
			return nil, err
		}
	}
	switch {
	case v.instance == nil:
		return nil, ec2query.Errorf("IncorrectState", "Volume '%s' is in the 'available' state.", v.id)
	case in.InstanceID != "" && in.InstanceID != v.instance.id:
		return nil, ec2query.Errorf("InvalidAttachment.NotFound", "The volume '%s' is not attached to instance '%s'", v.id, in.InstanceID)
	case in.Device != "" && in.Device != v.device:
		return nil, ec2query.Errorf("InvalidAttachment.NotFound", "The volume '%s' is not attached to instance '%s' as device '%s'", v.id, v.instance.id, in.Device)
	case v.device == v.instance.rootDevice && v.instance.phase.code(c.now) != stopped:
		return nil, ec2query.Errorf("OperationNotPermitted", "Unable to detach root volume '%s' from instance '%s'", v.id, v.instance.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	if !v.detaching {
		v.detaching, v.done = true, c.now.Add(c.server.opts.Latency.Attached)
		c.detaching = append(c.detaching, v)
		if m, device := v.instance.machine, v.device; m != nil && v.instance.phase.code(c.now) == running {
			c.afterwards(func(ctx context.Context) *ec2query.Error {
				if err := m.detach(ctx, device); err != nil {
					return ec2query.Internal(err)
				}
				return nil
			})
		}
	}
	out := c.attachmentXML(v)
	c.sweep(c.now)
	return &out, nil
}

// detach ends the attachment of a volume.
func (v *volume) detach() {
	if i := v.instance; i != nil {
		i.volumes = slices.DeleteFunc(i.volumes, func(have *volume) bool { return have == v })
	}
	v.attachment = attachment{}
}

// attachedRef returns the volume as its instance's machine sees it.
func (v *volume) attachedRef() attachedRef {
	return attachedRef{AttachedDisk{Device: v.device, VolumeID: v.id, SizeGiB: v.sizeGiB}, v.disk}
}
