package ec2

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// A Placement selects the hardware that the instance runs on. The zero value is
// shared hardware.
type Placement struct {
	// Tenancy is "default", "dedicated" or "host". Empty means the VPC's default,
	// or "host" if Host or HostResourceGroup is set.
	Tenancy string

	// Host is the id of a Dedicated Host, HostResourceGroup the ARN of a host
	// resource group. At most one of them can be set.
	Host              string
	HostResourceGroup string

	// Group is the name of a placement group.
	Group string

	// CapacityReservation is the id of a capacity reservation to launch into,
	// CapacityReservationGroup the ARN of a resource group of reservations. At
	// most one of them can be set. If both are empty, EC2 uses any matching open
	// reservation.
	CapacityReservation      string
	CapacityReservationGroup string

	// NoCapacityReservation leaves open reservations to others.
	NoCapacityReservation bool

	// Licenses are the ARNs of license configurations.
	Licenses []string
}

func (b Builder) validatePlacement() []error {
	var errs []error
	invalid := func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid("Builder.Placement."+field, format, args...))
	}
	p := b.Placement
	tenancies := ec2types.Tenancy("").Values()
	if p.Tenancy != "" && !slices.Contains(tenancies, ec2types.Tenancy(p.Tenancy)) {
		invalid("Tenancy", "unknown value %q, want one of %v", p.Tenancy, tenancies)
	}
	if p.Host != "" && p.HostResourceGroup != "" {
		invalid("HostResourceGroup", "cannot be set together with Host")
	}
	if (p.Host != "" || p.HostResourceGroup != "") && p.Tenancy != "" && p.Tenancy != string(ec2types.TenancyHost) {
		invalid("Tenancy", "cannot be %q together with Host or HostResourceGroup", p.Tenancy)
	}
	reservations := 0
	for _, set := range []bool{p.CapacityReservation != "", p.CapacityReservationGroup != "", p.NoCapacityReservation} {
		if set {
			reservations++
		}
	}
	if reservations > 1 {
		invalid("CapacityReservation", "only one of CapacityReservation, CapacityReservationGroup and NoCapacityReservation can be set")
	}
	if b.Spot != nil && (p.CapacityReservation != "" || p.CapacityReservationGroup != "" || p.Tenancy == string(ec2types.TenancyHost) || p.Host != "") {
		invalid("CapacityReservation", "spot instances cannot use capacity reservations or Dedicated Hosts")
	}
	return errs
}

// apply sets the placement in a request.
func (p Placement) apply(in *awsec2.RunInstancesInput) {
	tenancy := ec2types.Tenancy(p.Tenancy)
	if p.Tenancy == "" && (p.Host != "" || p.HostResourceGroup != "") {
		tenancy = ec2types.TenancyHost
	}
	if tenancy != "" || p.Group != "" {
		in.Placement = &ec2types.Placement{
			Tenancy: tenancy, HostId: optional(p.Host), HostResourceGroupArn: optional(p.HostResourceGroup), GroupName: optional(p.Group),
		}
	}
	switch {
	case p.NoCapacityReservation:
		in.CapacityReservationSpecification = &ec2types.CapacityReservationSpecification{
			CapacityReservationPreference: ec2types.CapacityReservationPreferenceNone,
		}
	case p.CapacityReservation != "" || p.CapacityReservationGroup != "":
		in.CapacityReservationSpecification = &ec2types.CapacityReservationSpecification{
			CapacityReservationTarget: &ec2types.CapacityReservationTarget{
				CapacityReservationId:               optional(p.CapacityReservation),
				CapacityReservationResourceGroupArn: optional(p.CapacityReservationGroup),
			},
		}
	}
	for _, arn := range p.Licenses {
		in.LicenseSpecifications = append(in.LicenseSpecifications, ec2types.LicenseConfigurationRequest{LicenseConfigurationArn: aws.String(arn)})
	}
}

// optional returns nil for the empty string.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
