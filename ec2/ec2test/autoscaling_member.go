package ec2test

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// scalingMember is an instance of an Auto Scaling group.
type scalingMember struct {
	instance  *instance
	with      launchedWith
	state     string // of its lifecycle
	unhealthy string // why; empty if it is healthy
	protected bool
	inService time.Time
	ends      bool // the group terminates it
}

// The states of a member's lifecycle.
const (
	memberPending     = "Pending"
	memberInService   = "InService"
	memberTerminating = "Terminating"
	memberStandby     = "Standby"
)

// launchedWith tells what a member was launched with.
type launchedWith struct {
	templateID, templateName, version string
	config                            string // launch configuration
	image                             string // of an override, or empty
}

// scalingLaunch is what a group launches: exactly one of the three.
type scalingLaunch struct {
	template *templateRef
	mixed    *mixedPolicy
	config   string
}

func (s *scalingSettings) launch() scalingLaunch {
	return scalingLaunch{s.LaunchTemplate, s.MixedInstancesPolicy, s.LaunchConfigurationName}
}

func (s *scalingSettings) use(l scalingLaunch) {
	s.LaunchTemplate, s.MixedInstancesPolicy, s.LaunchConfigurationName = l.template, l.mixed, l.config
}

// floats reports whether the same configuration may launch something else later,
// so that nothing can be rolled back to it.
func (l scalingLaunch) floats(c *call) bool {
	refs := l.mixed.refs()
	if l.template != nil {
		refs = append(refs, l.template)
	}
	return slices.ContainsFunc(refs, func(r *templateRef) bool {
		if strings.HasPrefix(r.Version, "$") {
			return true
		}
		t, err := c.template(r.LaunchTemplateID, "")
		if err != nil {
			return true
		}
		v, err := t.version(r.Version)
		return err != nil || strings.HasPrefix(v.data.ImageID, "resolve:ssm:")
	})
}

// options returns the ways to launch an instance, with what it was launched with.
func (c *call) launchOptions(l scalingLaunch) ([]fleetPool, []launchedWith, *ec2query.Error) {
	if l.config != "" {
		config, ok := byName(c, &c.launchConfigs, launchConfigPrefix, l.config)
		if !ok {
			return nil, nil, validationErrorf("Launch configuration name not found - Launch configuration %s not found", l.config)
		}
		in := &config.in
		launch := &spotFleetLaunch{ImageID: in.ImageID, InstanceType: in.InstanceType, KeyName: in.KeyName, UserData: in.UserData, SpotPrice: in.SpotPrice}
		for _, id := range in.SecurityGroups {
			launch.Groups = append(launch.Groups, struct {
				GroupID string `ec2:"GroupId"`
			}{id})
		}
		return []fleetPool{{launch: launch, weight: 1}}, []launchedWith{{config: l.config}}, nil
	}
	overrides := []mixedOverride{{}}
	main := l.template
	if l.mixed != nil {
		main = l.mixed.LaunchTemplate.LaunchTemplateSpecification
		if given := l.mixed.LaunchTemplate.Overrides; len(given) > 0 {
			overrides = given
		}
	}
	var pools []fleetPool
	var with []launchedWith
	for _, o := range overrides {
		ref := cmp.Or(o.LaunchTemplateSpecification, main)
		t, err := c.template(ref.LaunchTemplateID, "") // checkLaunch has completed it
		if err != nil {
			return nil, nil, err
		}
		v, err := t.version(cmp.Or(ref.Version, "$Default"))
		if err != nil {
			return nil, nil, err
		}
		number := strconv.Itoa(v.number)
		pools = append(pools, fleetPool{
			ref:      &templateRef{LaunchTemplateID: t.id, Version: number},
			override: &fleetOverride{ImageID: o.ImageID, overrideParams: overrideParams{InstanceType: o.InstanceType}},
			weight:   1,
		})
		with = append(with, launchedWith{templateID: t.id, templateName: t.name, version: number, image: o.ImageID})
	}
	return pools, with, nil
}

// marketFor returns the market of the next instance of a group.
func (g *scalingGroup) marketFor(l scalingLaunch) Market {
	if l.mixed == nil || l.mixed.InstancesDistribution == nil {
		return OnDemand
	}
	onDemand := 0
	for _, m := range g.members {
		if !m.instance.spot {
			onDemand++
		}
	}
	d := l.mixed.InstancesDistribution
	base := intOr(d.OnDemandBaseCapacity, 0)
	above := max(0, len(g.members)+1-base) * intOr(d.OnDemandPercentageAboveBaseCapacity, 100)
	if onDemand < base+(above+99)/100 {
		return OnDemand
	}
	return Spot
}

