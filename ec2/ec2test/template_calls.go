package ec2test

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type createTemplateInput struct {
	LaunchTemplateName string       `ec2:"LaunchTemplateName,required"`
	LaunchTemplateData launchParams `ec2:"LaunchTemplateData,required"`
	ClientToken        string
	VersionDescription string
	TagSpecification   []tagSpecification
}

type templateOutput struct {
	Template templateXML `xml:"launchTemplate"`
}

func (c *call) createTemplate(in *createTemplateInput) (*templateOutput, *ec2query.Error) {
	known, err := c.usedToken(in.ClientToken)
	if err != nil {
		return nil, err
	}
	for _, id := range known {
		if t, ok := c.templates.get(id); ok {
			return &templateOutput{c.templateXML(t)}, nil
		}
	}
	specs, err := tagSpecs(in.TagSpecification, "launch-template")
	if err != nil {
		return nil, err
	}
	for t := range c.templates.all() {
		if t.name == in.LaunchTemplateName && c.owns(&t.base) {
			return nil, ec2query.Errorf("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
		}
	}
	v, err := c.templateData(&in.LaunchTemplateData, nil)
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	v.number, v.description = 1, in.VersionDescription
	t := &template{base: c.newBase(templateKind(), specs["launch-template"]), name: in.LaunchTemplateName, versions: []*templateVersion{v}, defaultVersion: 1, made: 1}
	c.templates.put(t)
	c.rememberToken(in.ClientToken, t.id)
	return &templateOutput{c.templateXML(t)}, nil
}

type createTemplateVersionInput struct {
	LaunchTemplateID   string `ec2:"LaunchTemplateId"`
	LaunchTemplateName string
	LaunchTemplateData launchParams `ec2:"LaunchTemplateData,required"`
	SourceVersion      string
	ClientToken        string
	VersionDescription string
}

type templateVersionOutput struct {
	Version templateVersionXML `xml:"launchTemplateVersion"`
}

func (c *call) createTemplateVersion(in *createTemplateVersionInput) (*templateVersionOutput, *ec2query.Error) {
	t, err := c.template(in.LaunchTemplateID, in.LaunchTemplateName)
	if err != nil {
		return nil, err
	}
	known, err := c.usedToken(in.ClientToken)
	if err != nil {
		return nil, err
	}
	if len(known) > 0 {
		v, err := t.version(known[0])
		if err != nil {
			return nil, err
		}
		return &templateVersionOutput{t.versionXML(v)}, nil
	}
	var source *templateVersion
	if in.SourceVersion != "" {
		if source, err = t.version(in.SourceVersion); err != nil {
			return nil, err
		}
	}
	v, err := c.templateData(&in.LaunchTemplateData, source)
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	t.made++
	v.number, v.description = t.made, in.VersionDescription
	t.versions = append(t.versions, v)
	c.rememberToken(in.ClientToken, strconv.Itoa(v.number))
	return &templateVersionOutput{t.versionXML(v)}, nil
}

func templateFilters() filters[*template] {
	return filters[*template]{
		"launch-template-name": func(_ *call, t *template) []string { return one(t.name) },
		"create-time":          func(_ *call, t *template) []string { return one(ec2query.FormatTime(t.created)) },
	}
}

type describeTemplatesInput struct {
	Filter                  []filterParam
	LaunchTemplateID        []string `ec2:"LaunchTemplateId"`
	LaunchTemplateName      []string
	IncludeManagedResources bool
	pageParams
}

type describeTemplatesOutput struct {
	Templates ec2query.Set[templateXML] `xml:"launchTemplates"`
	Next      string                    `xml:"nextToken,omitempty"`
}

func (c *call) describeTemplates(in *describeTemplatesInput) (*describeTemplatesOutput, *ec2query.Error) {
	ids := slices.Clone(in.LaunchTemplateID)
	for _, name := range in.LaunchTemplateName {
		t, err := c.template("", name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, t.id)
	}
	items, next, err := find(c, &c.templates, query[*template]{
		kind: templateKind(), ids: ids, filters: in.Filter, known: c.server.known.templates, page: in.pageParams, limits: pageLimits{1, 200},
	})
	return &describeTemplatesOutput{Next: next, Templates: ec2query.MapSet(items, c.templateXML)}, err
}

// versionOf is a version with its template.
type versionOf struct {
	template *template
	version  *templateVersion
}

func versionFilters() filters[versionOf] {
	metadata := func(get func(*metadataParams) string) func(*call, versionOf) []string {
		return func(_ *call, v versionOf) []string {
			if m := v.version.data.MetadataOptions; m != nil {
				return one(get(m))
			}
			return nil
		}
	}
	return filters[versionOf]{
		"image-id":           func(_ *call, v versionOf) []string { return one(v.version.data.ImageID) },
		"instance-type":      func(_ *call, v versionOf) []string { return one(v.version.data.InstanceType) },
		"is-default-version": func(_ *call, v versionOf) []string { return truth(v.version.number == v.template.defaultVersion) },
		"create-time":        func(_ *call, v versionOf) []string { return one(v.version.created) },
		"ebs-optimized": func(_ *call, v versionOf) []string {
			e := v.version.data.EbsOptimized
			return truth(e != nil && *e)
		},
		"http-tokens":   metadata(func(m *metadataParams) string { return m.HTTPTokens }),
		"http-endpoint": metadata(func(m *metadataParams) string { return m.HTTPEndpoint }),
		"iam-instance-profile": func(_ *call, v versionOf) []string {
			if p := v.version.data.IamInstanceProfile; p != nil {
				return one(cmp.Or(p.ARN, p.Name))
			}
			return nil
		},
	}.never("kernel-id", "ram-disk-id", "host-resource-group-arn", "license-configuration-arn", "network-card-index")
}

type describeTemplateVersionsInput struct {
	Filter                  []filterParam
	LaunchTemplateID        string `ec2:"LaunchTemplateId"`
	LaunchTemplateName      string
	LaunchTemplateVersion   []string
	MinVersion              string
	MaxVersion              string
	ResolveAlias            bool
	IncludeManagedResources bool
	pageParams
}

type describeTemplateVersionsOutput struct {
	Versions ec2query.Set[templateVersionXML] `xml:"launchTemplateVersionSet"`
	Next     string                           `xml:"nextToken,omitempty"`
}

func (c *call) describeTemplateVersions(in *describeTemplateVersionsInput) (*describeTemplateVersionsOutput, *ec2query.Error) {
	m, err := c.server.known.versions.compile(c, in.Filter, nil)
	if err != nil {
		return nil, err
	}
	var found []versionOf
	if in.LaunchTemplateID == "" && in.LaunchTemplateName == "" {
		if found, err = c.allVersions(in.LaunchTemplateVersion); err != nil {
			return nil, err
		}
	} else {
		t, err := c.template(in.LaunchTemplateID, in.LaunchTemplateName)
		if err != nil {
			return nil, err
		}
		if found, err = t.wanted(in); err != nil {
			return nil, err
		}
	}
	found = slices.DeleteFunc(found, func(v versionOf) bool { return !m.match(v) })
	if in.ResolveAlias && len(found) != 1 {
		return nil, ec2query.InvalidCombination("ResolveAlias can only be used with a single launch template version")
	}
	items, next, err := page(c, found, in.pageParams, pageLimits{1, 200}, func(v versionOf) uint64 {
		// Within a template the newest version comes first.
		return v.template.seq<<20 | uint64(1<<20-1-v.version.number) //nolint:gosec // numbers are small
	})
	return &describeTemplateVersionsOutput{Next: next, Versions: ec2query.MapSet(items, func(v versionOf) templateVersionXML {
		out := v.template.versionXML(v.version)
		if in.ResolveAlias {
			out.Data.Image = c.resolveAlias(out.Data.Image)
		}
		return out
	})}, err
}

// allVersions returns the $Latest or $Default versions of all templates. EC2
// lists no others without a template.
func (c *call) allVersions(which []string) ([]versionOf, *ec2query.Error) {
	var out []versionOf
	if len(which) == 0 {
		return nil, ec2query.MissingParameter("LaunchTemplateId")
	}
	for t := range c.templates.all() {
		if !c.owns(&t.base) || !c.isVisible(&t.base) {
			continue
		}
		var list []*templateVersion
		for _, alias := range which {
			if alias != "$Latest" && alias != "$Default" {
				return nil, ec2query.InvalidValue("LaunchTemplateVersion", alias, "Without a launch template only $Latest and $Default can be described.")
			}
			v, err := t.version(alias)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(list, v) {
				list = append(list, v)
			}
		}
		for _, v := range newestFirst(list) {
			out = append(out, versionOf{t, v})
		}
	}
	return out, nil
}

// wanted returns the versions of a template that the call names.
func (t *template) wanted(in *describeTemplateVersionsInput) ([]versionOf, *ec2query.Error) {
	list := t.versions
	if len(in.LaunchTemplateVersion) > 0 {
		list = nil
		for _, which := range in.LaunchTemplateVersion {
			v, err := t.version(which)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(list, v) {
				list = append(list, v)
			}
		}
	}
	low, high := 1, t.made
	for _, limit := range []struct {
		text string
		into *int
	}{{in.MinVersion, &low}, {in.MaxVersion, &high}} {
		if limit.text != "" {
			n, err := strconv.Atoi(limit.text)
			if err != nil {
				return nil, ec2query.InvalidValue("MinVersion", limit.text, "It must be a number.")
			}
			*limit.into = n
		}
	}
	var out []versionOf
	for _, v := range newestFirst(list) {
		if low <= v.number && v.number <= high {
			out = append(out, versionOf{t, v})
		}
	}
	return out, nil
}

type modifyTemplateInput struct {
	LaunchTemplateID   string `ec2:"LaunchTemplateId"`
	LaunchTemplateName string
	SetDefaultVersion  string
	ClientToken        string
}

func (c *call) modifyTemplate(in *modifyTemplateInput) (*templateOutput, *ec2query.Error) {
	t, err := c.template(in.LaunchTemplateID, in.LaunchTemplateName)
	if err != nil {
		return nil, err
	}
	v, err := t.version(cmp.Or(in.SetDefaultVersion, "$Default"))
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	t.defaultVersion = v.number
	return &templateOutput{c.templateXML(t)}, nil
}

type deleteTemplateInput struct {
	LaunchTemplateID   string `ec2:"LaunchTemplateId"`
	LaunchTemplateName string
}

func (c *call) deleteTemplate(in *deleteTemplateInput) (*templateOutput, *ec2query.Error) {
	t, err := c.template(in.LaunchTemplateID, in.LaunchTemplateName)
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	c.templates.remove(t.id)
	return &templateOutput{c.templateXML(t)}, nil
}
