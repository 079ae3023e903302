package ec2test_test

import (
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

func TestElasticAddress(t *testing.T) {
	srv, c := start(t, &ec2test.Options{Machines: newFakeMachines()})
	openGroup(t, c)
	inst := run(t, c, *ubuntu(t, c).ImageId, nil)
	former := *describe(t, c, *inst.InstanceId).PublicIpAddress
	e := must(c.AllocateAddress(t.Context(), &awsec2.AllocateAddressInput{TagSpecifications: []ec2types.TagSpecification{
		{ResourceType: "elastic-ip", Tags: []ec2types.Tag{{Key: aws.String("Name"), Value: aws.String("fixed")}}},
	}}))(t)
	as := must(c.AssociateAddress(t.Context(), &awsec2.AssociateAddressInput{AllocationId: e.AllocationId, InstanceId: inst.InstanceId}))(t)
	dial := func(host string) error {
		conn, err := srv.Dial(t.Context(), "tcp", net.JoinHostPort(host, "22"))
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	check := func(when, want string) {
		t.Helper()
		if got := aws.ToString(describe(t, c, *inst.InstanceId).PublicIpAddress); got != want {
			t.Errorf("PublicIpAddress %s = %q, want %q", when, got, want)
		}
	}
	check("after AssociateAddress", *e.PublicIp)
	if err := dial(*e.PublicIp); err != nil {
		t.Errorf("Dial of the elastic address: %v", err)
	}
	if err := dial(former); err == nil {
		t.Error("Dial of the former address succeeded")
	}
	shown := must(c.DescribeAddresses(t.Context(), &awsec2.DescribeAddressesInput{Filters: []ec2types.Filter{filter("tag:Name", "fixed"), filter("instance-id", *inst.InstanceId)}}))(t)
	if len(shown.Addresses) != 1 || *shown.Addresses[0].AssociationId != *as.AssociationId || *shown.Addresses[0].PrivateIpAddress != *inst.PrivateIpAddress {
		t.Errorf("DescribeAddresses = %+v, want the association", shown.Addresses)
	}
	nic := describe(t, c, *inst.InstanceId).NetworkInterfaces[0]
	if *nic.Association.IpOwnerId != account {
		t.Errorf("owner of the address = %s, want the account", *nic.Association.IpOwnerId)
	}
	full := must(c.DescribeNetworkInterfaces(t.Context(), &awsec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{*nic.NetworkInterfaceId}}))(t)
	if got := full.NetworkInterfaces[0].Association; aws.ToString(got.AllocationId) != *e.AllocationId || aws.ToString(got.AssociationId) != *as.AssociationId {
		t.Errorf("DescribeNetworkInterfaces = %+v, want the ids of allocation and association", got)
	}
	ids := []string{*inst.InstanceId}
	must(c.StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: ids}))(t)
	must(c.StartInstances(t.Context(), &awsec2.StartInstancesInput{InstanceIds: ids}))(t)
	check("after a restart", *e.PublicIp)

	second := run(t, c, *ubuntu(t, c).ImageId, nil)
	if _, err := c.AssociateAddress(t.Context(), &awsec2.AssociateAddressInput{AllocationId: e.AllocationId, InstanceId: second.InstanceId, AllowReassociation: aws.Bool(false)}); code(err) != "Resource.AlreadyAssociated" {
		t.Errorf("AssociateAddress without reassociation: %v", err)
	}
	moved := must(c.AssociateAddress(t.Context(), &awsec2.AssociateAddressInput{PublicIp: e.PublicIp, InstanceId: second.InstanceId}))(t)
	if got := aws.ToString(describe(t, c, *inst.InstanceId).PublicIpAddress); got == "" || got == *e.PublicIp {
		t.Errorf("PublicIpAddress after the elastic one moved = %q, want another", got)
	}
	must(c.DisassociateAddress(t.Context(), &awsec2.DisassociateAddressInput{AssociationId: moved.AssociationId}))(t)
	if _, err := c.DisassociateAddress(t.Context(), &awsec2.DisassociateAddressInput{AssociationId: moved.AssociationId}); code(err) != "InvalidAssociationID.NotFound" {
		t.Errorf("repeated DisassociateAddress: %v", err)
	}
	// An instance of the default VPC keeps no address from being released.
	other := must(c.AllocateAddress(t.Context(), nil))(t)
	must(c.AssociateAddress(t.Context(), &awsec2.AssociateAddressInput{AllocationId: other.AllocationId, InstanceId: second.InstanceId}))(t)
	must(c.ReleaseAddress(t.Context(), &awsec2.ReleaseAddressInput{AllocationId: other.AllocationId}))(t)
	if got := aws.ToString(describe(t, c, *second.InstanceId).PublicIpAddress); got == "" || got == *other.PublicIp {
		t.Errorf("PublicIpAddress after ReleaseAddress = %q, want another than %s", got, *other.PublicIp)
	}
	// The termination of its instance frees an address, which is never given to another.
	must(c.AssociateAddress(t.Context(), &awsec2.AssociateAddressInput{AllocationId: e.AllocationId, InstanceId: second.InstanceId}))(t)
	must(c.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{*inst.InstanceId, *second.InstanceId}}))(t)
	if left := srv.Leftovers(); len(left) != 1 || !strings.Contains(left[0], `elastic-ip `+*e.AllocationId) {
		t.Errorf("Leftovers = %q, want the elastic address", left)
	}
	must(c.ReleaseAddress(t.Context(), &awsec2.ReleaseAddressInput{AllocationId: e.AllocationId}))(t)
	if _, err := c.DescribeAddresses(t.Context(), &awsec2.DescribeAddressesInput{AllocationIds: []string{*e.AllocationId}}); code(err) != "InvalidAllocationID.NotFound" {
		t.Errorf("DescribeAddresses of a released address: %v", err)
	}
}

