package ec2

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/ec2/iampolicy"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// A UsageReport tells what runs the AMIs of a family, oldest AMI first. It marshals to
// JSON.
type UsageReport struct {
	Family string       `json:"family"`
	Region string       `json:"region"`
	Time   time.Time    `json:"time"`
	Images []ImageUsage `json:"images"`
}

// An ImageUsage tells what runs an AMI.
type ImageUsage struct {
	ImageID string    `json:"image"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`

	// UnpatchedDays are the days since the AMI was made, in which its instances got
	// no updates by it.
	UnpatchedDays int `json:"unpatched_days"`

	// Instances are the ids of those that are not terminated, Templates the launch
	// templates whose default or latest version has the AMI, with the version, and
	// Groups the Auto Scaling groups that launch it.
	Instances []string `json:"instances"`
	Templates []string `json:"templates"`
	Groups    []string `json:"groups"`
}

// isUsed reports whether anything runs or would launch the AMI.
func (u ImageUsage) isUsed() bool {
	return len(u.Instances) > 0 || len(u.Templates) > 0 || len(u.Groups) > 0
}

// Usage reports which instances, launch templates and Auto Scaling groups in a region
// run or launch the AMIs of a family: those that the account owns and that were baked
// from the image with this name. AMIs that nothing uses are included. Empty means the
// cloud's region.
func Usage(ctx context.Context, cloud *Cloud, region, family string) (*UsageReport, error) {
	r := cloud.region(region)
	report := &UsageReport{Family: family, Region: r.name, Time: r.clock.Now().UTC()}
	byID := map[string]*ImageUsage{}
	in := &awsec2.DescribeImagesInput{Owners: []string{"self"}, Filters: []ec2types.Filter{filter("tag:"+TagImage, family)}, IncludeDisabled: aws.Bool(true)}
	images := awsec2.NewDescribeImagesPaginator(r.client, in, func(o *awsec2.DescribeImagesPaginatorOptions) { o.StopOnDuplicateToken = true })
	err := awsapi.EachPage(ctx, images, func(page *awsec2.DescribeImagesOutput) *string {
		for i := range page.Images {
			image := &page.Images[i]
			created, _ := time.Parse(time.RFC3339, aws.ToString(image.CreationDate)) // zero if EC2 gives none
			id := aws.ToString(image.ImageId)
			byID[id] = &ImageUsage{
				ImageID: id, Name: aws.ToString(image.Name), Created: created, UnpatchedDays: int(report.Time.Sub(created).Hours()) / hoursPerDay,
				Instances: []string{}, Templates: []string{}, Groups: []string{},
			}
		}
		return page.NextToken
	})
	if err != nil {
		return nil, fmt.Errorf("images of %s in %s: %w", family, r.name, err)
	}
	for _, read := range []struct {
		what string
		do   func(context.Context, map[string]*ImageUsage) error
	}{{"instances", r.usageByInstances}, {"launch templates", r.usageByTemplates}, {"auto scaling groups", r.usageByGroups}} {
		if err := read.do(ctx, byID); err != nil {
			return nil, fmt.Errorf("%s in %s: %w", read.what, r.name, err)
		}
	}
	for _, u := range byID {
		report.Images = append(report.Images, *u)
	}
	slices.SortFunc(report.Images, func(a, b ImageUsage) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ImageID, b.ImageID))
	})
	return report, nil
}

const hoursPerDay = 24

func (r *region) usageByInstances(ctx context.Context, byID map[string]*ImageUsage) error {
	const state = "instance-state-name"
	in := &awsec2.DescribeInstancesInput{Filters: []ec2types.Filter{filter(state, "pending", "running", "stopping", "stopped")}}
	pages := awsec2.NewDescribeInstancesPaginator(r.client, in, func(o *awsec2.DescribeInstancesPaginatorOptions) { o.StopOnDuplicateToken = true })
	return awsapi.EachPage(ctx, pages, func(page *awsec2.DescribeInstancesOutput) *string {
		for _, reservation := range page.Reservations {
			for i := range reservation.Instances {
				if u := byID[aws.ToString(reservation.Instances[i].ImageId)]; u != nil {
					u.Instances = append(u.Instances, aws.ToString(reservation.Instances[i].InstanceId))
				}
			}
		}
		return page.NextToken
	})
}

func (r *region) usageByTemplates(ctx context.Context, byID map[string]*ImageUsage) error {
	in := &awsec2.DescribeLaunchTemplateVersionsInput{Versions: []string{"$Latest", "$Default"}}
	pages := awsec2.NewDescribeLaunchTemplateVersionsPaginator(r.client, in, func(o *awsec2.DescribeLaunchTemplateVersionsPaginatorOptions) { o.StopOnDuplicateToken = true })
	return awsapi.EachPage(ctx, pages, func(page *awsec2.DescribeLaunchTemplateVersionsOutput) *string {
		for i := range page.LaunchTemplateVersions {
			v := &page.LaunchTemplateVersions[i]
			if v.LaunchTemplateData == nil {
				continue
			}
			text := fmt.Sprintf("%s version %d", aws.ToString(v.LaunchTemplateName), aws.ToInt64(v.VersionNumber))
			if u := byID[aws.ToString(v.LaunchTemplateData.ImageId)]; u != nil && !slices.Contains(u.Templates, text) {
				u.Templates = append(u.Templates, text)
			}
		}
		return page.NextToken
	})
}

func (r *region) usageByGroups(ctx context.Context, byID map[string]*ImageUsage) error {
	groups, err := r.scalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{})
	if err != nil {
		return err
	}
	for i := range groups {
		g := &groupState{AutoScalingGroup: groups[i]}
		ref, err := g.templateRef()
		if err != nil {
			continue // no launch template: its instances tell
		}
		version := cmp.Or(aws.ToString(ref.Version), "$Default")
		v, err := r.templateVersion(ctx, ref, version)
		switch {
		case isTemplateGone(err):
			continue
		case err != nil:
			return err
		}
		if u := byID[v.image]; u != nil {
			u.Groups = append(u.Groups, aws.ToString(g.AutoScalingGroupName))
		}
	}
	return nil
}

// WriteText writes the report as text: a line for each AMI that something uses, with
// its instances, templates and groups, and the number of those that nothing uses.
func (u *UsageReport) WriteText(w io.Writer) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%s in %s\n", u.Family, u.Region)
	unused := 0
	for _, i := range u.Images {
		if !i.isUsed() {
			unused++
			continue
		}
		fmt.Fprintf(&text, "  %s %q: %d days unpatched, %d instances", i.ImageID, i.Name, i.UnpatchedDays, len(i.Instances))
		for _, list := range []struct {
			what  string
			names []string
		}{{"groups", i.Groups}, {"templates", i.Templates}} {
			if len(list.names) > 0 {
				fmt.Fprintf(&text, ", %s %s", list.what, strings.Join(list.names, ", "))
			}
		}
		text.WriteString("\n")
	}
	fmt.Fprintf(&text, "  unused: %d\n", unused)
	_, err := io.WriteString(w, text.String())
	return err
}

// UsagePolicy returns the permissions that Usage needs.
func UsagePolicy() *iampolicy.Document {
	return grants{
		reading("DescribeImages", "DescribeInstances", "DescribeLaunchTemplateVersions"),
		{"Look", []string{"autoscaling:DescribeAutoScalingGroups"}, []string{"*"}, nil},
	}.document()
}
