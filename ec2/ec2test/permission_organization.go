package ec2test

// JoinOrganization makes an account a member of organizations or organizational
// units, given by ARN. The account can then use images shared with them.
func (s *Server) JoinOrganization(account string, arns ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.members == nil {
		s.members = make(map[string][]string)
	}
	s.members[account] = append(s.members[account], arns...)
}

// admits reports whether permissions include the caller's account or one of its
// organizations.
func (c *call) admits(p *permissions) bool {
	return p.all || c.admitsByName(p)
}

// admitsByName is like admits but ignores public permissions.
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
