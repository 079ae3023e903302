package ec2test

// metadata returns the values of the instance metadata service, by path below
// "/latest/".
func (s MachineSpec) metadata() map[string]string {
	if s.NoMetadata {
		return nil
	}
	all := map[string]string{
		"meta-data/ami-id": s.ImageID, "meta-data/instance-id": s.InstanceID, "meta-data/instance-type": s.InstanceType, "meta-data/hostname": s.Hostname,
		"meta-data/local-hostname": s.Hostname, "meta-data/local-ipv4": s.PrivateIP, "meta-data/placement/region": s.Region,
		"meta-data/placement/availability-zone": s.Zone, "meta-data/services/domain": "amazonaws.com", "meta-data/services/partition": "aws",
		"dynamic/instance-identity/document": `{"architecture":"` + s.Architecture + `","availabilityZone":"` + s.Zone + `","imageId":"` + s.ImageID + `","instanceId":"` + s.InstanceID +
			`","instanceType":"` + s.InstanceType + `","privateIp":"` + s.PrivateIP + `","region":"` + s.Region + `"}`,
	}
	if s.PublicIP != "" {
		all["meta-data/public-ipv4"] = s.PublicIP
	}
	if s.PublicKey != "" {
		all["meta-data/public-keys/0/openssh-key"] = s.PublicKey
	}
	if len(s.UserData) > 0 {
		all["user-data"] = string(s.UserData)
	}
	return all
}
