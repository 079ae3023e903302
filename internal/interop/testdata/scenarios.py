"""Runs the same boto3 calls on two endpoints and prints what each answered.

The arguments are the endpoints. The output is a JSON list of objects with a
scenario's name and the two answers. An answer is what the scenario returns,
with the ids replaced by their kinds, or the code of the error that ended it.
"""
import base64
import hashlib
import json
import re
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

SCENARIOS = []


def scenario(f):
    SCENARIOS.append(f)
    return f


class Cloud:
    """Clients of one endpoint, and what most scenarios need."""

    def __init__(self, endpoint):
        config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
        for service in ("ec2", "ebs", "ssm", "iam", "autoscaling", "sts"):
            setattr(self, service, boto3.client(
                service, endpoint_url=endpoint, region_name="us-east-1", config=config,
                aws_access_key_id="test", aws_secret_access_key="test"))
        self.n = 0

    def name(self):
        self.n += 1
        return f"name{self.n}"

    def image(self):
        images = self.ec2.describe_images(Owners=["099720109477"])["Images"]
        return min(i["ImageId"] for i in images if i["Architecture"] == "x86_64")

    def vpc(self, cidr="10.0.0.0/16"):
        return self.ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]

    def subnet(self, vpc, cidr="10.0.1.0/24"):
        return self.ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, AvailabilityZone="us-east-1a")["Subnet"]["SubnetId"]

    def gateway(self, vpc=None):
        gate = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        if vpc:
            self.ec2.attach_internet_gateway(InternetGatewayId=gate, VpcId=vpc)
        return gate

    def table(self, vpc):
        return self.ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]

    def group(self, vpc=None):
        more = {"VpcId": vpc} if vpc else {}
        return self.ec2.create_security_group(GroupName=self.name(), Description="text", **more)["GroupId"]

    def volume(self, zone="us-east-1a", **more):
        return self.ec2.create_volume(AvailabilityZone=zone, **({"Size": 8} | more))["VolumeId"]

    def instance(self, **more):
        args = {"ImageId": self.image(), "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1,
                "Placement": {"AvailabilityZone": "us-east-1a"}} | more
        return self.ec2.run_instances(**args)["Instances"][0]["InstanceId"]

    def profile(self):
        name = self.name()
        self.iam.create_role(RoleName=name, AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[]}')
        self.iam.create_instance_profile(InstanceProfileName=name)
        self.iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        return name

    def parameter(self, name=None, **more):
        name = name or "/" + self.name()
        self.ssm.put_parameter(**({"Name": name, "Value": "v", "Type": "String"} | more))
        return name


def code(f, *args, **more):
    """Returns the code of the error that a call ends with, or None."""
    try:
        f(*args, **more)
    except ClientError as err:
        return err.response["Error"]["Code"]
    except ResponseParserError:
        return "broken"
    return None


def pick(value, *names):
    return {name: value.get(name) for name in names}


def by(**filters):
    return [{"Name": k.replace("_", "-"), "Values": v if isinstance(v, list) else [v]} for k, v in filters.items()]


def tags(resource):
    return [{"ResourceType": resource, "Tags": [{"Key": "k", "Value": "v"}]}]


NOWHERE = "0123456789abcdef0"

