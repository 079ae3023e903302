package ec2test_test

import (
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

const signature = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=0"

// post sends a form over TCP without an SDK and returns the status and body.
func post(t *testing.T, srv *ec2test.Server, form url.Values, header http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL(), strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", signature)
	maps.Copy(req.Header, header)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestFormRequests(t *testing.T) {
	srv, _ := start(t, nil)
	for _, test := range []struct {
		name   string
		form   string
		status int
		want   string
	}{
		{"unknown action", "Action=MakeCoffee", 400, "<Code>InvalidAction</Code><Message>The action MakeCoffee is not valid for this web service. Calls that ec2test supports: https://"},
		{"unsupported action", "Action=CreateTransitGateway", 400, "The action CreateTransitGateway is not valid"},
		{"unsupported filter", "Action=DescribeImages&Filter.1.Name=colour&Filter.1.Value.1=red", 400, "The filter &#39;colour&#39; is invalid. What ec2test supports: https://"},
		{"no action", "Version=2016-11-15", 400, "<Code>MissingAction</Code>"},
		{"unknown parameter", "Action=DescribeImages&Colour=red", 400, "<Code>UnknownParameter</Code><Message>The parameter Colour is not recognized"},
		{"unknown nested parameter", "Action=RunInstances&MinCount=1&MaxCount=1&BlockDeviceMapping.1.Ebs.Colour=red", 400, "The parameter BlockDeviceMapping.1.Ebs.Colour is not recognized"},
		{"unsupported parameter", "Action=RunInstances&MinCount=1&MaxCount=1&HibernationOptions.Configured=true", 400, "The parameter HibernationOptions.Configured is not recognized. What ec2test supports: https://"},
		{"list without an index", "Action=DescribeImages&Owner=self", 200, "<imagesSet>"},
		{"list with a name", "Action=DescribeImages&Owner.first=self", 400, "The parameter Owner.first is not recognized"},
		{"scalar with an index", "Action=DescribeImages&MaxResults.1=5", 400, "The parameter MaxResults.1 is not recognized"},
		{"missing parameter", "Action=CreateImage&Name=abc", 400, "<Code>MissingParameter</Code><Message>The request must contain the parameter InstanceId"},
		{"invalid number", "Action=DescribeImages&MaxResults=many", 400, "<Code>InvalidParameterValue</Code>"},
		{"invalid boolean", "Action=DescribeImages&IncludeDisabled=perhaps", 400, "<Code>InvalidParameterValue</Code>"},
		{"outside enumeration", "Action=CreateKeyPair&KeyName=k&KeyType=dsa", 400, "<Code>InvalidParameterValue</Code>"},
		{"invalid base64", "Action=ImportKeyPair&KeyName=k&PublicKeyMaterial=%21", 400, "<Code>InvalidParameterValue</Code>"},
		{"invalid timestamp", "Action=EnableImageDeprecation&ImageId=ami-12345678&DeprecateAt=soon", 400, "<Code>InvalidParameterValue</Code>"},
		{"dry run", "Action=DescribeImages&DryRun=true", 412, "<Code>DryRunOperation</Code>"},
		{"dry run of an invalid call", "Action=CreateSecurityGroup&DryRun=true&GroupName=a", 400, "<Code>MissingParameter</Code>"},
		{"empty response", "Action=DescribeInstances", 200, `<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>`},
	} {
		t.Run(test.name, func(t *testing.T) {
			form, err := url.ParseQuery(test.form)
			if err != nil {
				t.Fatal(err)
			}
			status, body := post(t, srv, form, nil)
			if status != test.status || !strings.Contains(body, test.want) {
				t.Errorf("response %d %s, want %d with %s", status, body, test.status, test.want)
			}
		})
	}
	if status, body := post(t, srv, url.Values{"Action": {"ListBuckets"}}, http.Header{"Authorization": {strings.Replace(signature, "/ec2/", "/s3/", 1)}}); status != 400 || !strings.Contains(body, "The service s3 is not supported by ec2test. See https://") {
		t.Errorf("response of another service: %d %s, want one that names it", status, body)
	}
	if status, body := post(t, srv, url.Values{"Action": {"DescribeVpcs"}}, http.Header{"Authorization": {""}}); status != 401 {
		t.Errorf("response without credentials: %d %s, want 401", status, body)
	}
}

func TestRunInstancesErrors(t *testing.T) {
	_, c := start(t, nil)
	image := *ubuntu(t, c).ImageId
	zones := must(c.DescribeSubnets(t.Context(), nil))(t)
	for _, test := range []struct {
		name string
		with func(*awsec2.RunInstancesInput)
		want string
	}{
		{"other architecture", func(in *awsec2.RunInstancesInput) { in.InstanceType = "t4g.micro" }, "InvalidParameterValue"},
		{"unknown type", func(in *awsec2.RunInstancesInput) { in.InstanceType = "t9.huge" }, "InvalidParameterValue"},
		{"unknown image", func(in *awsec2.RunInstancesInput) { in.ImageId = aws.String("ami-0123456789abcdef0") }, "InvalidAMIID.NotFound"},
		{"malformed image id", func(in *awsec2.RunInstancesInput) { in.ImageId = aws.String("ami") }, "InvalidAMIID.Malformed"},
		{"no image", func(in *awsec2.RunInstancesInput) { in.ImageId = nil }, "MissingParameter"},
		{"MinCount above MaxCount", func(in *awsec2.RunInstancesInput) { in.MinCount = aws.Int32(2) }, "InvalidParameterValue"},
		{"unknown key pair", func(in *awsec2.RunInstancesInput) { in.KeyName = aws.String("unknown") }, "InvalidKeyPair.NotFound"},
		{"unknown group", func(in *awsec2.RunInstancesInput) { in.SecurityGroupIds = []string{"sg-0123456789abcdef0"} }, "InvalidGroup.NotFound"},
		{"unknown subnet", func(in *awsec2.RunInstancesInput) { in.SubnetId = aws.String("subnet-0123456789abcdef0") }, "InvalidSubnetID.NotFound"},
		{"unknown zone", func(in *awsec2.RunInstancesInput) {
			in.Placement = &ec2types.Placement{AvailabilityZone: aws.String("us-east-1q")}
		}, "InvalidParameterValue"},
		{"subnet in another zone", func(in *awsec2.RunInstancesInput) {
			in.Placement = &ec2types.Placement{AvailabilityZone: zones.Subnets[0].AvailabilityZone}
			in.SubnetId = zones.Subnets[1].SubnetId
		}, "InvalidParameterCombination"},
		{"interface and group", func(in *awsec2.RunInstancesInput) {
			in.NetworkInterfaces = []ec2types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0)}}
			in.SecurityGroups = []string{"default"}
		}, "InvalidParameterCombination"},
		{"disk smaller than snapshot", disk("/dev/sda1", &ec2types.EbsBlockDevice{VolumeSize: aws.Int32(4)}), "InvalidBlockDeviceMapping"},
		{"empty device", disk("/dev/sdf", nil), "InvalidBlockDeviceMapping"},
		{"throughput of gp2", disk("/dev/sda1", &ec2types.EbsBlockDevice{VolumeType: "gp2", Throughput: aws.Int32(500)}), "InvalidParameterCombination"},
		{"key without encryption", disk("/dev/sda1", &ec2types.EbsBlockDevice{KmsKeyId: aws.String("k")}), "InvalidParameterDependency"},
		{"credits for m5.large", func(in *awsec2.RunInstancesInput) {
			in.InstanceType = "m5.large"
			in.CreditSpecification = &ec2types.CreditSpecificationRequest{CpuCredits: aws.String("standard")}
		}, "InvalidParameterCombination"},
		{"enclave on t3.micro", func(in *awsec2.RunInstancesInput) {
			in.EnclaveOptions = &ec2types.EnclaveOptionsRequest{Enabled: aws.Bool(true)}
		}, "InvalidParameterCombination"},
		{"EBS-optimized t2.micro", func(in *awsec2.RunInstancesInput) {
			in.InstanceType, in.EbsOptimized = "t2.micro", aws.Bool(true)
		}, "InvalidParameterCombination"},
		{"spot on a host", func(in *awsec2.RunInstancesInput) {
			in.Placement = &ec2types.Placement{HostId: aws.String("h-1")}
			in.InstanceMarketOptions = &ec2types.InstanceMarketOptionsRequest{MarketType: "spot"}
		}, "InvalidParameterCombination"},
		{"dedicated on a host", func(in *awsec2.RunInstancesInput) {
			in.Placement = &ec2types.Placement{HostId: aws.String("h-1"), Tenancy: "dedicated"}
		}, "InvalidParameterCombination"},
		{"reservation preference and target", func(in *awsec2.RunInstancesInput) {
			in.CapacityReservationSpecification = &ec2types.CapacityReservationSpecification{
				CapacityReservationPreference: "open",
				CapacityReservationTarget:     &ec2types.CapacityReservationTarget{CapacityReservationId: aws.String("cr-1")},
			}
		}, "InvalidParameterCombination"},
		{"IPv6", func(in *awsec2.RunInstancesInput) { in.Ipv6AddressCount = aws.Int32(1) }, "InvalidParameterValue"},
		{"tags of an image", func(in *awsec2.RunInstancesInput) {
			in.TagSpecifications = []ec2types.TagSpecification{{ResourceType: "image", Tags: []ec2types.Tag{{Key: aws.String("a")}}}}
		}, "InvalidParameterValue"},
		{"user data too large", func(in *awsec2.RunInstancesInput) {
			in.UserData = aws.String(strings.Repeat("QUFB", 16<<10))
		}, "InvalidParameterValue"},
		{"dry run", func(in *awsec2.RunInstancesInput) { in.DryRun = aws.Bool(true) }, "DryRunOperation"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := &awsec2.RunInstancesInput{
				ImageId: aws.String(image), InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			}
			test.with(in)
			if _, err := c.RunInstances(t.Context(), in); code(err) != test.want {
				t.Errorf("RunInstances = %v, want %s", err, test.want)
			}
		})
	}
	if out := must(c.DescribeInstances(t.Context(), nil))(t); len(out.Reservations) != 0 {
		t.Errorf("reservations after rejected launches: %+v, want none", out.Reservations)
	}
}

