package ec2

import (
	"context"
	"errors"
	"slices"

	"github.com/bakestone-go/bakestone/bake"
)

// A planner collects the plan of one image.
type planner struct {
	*session

	plan ImagePlan
}

// plan plans one image. The error joins what it could not look up, which is missing
// from the plan.
func (b Builder) plan(ctx context.Context, img *bake.Image) (ImagePlan, error) {
	clock := b.Cloud.options.Clock
	run := bake.NewRun("plan", img.Name, clock, nil)
	run.Tags = img.Tags
	p := &planner{session: newSession(b, img, run)}
	p.plan = ImagePlan{Image: img.Name, Region: p.region.name}
	var errs []error
	failed := func(step string, err error) bool {
		if err != nil {
			errs = append(errs, &bake.Error{Image: img.Name, Step: step, Err: err})
		}
		return err != nil
	}
	fromDisk := p.fromDisk()
	if img.From != nil {
		p.plan.From = img.From.Name
	} else if fromDisk {
		// see planDisk
	} else if !failed("find source image", p.findSource(ctx)) {
		p.plan.Source = p.Source
		if p.builder.constrainsSource() {
			failed("check source image", p.checkSource(ctx))
		}
	}
	if fromDisk {
		failed("read disks", p.planDisk(ctx))
	}
	failed("check destinations", p.checkDestinations(ctx))
	instance := p.builder.needsInstance(img)
	if instance && !failed("choose network", p.chooseNetwork(ctx)) && (img.From == nil || len(b.InstanceTypes) > 0) {
		for _, c := range p.candidates() {
			p.plan.Launch = append(p.plan.Launch, c.String())
		}
	}
	if !fromDisk {
		p.planMachine("")
	}
	if !img.ProvisionOnly {
		p.planImage()
		if needsLogin(img) {
			p.planMachine(" (to check the AMI)")
		}
		p.planDistribution()
		for _, publisher := range img.Publishers {
			failed(bake.Describe(publisher), p.planPublisher(ctx, publisher))
		}
	}
	if p.Network.VPC != "" {
		failed("prepare security group", p.tryGroup(ctx))
	}
	if len(p.Network.Locations) > 0 && p.Source.ID != "" && !fromDisk {
		failed("launch instance", p.tryLaunch(ctx))
	}
	return p.plan, errors.Join(errs...)
}

func (p *planner) calls(place *region, cloud *Cloud, actions ...string) {
	for _, action := range actions {
		c := PlannedCall{Action: action, Region: place.name, Role: cloud.role}
		if !slices.Contains(p.plan.Calls, c) {
			p.plan.Calls = append(p.plan.Calls, c)
		}
	}
}

func (p *planner) creates(kind, name string, stays bool) {
	p.plan.Creates = append(p.plan.Creates, PlannedResource{Kind: kind, Name: name, Region: p.region.name, Stays: stays})
}

// planMachine adds an instance: the one to bake on, or the check instance. note
// distinguishes them.
func (p *planner) planMachine(note string) {
	if !p.builder.Network.ownGroups() {
		p.creates("security group", "for SSH from the baking host"+note, false)
		p.calls(p.region, p.builder.Cloud, "CreateSecurityGroup", "DeleteSecurityGroup")
		if p.builder.SSH.Dial == nil || len(p.builder.SSH.From) > 0 {
			p.calls(p.region, p.builder.Cloud, "AuthorizeSecurityGroupIngress")
		}
	}
	if p.builder.InstanceProfilePolicy != "" {
		p.creates("role", "bakestone-"+p.run.ID+note, false)
		p.creates("instance profile", "bakestone-"+p.run.ID+note, false)
		p.calls(p.region, p.builder.Cloud, "CreateRole", "PutRolePolicy", "CreateInstanceProfile", "AddRoleToInstanceProfile",
			"RemoveRoleFromInstanceProfile", "DeleteInstanceProfile", "DeleteRolePolicy", "DeleteRole")
	}
	p.creates("instance", "bakestone "+p.run.Image+note, false)
	p.calls(p.region, p.builder.Cloud, "RunInstances", "TerminateInstances")
}