// With Listen, machines listen on their elastic addresses.
func TestElasticAddressListens(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs addresses in 127.0.0.0/8")
	}
	_, c := start(t, &ec2test.Options{Machines: newFakeMachines(), Listen: true, Port: 22023})
	openGroup(t, c)
	inst := run(t, c, *ubuntu(t, c).ImageId, nil)
	e := must(c.AllocateAddress(t.Context(), nil))(t)
	must(c.AssociateAddress(t.Context(), &awsec2.AssociateAddressInput{AllocationId: e.AllocationId, InstanceId: inst.InstanceId}))(t)
	var err error
	for range 1000 { // until the machine has booted and listens
		var conn net.Conn
		if conn, err = new(net.Dialer).DialContext(t.Context(), "tcp", *e.PublicIp+":22023"); err == nil {
			_ = conn.Close()
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("dial of the elastic address: %v", err)
}

func TestNatGateway(t *testing.T) {
	srv, c := start(t, nil)
	net := must(c.DescribeSubnets(t.Context(), nil))(t).Subnets[0]
	e := must(c.AllocateAddress(t.Context(), nil))(t)
	in := &awsec2.CreateNatGatewayInput{SubnetId: net.SubnetId, AllocationId: e.AllocationId, ClientToken: aws.String("one")}
	g := must(c.CreateNatGateway(t.Context(), in))(t).NatGateway
	if again := must(c.CreateNatGateway(t.Context(), in))(t).NatGateway; *again.NatGatewayId != *g.NatGatewayId {
		t.Errorf("repeated CreateNatGateway = %s, want %s", *again.NatGatewayId, *g.NatGatewayId)
	}
	if g.State != "pending" || *g.NatGatewayAddresses[0].PublicIp != *e.PublicIp {
		t.Errorf("CreateNatGateway = %s, %v, want pending with the address", g.State, g.NatGatewayAddresses)
	}
	table := must(c.CreateRouteTable(t.Context(), &awsec2.CreateRouteTableInput{VpcId: net.VpcId}))(t).RouteTable.RouteTableId
	must(c.CreateRoute(t.Context(), &awsec2.CreateRouteInput{RouteTableId: table, DestinationCidrBlock: aws.String("0.0.0.0/0"), NatGatewayId: g.NatGatewayId}))(t)
	state := func() ec2types.RouteState {
		routes := must(c.DescribeRouteTables(t.Context(), &awsec2.DescribeRouteTablesInput{RouteTableIds: []string{*table}}))(t).RouteTables[0].Routes
		last := routes[len(routes)-1]
		if aws.ToString(last.NatGatewayId) != *g.NatGatewayId {
			t.Errorf("last route = %+v, want one to the NAT gateway", last)
		}
		return last.State
	}
	if got := state(); got != "active" {
		t.Errorf("route to the NAT gateway is %s, want active", got)
	}
	if _, err := c.ReleaseAddress(t.Context(), &awsec2.ReleaseAddressInput{AllocationId: e.AllocationId}); code(err) != "InvalidIPAddress.InUse" {
		t.Errorf("ReleaseAddress of a NAT gateway's address: %v", err)
	}
	must(c.DeleteNatGateway(t.Context(), &awsec2.DeleteNatGatewayInput{NatGatewayId: g.NatGatewayId}))(t)
	if got := state(); got != "blackhole" {
		t.Errorf("route to the deleted NAT gateway is %s, want blackhole", got)
	}
	deleted := must(c.DescribeNatGateways(t.Context(), &awsec2.DescribeNatGatewaysInput{Filter: []ec2types.Filter{filter("vpc-id", *net.VpcId)}}))(t)
	if len(deleted.NatGateways) != 1 || deleted.NatGateways[0].State != "deleted" {
		t.Errorf("DescribeNatGateways = %+v, want the deleted one", deleted.NatGateways)
	}
	must(c.ReleaseAddress(t.Context(), &awsec2.ReleaseAddressInput{AllocationId: e.AllocationId}))(t)
	if left := srv.Leftovers(); len(left) != 1 {
		t.Errorf("Leftovers = %q, want the route table", left)
	}
}

func TestModifyVolume(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	machines := newFakeMachines()
	srv, c := start(t, &ec2test.Options{Clock: clock, Machines: machines, Latency: ec2test.Latency{Optimized: time.Minute}})
	inst := run(t, c, *ubuntu(t, c).ImageId, nil)
	id := describe(t, c, *inst.InstanceId).BlockDeviceMappings[0].Ebs.VolumeId
	modify := func(in awsec2.ModifyVolumeInput) (*ec2types.VolumeModification, error) {
		in.VolumeId = id
		out, err := c.ModifyVolume(t.Context(), &in)
		if err != nil {
			return nil, err
		}
		return out.VolumeModification, nil
	}
	if _, err := c.DescribeVolumesModifications(t.Context(), &awsec2.DescribeVolumesModificationsInput{VolumeIds: []string{*id}}); code(err) != "InvalidVolumeModification.NotFound" {
		t.Errorf("DescribeVolumesModifications before any: %v", err)
	}
	m := must(modify(awsec2.ModifyVolumeInput{Size: aws.Int32(20), Iops: aws.Int32(4000)}))(t)
	if m.ModificationState != "modifying" || *m.OriginalSize != 8 || *m.TargetSize != 20 || *m.TargetIops != 4000 || *m.TargetThroughput != 125 {
		t.Errorf("ModifyVolume = %+v", m)
	}
	if got := must(srv.ReadFile(*id, "/size"))(t); string(got) != "20" {
		t.Errorf("the disk was grown to %s, want 20", got)
	}
	if _, err := modify(awsec2.ModifyVolumeInput{Size: aws.Int32(30)}); code(err) != "IncorrectModificationState" {
		t.Errorf("ModifyVolume while optimizing: %v", err)
	}
	clock.Advance(30 * time.Second)
	shown := must(c.DescribeVolumesModifications(t.Context(), nil))(t).VolumesModifications
	if len(shown) != 1 || shown[0].ModificationState != "optimizing" || *shown[0].Progress != 50 {
		t.Errorf("DescribeVolumesModifications = %+v, want half done", shown)
	}
	for _, test := range []struct {
		in   awsec2.ModifyVolumeInput
		want string
	}{
		{awsec2.ModifyVolumeInput{Size: aws.Int32(19)}, "InvalidParameterValue"},
		{awsec2.ModifyVolumeInput{}, "InvalidParameterCombination"},
		{awsec2.ModifyVolumeInput{VolumeType: "io2"}, "InvalidParameterCombination"},
		{awsec2.ModifyVolumeInput{VolumeType: "gp2", Throughput: aws.Int32(125)}, "InvalidParameterCombination"},
		{awsec2.ModifyVolumeInput{VolumeType: "gp4"}, "InvalidParameterValue"},
		{awsec2.ModifyVolumeInput{Size: aws.Int32(20)}, "InvalidParameterValue"},
	} {
		if _, err := modify(test.in); code(err) != test.want {
			t.Errorf("ModifyVolume(%+v): %v, want %s", test.in, err, test.want)
		}
	}
	for size := range int32(3) {
		clock.Advance(time.Minute)
		must(modify(awsec2.ModifyVolumeInput{Size: aws.Int32(21 + size)}))(t)
	}
	clock.Advance(time.Minute)
	if _, err := modify(awsec2.ModifyVolumeInput{Size: aws.Int32(40)}); code(err) != "VolumeModificationRateExceeded" {
		t.Errorf("fifth ModifyVolume of a day: %v", err)
	}
	clock.Advance(24 * time.Hour)
	must(modify(awsec2.ModifyVolumeInput{VolumeType: "gp2"}))(t)
	vol := must(c.DescribeVolumes(t.Context(), &awsec2.DescribeVolumesInput{VolumeIds: []string{*id}}))(t).Volumes[0]
	if vol.VolumeType != "gp2" || *vol.Size != 23 || *vol.Iops != 100 || vol.Throughput != nil {
		t.Errorf("DescribeVolumes = %s, %d GiB, %d IOPS, want gp2 of 23 GiB", vol.VolumeType, *vol.Size, *vol.Iops)
	}
}