# A row is a call of a client with arguments, which fails.
FAILING = [
    ("ec2", "describe_vpcs", {"VpcIds": ["vpc-" + NOWHERE]}),
    ("ec2", "describe_subnets", {"SubnetIds": ["subnet-" + NOWHERE]}),
    ("ec2", "describe_internet_gateways", {"InternetGatewayIds": ["igw-" + NOWHERE]}),
    ("ec2", "describe_route_tables", {"RouteTableIds": ["rtb-" + NOWHERE]}),
    ("ec2", "describe_volumes", {"VolumeIds": ["vol-" + NOWHERE]}),
    ("ec2", "describe_snapshots", {"SnapshotIds": ["snap-" + NOWHERE]}),
    ("ec2", "describe_instances", {"InstanceIds": ["i-" + NOWHERE]}),
    ("ec2", "describe_images", {"ImageIds": ["ami-" + NOWHERE]}),
    ("ec2", "describe_security_groups", {"GroupIds": ["sg-" + NOWHERE]}),
    ("ec2", "describe_addresses", {"AllocationIds": ["eipalloc-" + NOWHERE]}),
    ("ec2", "release_address", {"AllocationId": "eipalloc-" + NOWHERE}),
    ("ec2", "disassociate_address", {"AssociationId": "eipassoc-" + NOWHERE}),
    ("ec2", "modify_volume", {"VolumeId": "vol-" + NOWHERE, "Size": 9}),
    ("ec2", "delete_nat_gateway", {"NatGatewayId": "nat-" + NOWHERE}),
    ("ec2", "describe_key_pairs", {"KeyNames": ["none"]}),
    ("ec2", "describe_network_interfaces", {"NetworkInterfaceIds": ["eni-" + NOWHERE]}),
    ("ec2", "describe_launch_templates", {"LaunchTemplateIds": ["lt-" + NOWHERE]}),
    ("ec2", "describe_vpc_attribute", {"VpcId": "vpc-" + NOWHERE, "Attribute": "enableDnsSupport"}),
    ("ec2", "delete_vpc", {"VpcId": "vpc-" + NOWHERE}),
    ("ec2", "delete_subnet", {"SubnetId": "subnet-" + NOWHERE}),
    ("ec2", "delete_internet_gateway", {"InternetGatewayId": "igw-" + NOWHERE}),
    ("ec2", "delete_route_table", {"RouteTableId": "rtb-" + NOWHERE}),
    ("ec2", "delete_volume", {"VolumeId": "vol-" + NOWHERE}),
    ("ec2", "delete_snapshot", {"SnapshotId": "snap-" + NOWHERE}),
    ("ec2", "delete_security_group", {"GroupId": "sg-" + NOWHERE}),
    ("ec2", "create_subnet", {"VpcId": "vpc-" + NOWHERE, "CidrBlock": "10.0.0.0/24"}),
    ("ec2", "create_route_table", {"VpcId": "vpc-" + NOWHERE}),
    ("ec2", "create_vpc", {"CidrBlock": "10.0.0.0/8"}),
    ("ec2", "create_vpc", {"CidrBlock": "10.0.0.0/29"}),
    ("ec2", "create_vpc", {"CidrBlock": "1000.1.0.0/20"}),
    ("ec2", "create_vpc", {"CidrBlock": "10.0.0.0/16", "DryRun": True}),
    ("ec2", "create_internet_gateway", {"DryRun": True}),
    ("ec2", "create_security_group", {"GroupName": "d", "Description": "d", "DryRun": True}),
    ("ec2", "create_volume", {"AvailabilityZone": "us-east-1a", "Size": 1, "DryRun": True}),
    ("ec2", "attach_volume", {"VolumeId": "vol-" + NOWHERE, "InstanceId": "i-" + NOWHERE, "Device": "/dev/sdf"}),
    ("ec2", "detach_volume", {"VolumeId": "vol-" + NOWHERE}),
    ("ec2", "terminate_instances", {"InstanceIds": ["i-" + NOWHERE]}),
    ("ec2", "disassociate_route_table", {"AssociationId": "rtbassoc-" + NOWHERE}),
    ("ec2", "disassociate_iam_instance_profile", {"AssociationId": "iip-assoc-" + NOWHERE}),
    ("ec2", "run_instances", {"ImageId": "ami-" + NOWHERE, "MinCount": 1, "MaxCount": 1}),
    ("ec2", "create_tags", {"Resources": ["vpc-" + NOWHERE], "Tags": [{"Key": "a", "Value": "b"}]}),
    ("ec2", "get_launch_template_data", {"InstanceId": "i-" + NOWHERE}),
    ("ec2", "describe_fleet_instances", {"FleetId": "fleet-" + NOWHERE}),
    ("ssm", "get_parameter", {"Name": "none"}),
    ("ssm", "delete_parameter", {"Name": "none"}),
    ("ssm", "get_parameter_history", {"Name": "none"}),
    ("ssm", "label_parameter_version", {"Name": "none", "Labels": ["a"]}),
    ("ssm", "put_parameter", {"Name": "a", "Value": "x"}),
    ("ssm", "put_parameter", {"Name": "a", "Value": "", "Type": "String"}),
    ("ssm", "put_parameter", {"Name": "a", "Value": "x", "Type": "Number"}),
    ("ssm", "put_parameter", {"Name": "a", "Value": "x", "Type": "String", "DataType": "number"}),
    ("ssm", "put_parameter", {"Name": "aws", "Value": "x", "Type": "String"}),
    ("ssm", "put_parameter", {"Name": "/aws/a", "Value": "x", "Type": "String"}),
    ("ssm", "put_parameter", {"Name": "ssm_a", "Value": "x", "Type": "String"}),
    ("ssm", "put_parameter", {"Name": "/ssm/a", "Value": "x", "Type": "String"}),
    ("ssm", "put_parameter", {"Name": "a", "Value": "x" * 5000, "Type": "String"}),
    ("ssm", "put_parameter", {"Name": "a", "Value": "x", "Type": "String", "Overwrite": True, "Tags": [{"Key": "a", "Value": "b"}]}),
    ("ssm", "get_parameters", {"Names": [str(n) for n in range(11)]}),
    ("ssm", "describe_parameters", {"ParameterFilters": [{"Key": "Label", "Values": ["a"]}]}),
    ("ssm", "describe_parameters", {"ParameterFilters": [{"Key": "Name"}]}),
    ("ssm", "describe_parameters", {"ParameterFilters": [{"Key": "Color", "Values": ["a"]}]}),
    ("ssm", "describe_parameters", {"ParameterFilters": [{"Key": "Path", "Option": "Equals", "Values": ["/a"]}]}),
    ("ssm", "describe_parameters", {"ParameterFilters": [{"Key": "Path", "Values": ["a"]}]}),
    ("ssm", "describe_parameters", {"ParameterFilters": [{"Key": "Path", "Values": ["/aws"]}]}),
    ("ssm", "describe_parameters", {"ParameterFilters": [{"Key": "Type", "Values": ["Number"]}]}),
    ("ssm", "describe_parameters", {"ParameterFilters": [{"Key": "Name", "Values": ["a"]}, {"Key": "Name", "Values": ["b"]}]}),
    ("ssm", "get_parameters_by_path", {"Path": "/a", "ParameterFilters": [{"Key": "Name", "Values": ["a"]}]}),
    ("ssm", "list_tags_for_resource", {"ResourceType": "Parameter", "ResourceId": "none"}),
    ("ssm", "list_tags_for_resource", {"ResourceType": "Planet", "ResourceId": "none"}),
    ("iam", "get_instance_profile", {"InstanceProfileName": "none"}),
    ("iam", "delete_role", {"RoleName": "none"}),
]


@scenario
def vpc_created(c):
    return pick(c.ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=tags("vpc"))["Vpc"],
                "CidrBlock", "State", "IsDefault", "InstanceTenancy", "Tags")


@scenario
def vpc_without_host_bits(c):
    return c.ec2.create_vpc(CidrBlock="10.7.8.9/16")["Vpc"]["CidrBlock"]


@scenario
def vpc_dedicated(c):
    vpc = c.ec2.create_vpc(CidrBlock="10.0.0.0/16", InstanceTenancy="dedicated")["Vpc"]["VpcId"]
    return c.ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["InstanceTenancy"]


@scenario
def vpc_attributes(c):
    vpc = c.vpc()
    c.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    return [c.ec2.describe_vpc_attribute(VpcId=vpc, Attribute=a)[a[0].upper() + a[1:]] for a in ("enableDnsSupport", "enableDnsHostnames")]


