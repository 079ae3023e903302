package ec2test

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// maxUserData is EC2's limit on user data in bytes, before base64 encoding.
const maxUserData = 16 << 10

type runInstancesOutput struct {
	Reservation string                    `xml:"reservationId"`
	Owner       string                    `xml:"ownerId"`
	Groups      ec2query.Set[groupIDXML]  `xml:"groupSet"`
	Instances   ec2query.Set[instanceXML] `xml:"instancesSet"`
}

// launchPlan is a validated launch.
type launchPlan struct {
	in        *runInstancesInput
	image     *image
	kind      instanceType
	volumes   []*volumePlan
	subnet    *subnet
	groups    []*group
	key       *keyPair
	profile   string
	wanted    netip.Addr
	publicIP  bool
	ipv6      bool
	nicDelete bool
	nicText   string
	specs     map[string]tags
	market    Market
	maxPrice  float64
}

func (c *call) runInstances(in *runInstancesInput) (*runInstancesOutput, *ec2query.Error) {
	known, err := c.usedToken(in.ClientToken)
	if err != nil {
		return nil, err
	}
	if len(known) > 0 {
		return c.repeatLaunch(known)
	}
	var system tags
	if in.LaunchTemplate != nil {
		if in, system, err = c.fromTemplate(in.LaunchTemplate, c.form); err != nil {
			return nil, err
		}
	}
	out, err := c.launchAll(in, system)
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(out.Instances.Items))
	for _, i := range out.Instances.Items {
		ids = append(ids, i.ID)
	}
	c.rememberToken(in.ClientToken, ids...)
	return out, nil
}

// launchAll validates a launch and creates its instances. The system tags are
// added to those of the instances.
func (c *call) launchAll(in *runInstancesInput, system tags) (*runInstancesOutput, *ec2query.Error) {
	plan, err := c.planLaunch(in)
	if err != nil {
		return nil, err
	}
	if len(system) > 0 {
		if plan.specs["instance"] == nil {
			plan.specs["instance"] = make(tags, len(system))
		}
		maps.Copy(plan.specs["instance"], system)
	}
	count, err := c.launchCount(plan.kind, plan.subnet.zone, plan.market, plan.maxPrice, in.MinCount, in.MaxCount)
	if err != nil {
		return nil, err
	}
	if err := c.takeResourceTokens("RunInstances", count); err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	reservation := newID("r-", c.server.nextSeq())
	out := &runInstancesOutput{Reservation: reservation, Owner: c.account}
	for n := range count {
		inst, err := c.launch(plan, reservation, n)
		if err != nil {
			return nil, err
		}
		out.Instances.Items = append(out.Instances.Items, c.pendingXML(inst))
	}
	return out, nil
}

// pendingXML returns the instance as the call that launches it reports it.
func (c *call) pendingXML(i *instance) instanceXML {
	out := c.instanceXML(i)
	out.State, out.PublicIP, out.PublicDNS = pending.xml(), "", ""
	return out
}

// repeatLaunch answers a repeated call with the instances of the first.
func (c *call) repeatLaunch(ids []string) (*runInstancesOutput, *ec2query.Error) {
	out := &runInstancesOutput{Owner: c.account}
	for _, id := range ids {
		i, ok := c.instances.get(id)
		if !ok || i.phase.to == terminated {
			return nil, ec2query.Errorf("IdempotentInstanceTerminated", "The instance of the request with this client token has been terminated.")
		}
		out.Reservation = i.reservation
		out.Instances.Items = append(out.Instances.Items, c.instanceXML(i))
	}
	return out, nil
}

// fromTemplate returns the launch of a template with the parameters of a
// request, which take precedence, and the tags that EC2 sets on its instances.
func (c *call) fromTemplate(ref *templateRef, request url.Values) (*runInstancesInput, tags, *ec2query.Error) {
	t, err := c.template(ref.LaunchTemplateID, ref.LaunchTemplateName)
	if err != nil {
		return nil, nil, err
	}
	v, err := t.version(cmp.Or(ref.Version, "$Default"))
	if err != nil {
		return nil, nil, err
	}
	given := make(map[string]bool)
	form := make(url.Values)
	for key, values := range request {
		top, _, _ := strings.Cut(key, ".")
		given[top] = true
		form[key] = values
	}
	for key, values := range v.form {
		top, _, _ := strings.Cut(key, ".")
		// Security groups are replaced together with the interface.
		replaced := given[top] || top == "NetworkInterface" && (given["SecurityGroupId"] || given["SubnetId"]) ||
			strings.HasPrefix(top, "SecurityGroup") && given["NetworkInterface"]
		if !replaced {
			form[key] = values
		}
	}
	merged := new(runInstancesInput)
	if _, err := ec2query.Decode(form, merged); err != nil {
		return nil, nil, err
	}
	return merged, tags{
		systemPrefix + "ec2launchtemplate:id":      {value: t.id},
		systemPrefix + "ec2launchtemplate:version": {value: strconv.Itoa(v.number)},
	}, nil
}