func (p *planner) planImage() {
	c, call := p.builder.Capture, func(actions ...string) { p.calls(p.region, p.builder.Cloud, actions...) }
	p.creates("image", p.imageName(), !p.builder.Distribute.OnlyCopies)
	if p.fromDisk() {
		call("RegisterImage")
		return
	}
	if !c.CrashConsistent {
		call("StopInstances")
	}
	if c.FromSnapshots {
		call("CreateSnapshots", "RegisterImage")
		return
	}
	if !c.CrashConsistent && (c.ENA || c.SRIOV) {
		call("ModifyInstanceAttribute")
	}
	call("CreateImage")
	if !c.AllowIMDSv1 && !p.Source.IMDSv2 {
		call("ModifyImageAttribute")
	}
}

func (p *planner) imageName() string {
	if p.builder.AMIName != "" {
		return p.builder.AMIName
	}
	return p.image.Name + " and the Unix time"
}

// planDistribution adds the copies and the promotion at each destination.
func (p *planner) planDistribution() {
	b, d := p.builder, p.builder.Distribute
	for _, c := range d.Copies {
		cloud := b.cloudOf(c)
		r := cloud.region(c.Region)
		p.plan.Creates = append(p.plan.Creates, PlannedResource{Kind: "image", Name: p.imageName(), Region: r.name, Stays: true})
		if cloud != b.Cloud {
			p.calls(p.region, b.Cloud, "ModifyImageAttribute", "ModifySnapshotAttribute")
		}
		p.calls(r, cloud, "CopyImage")
		p.planPromotion(r, cloud)
	}
	if d.OnlyCopies {
		p.calls(p.region, b.Cloud, "DeregisterImage", "DeleteSnapshot")
		return
	}
	p.planPromotion(p.region, b.Cloud)
}

func (p *planner) planPromotion(r *region, cloud *Cloud) {
	d := p.builder.Distribute
	for _, feature := range []struct {
		used   bool
		action string
	}{
		{!d.LaunchPermissions.isZero(), "ModifyImageAttribute"},
		{!d.SnapshotPermissions.isZero(), "ModifySnapshotAttribute"},
		{!d.deprecation(r.clock.Now()).IsZero(), "EnableImageDeprecation"},
		{true, "DeleteTags"},
		{d.Protection != Unprotected, "EnableImageDeregistrationProtection"},
	} {
		if feature.used {
			p.calls(r, cloud, feature.action)
		}
	}
}

func (p *planner) planPublisher(ctx context.Context, publisher bake.Publisher) error {
	planned, hasCalls := bake.As[PlannedPublisher](publisher)
	detailed, hasDetails := bake.As[DetailedPublisher](publisher)
	var errs []error
	for _, at := range p.builder.publishesTo(publisher) {
		if hasCalls {
			p.calls(at.Cloud.region(at.Region), at.Cloud, planned.PlannedCalls()...)
		}
		if hasDetails {
			lines, err := detailed.PlanDetails(ctx, at)
			p.plan.Publishes = append(p.plan.Publishes, lines...)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// tryGroup looks up the caller's security groups, or makes a dry run of creating the
// temporary one.
func (p *planner) tryGroup(ctx context.Context) error {
	if p.builder.Network.ownGroups() {
		return p.findSecurityGroups(ctx)
	}
	answer, err := dryRun(func(dry *bool) error {
		in := p.groupInput()
		in.DryRun = dry
		_, err := p.region.client.CreateSecurityGroup(ctx, in)
		return err
	})
	p.answered("CreateSecurityGroup", answer)
	return err
}

// tryLaunch makes a dry run of launching the first candidate. Dry runs do not check
// capacity.
func (p *planner) tryLaunch(ctx context.Context) error {
	if err := p.makeKeys(ctx); err != nil {
		return err
	}
	data, err := p.userData()
	if err != nil {
		return err
	}
	first := p.candidates()[0]
	answer, err := dryRun(func(dry *bool) error {
		in := p.runInput(first, data)
		in.DryRun = dry
		_, err := p.region.client.RunInstances(ctx, in)
		return err
	})
	p.answered("RunInstances", answer)
	if err != nil {
		return p.launchError(first, err)
	}
	return nil
}

func (p *planner) answered(action, answer string) {
	for i, c := range p.plan.Calls {
		if c.Action == action && c.Region == p.region.name && c.Role == p.builder.Cloud.role {
			p.plan.Calls[i].DryRun = answer
		}
	}
}
