package ec2test

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// launch creates one instance of a plan and switches it on.
func (c *call) launch(p *launchPlan, reservation string, index int) (*instance, *ec2query.Error) {
	addr, err := p.subnet.take(p.wanted)
	if err != nil {
		return nil, err
	}
	in := p.in
	i := &instance{
		base: c.newBase(instanceKind(), p.specs["instance"].clone()), region: c.region, reservation: reservation, launchIndex: index,
		clientToken: in.ClientToken, image: p.image, arch: p.image.arch, bootMode: p.image.bootMode, kind: p.kind.name,
		ena: p.image.ena, sriov: p.image.sriov,
		userData: in.UserData, subnet: p.subnet, groups: p.groups, rootDevice: p.image.rootDevice,
		launched: c.now, ebsOptimal: truthOf(in.EbsOptimized), noTermination: truthOf(in.DisableAPITermination),
		noStop: truthOf(in.DisableAPIStop), destCheck: true, shutdownBehavior: cmp.Or(in.InstanceInitiatedShutdownBehavior, "stop"),
		privateIP: addr, wantsIP: p.publicIP, monitoring: in.Monitoring != nil && in.Monitoring.Enabled,
	}
	i.useProfile(p.profile, c.now)
	if p.key != nil {
		i.keyName, i.publicKey = p.key.name, p.key.public
	}
	if in.Placement != nil {
		i.tenancy, i.placedIn = in.Placement.Tenancy, *in.Placement
	}
	i.reservedAs, i.licenses = in.CapacityReservationSpecification, in.LicenseSpecification
	i.enclave = in.EnclaveOptions != nil && in.EnclaveOptions.Enabled
	if p.market == Spot {
		i.spot, i.maxPrice, i.spotRequest = true, p.maxPrice, newID("sir-", c.server.nextSeq())
		options := in.InstanceMarketOptions.SpotOptions
		i.spotPersistent = options != nil && options.SpotInstanceType == "persistent"
		if options != nil {
			i.spotBehavior = options.InstanceInterruptionBehavior
		}
	}
	var metadata metadataParams
	if in.MetadataOptions != nil {
		metadata = *in.MetadataOptions
	}
	i.metadata = metadata.filled(p.image)
	for _, plan := range p.volumes {
		v := c.makeVolume(plan, p.subnet.zone, p.specs["volume"].clone())
		v.instance, v.device, v.attached = i, plan.device, c.now
		i.volumes = append(i.volumes, v)
	}
	i.interfaces = append(i.interfaces, c.makeInterface(i, p))
	p.image.lastLaunched = c.now
	c.instances.put(i)
	c.server.network.claim(addr, i)
	if p.ipv6 {
		i.ipv6 = ipv6Of(addr)
		c.server.network.claim(i.ipv6, i)
	}
	c.switchOn(i)
	for _, plan := range p.volumes {
		if plan.keyStatus != keyUsable { // EC2 detects this only when it starts the instance
			c.beginTermination(i, c.now, string(plan.keyStatus))
			c.halt(i.machine)
			break
		}
	}
	return i, nil
}

// enter begins a phase.
func (i *instance) enter(p phase, now time.Time) {
	i.phase = p
	i.region.server.willChange(i.id, p.to.String(), p.at, now)
}

func truthOf(b *bool) bool { return b != nil && *b }

// switchOn makes the instance pending, and running after Latency.Running.
func (c *call) switchOn(i *instance) {
	latency := c.server.opts.Latency
	i.enter(phase{pending, running, c.now.Add(latency.Running)}, c.now)
	i.reason, i.reasonCode = "", ""
	if i.wantsIP {
		i.publicIP = c.server.network.claimPublic(i)
	}
	c.boot(i, latency.Running+latency.Boot)
}

// boot starts the instance's machine before the response is sent.
func (c *call) boot(i *instance, takes time.Duration) {
	plan := bootPlan{spec: c.spec(i), disk: noDisk(errBlank), after: takes}
	if root := i.rootVolume(); root != nil {
		plan.disk = root.disk
	}
	for _, v := range i.volumes {
		if v.device != i.rootDevice {
			plan.disks = append(plan.disks, v.attachedRef())
		}
	}
	if c.server.opts.Listen && i.publicIP.IsValid() {
		plan.addr = fmt.Sprintf("%s:%d", i.publicIP, c.server.opts.Port)
		public := i.publicIP
		plan.admit = func() bool {
			_, allowed := i.reach(c.server.source(), public, c.server.portsOf(c.server.opts.Port)...)
			return allowed
		}
	}
	m := c.server.newMachine(plan.after)
	i.machine = m
	c.afterwards(func(ctx context.Context) *ec2query.Error {
		m.start(ctx, plan)
		return nil
	})
}

