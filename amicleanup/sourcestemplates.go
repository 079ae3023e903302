package amicleanup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// LaunchTemplates is the source of what the default and the latest version of
// every launch template launch, those that AWS services manage included. Older
// versions count where something names them: a group, a fleet, a node group.
//
// An image that a template names by a parameter, as "resolve:ssm:NAME", is
// looked up; Target.Parameters is needed where there is one.
func LaunchTemplates() Source { return launchTemplates{} }

// AllLaunchTemplateVersions is the source of what any version of a launch
// template launches. Tools that never remove versions make every image used
// for ever by it.
func AllLaunchTemplateVersions() Source { return launchTemplates{all: true} }

type launchTemplates struct{ all bool }

func (l launchTemplates) Name() string {
	if l.all {
		return "launch template versions"
	}
	return "launch templates"
}

func (l launchTemplates) IAMActions() []string {
	actions := templateActions()
	if l.all {
		actions = append(actions, "ec2:DescribeLaunchTemplates")
	}
	return actions
}

func (l launchTemplates) References(ctx context.Context, t Target) ([]Reference, error) {
	g := newGathering(t)
	if l.all {
		ids, err := templateIDs(ctx, t)
		if err == nil {
			err = atOnce(ids, func(id string) error {
				return readVersions(ctx, t, &awsec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: aws.String(id)}, g.version)
			})
		}
		return g.finish(ctx, err)
	}
	// Without a template EC2 answers for all of them.
	return g.finish(ctx, readVersions(ctx, t, currentVersions(), g.version))
}

// templateActions are what is called to know what versions of launch templates
// launch, which may name their image by a parameter.
func templateActions() []string {
	return []string{"ec2:DescribeLaunchTemplateVersions", "ssm:GetParameters"}
}

func currentVersions() *awsec2.DescribeLaunchTemplateVersionsInput {
	return &awsec2.DescribeLaunchTemplateVersionsInput{Versions: []string{latestVersion, defaultVersion}}
}

const (
	latestVersion    = "$Latest"
	defaultVersion   = "$Default"
	templatesPerPage = 200
)

func templateIDs(ctx context.Context, t Target) ([]string, error) {
	var ids []string
	pages := awsec2.NewDescribeLaunchTemplatesPaginator(t.Client, &awsec2.DescribeLaunchTemplatesInput{
		MaxResults: aws.Int32(templatesPerPage), IncludeManagedResources: aws.Bool(true),
	}, func(o *awsec2.DescribeLaunchTemplatesPaginatorOptions) { o.StopOnDuplicateToken = true })
	err := eachPage(ctx, pages, func(page *awsec2.DescribeLaunchTemplatesOutput) *string {
		for i := range page.LaunchTemplates {
			ids = append(ids, aws.ToString(page.LaunchTemplates[i].LaunchTemplateId))
		}
		return page.NextToken
	})
	return ids, err
}

func readVersions(ctx context.Context, t Target, in *awsec2.DescribeLaunchTemplateVersionsInput, each func(*ec2types.LaunchTemplateVersion)) error {
	in.MaxResults = aws.Int32(templatesPerPage)
	in.IncludeManagedResources = aws.Bool(true)
	pages := awsec2.NewDescribeLaunchTemplateVersionsPaginator(t.Client, in,
		func(o *awsec2.DescribeLaunchTemplateVersionsPaginatorOptions) { o.StopOnDuplicateToken = true })
	return eachPage(ctx, pages, func(page *awsec2.DescribeLaunchTemplateVersionsOutput) *string {
		for i := range page.LaunchTemplateVersions {
			each(&page.LaunchTemplateVersions[i])
		}
		return page.NextToken
	})
}

func templateImage(v *ec2types.LaunchTemplateVersion) string {
	if v.LaunchTemplateData == nil {
		return ""
	}
	return aws.ToString(v.LaunchTemplateData.ImageId)
}

// templateVersion is a version of a launch template that something names.
type templateVersion struct {
	id, name string // one is enough
	version  string // empty is the default
	by       string
}

// current are the default and the latest version of all launch templates, by
// id and by name.
type current map[string]map[string]*ec2types.LaunchTemplateVersion

func (c current) add(v *ec2types.LaunchTemplateVersion) {
	for _, key := range []string{aws.ToString(v.LaunchTemplateId), aws.ToString(v.LaunchTemplateName)} {
		have := c[key]
		if have == nil {
			have = map[string]*ec2types.LaunchTemplateVersion{}
			c[key] = have
		}
		have[strconv.FormatInt(aws.ToInt64(v.VersionNumber), 10)] = v
		if aws.ToBool(v.DefaultVersion) {
			have[defaultVersion] = v
		}
		if last := have[latestVersion]; last == nil || aws.ToInt64(v.VersionNumber) > aws.ToInt64(last.VersionNumber) {
			have[latestVersion] = v
		}
	}
}

// resolve reads the launch templates that something names. One call answers
// for all default and latest versions; only others are asked for one by one.
// What is not there any more launches nothing.
func (g *gathering) resolve(ctx context.Context) error {
	if len(g.templates) == 0 {
		return nil
	}
	now := current{}
	if err := readVersions(ctx, g.target, currentVersions(), now.add); err != nil {
		return err
	}
	var others []templateVersion
	for _, want := range g.templates {
		if want.version == "" {
			want.version = defaultVersion
		}
		key := want.id
		if key == "" {
			key = want.name
		}
		v := now[key][want.version]
		switch {
		case v != nil:
			g.image(templateImage(v), throughTemplate(want.by, v))
		case now[key] != nil:
			others = append(others, want)
		}
	}
	return atOnce(slices.Compact(others), func(want templateVersion) error {
		in := &awsec2.DescribeLaunchTemplateVersionsInput{Versions: []string{want.version}}
		if want.id != "" {
			in.LaunchTemplateId = aws.String(want.id)
		} else {
			in.LaunchTemplateName = aws.String(want.name)
		}
		err := readVersions(ctx, g.target, in, func(v *ec2types.LaunchTemplateVersion) {
			g.image(templateImage(v), throughTemplate(want.by, v))
		})
		if notThere(err) {
			return nil
		}
		return err
	})
}

func throughTemplate(by string, v *ec2types.LaunchTemplateVersion) string {
	return by + " through " + versionText(v)
}

func versionText(v *ec2types.LaunchTemplateVersion) string {
	return fmt.Sprintf("launch template %s version %d", aws.ToString(v.LaunchTemplateId), aws.ToInt64(v.VersionNumber))
}

// version adds what a version of a launch template names.
func (g *gathering) version(v *ec2types.LaunchTemplateVersion) {
	g.image(templateImage(v), versionText(v))
}

// finish resolves what was only named, and returns everything. A failure
// before is passed through.
func (g *gathering) finish(ctx context.Context, failed error) ([]Reference, error) {
	errs := []error{failed}
	if failed == nil {
		errs = append(errs, g.resolve(ctx), g.resolveAliases(ctx))
	}
	return g.refs, errors.Join(append(errs, g.errs...)...)
}
