package ec2test

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// template is a launch template.
type template struct {
	base

	name           string
	versions       []*templateVersion // by number; never empty
	made           int                // the number of the last one made, which may be gone
	defaultVersion int                // number
}

type templateVersion struct {
	number      int
	created     string
	by          string
	description string
	form        url.Values // the data as parameters of RunInstances
	data        launchParams
}

const dataPrefix = "LaunchTemplateData."

// templateData returns a version with the data of the request. If source is not
// nil, the version also has the source's data that the request does not replace.
func (c *call) templateData(data *launchParams, source *templateVersion) (*templateVersion, *ec2query.Error) {
	v := &templateVersion{created: ec2query.FormatTime(c.now), by: "arn:aws:iam::" + c.account + ":root", form: make(url.Values), data: *data}
	given := make(map[string]bool)
	for key, values := range c.form {
		if name, ok := strings.CutPrefix(key, dataPrefix); ok {
			v.form[name] = values
			top, _, _ := strings.Cut(name, ".")
			given[top] = true
		}
	}
	if source == nil {
		return v, nil
	}
	for key, values := range source.form {
		if top, _, _ := strings.Cut(key, "."); !given[top] {
			v.form[key] = values
		}
	}
	v.data = launchParams{}
	if _, err := ec2query.Decode(v.form, &v.data); err != nil {
		return nil, err
	}
	return v, nil
}

// template returns the caller's template with an id or a name.
func (c *call) template(id, name string) (*template, *ec2query.Error) {
	switch {
	case id != "" && name != "":
		return nil, ec2query.Errorf("InvalidRequest", "The request must contain either a launch template ID or a launch template name, but not both.")
	case id != "":
		return lookup(c, &c.templates, templateKind(), id)
	case name != "":
		for t := range c.templates.all() {
			if t.name == name && c.owns(&t.base) && c.isVisible(&t.base) {
				return t, nil
			}
		}
		return nil, ec2query.Errorf("InvalidLaunchTemplateName.NotFoundException", "The specified launch template, with template name %s, does not exist.", name)
	}
	return nil, ec2query.MissingParameter("LaunchTemplateId")
}

// resolveTemplate completes a reference to a launch template with its id and
// name, and checks that the version exists.
func (c *call) resolveTemplate(ref *templateRef) *ec2query.Error {
	t, err := c.template(ref.LaunchTemplateID, ref.LaunchTemplateName)
	if err != nil {
		return err
	}
	if _, err := t.version(ref.Version); err != nil {
		return err
	}
	ref.LaunchTemplateID, ref.LaunchTemplateName = t.id, t.name
	return nil
}

// version returns a version by number, $Latest or $Default.
func (t *template) version(which string) (*templateVersion, *ec2query.Error) {
	switch which {
	case "$Latest":
		return t.versions[len(t.versions)-1], nil
	case "$Default":
		return t.numbered(t.defaultVersion), nil
	}
	if n, err := strconv.Atoi(which); err == nil {
		if v := t.numbered(n); v != nil {
			return v, nil
		}
	}
	return nil, ec2query.Errorf("InvalidLaunchTemplateId.VersionNotFound", "Could not find launch template version %s of %s", which, t.id)
}

// numbered returns the version with a number, or nil.
func (t *template) numbered(n int) *templateVersion {
	at, ok := slices.BinarySearchFunc(t.versions, n, func(v *templateVersion, n int) int { return v.number - n })
	if !ok {
		return nil
	}
	return t.versions[at]
}

type templateXML struct {
	ID      string                `xml:"launchTemplateId"`
	Name    string                `xml:"launchTemplateName"`
	Created string                `xml:"createTime"`
	By      string                `xml:"createdBy"`
	Default int                   `xml:"defaultVersionNumber"`
	Latest  int                   `xml:"latestVersionNumber"`
	Tags    *ec2query.Set[tagXML] `xml:"tagSet,omitempty"`
}

func (c *call) templateXML(t *template) templateXML {
	return templateXML{t.id, t.name, ec2query.FormatTime(t.created), t.versions[0].by, t.defaultVersion, t.versions[len(t.versions)-1].number, t.tags.optional(c.now)}
}

type templateVersionXML struct {
	ID          string  `xml:"launchTemplateId"`
	Name        string  `xml:"launchTemplateName"`
	Number      int     `xml:"versionNumber"`
	Description string  `xml:"versionDescription,omitempty"`
	Created     string  `xml:"createTime"`
	By          string  `xml:"createdBy"`
	Default     bool    `xml:"defaultVersion"`
	Data        dataXML `xml:"launchTemplateData"`
}

func (t *template) versionXML(v *templateVersion) templateVersionXML {
	return templateVersionXML{t.id, t.name, v.number, v.description, v.created, v.by, v.number == t.defaultVersion, v.data.xml()}
}

