package ec2test

// networkActions returns EC2's calls for networks.
func networkActions(k *catalog) []action {
	return []action{
		handle("DescribeVpcs", (*call).describeVpcs, k.vpcs.names(true)...),
		handle("CreateVpc", (*call).createVpc),
		handle("CreateDefaultVpc", (*call).createDefaultVpc),
		handle("DeleteVpc", (*call).deleteVpc),
		handle("DescribeVpcAttribute", (*call).describeVpcAttribute),
		handle("ModifyVpcAttribute", (*call).modifyVpcAttribute),
		handle("AssociateVpcCidrBlock", (*call).associateBlock),
		handle("DisassociateVpcCidrBlock", (*call).disassociateBlock),

		handle("DescribeSubnets", (*call).describeSubnets, k.subnets.names(true)...),
		handle("CreateSubnet", (*call).createSubnet),
		handle("CreateDefaultSubnet", (*call).createDefaultSubnet),
		handle("DeleteSubnet", (*call).deleteSubnet),
		handle("ModifySubnetAttribute", (*call).modifySubnetAttribute),

		handle("DescribeInternetGateways", (*call).describeGateways, k.gateways.names(true)...),
		handle("CreateInternetGateway", (*call).createGateway),
		handle("AttachInternetGateway", (*call).attachGateway),
		handle("DetachInternetGateway", (*call).detachGateway),
		handle("DeleteInternetGateway", (*call).deleteGateway),

		handle("AllocateAddress", (*call).allocateAddress),
		handle("ReleaseAddress", (*call).releaseAddress),
		handle("AssociateAddress", (*call).associateAddress),
		handle("DisassociateAddress", (*call).disassociateAddress),
		handle("DescribeAddresses", (*call).describeAddresses, k.addresses.names(true)...),

		handle("CreateNatGateway", (*call).createNat),
		handle("DeleteNatGateway", (*call).deleteNat),
		handle("DescribeNatGateways", (*call).describeNats, k.nats.names(true)...),

		handle("DescribeRouteTables", (*call).describeRouteTables, k.routeTables.names(true)...),
		handle("CreateRouteTable", (*call).createRouteTable),
		handle("DeleteRouteTable", (*call).deleteRouteTable),
		handle("AssociateRouteTable", (*call).associateRouteTable),
		handle("DisassociateRouteTable", (*call).disassociateRouteTable),
		handle("ReplaceRouteTableAssociation", (*call).replaceAssociation),
		handle("CreateRoute", (*call).createRoute),
		handle("ReplaceRoute", (*call).replaceRoute),
		handle("DeleteRoute", (*call).deleteRoute),

		handle("DescribeSecurityGroups", (*call).describeGroups, k.groups.names(true)...),
		handle("CreateSecurityGroup", (*call).createGroup),
		handle("DeleteSecurityGroup", (*call).deleteGroup),
		handle("AuthorizeSecurityGroupIngress", (*call).authorizeIngress),
		handle("AuthorizeSecurityGroupEgress", (*call).authorizeEgress),
		handle("RevokeSecurityGroupIngress", (*call).revokeIngress),
		handle("RevokeSecurityGroupEgress", (*call).revokeEgress),
		handle("ModifySecurityGroupRules", (*call).modifyRules),
		handle("UpdateSecurityGroupRuleDescriptionsIngress", (*call).updateIngressText),
		handle("UpdateSecurityGroupRuleDescriptionsEgress", (*call).updateEgressText),
		handle("DescribeSecurityGroupRules", (*call).describeRules, k.rules.names(true)...),
		handle("DescribeNetworkInterfaces", (*call).describeInterfaces, k.interfaces.names(true)...),
		handle("DeleteNetworkInterface", (*call).deleteInterface),
	}
}