@scenario
def vpc_filters(c):
    vpc = c.vpc("10.99.0.0/16")
    return [len(c.ec2.describe_vpcs(Filters=f)["Vpcs"]) for f in (
        by(cidr="10.99.0.0/16"), by(vpc_id=vpc), by(vpc_id=vpc, state="available"), by(vpc_id=vpc, isDefault="true"),
        by(is_default="true"), by(vpc_id=vpc, dhcp_options_id="x"))]


@scenario
def vpc_second_block(c):
    vpc = c.vpc()
    made = c.ec2.associate_vpc_cidr_block(VpcId=vpc, CidrBlock="10.1.0.0/16")["CidrBlockAssociation"]
    c.ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.3.0/24")
    blocks = c.ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["CidrBlockAssociationSet"]
    return [made["CidrBlock"], made["CidrBlockState"]["State"], sorted(b["CidrBlock"] for b in blocks)]


@scenario
def vpc_primary_block_stays(c):
    vpc = c.vpc()
    block = c.ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["CidrBlockAssociationSet"][0]["AssociationId"]
    return code(c.ec2.disassociate_vpc_cidr_block, AssociationId=block)


@scenario
def vpc_has_group_and_table(c):
    f = by(vpc_id=c.vpc())
    groups = c.ec2.describe_security_groups(Filters=f)["SecurityGroups"]
    tables = c.ec2.describe_route_tables(Filters=f)["RouteTables"]
    return [[g["GroupName"] for g in groups], [[a["Main"] for a in t["Associations"]] for t in tables],
            [[pick(r, "DestinationCidrBlock", "GatewayId", "State", "Origin") for r in t["Routes"]] for t in tables]]


@scenario
def vpc_deleted(c):
    vpc = c.vpc()
    c.ec2.delete_vpc(VpcId=vpc)
    return code(c.ec2.describe_vpcs, VpcIds=[vpc])


@scenario
def vpc_with_gateway_stays(c):
    vpc = c.vpc()
    c.gateway(vpc)
    return code(c.ec2.delete_vpc, VpcId=vpc)


@scenario
def default_vpc_twice(c):
    return code(c.ec2.create_default_vpc)


@scenario
def subnet_created(c):
    s = c.ec2.create_subnet(VpcId=c.vpc(), CidrBlock="10.0.3.0/26", AvailabilityZone="us-east-1b", TagSpecifications=tags("subnet"))["Subnet"]
    return pick(s, "CidrBlock", "AvailabilityZone", "AvailableIpAddressCount", "DefaultForAz", "MapPublicIpOnLaunch", "State", "Tags")


@scenario
def subnet_public(c):
    s = c.subnet(c.vpc())
    c.ec2.modify_subnet_attribute(SubnetId=s, MapPublicIpOnLaunch={"Value": True})
    return c.ec2.describe_subnets(SubnetIds=[s])["Subnets"][0]["MapPublicIpOnLaunch"]


@scenario
def subnet_conflicts(c):
    vpc = c.vpc()
    c.subnet(vpc, "10.0.1.0/24")
    return [code(c.ec2.create_subnet, VpcId=vpc, CidrBlock=cidr) for cidr in
            ("10.0.1.0/24", "10.0.1.128/25", "10.0.0.0/16", "10.1.0.0/24", "10.0.2.0/29", "10.0.0.0/8", "10.0.2.0")]


@scenario
def subnet_unknown_zone(c):
    return code(c.ec2.create_subnet, VpcId=c.vpc(), CidrBlock="10.0.1.0/24", AvailabilityZone="mars-1a")


@scenario
def subnet_filters(c):
    vpc = c.vpc()
    c.subnet(vpc, "10.0.1.0/24"), c.subnet(vpc, "10.0.2.0/24")
    return [len(c.ec2.describe_subnets(Filters=by(vpc_id=vpc) + f)["Subnets"]) for f in (
        [], by(cidr_block="10.0.1.0/24"), by(availability_zone="us-east-1a"), by(default_for_az="true"), by(state="available"))]


@scenario
def subnet_addresses(c):
    s = c.subnet(c.vpc(), "10.0.1.0/28")
    i = c.instance(SubnetId=s, Placement={})
    c.ec2.terminate_instances(InstanceIds=[i])
    return c.ec2.describe_subnets(SubnetIds=[s])["Subnets"][0]["AvailableIpAddressCount"]


@scenario
def gateway_life(c):
    vpc = c.vpc()
    gate = c.gateway()
    states = [c.ec2.describe_internet_gateways(InternetGatewayIds=[gate])["InternetGateways"][0]["Attachments"]]
    c.ec2.attach_internet_gateway(InternetGatewayId=gate, VpcId=vpc)
    states.append([a["State"] for a in c.ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc]}])["InternetGateways"][0]["Attachments"]])
    states.append(code(c.ec2.delete_internet_gateway, InternetGatewayId=gate))
    states.append(code(c.ec2.attach_internet_gateway, InternetGatewayId=gate, VpcId=c.vpc()))
    c.ec2.detach_internet_gateway(InternetGatewayId=gate, VpcId=vpc)
    states.append(code(c.ec2.detach_internet_gateway, InternetGatewayId=gate, VpcId=vpc))
    c.ec2.delete_internet_gateway(InternetGatewayId=gate)
    states.append(code(c.ec2.describe_internet_gateways, InternetGatewayIds=[gate]))
    return states


@scenario
def route_life(c):
    vpc = c.vpc()
    gate, table = c.gateway(vpc), c.table(vpc)
    route = {"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0"}
    out = [code(c.ec2.delete_route, **route), c.ec2.create_route(GatewayId=gate, **route)["Return"]]
    out.append(code(c.ec2.create_route, GatewayId=gate, **route))
    routes = c.ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
    out.append([pick(r, "DestinationCidrBlock", "State", "Origin") for r in routes])
    c.ec2.delete_route(**route)
    out.append(len(c.ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]))
    return out


