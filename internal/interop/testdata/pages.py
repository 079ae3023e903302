"""Runs all paginators and waiters of boto3 whose operations an endpoint has.

The arguments are the endpoint, and the operations as "service:Operation". The
output is a JSON object with the lists "pages" and "waits", whose rows are a
name and an error, which is empty for success.
"""
import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import WaiterError

import scenarios

# Arguments of paginators that need some.
ARGUMENTS = {
    "GetParametersByPath": {"Path": "/page"},
    "GetParameterHistory": {"Name": "/page/0"},
}


def prepare(c):
    """Creates some of everything, and returns the arguments of waiters."""
    for n in range(12):
        c.parameter(f"/page/{n}", Overwrite=True)
        c.parameter("/page/0", Overwrite=True)
        vpc = c.vpc()
        c.subnet(vpc), c.gateway(vpc), c.table(vpc), c.group()
        c.ec2.import_key_pair(KeyName=c.name(), PublicKeyMaterial=KEY)
    template, profile = scenarios.template(c), c.profile()
    ids = [c.instance() for _ in range(6)]
    for n in ids:
        v = c.volume()
        c.ec2.create_snapshot(VolumeId=v)
    i, stopped, gone = ids[:3]
    c.ec2.stop_instances(InstanceIds=[stopped])
    c.ec2.terminate_instances(InstanceIds=[gone])
    used = c.volume()
    c.ec2.attach_volume(VolumeId=used, InstanceId=i, Device="/dev/sdh")
    deleted = c.volume()
    c.ec2.delete_volume(VolumeId=deleted)
    image = c.ec2.create_image(InstanceId=i, Name=c.name())["ImageId"]
    spot = c.ec2.request_spot_instances(LaunchSpecification={"ImageId": c.image(), "InstanceType": "t3.micro"})
    left = c.instance(NetworkInterfaces=[{"DeviceIndex": 0, "DeleteOnTermination": False}])
    nic = c.ec2.describe_network_interfaces(Filters=[{"Name": "attachment.instance-id", "Values": [left]}])["NetworkInterfaces"][0]["NetworkInterfaceId"]
    c.ec2.terminate_instances(InstanceIds=[left])
    name = template["LaunchTemplateSpecification"]["LaunchTemplateName"]
    ARGUMENTS["DescribeLaunchTemplateVersions"] = {"LaunchTemplateName": name}
    c.autoscaling.create_auto_scaling_group(
        AutoScalingGroupName="pages", MinSize=0, MaxSize=0, AvailabilityZones=["us-east-1a"],
        LaunchTemplate={"LaunchTemplateName": name, "Version": "$Latest"})
    snapshot = c.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"][0]["SnapshotId"]
    return {
        "instance_exists": {"InstanceIds": [i]}, "instance_running": {"InstanceIds": [i]}, "instance_status_ok": {"InstanceIds": [i]},
        "system_status_ok": {"InstanceIds": [i]}, "instance_stopped": {"InstanceIds": [stopped]}, "instance_terminated": {"InstanceIds": [gone]},
        "image_available": {"ImageIds": [image]}, "image_exists": {"ImageIds": [image]}, "snapshot_completed": {"SnapshotIds": [snapshot]},
        "volume_available": {"VolumeIds": [c.volume()]}, "volume_in_use": {"VolumeIds": [used]}, "volume_deleted": {"VolumeIds": [deleted]},
        "vpc_available": {"VpcIds": [c.vpc()]}, "vpc_exists": {"VpcIds": [c.vpc()]}, "subnet_available": {"SubnetIds": [c.subnet(c.vpc())]},
        "internet_gateway_exists": {"InternetGatewayIds": [c.gateway()]}, "security_group_exists": {"GroupIds": [c.group()]},
        "key_pair_exists": {"KeyNames": [c.ec2.describe_key_pairs()["KeyPairs"][0]["KeyName"]]},
        "spot_instance_request_fulfilled": {"SpotInstanceRequestIds": [r["SpotInstanceRequestId"] for r in spot["SpotInstanceRequests"]]},
        "network_interface_available": {"NetworkInterfaceIds": [nic]},
        "instance_profile_exists": {"InstanceProfileName": profile}, "role_exists": {"RoleName": profile},
        "group_exists": {"AutoScalingGroupNames": ["pages"]}, "group_not_exists": {"AutoScalingGroupNames": ["none"]},
        "group_in_service": {"AutoScalingGroupNames": ["pages"]},
    }


KEY = ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS test").encode()


def page(client, operation, paginator):
    """Compares the pages of a paginator with one answer."""
    settings = paginator._pagination_cfg
    keys = [k for k in ([settings["result_key"]] if isinstance(settings["result_key"], str) else settings["result_key"])]
    arguments = ARGUMENTS.get(operation, {})
    count = lambda size: [sum(len(p.get(k, [])) for p in paginator.paginate(**arguments, PaginationConfig=size) for k in keys)]
    small, all = count({"PageSize": 5}), count({})
    return "" if small == all else f"{small} items in pages of 5, {all} otherwise"


def attempt(f):
    try:
        return f() or ""
    except (scenarios.ClientError, scenarios.BotoCoreError, scenarios.ResponseParserError, WaiterError, KeyError) as err:
        return f"{type(err).__name__}: {err}"


def main():
    endpoint, covered = sys.argv[1], set(sys.argv[2:])
    c = scenarios.Cloud(endpoint)
    waits_for = prepare(c)
    pages, waits = [], []
    for service in sorted({o.split(":")[0] for o in covered} - {"sts"}):
        client = boto3.client(service, endpoint_url=endpoint, region_name="us-east-1", config=Config(retries={"total_max_attempts": 1}),
                              aws_access_key_id="test", aws_secret_access_key="test")
        for method, operation in sorted(client.meta.method_to_api_mapping.items()):
            if f"{service}:{operation}" in covered and client.can_paginate(method) and needs_nothing(client, operation):
                pages.append([f"{service} {operation}", attempt(lambda: page(client, operation, client.get_paginator(method)))])
        for name in client.waiter_names:
            waiter = client.get_waiter(name)
            if f"{service}:{waiter.config.operation}" not in covered or name not in waits_for:
                continue
            waits.append([f"{service} {name}", attempt(lambda: waiter.wait(**waits_for[name], WaiterConfig={"Delay": 0, "MaxAttempts": 3}))])
    print(json.dumps({"pages": pages, "waits": waits}))


def needs_nothing(client, operation):
    shape = client.meta.service_model.operation_model(operation).input_shape
    return operation in ARGUMENTS or shape is None or not shape.required_members


if __name__ == "__main__":
    main()