func (c *call) planLaunch(in *runInstancesInput) (*launchPlan, *ec2query.Error) {
	p := &launchPlan{in: in, nicDelete: true, market: OnDemand}
	if m := in.InstanceMarketOptions; m != nil && m.MarketType == string(Spot) {
		p.market = Spot
	}
	switch {
	case in.MinCount < 1 || in.MaxCount < in.MinCount:
		return nil, ec2query.InvalidValue("MaxCount", fmt.Sprint(in.MaxCount), "MinCount must be at least 1 and at most MaxCount.")
	case in.MaxCount > 1000:
		return nil, ec2query.Errorf("InstanceLimitExceeded", "You have requested more instances (%d) than your current instance limit of 1000 allows.", in.MaxCount)
	case in.ImageID == "":
		return nil, ec2query.MissingParameter("ImageId")
	case len(in.UserData) > maxUserData:
		return nil, ec2query.Errorf("InvalidParameterValue", "User data is limited to %d bytes", maxUserData)
	}
	var err *ec2query.Error
	if p.image, err = c.usableImage(c.resolveAlias(in.ImageID)); err != nil {
		return nil, err
	}
	if s := p.image.state(c.now); s != "available" {
		return nil, ec2query.Errorf("InvalidAMIID.Unavailable", "The image ID '%s' is not available: %s", in.ImageID, s)
	}
	if p.kind, err = c.launchType(in, p.image); err != nil {
		return nil, err
	}
	if p.maxPrice, err = spotPrice(in.InstanceMarketOptions); err != nil {
		return nil, err
	}
	for _, step := range []func(*launchPlan) *ec2query.Error{c.planHardware, c.planNetwork, c.planVolumes, c.planIdentity} {
		if err := step(p); err != nil {
			return nil, err
		}
	}
	if p.specs, err = tagSpecs(in.TagSpecification, "instance", "volume", "network-interface", "spot-instances-request"); err != nil {
		return nil, err
	}
	if in.MetadataOptions != nil {
		if err := in.MetadataOptions.check(); err != nil {
			return nil, err
		}
	}
	if in.MetadataOptions != nil && in.MetadataOptions.InstanceMetadataTags == "enabled" {
		if err := checkMetadataTags(slices.Sorted(maps.Keys(p.specs["instance"]))); err != nil {
			return nil, err
		}
	}
	if p.specs["spot-instances-request"] != nil && in.InstanceMarketOptions == nil {
		return nil, ec2query.Errorf("InvalidParameterValue", "'spot-instances-request' is not a valid taggable resource type for this operation.")
	}
	return p, nil
}

// launchType returns the launch's instance type, which must suit the image.
func (c *call) launchType(in *runInstancesInput, img *image) (instanceType, *ec2query.Error) {
	name := cmp.Or(in.InstanceType, "m1.small")
	kind, ok := c.server.known.types[name]
	if !ok {
		return kind, ec2query.InvalidValue("InstanceType", name, "The following supplied instance types do not exist: ["+name+"]")
	}
	switch {
	case !slices.Contains(kind.archs, img.arch):
		return kind, ec2query.Errorf("InvalidParameterValue", "The architecture '%s' of the specified instance type does not match the architecture '%s' of the specified AMI. "+
			"Specify an instance type and an AMI that have matching architectures, and try again.", strings.Join(kind.archs, ","), img.arch)
	case img.virtualization != "hvm":
		return kind, ec2query.InvalidCombination("Virtualization type '%s' is not supported for instances of type '%s'.", img.virtualization, name)
	case img.bootMode == "uefi" && !kind.nitro:
		return kind, ec2query.Errorf("InvalidParameterValue", "The %s instance type does not support an AMI with a boot mode of UEFI. "+
			"Only instance types built on the Nitro System support UEFI. Specify an instance type that supports UEFI, and try again.", name)
	case !img.ena && kind.nitro:
		return kind, ec2query.InvalidCombination("Enhanced networking with the Elastic Network Adapter (ENA) is required for the '%s' instance type. "+
			"Ensure that you are using an AMI that is enabled for ENA.", name)
	case in.CreditSpecification != nil && !kind.burstable:
		return kind, ec2query.InvalidCombination("The specified instance type does not support CPU credits: %s", name)
	}
	return kind, nil
}

// planVolumes plans the volumes of the image and the request.
func (c *call) planVolumes(p *launchPlan) *ec2query.Error {
	mappings, err := merge(p.image.mappings, p.in.BlockDeviceMapping)
	if err != nil {
		return err
	}
	for _, m := range mappings {
		if m.EBS == nil {
			continue
		}
		plan, err := c.planVolume(m, p.image)
		if err != nil {
			return err
		}
		plan.volume.deleteOnTermination = m.Device == p.image.rootDevice
		if m.EBS.DeleteOnTermination != nil {
			plan.volume.deleteOnTermination = *m.EBS.DeleteOnTermination
		}
		p.volumes = append(p.volumes, plan)
	}
	return nil
}

// planIdentity checks the key pair and the instance profile.
func (c *call) planIdentity(p *launchPlan) *ec2query.Error {
	if p.in.KeyName != "" {
		key, err := c.keyByName(p.in.KeyName)
		if err != nil {
			return err
		}
		p.key = key
	}
	if prof := p.in.IamInstanceProfile; prof != nil {
		if *prof == (profileParams{}) {
			return nil
		}
		var err *ec2query.Error
		if p.profile, err = c.namedProfile(prof); err != nil {
			return err
		}
	}
	return nil
}
