package ec2test

import (
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type refreshXML struct {
	ID       string                `xml:"InstanceRefreshId"`
	Group    string                `xml:"AutoScalingGroupName"`
	Status   string                `xml:"Status"`
	Reason   string                `xml:"StatusReason,omitempty"`
	Strategy string                `xml:"Strategy"`
	Started  string                `xml:"StartTime"`
	Ended    string                `xml:"EndTime,omitempty"`
	Percent  int                   `xml:"PercentageComplete"`
	Left     int                   `xml:"InstancesToUpdate"`
	Desired  *desiredXML           `xml:"DesiredConfiguration,omitempty"`
	Prefs    refreshPreferencesXML `xml:"Preferences"`
	Back     *rollbackXML          `xml:"RollbackDetails,omitempty"`
}

type desiredXML struct {
	Template *templateRefXML `xml:"LaunchTemplate,omitempty"`
	Mixed    *mixedPolicyXML `xml:"MixedInstancesPolicy,omitempty"`
}

type refreshPreferencesXML struct {
	Min         *int                      `xml:"MinHealthyPercentage,omitempty"`
	Max         *int                      `xml:"MaxHealthyPercentage,omitempty"`
	Warmup      *int                      `xml:"InstanceWarmup,omitempty"`
	Checkpoints *ec2query.Members[int]    `xml:"CheckpointPercentages,omitempty"`
	Delay       *int                      `xml:"CheckpointDelay,omitempty"`
	Skip        *bool                     `xml:"SkipMatching,omitempty"`
	Rollback    *bool                     `xml:"AutoRollback,omitempty"`
	Protected   string                    `xml:"ScaleInProtectedInstances,omitempty"`
	Standby     string                    `xml:"StandbyInstances,omitempty"`
	Bake        *int                      `xml:"BakeTime,omitempty"`
	Alarms      *ec2query.Members[string] `xml:"AlarmSpecification>Alarms,omitempty"`
}

type rollbackXML struct {
	Reason  string `xml:"RollbackReason"`
	Started string `xml:"RollbackStartTime"`
	Percent int    `xml:"PercentageCompleteOnRollback"`
	Left    int    `xml:"InstancesToUpdateOnRollback"`
}

func (r *instanceRefresh) xml(g *scalingGroup) refreshXML {
	p := r.prefs
	out := refreshXML{
		ID: r.id, Group: g.name, Status: r.status, Reason: r.reason, Strategy: r.strategy, Started: ec2query.FormatTime(r.started),
		Percent: r.percent(), Left: r.remaining(),
		Prefs: refreshPreferencesXML{
			Min: p.MinHealthyPercentage, Max: p.MaxHealthyPercentage, Warmup: p.InstanceWarmup, Checkpoints: ec2query.OptionalMembers(p.CheckpointPercentages),
			Delay: p.CheckpointDelay, Skip: p.SkipMatching, Rollback: p.AutoRollback, Protected: p.ScaleInProtectedInstances, Standby: p.StandbyInstances, Bake: p.BakeTime,
		},
	}
	if p.AlarmSpecification != nil {
		out.Prefs.Alarms = ec2query.OptionalMembers(p.AlarmSpecification.Alarms)
	}
	if r.desired != nil {
		out.Desired = &desiredXML{r.desired.LaunchTemplate.xml(), r.desired.MixedInstancesPolicy.xml()}
	}
	if b := r.back; b != nil {
		out.Back = &rollbackXML{b.reason, ec2query.FormatTime(b.started), b.percent, b.left}
		out.Left = b.left
	}
	if !r.ended.IsZero() {
		out.Ended = ec2query.FormatTime(r.ended)
	}
	return out
}

// signals are what instance refreshes and health checks of groups look at.
type signals struct {
	mu      sync.Mutex
	alarms  map[string]time.Time // by region and name: since when
	targets map[string]time.Time // by image: since when its instances fail
}

// SetAlarm puts a CloudWatch alarm of a region into the ALARM state, or back into OK.
// An instance refresh that names an alarm fails, or is rolled back, while the alarm is
// in the ALARM state. Alarms that were never set are OK.
func (s *Server) SetAlarm(region, name string, alarmed bool) {
	s.signals.set(&s.signals.alarms, region+" "+name, alarmed, s.now())
}

// SetUnhealthy makes load balancers find the instances of an AMI unhealthy, or healthy
// again. Groups whose HealthCheckType contains ELB then replace those instances.
func (s *Server) SetUnhealthy(imageID string, unhealthy bool) {
	s.signals.set(&s.signals.targets, imageID, unhealthy, s.now())
}

func (g *signals) set(in *map[string]time.Time, key string, on bool, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if *in == nil {
		*in = make(map[string]time.Time)
	}
	if !on {
		delete(*in, key)
	} else if _, already := (*in)[key]; !already {
		(*in)[key] = now
	}
}

func (g *signals) since(in *map[string]time.Time, key string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, ok := (*in)[key]
	return ok && !now.Before(at)
}

func (s *Server) isAlarmed(region, name string, now time.Time) bool {
	_, plain, isARN := strings.Cut(name, ":alarm:")
	if isARN {
		name = plain
	}
	return s.signals.since(&s.signals.alarms, region+" "+name, now)
}

func (s *Server) failsTargets(image string, now time.Time) bool {
	return s.signals.since(&s.signals.targets, image, now)
}