type dataXML struct {
	Image      string                     `xml:"imageId,omitempty"`
	Type       string                     `xml:"instanceType,omitempty"`
	Key        string                     `xml:"keyName,omitempty"`
	UserData   string                     `xml:"userData,omitempty"`
	GroupIDs   *ec2query.Set[string]      `xml:"securityGroupIdSet,omitempty"`
	Groups     *ec2query.Set[string]      `xml:"securityGroupSet,omitempty"`
	Mappings   *ec2query.Set[mappingXML]  `xml:"blockDeviceMappingSet,omitempty"`
	Interfaces *ec2query.Set[dataNICXML]  `xml:"networkInterfaceSet,omitempty"`
	Profile    *dataProfileXML            `xml:"iamInstanceProfile,omitempty"`
	Shutdown   string                     `xml:"instanceInitiatedShutdownBehavior,omitempty"`
	EBS        *bool                      `xml:"ebsOptimized,omitempty"`
	Protected  *bool                      `xml:"disableApiTermination,omitempty"`
	Tags       *ec2query.Set[dataTagsXML] `xml:"tagSpecificationSet,omitempty"`
	Metadata   *dataMetadataXML           `xml:"metadataOptions,omitempty"`
	Placement  *dataPlacementXML          `xml:"placement,omitempty"`
	Monitoring *enabledXML                `xml:"monitoring,omitempty"`
	Credits    *creditsXML                `xml:"creditSpecification,omitempty"`
	Market     *dataMarketXML             `xml:"instanceMarketOptions,omitempty"`
}

// groupIDs is the only list whose elements are not called item.
type groupIDs struct {
	IDs []string `xml:"groupId"`
}

func groupIDsOf(ids []string) *groupIDs {
	if len(ids) == 0 {
		return nil
	}
	return &groupIDs{ids}
}

type dataNICXML struct {
	DeviceIndex *int      `xml:"deviceIndex,omitempty"`
	Subnet      string    `xml:"subnetId,omitempty"`
	Groups      *groupIDs `xml:"groupSet,omitempty"`
	PublicIP    *bool     `xml:"associatePublicIpAddress,omitempty"`
	Delete      *bool     `xml:"deleteOnTermination,omitempty"`
	Description string    `xml:"description,omitempty"`
}

type dataProfileXML struct {
	ARN  string `xml:"arn,omitempty"`
	Name string `xml:"name,omitempty"`
}

type dataTagsXML struct {
	Resource string               `xml:"resourceType"`
	Tags     ec2query.Set[tagXML] `xml:"tagSet"`
}

type dataMetadataXML struct {
	Tokens   string `xml:"httpTokens,omitempty"`
	Hops     *int   `xml:"httpPutResponseHopLimit,omitempty"`
	Endpoint string `xml:"httpEndpoint,omitempty"`
}

type dataPlacementXML struct {
	Zone    string `xml:"availabilityZone,omitempty"`
	Tenancy string `xml:"tenancy,omitempty"`
}

type enabledXML struct {
	Enabled bool `xml:"enabled"`
}

type creditsXML struct {
	CPU string `xml:"cpuCredits"`
}

type dataMarketXML struct {
	Type string `xml:"marketType"`
}

func (p *launchParams) xml() dataXML {
	out := dataXML{
		Image: p.ImageID, Type: p.InstanceType, Key: p.KeyName, UserData: base64.StdEncoding.EncodeToString(p.UserData),
		GroupIDs: ec2query.Optional(ec2query.SetOf(p.SecurityGroupID...)), Groups: ec2query.Optional(ec2query.SetOf(p.SecurityGroup...)),
		Mappings: ec2query.Optional(ec2query.MapSet(p.BlockDeviceMapping, mapping.xml)), Shutdown: p.InstanceInitiatedShutdownBehavior,
		EBS: p.EbsOptimized, Protected: p.DisableAPITermination,
	}
	out.Interfaces = ec2query.Optional(ec2query.MapSet(p.NetworkInterface, func(n nicParams) dataNICXML {
		return dataNICXML{n.DeviceIndex, n.SubnetID, groupIDsOf(n.SecurityGroupID), n.AssociatePublicIPAddress, n.DeleteOnTermination, n.Description}
	}))
	out.Tags = ec2query.Optional(ec2query.MapSet(p.TagSpecification, func(s tagSpecification) dataTagsXML {
		return dataTagsXML{s.ResourceType, ec2query.MapSet(s.Tag, func(t tagParam) tagXML { return tagXML{t.Key, t.value()} })}
	}))
	if v := p.IamInstanceProfile; v != nil {
		out.Profile = &dataProfileXML{v.ARN, v.Name}
	}
	if v := p.MetadataOptions; v != nil {
		out.Metadata = &dataMetadataXML{v.HTTPTokens, v.HTTPPutResponseHopLimit, v.HTTPEndpoint}
	}
	if v := p.Placement; v != nil {
		out.Placement = &dataPlacementXML{v.AvailabilityZone, v.Tenancy}
	}
	if v := p.Monitoring; v != nil {
		out.Monitoring = &enabledXML{v.Enabled}
	}
	if v := p.CreditSpecification; v != nil {
		out.Credits = &creditsXML{v.CPUCredits}
	}
	if v := p.InstanceMarketOptions; v != nil {
		out.Market = &dataMarketXML{v.MarketType}
	}
	return out
}

// newestFirst returns versions in the order of responses.
func newestFirst(list []*templateVersion) []*templateVersion {
	out := slices.Clone(list)
	slices.SortFunc(out, func(a, b *templateVersion) int { return b.number - a.number })
	return out
}