@scenario
def route_invalid_block(c):
    vpc = c.vpc()
    return code(c.ec2.create_route, RouteTableId=c.table(vpc), DestinationCidrBlock="x", GatewayId=c.gateway(vpc))


@scenario
def route_unknown_gateway(c):
    return code(c.ec2.create_route, RouteTableId=c.table(c.vpc()), DestinationCidrBlock="0.0.0.0/0", GatewayId="igw-" + NOWHERE)


@scenario
def route_to_interface(c):
    vpc = c.vpc()
    i = c.instance(SubnetId=c.subnet(vpc), Placement={})
    nic = c.ec2.describe_instances(InstanceIds=[i])["Reservations"][0]["Instances"][0]["NetworkInterfaces"][0]["NetworkInterfaceId"]
    table = c.table(vpc)
    c.ec2.create_route(RouteTableId=table, DestinationCidrBlock="8.0.0.0/8", NetworkInterfaceId=nic)
    return [pick(r, "DestinationCidrBlock", "NetworkInterfaceId", "State") for r in c.ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]]


@scenario
def table_association(c):
    vpc = c.vpc()
    table, subnet = c.table(vpc), c.subnet(vpc)
    made = c.ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"]
    out = [c.ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"] == made]
    out.append(code(c.ec2.delete_route_table, RouteTableId=table))
    other = c.table(vpc)
    again = c.ec2.replace_route_table_association(AssociationId=made, RouteTableId=other)["NewAssociationId"]
    found = c.ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": [subnet]}])["RouteTables"]
    out.append([t["RouteTableId"] == other for t in found])
    c.ec2.disassociate_route_table(AssociationId=again)
    c.ec2.delete_route_table(RouteTableId=other)
    return out + [code(c.ec2.disassociate_route_table, AssociationId=again)]


@scenario
def table_main_replaced(c):
    vpc = c.vpc()
    main = c.ec2.describe_route_tables(Filters=by(vpc_id=vpc))["RouteTables"][0]
    table = c.table(vpc)
    c.ec2.replace_route_table_association(AssociationId=main["Associations"][0]["RouteTableAssociationId"], RouteTableId=table)
    found = c.ec2.describe_route_tables(Filters=by(vpc_id=vpc) + [{"Name": "association.main", "Values": ["true"]}])["RouteTables"]
    return [t["RouteTableId"] == table for t in found]


@scenario
def tags_of_network(c):
    vpc = c.vpc()
    ids = [vpc, c.subnet(vpc), c.gateway(), c.table(vpc)]
    c.ec2.create_tags(Resources=ids, Tags=[{"Key": "k", "Value": "v"}])
    found = c.ec2.describe_tags(Filters=by(resource_id=ids))["Tags"]
    return sorted([t["ResourceType"], t["Key"], t["Value"]] for t in found)


@scenario
def volume_created(c):
    v = c.ec2.create_volume(AvailabilityZone="us-east-1a", Size=8, VolumeType="gp3", Iops=4000, Throughput=200, TagSpecifications=tags("volume"))
    return pick(v, "Size", "VolumeType", "State", "Iops", "Throughput", "Encrypted", "Tags", "AvailabilityZone")


@scenario
def volume_attached(c):
    i, v = c.instance(), c.volume()
    made = pick(c.ec2.attach_volume(VolumeId=v, InstanceId=i, Device="/dev/sdh"), "State", "Device", "InstanceId", "VolumeId")
    now = c.ec2.describe_volumes(VolumeIds=[v])["Volumes"][0]
    out = [made, now["State"], [pick(a, "State", "Device", "DeleteOnTermination") for a in now["Attachments"]]]
    out.append(code(c.ec2.delete_volume, VolumeId=v))
    out.append(code(c.ec2.attach_volume, VolumeId=v, InstanceId=i, Device="/dev/sdi"))
    out.append(c.ec2.detach_volume(VolumeId=v, InstanceId=i, Device="/dev/sdh")["State"])
    out.append(c.ec2.describe_volumes(VolumeIds=[v])["Volumes"][0]["State"])
    out.append(code(c.ec2.detach_volume, VolumeId=v))
    return out


@scenario
def volume_in_another_zone(c):
    return code(c.ec2.attach_volume, VolumeId=c.volume("us-east-1b"), InstanceId=c.instance(), Device="/dev/sdh")


@scenario
def volume_of_another_instance(c):
    first, second, v = c.instance(), c.instance(), c.volume()
    c.ec2.attach_volume(VolumeId=v, InstanceId=first, Device="/dev/sdh")
    return code(c.ec2.detach_volume, VolumeId=v, InstanceId=second)


@scenario
def volume_outlives_instance(c):
    i, v = c.instance(), c.volume()
    c.ec2.attach_volume(VolumeId=v, InstanceId=i, Device="/dev/sdh")
    c.ec2.terminate_instances(InstanceIds=[i])
    return c.ec2.describe_volumes(VolumeIds=[v])["Volumes"][0]["State"]


@scenario
def volume_filters(c):
    i, v = c.instance(), c.volume(Size=11)
    c.ec2.attach_volume(VolumeId=v, InstanceId=i, Device="/dev/sdh")
    names = {"attachment.device": "/dev/sdh", "attachment.instance-id": i, "attachment.status": "attached", "size": "11", "status": "in-use"}
    return [len(c.ec2.describe_volumes(Filters=by(volume_id=v) + [{"Name": k, "Values": [x]}])["Volumes"]) for k, x in names.items()]


@scenario
def volume_snapshot(c):
    s = c.ec2.create_snapshot(VolumeId=c.volume(), Description="text", TagSpecifications=tags("snapshot"))
    return pick(c.ec2.describe_snapshots(SnapshotIds=[s["SnapshotId"]])["Snapshots"][0], "State", "Progress", "VolumeSize", "Description", "Encrypted", "Tags")


@scenario
def volume_of_snapshot(c):
    s = c.ec2.create_snapshot(VolumeId=c.volume())["SnapshotId"]
    v = c.volume(SnapshotId=s)
    return [c.ec2.describe_volumes(VolumeIds=[v])["Volumes"][0]["SnapshotId"] == s]


@scenario
def profile_association(c):
    i, name = c.instance(), c.profile()
    made = c.ec2.associate_iam_instance_profile(InstanceId=i, IamInstanceProfile={"Name": name})["IamInstanceProfileAssociation"]
    out = [made["State"], code(c.ec2.associate_iam_instance_profile, InstanceId=i, IamInstanceProfile={"Name": name})]
    found = c.ec2.describe_iam_instance_profile_associations(Filters=by(instance_id=i))["IamInstanceProfileAssociations"]
    out.append([a["State"] for a in found])
    out.append(c.ec2.replace_iam_instance_profile_association(AssociationId=made["AssociationId"], IamInstanceProfile={"Name": c.profile()})["IamInstanceProfileAssociation"]["State"])
    now = c.ec2.describe_iam_instance_profile_associations(Filters=by(instance_id=i))["IamInstanceProfileAssociations"][0]["AssociationId"]
    out.append(c.ec2.disassociate_iam_instance_profile(AssociationId=now)["IamInstanceProfileAssociation"]["State"])
    return out + [len(c.ec2.describe_iam_instance_profile_associations(Filters=by(instance_id=i))["IamInstanceProfileAssociations"])]


@scenario
def template_of_instance(c):
    data = c.ec2.get_launch_template_data(InstanceId=c.instance())["LaunchTemplateData"]
    return pick(data, "InstanceType", "EbsOptimized", "Monitoring", "DisableApiTermination")


@scenario
def group_rules(c):
    g = c.group()
    rule = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "web"}]}]
    made = c.ec2.authorize_security_group_ingress(GroupId=g, IpPermissions=rule)["SecurityGroupRules"]
    out = [[pick(r, "IpProtocol", "FromPort", "ToPort", "CidrIpv4", "IsEgress", "Description") for r in made]]
    out.append(code(c.ec2.authorize_security_group_ingress, GroupId=g, IpPermissions=rule))
    c.ec2.modify_security_group_rules(GroupId=g, SecurityGroupRules=[{
        "SecurityGroupRuleId": made[0]["SecurityGroupRuleId"],
        "SecurityGroupRule": {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIpv4": "10.0.0.0/8", "Description": "tls"}}])
    found = c.ec2.describe_security_group_rules(Filters=by(group_id=g))["SecurityGroupRules"]
    out.append(sorted(str(pick(r, "IpProtocol", "FromPort", "CidrIpv4", "IsEgress", "Description")) for r in found))
    return out


@scenario
def group_rule_text(c):
    g = c.group()
    rule = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80}
    c.ec2.authorize_security_group_ingress(GroupId=g, IpPermissions=[rule | {"IpRanges": [{"CidrIp": "10.0.0.0/8"}]}])
    c.ec2.update_security_group_rule_descriptions_ingress(GroupId=g, IpPermissions=[rule | {"IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "new"}]}])
    return c.ec2.describe_security_groups(GroupIds=[g])["SecurityGroups"][0]["IpPermissions"][0]["IpRanges"]


@scenario
def group_twice(c):
    name, vpc = c.name(), c.vpc()
    c.ec2.create_security_group(GroupName=name, Description="x", VpcId=vpc)
    return code(c.ec2.create_security_group, GroupName=name, Description="x", VpcId=vpc)


@scenario
def group_revoke_nothing(c):
    return code(c.ec2.revoke_security_group_ingress, GroupId=c.group(), IpPermissions=[{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}])


@scenario
def group_in_use(c):
    g = c.group()
    c.instance(SecurityGroupIds=[g])
    return code(c.ec2.delete_security_group, GroupId=g)


@scenario
def instance_states(c):
    i = c.instance()
    steps = [c.ec2.stop_instances(InstanceIds=[i])["StoppingInstances"], c.ec2.start_instances(InstanceIds=[i])["StartingInstances"],
             c.ec2.terminate_instances(InstanceIds=[i])["TerminatingInstances"]]
    return [[s[0]["CurrentState"]["Name"], s[0]["PreviousState"]["Name"]] for s in steps]


@scenario
def spot_request(c):
    made = c.ec2.request_spot_instances(LaunchSpecification={"ImageId": c.image(), "InstanceType": "t3.micro"}, InstanceCount=2)["SpotInstanceRequests"]
    found = c.ec2.describe_spot_instance_requests(SpotInstanceRequestIds=[r["SpotInstanceRequestId"] for r in made])["SpotInstanceRequests"]
    return [[r["State"], r["Status"]["Code"], bool(r.get("InstanceId"))] for r in found]


def template(c):
    name = c.name()
    c.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData={"ImageId": c.image(), "InstanceType": "t3.micro"})
    return {"LaunchTemplateSpecification": {"LaunchTemplateName": name, "Version": "$Latest"}}


@scenario
def fleet_instant(c):
    out = c.ec2.create_fleet(Type="instant", LaunchTemplateConfigs=[template(c)], TargetCapacitySpecification={
        "TotalTargetCapacity": 3, "OnDemandTargetCapacity": 1, "SpotTargetCapacity": 2, "DefaultTargetCapacityType": "spot"})
    return sorted([i["Lifecycle"], len(i["InstanceIds"])] for i in out["Instances"])


@scenario
def fleet_maintain(c):
    fleet = c.ec2.create_fleet(LaunchTemplateConfigs=[template(c)], TargetCapacitySpecification={
        "TotalTargetCapacity": 2, "OnDemandTargetCapacity": 1, "SpotTargetCapacity": 1, "DefaultTargetCapacityType": "spot"})["FleetId"]
    out = [len(c.ec2.describe_fleet_instances(FleetId=fleet)["ActiveInstances"])]
    out.append([pick(f, "FleetState", "Type") for f in c.ec2.describe_fleets(FleetIds=[fleet])["Fleets"]])
    done = c.ec2.delete_fleets(FleetIds=[fleet], TerminateInstances=True)["SuccessfulFleetDeletions"]
    return out + [[pick(d, "CurrentFleetState", "PreviousFleetState") for d in done]]


@scenario
def parameter_life(c):
    name = c.parameter(Description="text", Tags=[{"Key": "a", "Value": "b"}])
    c.ssm.put_parameter(Name=name, Value="w", Overwrite=True)
    out = [pick(c.ssm.get_parameter(Name=name)["Parameter"], "Value", "Version", "Type", "DataType")]
    out.append([pick(p, "Value", "Version", "Description", "Labels") for p in c.ssm.get_parameter_history(Name=name)["Parameters"]])
    found = c.ssm.describe_parameters(ParameterFilters=[{"Key": "Name", "Values": [name]}])["Parameters"]
    out.append([pick(p, "Description", "Version", "Tier", "Type") for p in found])
    out.append(c.ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=name)["TagList"])
    return out + [code(c.ssm.put_parameter, Name=name, Value="x", Type="String")]


@scenario
def parameter_selectors(c):
    name = c.parameter()
    c.ssm.put_parameter(Name=name, Value="w", Overwrite=True)
    c.ssm.label_parameter_version(Name=name, ParameterVersion=1, Labels=["old"])
    return [c.ssm.get_parameter(Name=name + s)["Parameter"]["Value"] for s in ("", ":1", ":2", ":old")] + [code(c.ssm.get_parameter, Name=name + ":9")]


@scenario
def parameter_labels(c):
    name = c.parameter()
    out = [c.ssm.label_parameter_version(Name=name, Labels=["a", "aws-b", "1c"])]
    out.append(code(c.ssm.label_parameter_version, Name=name, ParameterVersion=9, Labels=["a"]))
    out.append(code(c.ssm.label_parameter_version, Name=name, Labels=[f"l{n}" for n in range(11)]))
    out.append(c.ssm.unlabel_parameter_version(Name=name, ParameterVersion=1, Labels=["a", "none"]))
    return [pick(o, "InvalidLabels", "RemovedLabels", "ParameterVersion") if isinstance(o, dict) else o for o in out]


@scenario
def parameter_versions(c):
    name = c.parameter()
    c.ssm.label_parameter_version(Name=name, ParameterVersion=1, Labels=["old"])
    for _ in range(99):
        c.ssm.put_parameter(Name=name, Value="w", Overwrite=True)
    return code(c.ssm.put_parameter, Name=name, Value="w", Overwrite=True)


@scenario
def parameter_paths(c):
    for name in ("/tree/a", "/tree/b/c", "/tree/b/d"):
        c.parameter(name)
    names = lambda **more: sorted(p["Name"] for p in c.ssm.get_parameters_by_path(Path="/tree", **more)["Parameters"])
    filters = lambda f: sorted(p["Name"] for p in c.ssm.describe_parameters(ParameterFilters=[f])["Parameters"])
    return [names(), names(Recursive=True), filters({"Key": "Path", "Values": ["/tree"]}),
            filters({"Key": "Path", "Option": "Recursive", "Values": ["/tree"]}), filters({"Key": "Name", "Option": "BeginsWith", "Values": ["/tree/b"]}),
            filters({"Key": "Name", "Option": "Contains", "Values": ["tree/b"]})]


@scenario
def parameters_gone(c):
    name = c.parameter()
    return c.ssm.delete_parameters(Names=[name, "none"])["InvalidParameters"]


@scenario
def parameters_some(c):
    c.parameter("/some/a")
    out = c.ssm.get_parameters(Names=["/some/a", "/some/b"])
    return [[p["Name"] for p in out["Parameters"]], out["InvalidParameters"]]


@scenario
def parameter_tags(c):
    name = c.parameter()
    c.ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId=name, Tags=[{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "d"}])
    c.ssm.remove_tags_from_resource(ResourceType="Parameter", ResourceId=name, TagKeys=["a"])
    return c.ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=name)["TagList"]


@scenario
def parameter_tier(c):
    name = c.parameter(Value="x" * 5000, Tier="Advanced")
    return [p["Tier"] for p in c.ssm.describe_parameters(ParameterFilters=[{"Key": "Name", "Values": [name]}])["Parameters"]]


@scenario
def parameter_secret(c):
    name = c.parameter(Type="SecureString")
    return [c.ssm.get_parameter(Name=name)["Parameter"]["Value"] == "v", c.ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]]


BLOCK = 524288


def checksum(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def put(c, snapshot, index, fill, **more):
    """Writes a block of one letter to a snapshot."""
    data = fill * BLOCK
    return c.ebs.put_snapshot_block(**({
        "SnapshotId": snapshot, "BlockIndex": index, "BlockData": data, "DataLength": BLOCK,
        "Checksum": checksum(data), "ChecksumAlgorithm": "SHA256"} | more))


def disk(c, blocks, **more):
    """Uploads a snapshot with blocks of one letter."""
    snapshot = c.ebs.start_snapshot(VolumeSize=1, **more)["SnapshotId"]
    for index, fill in blocks.items():
        put(c, snapshot, index, fill)
    c.ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=len(blocks))
    return snapshot


def listed(c, snapshot):
    return {int(b["BlockIndex"]): b["BlockToken"] for b in c.ebs.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]}


