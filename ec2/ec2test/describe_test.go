package ec2test_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

func filter(name string, values ...string) ec2types.Filter {
	return ec2types.Filter{Name: aws.String(name), Values: values}
}

func TestImageFilters(t *testing.T) {
	_, c := start(t, nil)
	for _, test := range []struct {
		name    string
		owners  []string
		filters []ec2types.Filter
		want    int
	}{
		{"owner", []string{ec2test.Canonical}, nil, 10},
		{"owner alias", []string{"amazon"}, nil, 16},
		{"self", []string{"self"}, nil, 0},
		{"glob", []string{ec2test.Canonical}, []ec2types.Filter{filter("name", "*ubuntu-noble*")}, 6},
		{"single-character wildcard", nil, []ec2types.Filter{filter("name", "debian-??-amd64-*")}, 1},
		{"several filters", []string{ec2test.Canonical}, []ec2types.Filter{filter("name", "*noble*"), filter("architecture", "arm64")}, 3},
		{"several values", []string{ec2test.Canonical}, []ec2types.Filter{filter("name", "*noble*", "*jammy*")}, 10},
		{"device", nil, []ec2types.Filter{filter("root-device-type", "ebs"), filter("root-device-name", "/dev/xvda")}, 6},
		{"creation date", nil, []ec2types.Filter{filter("creation-date", "2026-11-*"), filter("owner-alias", "amazon")}, 4},
		{"manifest location", nil, []ec2types.Filter{filter("manifest-location", "amazon/debian*")}, 2},
		{"Ubuntu by alias", []string{"amazon"}, []ec2types.Filter{filter("name", "ubuntu*"), filter("architecture", "x86_64")}, 5},
		{"exact match", nil, []ec2types.Filter{filter("name", "noble")}, 0},
		{"exact match of owner id", nil, []ec2types.Filter{filter("owner-id", "0997")}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			out := must(c.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: test.owners, Filters: test.filters}))(t)
			if len(out.Images) != test.want {
				t.Errorf("DescribeImages returned %d images, want %d", len(out.Images), test.want)
			}
		})
	}
}

func TestDeprecatedImages(t *testing.T) {
	_, c := start(t, nil)
	in := &awsec2.DescribeImagesInput{Filters: []ec2types.Filter{filter("name", "*focal*")}}
	if out := must(c.DescribeImages(t.Context(), in))(t); len(out.Images) != 0 {
		t.Errorf("DescribeImages = %+v, want no deprecated images", out.Images)
	}
	in.IncludeDeprecated = aws.Bool(true)
	out := must(c.DescribeImages(t.Context(), in))(t)
	if len(out.Images) != 1 {
		t.Fatalf("DescribeImages with IncludeDeprecated returned %d images, want 1", len(out.Images))
	}
	run(t, c, *out.Images[0].ImageId, nil) // deprecated images can still be launched
}

