package ec2test_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

func TestSpotRequests(t *testing.T) {
	_, c := start(t, nil)
	image := ubuntu(t, c).ImageId
	made := must(c.RequestSpotInstances(t.Context(), &awsec2.RequestSpotInstancesInput{
		InstanceCount: aws.Int32(2), Type: "persistent", ClientToken: aws.String("once"),
		LaunchSpecification: &ec2types.RequestSpotLaunchSpecification{ImageId: image, InstanceType: "t3.micro"},
	}))(t)
	running := run(t, c, *image, func(in *awsec2.RunInstancesInput) {
		in.InstanceMarketOptions = &ec2types.InstanceMarketOptionsRequest{MarketType: "spot"}
	})
	states := func(filters ...ec2types.Filter) string {
		var all []string
		for _, r := range must(c.DescribeSpotInstanceRequests(t.Context(), &awsec2.DescribeSpotInstanceRequestsInput{Filters: filters}))(t).SpotInstanceRequests {
			if *r.LaunchSpecification.ImageId != *image {
				t.Errorf("request %s is for image %s, want %s", *r.SpotInstanceRequestId, *r.LaunchSpecification.ImageId, *image)
			}
			all = append(all, string(r.State))
		}
		return strings.Join(all, " ")
	}
	if got := states(); got != "active active active" {
		t.Errorf("request states = %s, want three active ones", got)
	}
	if got := states(filter("instance-id", *running.InstanceId)); got != "active" {
		t.Errorf("state of the instance's request = %q, want active", got)
	}
	must(c.CancelSpotInstanceRequests(t.Context(), &awsec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{*made.SpotInstanceRequests[0].SpotInstanceRequestId}}))(t)
	if got := states(); got != "cancelled active active" {
		t.Errorf("request states after canceling one = %s, want cancelled active active", got)
	}
}

func TestFleets(t *testing.T) {
	_, c := start(t, nil)
	image := ubuntu(t, c).ImageId
	id := launchTemplate(t, c, "web", *image)
	spot := must(c.RequestSpotFleet(t.Context(), &awsec2.RequestSpotFleetInput{SpotFleetRequestConfig: &ec2types.SpotFleetRequestConfigData{
		IamFleetRole: aws.String("arn:aws:iam::123456789012:role/fleet"), TargetCapacity: aws.Int32(1),
		LaunchSpecifications: []ec2types.SpotFleetLaunchSpecification{{ImageId: image, InstanceType: "t3.micro"}},
	}}))(t)
	fleets := must(c.DescribeSpotFleetRequests(t.Context(), nil))(t).SpotFleetRequestConfigs
	if len(fleets) != 1 || *fleets[0].SpotFleetRequestConfig.LaunchSpecifications[0].ImageId != *image || fleets[0].SpotFleetRequestState != "active" {
		t.Errorf("DescribeSpotFleetRequests = %+v, want the active fleet", fleets)
	}
	must(c.CancelSpotFleetRequests(t.Context(), &awsec2.CancelSpotFleetRequestsInput{SpotFleetRequestIds: []string{*spot.SpotFleetRequestId}, TerminateInstances: aws.Bool(true)}))(t)
	if got := must(c.DescribeSpotFleetRequests(t.Context(), nil))(t).SpotFleetRequestConfigs[0].SpotFleetRequestState; got != "cancelled" {
		t.Errorf("state of the spot fleet = %s, want cancelled", got)
	}

	in := &awsec2.CreateFleetInput{
		TargetCapacitySpecification: &ec2types.TargetCapacitySpecificationRequest{TotalTargetCapacity: aws.Int32(1)},
		LaunchTemplateConfigs: []ec2types.FleetLaunchTemplateConfigRequest{{
			LaunchTemplateSpecification: &ec2types.FleetLaunchTemplateSpecificationRequest{LaunchTemplateName: aws.String("web"), Version: aws.String("$Latest")},
			Overrides:                   []ec2types.FleetLaunchTemplateOverridesRequest{{InstanceType: "t3.small", ImageId: image}},
		}},
	}
	if _, err := c.CreateFleet(t.Context(), in); code(err) != "InvalidParameterCombination" {
		t.Errorf("CreateFleet of type maintain with an image override = %v, want InvalidParameterCombination", err)
	}
	in.Type = ec2types.FleetTypeInstant
	instant := must(c.CreateFleet(t.Context(), in))(t)
	in.ClientToken = nil // set by the SDK
	in.Type, in.LaunchTemplateConfigs[0].Overrides[0].ImageId = ec2types.FleetTypeMaintain, nil
	kept := must(c.CreateFleet(t.Context(), in))(t)
	listed := must(c.DescribeFleets(t.Context(), nil))(t).Fleets
	if len(listed) != 1 || *listed[0].FleetId != *kept.FleetId || *listed[0].LaunchTemplateConfigs[0].LaunchTemplateSpecification.LaunchTemplateId != id {
		t.Errorf("DescribeFleets = %+v, want the fleet of type maintain", listed)
	}
	named := must(c.DescribeFleets(t.Context(), &awsec2.DescribeFleetsInput{FleetIds: []string{*instant.FleetId}}))(t).Fleets
	if len(named) != 1 || *named[0].LaunchTemplateConfigs[0].Overrides[0].ImageId != *image {
		t.Errorf("DescribeFleets of the instant fleet = %+v, want it with its image override", named)
	}
	del := &awsec2.DeleteFleetsInput{FleetIds: []string{*instant.FleetId}, TerminateInstances: aws.Bool(false)}
	if _, err := c.DeleteFleets(t.Context(), del); code(err) != "InvalidParameterCombination" {
		t.Errorf("DeleteFleets that keeps an instant fleet's instances = %v, want InvalidParameterCombination", err)
	}
	del.TerminateInstances = aws.Bool(true)
	if got := must(c.DeleteFleets(t.Context(), del))(t).SuccessfulFleetDeletions; len(got) != 1 || got[0].CurrentFleetState != "deleted_terminating" {
		t.Errorf("DeleteFleets = %+v, want one deleted_terminating", got)
	}
}