@scenario
def disk_started(c):
    out = c.ebs.start_snapshot(VolumeSize=3, Description="text", Tags=[{"Key": "k", "Value": "v"}])
    return [pick(out, "SnapshotId", "OwnerId", "Status", "VolumeSize", "Description", "Tags"), "StartTime" in out]


@scenario
def disk_block_size(c):
    return c.ebs.start_snapshot(VolumeSize=3)["BlockSize"]


@scenario
def disk_tagged(c):
    snapshot = c.ebs.start_snapshot(VolumeSize=3, Description="text", Tags=[{"Key": "k", "Value": "v"}])["SnapshotId"]
    return pick(c.ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0], "VolumeSize", "Description", "Encrypted", "Tags")


@scenario
def disk_pending(c):
    snapshot = c.ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    return c.ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]["State"]


@scenario
def disk_written(c):
    snapshot = c.ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    return pick(put(c, snapshot, 5, b"a"), "Checksum", "ChecksumAlgorithm")


@scenario
def disk_completed(c):
    snapshot = c.ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    return c.ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=0)["Status"]


@scenario
def disk_listed(c):
    out = c.ebs.list_snapshot_blocks(SnapshotId=disk(c, {0: b"a", 1: b"b", 700: b"c"}))
    return [[int(b["BlockIndex"]) for b in out["Blocks"]], out["VolumeSize"]]


