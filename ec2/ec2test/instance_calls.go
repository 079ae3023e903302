package ec2test

import "github.com/bakestone-go/bakestone/internal/ec2query"

type instanceIDsInput struct {
	InstanceID []string `ec2:"InstanceId,required"`
}

// shutDownInstancesInput holds the parameters of StopInstances and
// TerminateInstances.
type shutDownInstancesInput struct {
	InstanceID     []string `ec2:"InstanceId,required"`
	Force          bool
	SkipOsShutdown bool
}

type stateChangeXML struct {
	ID       string   `xml:"instanceId"`
	Current  stateXML `xml:"currentState"`
	Previous stateXML `xml:"previousState"`
}

type stateChangesOutput struct {
	Instances ec2query.Set[stateChangeXML] `xml:"instancesSet"`
}

func (c *call) stopInstances(in *shutDownInstancesInput) (*stateChangesOutput, *ec2query.Error) {
	list, err := c.instancesOf(in.InstanceID)
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		switch code := i.phase.code(c.now); {
		case code != running && code != stopping && code != stopped:
			return nil, ec2query.Errorf("IncorrectInstanceState", "The instance '%s' is not in a state from which it can be stopped.", i.id)
		case i.noStop:
			return nil, ec2query.Errorf("OperationNotPermitted", "The instance '%s' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.", i.id)
		case i.spot && !i.spotPersistent:
			return nil, ec2query.Errorf("UnsupportedOperation", "You can't stop the Spot Instance '%s' because it is associated with a one-time Spot Instance request.", i.id)
		}
	}
	if err := c.takeResourceTokens("StopInstances", len(list)); err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	return c.turnOff(list, func(i *instance) {
		if i.phase.code(c.now) == running {
			c.beginStop(i, c.now, "Client.UserInitiatedShutdown")
		}
	}), nil
}

func (c *call) terminateInstances(in *shutDownInstancesInput) (*stateChangesOutput, *ec2query.Error) {
	list, err := c.instancesOf(in.InstanceID)
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		if i.noTermination && i.phase.to != terminated {
			return nil, ec2query.Errorf("OperationNotPermitted", "The instance '%s' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.", i.id)
		}
	}
	if err := c.takeResourceTokens("TerminateInstances", len(list)); err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	return c.turnOff(list, func(i *instance) {
		if i.phase.to != terminated {
			c.beginTermination(i, c.now, "Client.UserInitiatedShutdown")
		}
	}), nil
}

// turnOff calls down for each instance and reports the state changes. The
// response waits until the machines are off.
func (c *call) turnOff(list []*instance, down func(*instance)) *stateChangesOutput {
	out := &stateChangesOutput{}
	for _, i := range list {
		before := i.phase.code(c.now)
		down(i)
		change := stateChangeXML{ID: i.id, Previous: before.xml(), Current: i.announced(before, c.now).xml()}
		if i.phase.to != running {
			c.halt(i.machine)
		}
		out.Instances.Items = append(out.Instances.Items, change)
	}
	return out
}

func (c *call) startInstances(in *instanceIDsInput) (*stateChangesOutput, *ec2query.Error) {
	list, err := c.instancesOf(in.InstanceID)
	if err != nil {
		return nil, err
	}
	starting := make(map[pool]int) // instances started by this call, which share the capacity
	for _, i := range list {
		code := i.phase.code(c.now)
		if code != stopped && code != pending && code != running {
			return nil, ec2query.Errorf("IncorrectInstanceState", "The instance '%s' is not in a state from which it can be started.", i.id)
		}
		if code != stopped {
			continue
		}
		if i.rootVolume() == nil {
			return nil, ec2query.InvalidValue("instanceId", i.id, "Instance does not have a volume attached at root ("+i.rootDevice+")")
		}
		at := pool{i.kind, i.subnet.zone}
		starting[at]++
		if _, err := c.launchCount(c.server.known.types[i.kind], at.zone, i.market(), i.maxPrice, starting[at], starting[at]); err != nil {
			return nil, err
		}
	}
	if err := c.takeResourceTokens("StartInstances", len(list)); err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	out := &stateChangesOutput{}
	for _, i := range list {
		before := i.phase.code(c.now)
		if before == stopped {
			c.halt(i.machine)
			i.launched = c.now
			c.switchOn(i)
			if t := c.volumeKeyStatus(i); t != keyUsable {
				c.beginStop(i, c.now, string(t))
				c.halt(i.machine)
			}
		}
		out.Instances.Items = append(out.Instances.Items, stateChangeXML{ID: i.id, Previous: before.xml(), Current: i.announced(before, c.now).xml()})
	}
	return out, nil
}

func (c *call) rebootInstances(in *instanceIDsInput) (*ec2query.Return, *ec2query.Error) {
	list, err := c.instancesOf(in.InstanceID)
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		if code := i.phase.code(c.now); code != running && code != pending {
			return nil, ec2query.Errorf("IncorrectState", "Instance '%s' is not in a state from which it can be rebooted: %s", i.id, code)
		}
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	for _, i := range list {
		if i.machine != nil {
			i.machine.reboot(c.server.opts.Latency.Boot)
		}
	}
	return ec2query.Done(), nil
}
