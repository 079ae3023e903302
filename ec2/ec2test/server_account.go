package ec2test

import "net/netip"

// accountState holds an account's settings in a region.
type accountState struct {
	publicImages    publicAccess
	publicSnapshots publicAccess
}

// accountState returns the account's state, creating it with the default VPC at
// the account's first call.
func (r *region) accountState(account string) *accountState {
	if made := r.accounts[account]; made != nil {
		return made
	}
	v := &vpc{base: r.initialBase(account, namedID("vpc-", account, r.name)), isDefault: !r.server.opts.NoDefaultVPC, dnsHostnames: true}
	r.addVPC(v, r.server.network.nextPrivate(), true)
	made := &accountState{
		// Since October 2023 this is the default for accounts without public
		// images.
		publicImages: publicAccess{mode: blockNew}, publicSnapshots: publicAccess{mode: unblocked},
	}
	r.accounts[account] = made
	return made
}

// initialBase returns the base of a resource that exists from the start.
func (r *region) initialBase(account, id string) base {
	return base{id: id, seq: r.server.nextSeq(), owner: account, created: r.server.now(), builtin: true}
}

// addVPC adds a VPC with a subnet in each zone, its default group, and an
// internet gateway. The salt makes their ids differ from those of the account's
// first VPC.
func (r *region) addVPC(v *vpc, cidr netip.Prefix, public bool, salt ...string) []*subnet {
	name := append([]string{v.owner, r.name}, salt...)
	v.cidrs = []vpcBlock{{namedID("vpc-cidr-assoc-", name...), cidr}}
	r.putVPC(v, func(k kind) base { return r.initialBase(v.owner, namedID(k.prefix, name...)) })
	gate := &internetGateway{base: r.initialBase(v.owner, namedID("igw-", name...)), vpc: v}
	r.gateways.put(gate)
	v.main.routes = append(v.main.routes, &route{destination: everywhere(), gateway: gate, origin: routeCreated})
	subnets := make([]*subnet, 0, len(r.zones()))
	for i, zone := range r.zones() {
		net := &subnet{
			base:      r.initialBase(v.owner, namedID("subnet-", append([]string{v.owner, zone}, salt...)...)),
			vpc:       v,
			zone:      zone,
			cidr:      twentieth(cidr, i),
			isDefault: v.isDefault,
			mapPublic: public,
			used:      make(map[netip.Addr]bool),
		}
		subnets = append(subnets, net)
		r.subnets.put(net)
	}
	return subnets
}

// AddVPC adds another, non-default VPC of Options.Account to a region. It has a
// default security group, an internet gateway, and a subnet in each zone that
// assigns public addresses only on request. AddVPC returns "" and nil if the
// region is not enabled.
func (s *Server) AddVPC(region string) (vpcID string, subnetIDs []string) {
	r := s.region(region)
	if r == nil {
		return "", nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	account := s.opts.Account
	r.accountState(account)
	v := &vpc{base: r.initialBase(account, newID("vpc-", s.nextSeq())), dnsHostnames: true}
	for _, net := range r.addVPC(v, s.network.nextPrivate(), false, v.id) {
		subnetIDs = append(subnetIDs, net.id)
	}
	return v.id, subnetIDs
}

// AddSecurityGroup adds a security group to the default VPC of Options.Account in a
// region, which admits connections from everywhere to TCP ports, and returns its
// id. Without ports it admits port 22. It is not among the [Server.Resources].
// AddSecurityGroup returns "" if the region is not enabled.
func (s *Server) AddSecurityGroup(region, name string, ports ...int) (id string) {
	r := s.region(region)
	if r == nil {
		return ""
	}
	if len(ports) == 0 {
		ports = []int{22}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	account := s.opts.Account
	begin := func(prefix string) base { return r.initialBase(account, newID(prefix, s.nextSeq())) }
	r.accountState(account)
	g := &group{base: begin("sg-"), name: name, description: name, preset: true}
	for v := range r.vpcs.all() {
		if v.owner == account && (v.isDefault || g.vpc == nil) {
			g.vpc = v
		}
	}
	r.groups.put(g)
	for _, port := range ports {
		r.addRule(&rule{base: begin("sgr-"), group: g, protocol: "tcp", from: port, to: port, cidr: everywhere()})
	}
	r.addRule(&rule{base: begin("sgr-"), group: g, egress: true, protocol: "-1", from: -1, to: -1, cidr: everywhere()})
	return g.id
}