@scenario
def disk_read(c):
    snapshot = disk(c, {0: b"a", 7: b"b"})
    out = c.ebs.get_snapshot_block(SnapshotId=snapshot, BlockIndex=7, BlockToken=listed(c, snapshot)[7])
    return [out["BlockData"].read() == b"b" * BLOCK, out["Checksum"], out["ChecksumAlgorithm"], out["DataLength"]]


@scenario
def disk_overwritten(c):
    snapshot = c.ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    put(c, snapshot, 2, b"a")
    put(c, snapshot, 2, b"b")
    c.ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=1)
    out = c.ebs.get_snapshot_block(SnapshotId=snapshot, BlockIndex=2, BlockToken=listed(c, snapshot)[2])
    return [out["BlockData"].read()[:1].decode(), list(listed(c, snapshot))]


@scenario
def disk_changed(c):
    one = disk(c, {0: b"a", 1: b"b"})
    two = disk(c, {0: b"a", 1: b"c"}, ParentSnapshotId=one)
    out = c.ebs.list_changed_blocks(FirstSnapshotId=one, SecondSnapshotId=two)
    return [[int(b["BlockIndex"]), "FirstBlockToken" in b, "SecondBlockToken" in b] for b in out["ChangedBlocks"]]


@scenario
def disk_of_parent(c):
    one = disk(c, {0: b"a", 1: b"b"})
    return list(listed(c, disk(c, {9: b"c"}, ParentSnapshotId=one)))


