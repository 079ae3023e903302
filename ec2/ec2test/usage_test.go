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
				t.Errorf("request %s is for %s", *r.SpotInstanceRequestId, *r.LaunchSpecification.ImageId)
			}
			all = append(all, string(r.State))
		}
		return strings.Join(all, " ")
	}
	if got := states(); got != "open open active" {
		t.Errorf("requests are %s", got)
	}
	if got := states(filter("instance-id", *running.InstanceId)); got != "active" {
		t.Errorf("the one that runs is %q", got)
	}
	must(c.CancelSpotInstanceRequests(t.Context(), &awsec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{*made.SpotInstanceRequests[0].SpotInstanceRequestId}}))(t)
	if got := states(); got != "cancelled open active" {
		t.Errorf("after cancelling: %s", got)
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
		t.Errorf("spot fleets: %+v", fleets)
	}
	must(c.CancelSpotFleetRequests(t.Context(), &awsec2.CancelSpotFleetRequestsInput{SpotFleetRequestIds: []string{*spot.SpotFleetRequestId}, TerminateInstances: aws.Bool(true)}))(t)
	if got := must(c.DescribeSpotFleetRequests(t.Context(), nil))(t).SpotFleetRequestConfigs[0].SpotFleetRequestState; got != "cancelled" {
		t.Errorf("the spot fleet is %s", got)
	}

	in := &awsec2.CreateFleetInput{
		TargetCapacitySpecification: &ec2types.TargetCapacitySpecificationRequest{TotalTargetCapacity: aws.Int32(1)},
		LaunchTemplateConfigs: []ec2types.FleetLaunchTemplateConfigRequest{{
			LaunchTemplateSpecification: &ec2types.FleetLaunchTemplateSpecificationRequest{LaunchTemplateName: aws.String("web"), Version: aws.String("$Latest")},
			Overrides:                   []ec2types.FleetLaunchTemplateOverridesRequest{{InstanceType: "t3.small", ImageId: image}},
		}},
	}
	if _, err := c.CreateFleet(t.Context(), in); code(err) != "InvalidParameterCombination" {
		t.Errorf("an image of its own for a fleet to maintain: %v", err)
	}
	in.Type = ec2types.FleetTypeInstant
	instant := must(c.CreateFleet(t.Context(), in))(t)
	in.ClientToken = nil // the SDK has filled it in
	in.Type, in.LaunchTemplateConfigs[0].Overrides[0].ImageId = ec2types.FleetTypeMaintain, nil
	kept := must(c.CreateFleet(t.Context(), in))(t)
	listed := must(c.DescribeFleets(t.Context(), nil))(t).Fleets
	if len(listed) != 1 || *listed[0].FleetId != *kept.FleetId || *listed[0].LaunchTemplateConfigs[0].LaunchTemplateSpecification.LaunchTemplateId != id {
		t.Errorf("fleets: %+v", listed)
	}
	named := must(c.DescribeFleets(t.Context(), &awsec2.DescribeFleetsInput{FleetIds: []string{*instant.FleetId}}))(t).Fleets
	if len(named) != 1 || *named[0].LaunchTemplateConfigs[0].Overrides[0].ImageId != *image {
		t.Errorf("the instant fleet: %+v", named)
	}
	del := &awsec2.DeleteFleetsInput{FleetIds: []string{*instant.FleetId}, TerminateInstances: aws.Bool(false)}
	if _, err := c.DeleteFleets(t.Context(), del); code(err) != "InvalidParameterCombination" {
		t.Errorf("leaving the instances of an instant fleet: %v", err)
	}
	del.TerminateInstances = aws.Bool(true)
	if got := must(c.DeleteFleets(t.Context(), del))(t).SuccessfulFleetDeletions; len(got) != 1 || got[0].CurrentFleetState != "deleted" {
		t.Errorf("deleted: %+v", got)
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
	// The template names the image in its oldest version, one too deep.
	want := []string{"ec2:Instance instance/" + *inst.InstanceId, "ssm:Parameter parameter/web/ami", "imagebuilder:ImageRecipe image-recipe/base/1.0.0"}
	if got := arns(&awsec2.DescribeImageReferencesInput{IncludeAllResourceTypes: aws.Bool(true)}); !slices.Equal(got, want) {
		t.Errorf("references: %q, want %q", got, want)
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
		t.Errorf("deep references: %q", got)
	}
	if got := arns(&awsec2.DescribeImageReferencesInput{ResourceTypes: []ec2types.ResourceTypeRequest{{ResourceType: "ec2:Instance"}}}); len(got) != 1 {
		t.Errorf("terminated instances count unless states are asked for: %q", got)
	}
	if _, err := c.DescribeImageReferences(t.Context(), &awsec2.DescribeImageReferencesInput{ImageIds: make([]string, 11), IncludeAllResourceTypes: aws.Bool(true)}); code(err) != "InvalidParameterValue" {
		t.Errorf("eleven images: %v", err)
	}
	if _, err := c.DescribeImageReferences(t.Context(), &awsec2.DescribeImageReferencesInput{ImageIds: []string{id}}); code(err) != "MissingParameter" {
		t.Errorf("of no type: %v", err)
	}
}