// addMember launches an instance of a group, in the zone or subnet with the fewest.
func (c *call) addMember(g *scalingGroup, l scalingLaunch) *ec2query.Error {
	pools, with, err := c.launchOptions(l)
	if err != nil {
		return err
	}
	system := tags{systemPrefix + "autoscaling:groupName": {value: g.name}}
	for key, spreads := range g.propagated {
		if value, ok := g.tags.get(c.now, key); ok && spreads {
			system[key] = tagValue{value: value}
		}
	}
	market := g.marketFor(l)
	for at, pool := range pools {
		if pool.override == nil {
			pool.override = &fleetOverride{}
		}
		pool.override.SubnetID, pool.override.AvailabilityZone = g.place()
		if pool.launch != nil { // it has them itself
			pool.launch.SubnetID = pool.override.SubnetID
		}
		var out *runInstancesOutput
		if out, err = c.launchPool(pool, market, 1, system); err != nil {
			continue
		}
		for _, made := range out.Instances.Items {
			i, _ := c.instances.get(made.ID)
			g.members = append(g.members, &scalingMember{
				instance: i, with: with[at], state: memberPending, protected: truthOf(g.set.NewInstancesProtectedFromScaleIn),
			})
			g.record(c, "Launching a new EC2 instance: "+i.id, "Successful", "")
		}
		return nil
	}
	return err
}

// place returns the subnet or zone of the next instance.
func (g *scalingGroup) place() (subnet, zone string) {
	fewest := func(names []string, of func(*instance) string) string {
		counts := make(map[string]int)
		for _, m := range g.members {
			counts[of(m.instance)]++
		}
		return slices.MinFunc(names, func(a, b string) int { return counts[a] - counts[b] })
	}
	if g.set.VPCZoneIdentifier != "" {
		return fewest(strings.Split(strings.ReplaceAll(g.set.VPCZoneIdentifier, " ", ""), ","), func(i *instance) string { return i.subnet.id }), ""
	}
	return "", fewest(g.set.AvailabilityZones, func(i *instance) string { return i.subnet.zone })
}

// endMember begins to terminate a member.
func (c *call) endMember(g *scalingGroup, m *scalingMember, why string) {
	if m.ends {
		return
	}
	m.state, m.ends = memberTerminating, true
	if m.instance.phase.to != terminated {
		c.beginTermination(m.instance, c.now, "Client.UserInitiatedShutdown")
		c.halt(m.instance.machine)
	}
	g.record(c, "Terminating EC2 instance: "+m.instance.id, "Successful", why)
}

// sick returns why the group's health checks find a member unhealthy, or "".
func (c *call) sick(g *scalingGroup, m *scalingMember) string {
	if m.unhealthy != "" {
		return m.unhealthy
	}
	if code := m.instance.phase.code(c.now); code != running && code != pending {
		return fmt.Sprintf("an EC2 instance status check found it %s", code)
	}
	grace := time.Duration(intOr(g.set.HealthCheckGracePeriod, 0)) * time.Second
	if strings.Contains(g.set.HealthCheckType, "ELB") && m.state == memberInService && c.server.failsTargets(m.instance.image.id, c.now) {
		if due := m.inService.Add(grace); c.now.Before(due) {
			g.wake(due)
			return ""
		}
		return "an ELB system health check failed"
	}
	return ""
}

// placedMemberXML is a member in a response that is not about one group.
type placedMemberXML struct {
	Group string `xml:"AutoScalingGroupName"`
	memberXML
}

type memberXML struct {
	ID        string          `xml:"InstanceId"`
	Type      string          `xml:"InstanceType"`
	Zone      string          `xml:"AvailabilityZone"`
	State     string          `xml:"LifecycleState"`
	Health    string          `xml:"HealthStatus"`
	Config    string          `xml:"LaunchConfigurationName,omitempty"`
	Template  *templateRefXML `xml:"LaunchTemplate,omitempty"`
	Protected bool            `xml:"ProtectedFromScaleIn"`
}

// xml returns the member for a response.
func (m *scalingMember) xml() memberXML {
	out := memberXML{
		ID: m.instance.id, Type: m.instance.kind, Zone: m.instance.subnet.zone, State: m.state, Health: "Healthy",
		Config: m.with.config, Protected: m.protected,
	}
	if m.unhealthy != "" || m.ends && m.state != memberStandby {
		out.Health = "Unhealthy"
	}
	if m.with.templateID != "" {
		out.Template = &templateRefXML{m.with.templateID, m.with.templateName, m.with.version}
	}
	return out
}

func intOr(n *int, otherwise int) int {
	if n == nil {
		return otherwise
	}
	return *n
}