@scenario
def disk_wrong_checksum(c):
    snapshot = c.ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    return code(put, c, snapshot, 0, b"a", Checksum=checksum(b""))


@scenario
def disk_short_block(c):
    snapshot = c.ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    return code(put, c, snapshot, 0, b"a", BlockData=b"short")


@scenario
def disk_written_late(c):
    return code(put, c, disk(c, {}), 0, b"a")


@scenario
def disk_of_unknown_snapshot(c):
    return code(put, c, "snap-" + NOWHERE, 0, b"a")


@scenario
def disk_token_reused(c):
    out = [c.ebs.start_snapshot(VolumeSize=1, ClientToken="same")["SnapshotId"] for _ in range(2)]
    return [out[0] == out[1], code(c.ebs.start_snapshot, VolumeSize=2, ClientToken="same")]


@scenario
def disk_to_volume(c):
    vol = c.ec2.create_volume(AvailabilityZone="us-east-1a", SnapshotId=disk(c, {0: b"a"}))
    return pick(vol, "Size", "SnapshotId", "Encrypted")


@scenario
def volume_modified(c):
    v = c.volume()
    c.ec2.modify_volume(VolumeId=v, Size=20, VolumeType="gp3")
    return pick(c.ec2.describe_volumes(VolumeIds=[v])["Volumes"][0], "Size", "VolumeType")


@scenario
def volume_modifications(c):
    v = c.volume()
    c.ec2.modify_volume(VolumeId=v, Size=20)
    return pick(c.ec2.describe_volumes_modifications(VolumeIds=[v])["VolumesModifications"][0],
                "ModificationState", "OriginalSize", "TargetSize", "OriginalVolumeType", "Progress")


@scenario
def volume_shrunk(c):
    return code(c.ec2.modify_volume, VolumeId=c.volume(), Size=4)


@scenario
def address_allocated(c):
    out = c.ec2.allocate_address(Domain="vpc")
    return [out["Domain"], out["AllocationId"], "PublicIp" in out]


@scenario
def address_life(c):
    e = c.ec2.allocate_address(Domain="vpc")
    i = c.instance()
    a = c.ec2.associate_address(AllocationId=e["AllocationId"], InstanceId=i)["AssociationId"]
    got = c.ec2.describe_addresses(AllocationIds=[e["AllocationId"]])["Addresses"][0]
    same = [got["InstanceId"] == i, got["AssociationId"] == a, got["Domain"],
            c.ec2.describe_instances(InstanceIds=[i])["Reservations"][0]["Instances"][0]["PublicIpAddress"] == e["PublicIp"]]
    c.ec2.disassociate_address(AssociationId=a)
    c.ec2.release_address(AllocationId=e["AllocationId"])
    return [same, code(c.ec2.describe_addresses, AllocationIds=[e["AllocationId"]])]


@scenario
def address_tags(c):
    e = c.ec2.allocate_address(Domain="vpc", TagSpecifications=tags("elastic-ip"))["AllocationId"]
    return [a.get("Tags") for a in c.ec2.describe_addresses(Filters=by(allocation_id=e))["Addresses"]]


@scenario
def address_reassociated(c):
    e = c.ec2.allocate_address(Domain="vpc")["AllocationId"]
    c.ec2.associate_address(AllocationId=e, InstanceId=c.instance())
    return code(c.ec2.associate_address, AllocationId=e, InstanceId=c.instance(), AllowReassociation=False)