func TestImageReferences(t *testing.T) {
	srv, c := start(t, nil)
	id := bakeImage(t, c, "used")
	inst := run(t, c, id, nil)
	lt := launchTemplate(t, c, "web", id)
	newer := bakeImage(t, c, "newer")
	for range 10 {
		must(c.CreateLaunchTemplateVersion(t.Context(), &awsec2.CreateLaunchTemplateVersionInput{
			LaunchTemplateId: &lt, LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: &newer},
		}))(t)
	}
	must(ssm.NewFromConfig(srv.Config(region)).PutParameter(t.Context(), &ssm.PutParameterInput{
		Name: aws.String("/web/ami"), Value: &id, Type: "String", DataType: aws.String("aws:ec2:image"),
	}))(t)
	if err := srv.SetImageRecipe(region, "base", id); err != nil {
		t.Fatal(err)
	}
	arns := func(in *awsec2.DescribeImageReferencesInput) []string {
		in.ImageIds = []string{id}
		var all []string
		for _, r := range must(c.DescribeImageReferences(t.Context(), in))(t).ImageReferences {
			all = append(all, string(r.ResourceType)+" "+(*r.Arn)[strings.LastIndex(*r.Arn, ":")+1:])
		}
		return all
	}
	// Only the template's oldest version names the image, beyond the default depth.
	want := []string{"ec2:Instance instance/" + *inst.InstanceId, "ssm:Parameter parameter/web/ami", "imagebuilder:ImageRecipe image-recipe/base/1.0.0"}
	if got := arns(&awsec2.DescribeImageReferencesInput{IncludeAllResourceTypes: aws.Bool(true)}); !slices.Equal(got, want) {
		t.Errorf("DescribeImageReferences = %q, want %q", got, want)
	}
	must(c.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{*inst.InstanceId}}))(t)
	option := func(name ec2types.ImageReferenceOptionName, values ...string) []ec2types.ResourceTypeOption {
		return []ec2types.ResourceTypeOption{{OptionName: name, OptionValues: values}}
	}
	types := []ec2types.ResourceTypeRequest{
		{ResourceType: "ec2:LaunchTemplate", ResourceTypeOptions: option("version-depth", "100")},
		{ResourceType: "ec2:Instance", ResourceTypeOptions: option("state-name", "running")},
	}
	if got := arns(&awsec2.DescribeImageReferencesInput{ResourceTypes: types}); !slices.Equal(got, []string{"ec2:LaunchTemplate launch-template/" + lt}) {
		t.Errorf("DescribeImageReferences with version-depth = %q, want the launch template", got)
	}
	if got := arns(&awsec2.DescribeImageReferencesInput{ResourceTypes: []ec2types.ResourceTypeRequest{{ResourceType: "ec2:Instance"}}}); len(got) != 1 {
		t.Errorf("DescribeImageReferences without state-name = %q, want the terminated instance", got)
	}
	if _, err := c.DescribeImageReferences(t.Context(), &awsec2.DescribeImageReferencesInput{ImageIds: make([]string, 11), IncludeAllResourceTypes: aws.Bool(true)}); code(err) != "InvalidParameterValue" {
		t.Errorf("DescribeImageReferences of eleven images = %v, want InvalidParameterValue", err)
	}
	if _, err := c.DescribeImageReferences(t.Context(), &awsec2.DescribeImageReferencesInput{ImageIds: []string{id}}); code(err) != "MissingParameter" {
		t.Errorf("DescribeImageReferences without a resource type = %v, want MissingParameter", err)
	}
}