func TestUsageReports(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	srv, c := start(t, &ec2test.Options{Clock: clock, Latency: ec2test.Latency{UsageReport: time.Minute}})
	id := bakeImage(t, c, "shared")
	other := client(srv.ConfigFor("210987654321", region))
	must(c.ModifyImageAttribute(t.Context(), &awsec2.ModifyImageAttributeInput{ImageId: &id, LaunchPermission: &ec2types.LaunchPermissionModifications{
		Add: []ec2types.LaunchPermission{{UserId: aws.String("210987654321")}},
	}}))(t)
	run(t, other, id, nil)
	run(t, other, id, nil)
	launchTemplate(t, other, "theirs", id)
	in := &awsec2.CreateImageUsageReportInput{ImageId: &id, ResourceTypes: []ec2types.ImageUsageResourceTypeRequest{
		{ResourceType: aws.String("ec2:Instance")}, {ResourceType: aws.String("ec2:LaunchTemplate")},
	}}
	if _, err := other.CreateImageUsageReport(t.Context(), in); code(err) != "AuthFailure" {
		t.Errorf("of another's image: %v", err)
	}
	in.ClientToken = nil // the SDK has filled it in
	report := must(c.CreateImageUsageReport(t.Context(), in))(t).ReportId
	in.ClientToken = nil
	if _, err := c.CreateImageUsageReport(t.Context(), in); code(err) != "ResourceLimitExceeded" {
		t.Errorf("a second pending report: %v", err)
	}
	look := func() (state string, entries []ec2types.ImageUsageReportEntry) {
		reports := must(c.DescribeImageUsageReports(t.Context(), &awsec2.DescribeImageUsageReportsInput{ReportIds: []string{*report}}))(t).ImageUsageReports
		out := must(c.DescribeImageUsageReportEntries(t.Context(), &awsec2.DescribeImageUsageReportEntriesInput{ReportIds: []string{*report}}))(t)
		return *reports[0].State, out.ImageUsageReportEntries
	}
	if state, entries := look(); state != "pending" || len(entries) != 0 {
		t.Errorf("at once: %s, %+v", state, entries)
	}
	clock.Advance(time.Minute)
	state, entries := look()
	if state != "available" || len(entries) != 2 || *entries[0].AccountId != "210987654321" || *entries[0].UsageCount != 2 || *entries[1].ResourceType != "ec2:LaunchTemplate" {
		t.Errorf("report: %s, %+v", state, entries)
	}
	clock.Advance(30 * 24 * time.Hour)
	if out := must(c.DescribeImageUsageReports(t.Context(), nil))(t); len(out.ImageUsageReports) != 0 {
		t.Error("a report is there after thirty days")
	}
}