@scenario
def nat_gateway_life(c):
    v = c.vpc()
    c.gateway(v)
    e = c.ec2.allocate_address(Domain="vpc")["AllocationId"]
    g = c.ec2.create_nat_gateway(SubnetId=c.subnet(v), AllocationId=e)["NatGateway"]["NatGatewayId"]
    t = c.table(v)
    c.ec2.create_route(RouteTableId=t, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=g)
    routes = c.ec2.describe_route_tables(RouteTableIds=[t])["RouteTables"][0]["Routes"]
    got = c.ec2.describe_nat_gateways(NatGatewayIds=[g])["NatGateways"][0]
    c.ec2.delete_nat_gateway(NatGatewayId=g)
    return [got["State"], got["VpcId"] == v, [r.get("NatGatewayId") == g for r in routes]]


@scenario
def nat_gateway_private(c):
    g = c.ec2.create_nat_gateway(SubnetId=c.subnet(c.vpc()), ConnectivityType="private")["NatGateway"]["NatGatewayId"]
    got = c.ec2.describe_nat_gateways(Filters=by(nat_gateway_id=g))["NatGateways"][0]
    return [got.get("ConnectivityType"), ["PublicIp" in a for a in got["NatGatewayAddresses"]]]


@scenario
def nat_gateway_keeps_its_address(c):
    v = c.vpc()
    c.gateway(v)
    e = c.ec2.allocate_address(Domain="vpc")["AllocationId"]
    g = c.ec2.create_nat_gateway(SubnetId=c.subnet(v), AllocationId=e)["NatGateway"]["NatGatewayId"]
    used = code(c.ec2.release_address, AllocationId=e)
    c.ec2.delete_nat_gateway(NatGatewayId=g)
    return [used, code(c.ec2.release_address, AllocationId=e)]


@scenario
def nat_gateway_without_address(c):
    return code(c.ec2.create_nat_gateway, SubnetId=c.subnet(c.vpc()))


@scenario
def volume_modified_twice(c):
    v = c.volume()
    c.ec2.modify_volume(VolumeId=v, Size=20)
    return code(c.ec2.modify_volume, VolumeId=v, Size=30)


@scenario
def address_by_its_ip(c):
    e = c.ec2.allocate_address(Domain="vpc")
    found = c.ec2.describe_addresses(PublicIps=[e["PublicIp"]])["Addresses"]
    c.ec2.release_address(AllocationId=e["AllocationId"])
    return [[a["AllocationId"] == e["AllocationId"] for a in found], code(c.ec2.describe_addresses, PublicIps=[e["PublicIp"]])]


@scenario
def address_in_use(c):
    e = c.ec2.allocate_address(Domain="vpc")["AllocationId"]
    c.ec2.associate_address(AllocationId=e, InstanceId=c.instance())
    return code(c.ec2.release_address, AllocationId=e)


@scenario
def address_in_use_elsewhere(c):
    v = c.vpc()
    c.gateway(v)
    e = c.ec2.allocate_address(Domain="vpc")["AllocationId"]
    c.ec2.associate_address(AllocationId=e, InstanceId=c.instance(SubnetId=c.subnet(v), Placement={}))
    return code(c.ec2.release_address, AllocationId=e)


@scenario
def address_of_terminated_instance(c):
    e, i = c.ec2.allocate_address(Domain="vpc")["AllocationId"], c.instance()
    c.ec2.associate_address(AllocationId=e, InstanceId=i)
    c.ec2.terminate_instances(InstanceIds=[i])
    got = c.ec2.describe_addresses(AllocationIds=[e])["Addresses"][0]
    return ["AssociationId" in got, code(c.ec2.release_address, AllocationId=e)]


@scenario
def address_moves(c):
    e = c.ec2.allocate_address(Domain="vpc")["AllocationId"]
    a, b = c.instance(), c.instance()
    c.ec2.associate_address(AllocationId=e, InstanceId=a)
    c.ec2.associate_address(AllocationId=e, InstanceId=b)
    return [x["InstanceId"] == b for x in c.ec2.describe_addresses(Filters=by(allocation_id=e))["Addresses"]]


@scenario
def address_associated_by_interface(c):
    e, i = c.ec2.allocate_address(Domain="vpc"), c.instance()
    nic = c.ec2.describe_instances(InstanceIds=[i])["Reservations"][0]["Instances"][0]["NetworkInterfaces"][0]["NetworkInterfaceId"]
    c.ec2.associate_address(AllocationId=e["AllocationId"], NetworkInterfaceId=nic)
    got = c.ec2.describe_network_interfaces(NetworkInterfaceIds=[nic])["NetworkInterfaces"][0]["Association"]
    return [got["PublicIp"] == e["PublicIp"], got.get("AllocationId") == e["AllocationId"], "AssociationId" in got]


def normal(value):
    """Replaces ids by their kinds."""
    if isinstance(value, dict):
        return {k: normal(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [normal(v) for v in value]
    if isinstance(value, str):
        return re.sub(r"\b([a-z]+(?:-assoc)?)-[0-9a-f]{8,17}\b", r"\1-*", value)
    return value


def answer(cloud, run):
    try:
        return normal(run(cloud))
    except ClientError as err:
        return "error " + err.response["Error"]["Code"]
    except (BotoCoreError, ResponseParserError, KeyError, IndexError) as err:
        return f"broken {type(err).__name__}"


def main():
    clouds = [Cloud(endpoint) for endpoint in sys.argv[1:]]
    rows = [(f.__name__, f) for f in SCENARIOS]
    for service, method, args in FAILING:
        text = json.dumps(args)
        name = f"{method} {text if len(text) < 120 else text[:60] + '...'}"
        rows.append((name, lambda c, s=service, m=method, a=args: code(getattr(getattr(c, s), m), **a)))
    print(json.dumps([{"name": name, "answers": [answer(c, run) for c in clouds]} for name, run in rows]))


if __name__ == "__main__":
    main()
