package ec2test

import "github.com/bakestone-go/bakestone/internal/ec2query"

// planHardware checks the options for hosts, placement groups, reservations,
// licenses and enclaves. These resources do not exist here: any name is
// accepted and described.
func (c *call) planHardware(p *launchPlan) *ec2query.Error {
	in := p.in
	if at := in.Placement; at != nil {
		onHost := at.HostID != "" || at.HostResourceGroupARN != ""
		switch {
		case at.HostID != "" && at.HostResourceGroupARN != "":
			return ec2query.InvalidCombination("The parameters hostId and hostResourceGroupArn may not be specified on the same request")
		case onHost && at.Tenancy != "" && at.Tenancy != "host":
			return ec2query.InvalidCombination("A tenancy of '%s' cannot be specified with a host", at.Tenancy)
		case p.market == Spot && (onHost || at.Tenancy == "host"):
			return ec2query.InvalidCombination("The tenancy 'host' is not supported for Spot Instances")
		case (onHost || at.Tenancy == "host") && p.kind.burstable && !p.kind.nitro:
			return ec2query.InvalidCombination("The tenancy 'host' is not supported for the instance type '%s'", p.kind.name)
		}
	}
	if r := in.CapacityReservationSpecification; r != nil {
		switch t := r.Target; {
		case r.Preference == "" && (t == nil || t.ID == "" && t.Group == ""):
			return ec2query.MissingParameter("CapacityReservationPreference")
		case r.Preference != "" && t != nil:
			return ec2query.InvalidCombination("CapacityReservationPreference and CapacityReservationTarget may not be specified on the same request")
		case t != nil && t.ID != "" && t.Group != "":
			return ec2query.InvalidCombination("CapacityReservationId and CapacityReservationResourceGroupArn may not be specified on the same request")
		case t != nil && p.market == Spot:
			return ec2query.InvalidCombination("A capacity reservation cannot be targeted by a Spot Instance")
		}
	}
	const leastForEnclave = 4
	arm := len(p.kind.archs) > 0 && p.kind.archs[0] == "arm64"
	switch {
	case in.EnclaveOptions != nil && in.EnclaveOptions.Enabled &&
		(!p.kind.nitro || p.kind.burstable || p.kind.vcpus < 2 || !arm && p.kind.vcpus < leastForEnclave):
		return ec2query.InvalidCombination("The instance type '%s' does not support Enclaves", p.kind.name)
	case truthOf(in.EbsOptimized) && !p.kind.nitro:
		return ec2query.Errorf("InvalidParameterCombination", "EBS-optimized instances are not supported for the instance type '%s'", p.kind.name)
	}
	return nil
}

type reservedXML struct {
	Preference string             `xml:"capacityReservationPreference,omitempty"`
	Target     *reservedTargetXML `xml:"capacityReservationTarget,omitempty"`
}

type reservedTargetXML struct {
	ID    string `xml:"capacityReservationId,omitempty"`
	Group string `xml:"capacityReservationResourceGroupArn,omitempty"`
}

type licenseXML struct {
	ARN string `xml:"licenseConfigurationArn"`
}

// reservedXML returns the capacity reservation settings of the launch, or EC2's
// default.
func (i *instance) reservedXML() reservedXML {
	switch r := i.reservedAs; {
	case r == nil:
		return reservedXML{Preference: "open"}
	case r.Target != nil:
		return reservedXML{Target: &reservedTargetXML{r.Target.ID, r.Target.Group}}
	default:
		return reservedXML{Preference: r.Preference}
	}
}
