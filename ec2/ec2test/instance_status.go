package ec2test

import (
	"encoding/base64"
	"slices"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

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
	Status  string                         `xml:"status"`
	Details ec2query.Set[statusDetailsXML] `xml:"details"`
}

type statusDetailsXML struct {
	Name   string `xml:"name"`
	Status string `xml:"status"`
}

type describeInstanceStatusOutput struct {
	Statuses ec2query.Set[statusXML] `xml:"instanceStatusSet"`
	Next     string                  `xml:"nextToken,omitempty"`
}

// health returns the result of an instance's status checks, which pass when its
// machine is up.
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
	for _, name := range []string{"availability-zone", "availability-zone-id", "operator.managed", "instance-state-code", "instance-state-name"} {
		out[name] = all[name]
	}
	out["attached-ebs-status.status"] = health
	out.never("event.code", "event.description", "event.instance-event-id", "event.not-after", "event.not-before", "event.not-before-deadline")
	return out
}

func passed(health string) string {
	if health == "ok" {
		return "passed"
	}
	return "initializing"
}

func (c *call) describeInstanceStatus(in *describeInstanceStatusInput) (*describeInstanceStatusOutput, *ec2query.Error) {
	items, next, err := find(c, &c.instances, query[*instance]{
		kind: instanceKind(), ids: in.InstanceID, filters: in.Filter, known: c.server.known.statuses, page: in.pageParams,
		omit: func(i *instance) bool { return !in.IncludeAllInstances && i.phase.code(c.now) != running },
	})
	if !in.IncludeAllInstances {
		items = slices.DeleteFunc(items, func(i *instance) bool { return i.phase.code(c.now) != running })
	}
	return &describeInstanceStatusOutput{Next: next, Statuses: ec2query.MapSet(items, func(i *instance) statusXML {
		summary := statusSummaryXML{Status: c.health(i)}
		if summary.Status != "not-applicable" {
			summary.Details = ec2query.SetOf(statusDetailsXML{"reachability", passed(summary.Status)})
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

// maxConsole is how many bytes of console output EC2 keeps.
const maxConsole = 64 << 10

func (c *call) getConsole(in *consoleInput) (*consoleOutput, *ec2query.Error) {
	i, err := lookup(c, &c.instances, instanceKind(), in.InstanceID)
	if err != nil {
		return nil, err
	}
	if in.Latest && !c.server.known.types[i.kind].nitro {
		return nil, ec2query.Errorf("UnsupportedOperation", "The instance type '%s' does not support the latest console output", i.kind)
	}
	out := &consoleOutput{ID: i.id, Time: ec2query.FormatTime(c.now)}
	if i.machine != nil {
		text := i.machine.console()
		out.Output = base64.StdEncoding.EncodeToString(text[max(0, len(text)-maxConsole):])
	}
	return out, nil
}