func TestDescribeInstances(t *testing.T) {
	_, c := start(t, nil)
	image := *ubuntu(t, c).ImageId
	var want []string
	for range 12 {
		want = append(want, *run(t, c, image, func(in *awsec2.RunInstancesInput) {
			in.TagSpecifications = []ec2types.TagSpecification{{
				ResourceType: "instance", Tags: []ec2types.Tag{{Key: aws.String("fleet"), Value: aws.String("a")}},
			}}
		}).InstanceId)
	}
	run(t, c, image, nil)
	var got []string
	pages := awsec2.NewDescribeInstancesPaginator(c, &awsec2.DescribeInstancesInput{
		MaxResults: aws.Int32(5), Filters: []ec2types.Filter{filter("tag:fleet", "?")},
	})
	for n := 0; pages.HasMorePages(); n++ {
		page := must(pages.NextPage(t.Context()))(t)
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				got = append(got, *i.InstanceId)
			}
		}
		if n == 0 { // a termination between two pages must not shift them
			must(c.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: want[:1]}))(t)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages of DescribeInstances = %q, want %q", got, want)
	}

	for _, test := range []struct {
		name string
		in   *awsec2.DescribeInstancesInput
		want string
	}{
		{"page too small", &awsec2.DescribeInstancesInput{MaxResults: aws.Int32(4)}, "InvalidParameterValue"},
		{"page too large", &awsec2.DescribeInstancesInput{MaxResults: aws.Int32(1001)}, "InvalidParameterValue"},
		{"page size with ids", &awsec2.DescribeInstancesInput{MaxResults: aws.Int32(5), InstanceIds: want[:1]}, "InvalidParameterCombination"},
		{"invalid token", &awsec2.DescribeInstancesInput{MaxResults: aws.Int32(5), NextToken: aws.String("x")}, "InvalidParameterValue"},
		{"unknown filter", &awsec2.DescribeInstancesInput{Filters: []ec2types.Filter{filter("colour", "red")}}, "InvalidParameterValue"},
		{"filter without values", &awsec2.DescribeInstancesInput{Filters: []ec2types.Filter{filter("instance-id")}}, "InvalidParameterValue"},
		{"unknown id", &awsec2.DescribeInstancesInput{InstanceIds: []string{"i-0123456789abcdef0"}}, "InvalidInstanceID.NotFound"},
		{"malformed id", &awsec2.DescribeInstancesInput{InstanceIds: []string{"i-xyz"}}, "InvalidInstanceID.Malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := c.DescribeInstances(t.Context(), test.in); code(err) != test.want {
				t.Errorf("DescribeInstances = %v, want %s", err, test.want)
			}
		})
	}
	// Unlike InstanceIds, a filter ignores unknown ids.
	out := must(c.DescribeInstances(t.Context(), &awsec2.DescribeInstancesInput{
		Filters: []ec2types.Filter{filter("instance-id", want[3], "i-0123456789abcdef0")},
	}))(t)
	if len(out.Reservations) != 1 {
		t.Errorf("DescribeInstances by filter returned %d reservations, want 1", len(out.Reservations))
	}
}

func TestNetworks(t *testing.T) {
	srv, c := start(t, nil)
	regions := must(c.DescribeRegions(t.Context(), nil))(t)
	if len(regions.Regions) != 17 {
		t.Errorf("DescribeRegions returned %d regions, want 17", len(regions.Regions))
	}
	zones := must(c.DescribeAvailabilityZones(t.Context(), nil))(t)
	if len(zones.AvailabilityZones) != 6 || *zones.AvailabilityZones[0].ZoneId != "use1-az6" {
		t.Errorf("DescribeAvailabilityZones = %+v, want six zones from use1-az6 on", zones.AvailabilityZones)
	}
	vpcs := must(c.DescribeVpcs(t.Context(), &awsec2.DescribeVpcsInput{Filters: []ec2types.Filter{filter("is-default", "true")}}))(t)
	if len(vpcs.Vpcs) != 1 || *vpcs.Vpcs[0].CidrBlock != "172.31.0.0/16" {
		t.Fatalf("DescribeVpcs = %+v, want the default VPC with 172.31.0.0/16", vpcs.Vpcs)
	}
	subnets := must(c.DescribeSubnets(t.Context(), &awsec2.DescribeSubnetsInput{Filters: []ec2types.Filter{
		filter("vpc-id", *vpcs.Vpcs[0].VpcId), filter("default-for-az", "true"), filter("availability-zone", region+"b"),
	}}))(t)
	if len(subnets.Subnets) != 1 || *subnets.Subnets[0].CidrBlock != "172.31.16.0/20" {
		t.Errorf("DescribeSubnets = %+v, want the default subnet with 172.31.16.0/20", subnets.Subnets)
	}
	other := must(client(srv.ConfigFor(otherAccount, region)).DescribeVpcs(t.Context(), nil))(t)
	if *other.Vpcs[0].VpcId == *vpcs.Vpcs[0].VpcId {
		t.Error("two accounts have the same VPC")
	}
	types := must(c.DescribeInstanceTypes(t.Context(), &awsec2.DescribeInstanceTypesInput{InstanceTypes: []ec2types.InstanceType{"t4g.small"}}))(t)
	if got := types.InstanceTypes[0]; got.ProcessorInfo.SupportedArchitectures[0] != "arm64" || *got.MemoryInfo.SizeInMiB != 2048 {
		t.Errorf("DescribeInstanceTypes of t4g.small = %+v, want arm64 and 2048 MiB", got)
	}
	offered := must(c.DescribeInstanceTypeOfferings(t.Context(), &awsec2.DescribeInstanceTypeOfferingsInput{
		LocationType: "availability-zone", Filters: []ec2types.Filter{filter("instance-type", "t3.micro")},
	}))(t)
	if len(offered.InstanceTypeOfferings) != 6 {
		t.Errorf("DescribeInstanceTypeOfferings of t3.micro = %+v, want six zones", offered.InstanceTypeOfferings)
	}
	_, err := client(srv.Config("ap-east-1")).DescribeVpcs(t.Context(), nil)
	if code(err) != "OptInRequired" {
		t.Errorf("DescribeVpcs in a region that is not enabled = %v, want OptInRequired", err)
	}
}