func (c *call) spec(i *instance) MachineSpec {
	hostname, _, _ := strings.Cut(c.privateName(i.privateIP), ".")
	s := MachineSpec{
		InstanceID: i.id, ImageID: i.image.id, InstanceType: i.kind, Architecture: i.arch, Region: c.name, Zone: i.subnet.zone,
		Hostname: hostname, PrivateIP: i.privateIP.String(), KeyName: i.keyName, PublicKey: i.publicKey,
		UserData: i.userData, Clock: c.server.opts.Clock, Logger: c.server.opts.Logger,
		Power: func(p Power) { i.power(p) },
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return c.server.dialFrom(ctx, i, network, addr)
		},
	}
	if i.metadata.HTTPEndpoint == "disabled" { // the guest would read them there
		s.UserData, s.KeyName, s.PublicKey, s.NoMetadata = nil, "", "", true
	}
	if i.publicIP.IsValid() {
		s.PublicIP = i.publicIP.String()
	}
	return s
}

// halt stops a machine before the response is sent. m may be nil.
func (c *call) halt(m *machine) {
	if m == nil {
		return
	}
	c.afterwards(func(context.Context) *ec2query.Error {
		m.stop()
		return nil
	})
}

// volumeKeyStatus reports whether the instance can decrypt its volumes.
func (c *call) volumeKeyStatus(i *instance) keyStatus {
	for _, v := range i.volumes {
		if t := c.statusOfKey(v.kmsKey); t != keyUsable {
			return t
		}
	}
	return keyUsable
}

// power handles a shutdown or reboot from within the guest.
func (i *instance) power(p Power) {
	s := i.region.server
	s.background(func() {
		r := i.region
		r.mu.Lock()
		m := i.machine
		now := s.now()
		r.sweep(now)
		if code := i.phase.code(now); m == nil || code != running && code != pending {
			r.mu.Unlock()
			return
		}
		if p == Restart {
			r.mu.Unlock()
			m.reboot(s.opts.Latency.Boot)
			return
		}
		if i.shutdownBehavior == "terminate" {
			r.beginTermination(i, now, "Client.InstanceInitiatedShutdown")
		} else {
			r.beginStop(i, now, "Client.InstanceInitiatedShutdown")
		}
		r.mu.Unlock()
		m.stop()
	})
}

// beginStop makes an instance stopping. The caller must stop the machine after
// it has unlocked the region.
func (r *region) beginStop(i *instance, now time.Time, reason string) {
	i.enter(phase{stopping, stopped, now.Add(r.server.opts.Latency.Stopped)}, now)
	i.down(now, reason)
}

// beginTermination makes an instance shutting-down. The caller must stop the
// machine after it has unlocked the region.
func (r *region) beginTermination(i *instance, now time.Time, reason string) {
	i.enter(phase{shuttingDown, terminated, now.Add(r.server.opts.Latency.Terminated)}, now)
	i.down(now, reason)
	r.terminating = append(r.terminating, i)
	r.sweep(now)
}

func (i *instance) down(now time.Time, reason string) {
	i.reason = fmt.Sprintf("%s (%s)", reasonText(reason), now.UTC().Format("2006-01-02 15:04:05 GMT"))
	i.reasonCode = reason
	i.dropPublicIP()
}

func (i *instance) dropPublicIP() {
	if i.publicIP.IsValid() {
		i.region.server.network.free(i.publicIP, i)
		i.publicIP = netip.Addr{}
	}
}

// freeResources releases the volumes, interfaces and addresses of a terminated
// instance.
func (r *region) freeResources(i *instance) {
	for _, v := range slices.Clone(i.volumes) {
		if v.deleteOnTermination {
			r.volumes.remove(v.id)
			r.server.closeDisk(v.disk, i.machine)
		}
		v.detach()
	}
	for _, nic := range i.interfaces {
		nic.instance = nil
		if nic.deleteOnTermination {
			r.interfaces.remove(nic.id)
			delete(i.subnet.used, i.privateIP)
		}
	}
	r.server.network.free(i.privateIP, i)
	r.server.network.free(i.ipv6, i)
	i.dropPublicIP()
}

// powerCycle stops the instance's machine, calls between, and starts the
// machine again, all before the response is sent. The instance stays running.
func (c *call) powerCycle(i *instance, between func(ctx context.Context) *ec2query.Error) {
	c.halt(i.machine)
	c.afterwards(between)
	c.boot(i, c.server.opts.Latency.Boot)
}