func TestUsageReports(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	srv, c := start(t, &ec2test.Options{Clock: clock, Latency: ec2test.Latency{UsageReport: time.Minute}})
	id := bakeImage(t, c, "shared")
	other := client(srv.ConfigFor(otherAccount, region))
	shareImage(t, c, id, otherAccount)
	run(t, other, id, nil)
	run(t, other, id, nil)
	launchTemplate(t, other, "theirs", id)
	in := &awsec2.CreateImageUsageReportInput{ImageId: &id, ResourceTypes: []ec2types.ImageUsageResourceTypeRequest{
		{ResourceType: aws.String("ec2:Instance")}, {ResourceType: aws.String("ec2:LaunchTemplate")},
	}}
	if _, err := other.CreateImageUsageReport(t.Context(), in); code(err) != "AuthFailure" {
		t.Errorf("CreateImageUsageReport by another account = %v, want AuthFailure", err)
	}
	in.ClientToken = nil // set by the SDK
	report := must(c.CreateImageUsageReport(t.Context(), in))(t).ReportId
	in.ClientToken = nil
	if _, err := c.CreateImageUsageReport(t.Context(), in); code(err) != "ResourceLimitExceeded" {
		t.Errorf("CreateImageUsageReport with one pending = %v, want ResourceLimitExceeded", err)
	}
	describeReport := func() (state string, entries []ec2types.ImageUsageReportEntry) {
		reports := must(c.DescribeImageUsageReports(t.Context(), &awsec2.DescribeImageUsageReportsInput{ReportIds: []string{*report}}))(t).ImageUsageReports
		out := must(c.DescribeImageUsageReportEntries(t.Context(), &awsec2.DescribeImageUsageReportEntriesInput{ReportIds: []string{*report}}))(t)
		return *reports[0].State, out.ImageUsageReportEntries
	}
	if state, entries := describeReport(); state != "pending" || len(entries) != 0 {
		t.Errorf("new report is %s with entries %+v, want pending without entries", state, entries)
	}
	clock.Advance(time.Minute)
	state, entries := describeReport()
	if state != "available" || len(entries) != 2 || *entries[0].AccountId != otherAccount || *entries[0].UsageCount != 2 || *entries[1].ResourceType != "ec2:LaunchTemplate" {
		t.Errorf("report is %s with entries %+v, want available with two", state, entries)
	}
	clock.Advance(30 * 24 * time.Hour)
	if out := must(c.DescribeImageUsageReports(t.Context(), nil))(t); len(out.ImageUsageReports) != 0 {
		t.Error("DescribeImageUsageReports lists a report after 30 days")
	}
}
