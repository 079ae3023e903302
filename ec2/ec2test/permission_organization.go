package ec2test

// JoinOrganization makes an account a member of organisations or of their
// units, by the ARNs that launch permissions name. It may then use images that
// are shared with them.
func (s *Server) JoinOrganization(account string, arns ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.members == nil {
		s.members = make(map[string][]string)
	}
	s.members[account] = append(s.members[account], arns...)
}

// admits tells whether permissions let the caller in, by its account or by an
// organisation that it is in.
func (c *call) admits(p *permissions) bool {
	return p.all || c.admitsByName(p)
}

// admitsByName is admits for what is not public.
func (c *call) admitsByName(p *permissions) bool {
	if p.users[c.account] {
		return true
	}
	if len(p.orgs)+len(p.units) == 0 {
		return false
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	for _, arn := range c.server.members[c.account] {
		if p.orgs[arn] || p.units[arn] {
			return true
		}
	}
	return false
}