// disk returns a change of a launch that maps a device.
func disk(device string, ebs *ec2types.EbsBlockDevice) func(*awsec2.RunInstancesInput) {
	return func(in *awsec2.RunInstancesInput) {
		in.BlockDeviceMappings = []ec2types.BlockDeviceMapping{{DeviceName: aws.String(device), Ebs: ebs}}
	}
}

func TestNoDefaultVPC(t *testing.T) {
	_, c := start(t, &ec2test.Options{NoDefaultVPC: true})
	in := &awsec2.RunInstancesInput{
		ImageId: ubuntu(t, c).ImageId, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
	}
	if _, err := c.RunInstances(t.Context(), in); code(err) != "VPCIdNotSpecified" {
		t.Errorf("RunInstances without a subnet = %v, want VPCIdNotSpecified", err)
	}
	_, err := c.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{GroupName: aws.String("a"), Description: aws.String("a")})
	if code(err) != "VPCIdNotSpecified" {
		t.Errorf("CreateSecurityGroup without a VPC = %v, want VPCIdNotSpecified", err)
	}
	in.SubnetId = must(c.DescribeSubnets(t.Context(), nil))(t).Subnets[2].SubnetId
	if got := must(c.RunInstances(t.Context(), in))(t).Instances[0]; *got.Placement.AvailabilityZone != "us-east-1c" {
		t.Errorf("zone of the instance = %s, want us-east-1c", *got.Placement.AvailabilityZone)
	}
}
