package ec2test

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// DescribeImageReferences, as the API reference describes it, finds the
// caller's instances, launch templates, parameters and Image Builder recipes
// that refer to any of up to ten images.

const (
	maxReferenceImages   = 10
	defaultVersionDepth  = 10
	referencesPerPageMin = 5
)

// imageRecipe is a recipe of EC2 Image Builder, of which only the name is
// known.
type imageRecipe struct {
	account string
	name    string
	image   string
	kind    string // its ResourceType
}

// SetImageRecipe makes an Image Builder recipe of Options.Account refer to an
// image, which DescribeImageReferences then reports. An empty image removes the
// recipe. It returns an error if the region is not enabled.
func (s *Server) SetImageRecipe(region, name, image string) error {
	r := s.region(region)
	if r == nil {
		return fmt.Errorf("region %s is not enabled", region)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recipes = slices.DeleteFunc(r.recipes, func(have imageRecipe) bool { return have.name == name })
	if image != "" {
		r.recipes = append(r.recipes, imageRecipe{s.opts.Account, name, image, "imagebuilder:ImageRecipe"})
	}
	return nil
}

type resourceTypeParam struct {
	ResourceType       string `ec2:"ResourceType,required"`
	ResourceTypeOption []struct {
		OptionName  string `ec2:"OptionName,required"`
		OptionValue []string
	}
}

type describeReferencesInput struct {
	ImageID                 []string `ec2:"ImageId,required"`
	IncludeAllResourceTypes bool
	ResourceType            []resourceTypeParam
	pageParams
}

type referenceXML struct {
	Image string `xml:"imageId"`
	Type  string `xml:"resourceType"`
	ARN   string `xml:"arn"`
}

type describeReferencesOutput struct {
	References ec2query.Set[referenceXML] `xml:"imageReferenceSet"`
	Next       string                     `xml:"nextToken,omitempty"`
}

// referenceQuery selects the resources to check.
type referenceQuery struct {
	types  []string
	states []string // of instances; empty means all
	depth  int      // how many versions of a launch template to check, newest first
}

func referenceTypes() []string {
	return []string{"ec2:Instance", "ec2:LaunchTemplate", "ssm:Parameter", "imagebuilder:ImageRecipe", "imagebuilder:ContainerRecipe"}
}

func (in *describeReferencesInput) query() (referenceQuery, *ec2query.Error) {
	q := referenceQuery{depth: defaultVersionDepth}
	if in.IncludeAllResourceTypes {
		q.types = referenceTypes()
	}
	if !in.IncludeAllResourceTypes && len(in.ResourceType) == 0 {
		return q, ec2query.Errorf("MissingParameter", "Either IncludeAllResourceTypes or ResourceType must be specified.")
	}
	for _, t := range in.ResourceType {
		if err := inSet("ResourceType", t.ResourceType, referenceTypes()...); err != nil {
			return q, err
		}
		q.types = append(q.types, t.ResourceType)
		for _, option := range t.ResourceTypeOption {
			switch {
			case option.OptionName == "state-name" && t.ResourceType == "ec2:Instance":
				q.states = option.OptionValue
			case option.OptionName == "version-depth" && t.ResourceType == "ec2:LaunchTemplate" && len(option.OptionValue) == 1:
				n, err := strconv.Atoi(option.OptionValue[0])
				if err != nil || n < 1 || n > 10000 {
					return q, ec2query.InvalidValue("version-depth", option.OptionValue[0], "It must be between 1 and 10000.")
				}
				q.depth = n
			default:
				return q, ec2query.InvalidValue("OptionName", option.OptionName, "It is not an option of "+t.ResourceType+".")
			}
		}
	}
	return q, nil
}

func (c *call) describeImageReferences(in *describeReferencesInput) (*describeReferencesOutput, *ec2query.Error) {
	if len(in.ImageID) > maxReferenceImages {
		return nil, ec2query.InvalidValue("ImageId", strconv.Itoa(len(in.ImageID)), "At most 10 images can be checked in one call.")
	}
	for _, id := range in.ImageID {
		if err := imageKind().check(id); err != nil {
			return nil, err
		}
	}
	q, err := in.query()
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(c.references(q), func(r referenceXML) bool { return !slices.Contains(in.ImageID, r.Image) })
	type numbered struct {
		referenceXML
		n uint64
	}
	list := make([]numbered, 0, len(found))
	for i, r := range found {
		list = append(list, numbered{r, uint64(i) + 1})
	}
	items, next, err := page(c, list, in.pageParams, pageLimits{referencesPerPageMin, math.MaxInt}, func(r numbered) uint64 { return r.n })
	return &describeReferencesOutput{ec2query.MapSet(items, func(r numbered) referenceXML { return r.referenceXML }), next}, err
}

// references returns the caller's references that q selects.
func (c *call) references(q referenceQuery) []referenceXML {
	var out []referenceXML
	arn := func(service, rest string) string {
		return "arn:aws:" + service + ":" + c.name + ":" + c.account + ":" + rest
	}
	if slices.Contains(q.types, "ec2:Instance") {
		for i := range c.instances.all() {
			if c.owns(&i.base) && (len(q.states) == 0 || slices.Contains(q.states, i.phase.code(c.now).String())) {
				out = append(out, referenceXML{i.image.id, "ec2:Instance", arn("ec2", "instance/"+i.id)})
			}
		}
	}
	if slices.Contains(q.types, "ec2:LaunchTemplate") {
		for t := range c.templates.all() {
			if !c.owns(&t.base) {
				continue
			}
			named := map[string]bool{}
			for _, v := range t.versions[max(0, len(t.versions)-q.depth):] {
				if id := v.data.ImageID; id != "" && !named[id] {
					named[id] = true
					out = append(out, referenceXML{id, "ec2:LaunchTemplate", arn("ec2", "launch-template/"+t.id)})
				}
			}
		}
	}
	if slices.Contains(q.types, "ssm:Parameter") {
		for _, e := range c.server.params.list(c.account, c.name) {
			if p := e.latest(); p.dataType == imageDataType {
				out = append(out, referenceXML{p.value, "ssm:Parameter", arn("ssm", "parameter/"+trimSlash(p.name))})
			}
		}
	}
	for _, recipe := range c.recipes {
		if recipe.account == c.account && slices.Contains(q.types, recipe.kind) {
			out = append(out, referenceXML{recipe.image, recipe.kind, arn("imagebuilder", "image-recipe/"+recipe.name+"/1.0.0")})
		}
	}
	return out
}