func TestTags(t *testing.T) {
	_, c := start(t, nil)
	inst := run(t, c, *ubuntu(t, c).ImageId, func(in *awsec2.RunInstancesInput) {
		for _, kind := range []ec2types.ResourceType{"instance", "volume", "network-interface"} {
			in.TagSpecifications = append(in.TagSpecifications, ec2types.TagSpecification{
				ResourceType: kind, Tags: []ec2types.Tag{{Key: aws.String("build"), Value: aws.String("7")}},
			})
		}
	})
	id := *inst.InstanceId
	must(c.CreateTags(t.Context(), &awsec2.CreateTagsInput{Resources: []string{id}, Tags: []ec2types.Tag{
		{Key: aws.String("build"), Value: aws.String("8")}, {Key: aws.String("empty"), Value: aws.String("")},
	}}))(t)
	out := must(c.DescribeTags(t.Context(), &awsec2.DescribeTagsInput{Filters: []ec2types.Filter{filter("key", "build", "empty")}}))(t)
	var got []string
	for _, tag := range out.Tags {
		got = append(got, fmt.Sprintf("%s %s=%s", tag.ResourceType, *tag.Key, *tag.Value))
	}
	slices.Sort(got)
	if want := "instance build=8,instance empty=,network-interface build=7,volume build=7"; strings.Join(got, ",") != want {
		t.Errorf("DescribeTags = %q, want %q", got, want)
	}
	must(c.DeleteTags(t.Context(), &awsec2.DeleteTagsInput{Resources: []string{id}, Tags: []ec2types.Tag{
		{Key: aws.String("build"), Value: aws.String("other")}, {Key: aws.String("empty")},
	}}))(t)
	if tags := describe(t, c, id).Tags; len(tags) != 1 || *tags[0].Value != "8" {
		t.Errorf("tags after DeleteTags = %+v, want only build=8", tags)
	}

	many := make([]ec2types.Tag, 50)
	for i := range many {
		many[i] = ec2types.Tag{Key: aws.String(fmt.Sprint("k", i)), Value: aws.String("")}
	}
	_, err := c.CreateTags(t.Context(), &awsec2.CreateTagsInput{Resources: []string{id}, Tags: many})
	if code(err) != "TagLimitExceeded" {
		t.Errorf("CreateTags of a 51st tag = %v, want TagLimitExceeded", err)
	}
	_, err = c.CreateTags(t.Context(), &awsec2.CreateTagsInput{Resources: []string{id}, Tags: []ec2types.Tag{{Key: aws.String("aws:x")}}})
	if code(err) != "InvalidParameterValue" {
		t.Errorf("CreateTags of a reserved tag = %v, want InvalidParameterValue", err)
	}
}

func imagesNamed(name string) *awsec2.DescribeImagesInput {
	return &awsec2.DescribeImagesInput{Filters: []ec2types.Filter{filter("name", name)}}
}
