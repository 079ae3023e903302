package inuse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/ec2/iampolicy"
	"github.com/bakestone-go/bakestone/internal/awsapi"
	"github.com/bakestone-go/bakestone/internal/templatehistory"
)

// LaunchTemplates returns the source of the images of the default and the
// latest version of every launch template, including templates that AWS
// services manage. Older versions count where something names them: a group, a
// fleet, a node group. An image named by a parameter, as "resolve:ssm:NAME" with
// or without a version or label, is resolved. Image ids in user data count.
func LaunchTemplates() Source {
	return Source{
		Name: "launch templates", Permissions: readsTemplates(),
		List: func(ctx context.Context, at Place) ([]Reference, error) {
			g := newCollector(at)
			// Without a template id EC2 answers for all templates.
			return g.finish(ctx, readVersions(ctx, g.ec2, currentVersions(), g.versions()))
		},
	}
}

// AllLaunchTemplateVersions returns the source of the images of every version
// of every launch template. Where tools never remove old versions, it keeps
// every image forever.
func AllLaunchTemplateVersions() Source {
	return Source{
		Name: "launch template versions", Permissions: readsTemplates("ec2:DescribeLaunchTemplates"),
		List: func(ctx context.Context, at Place) ([]Reference, error) {
			g := newCollector(at)
			ids, err := templateIDs(ctx, g.ec2)
			if err == nil {
				err = forEach(ids, func(id string) error {
					return readVersions(ctx, g.ec2, &awsec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: aws.String(id)}, g.versions())
				})
			}
			return g.finish(ctx, err)
		},
	}
}

// readsTemplates returns the permissions for other actions and for reading
// versions of launch templates, which may name their image by a parameter.
func readsTemplates(others ...string) func(string) []iampolicy.Statement {
	return Reads(append([]string{"ec2:DescribeLaunchTemplateVersions", "ssm:GetParameters"}, others...)...)
}

func currentVersions() *awsec2.DescribeLaunchTemplateVersionsInput {
	return &awsec2.DescribeLaunchTemplateVersionsInput{Versions: []string{latestVersion, defaultVersion}}
}

const (
	latestVersion    = "$Latest"
	defaultVersion   = "$Default"
	templatesPerPage = 200
)

func templateIDs(ctx context.Context, client *awsec2.Client) ([]string, error) {
	var ids []string
	pages := awsec2.NewDescribeLaunchTemplatesPaginator(client, &awsec2.DescribeLaunchTemplatesInput{
		MaxResults: aws.Int32(templatesPerPage), IncludeManagedResources: aws.Bool(true),
	}, func(o *awsec2.DescribeLaunchTemplatesPaginatorOptions) { o.StopOnDuplicateToken = true })
	err := awsapi.EachPage(ctx, pages, func(page *awsec2.DescribeLaunchTemplatesOutput) *string {
		for i := range page.LaunchTemplates {
			ids = append(ids, aws.ToString(page.LaunchTemplates[i].LaunchTemplateId))
		}
		return page.NextToken
	})
	return ids, err
}

func readVersions(ctx context.Context, client *awsec2.Client, in *awsec2.DescribeLaunchTemplateVersionsInput, each func(*ec2types.LaunchTemplateVersion)) error {
	in.MaxResults = aws.Int32(templatesPerPage)
	in.IncludeManagedResources = aws.Bool(true)
	pages := awsec2.NewDescribeLaunchTemplateVersionsPaginator(client, in,
		func(o *awsec2.DescribeLaunchTemplateVersionsPaginatorOptions) { o.StopOnDuplicateToken = true })
	return awsapi.EachPage(ctx, pages, func(page *awsec2.DescribeLaunchTemplateVersionsOutput) *string {
		for i := range page.LaunchTemplateVersions {
			each(&page.LaunchTemplateVersions[i])
		}
		return page.NextToken
	})
}

// A templateVersion is a reference to a version of a launch template.
type templateVersion struct {
	id, name string // one of them
	version  string // empty means the default
	by       string
	back     int // how many versions that it replaced count as well
}

// replaced returns the reference to the version that v replaced in an Auto Scaling
// group, if the reference to v asks for it.
func (t templateVersion) replaced(v *ec2types.LaunchTemplateVersion) (templateVersion, bool) {
	version, ok := templatehistory.Replaced(aws.ToString(v.VersionDescription))
	by := strings.TrimSuffix(t.by, toRollBack) + toRollBack
	return templateVersion{id: aws.ToString(v.LaunchTemplateId), version: version, by: by, back: t.back - 1}, ok && t.back > 0
}

const toRollBack = ", to roll back to,"

// current maps ids and names of launch templates to their default and latest
// versions.
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

// resolve reads the launch templates that references name. One list has all
// default and latest versions; other versions are read one by one. A version
// that no longer exists launches nothing.
func (g *collector) resolve(ctx context.Context) error {
	if len(g.templates) == 0 {
		return nil
	}
	now := current{}
	if err := readVersions(ctx, g.ec2, currentVersions(), now.add); err != nil {
		return err
	}
	wanted := g.templates
	for len(wanted) > 0 {
		var err error
		if wanted, err = g.resolveVersions(ctx, now, wanted); err != nil {
			return err
		}
	}
	return nil
}

// resolveVersions adds what versions launch, and returns references to the versions
// that they replaced.
func (g *collector) resolveVersions(ctx context.Context, now current, wanted []templateVersion) ([]templateVersion, error) {
	var others, replaced []templateVersion
	found := func(want templateVersion, v *ec2types.LaunchTemplateVersion) {
		g.version(v, want.by+" through ")
		if before, ok := want.replaced(v); ok {
			g.mu.Lock()
			defer g.mu.Unlock()
			replaced = append(replaced, before)
		}
	}
	for _, want := range wanted {
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
			found(want, v)
		case now[key] != nil:
			others = append(others, want)
		}
	}
	err := forEach(slices.Compact(others), func(want templateVersion) error {
		in := &awsec2.DescribeLaunchTemplateVersionsInput{Versions: []string{want.version}}
		if want.id != "" {
			in.LaunchTemplateId = aws.String(want.id)
		} else {
			in.LaunchTemplateName = aws.String(want.name)
		}
		err := readVersions(ctx, g.ec2, in, func(v *ec2types.LaunchTemplateVersion) { found(want, v) })
		if notThere(err) {
			return nil
		}
		return err
	})
	return replaced, err
}

// version adds what a version of a launch template launches. By may begin the
// evidence with what names the version.
func (g *collector) version(v *ec2types.LaunchTemplateVersion, by string) {
	if data := v.LaunchTemplateData; data != nil {
		by = fmt.Sprintf("%slaunch template %s version %d", by, aws.ToString(v.LaunchTemplateId), aws.ToInt64(v.VersionNumber))
		g.launch(data.ImageId, data.UserData, by)
		for _, m := range data.BlockDeviceMappings {
			if m.Ebs != nil {
				g.attach(m.Ebs.SnapshotId, by)
			}
		}
	}
}

// versions returns a func that adds versions of launch templates for themselves.
func (g *collector) versions() func(*ec2types.LaunchTemplateVersion) {
	return func(v *ec2types.LaunchTemplateVersion) { g.version(v, "") }
}

// finish resolves templates and parameters and returns all references. If
// failed is not nil, it is returned with the references so far.
func (g *collector) finish(ctx context.Context, failed error) ([]Reference, error) {
	errs := []error{failed}
	if failed == nil {
		errs = append(errs, g.resolve(ctx), g.resolveAliases(ctx))
	}
	return g.refs, errors.Join(append(errs, g.errs...)...)
}
