package ec2test

import (
	"regexp"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// parameterLabel matches the labels that versions of parameters can have.
var parameterLabel = regexp.MustCompile(`^[a-zA-Z_.-][a-zA-Z0-9_.-]{0,99}$`)

func validLabel(label string) bool {
	lower := strings.ToLower(label)
	return parameterLabel.MatchString(label) && !strings.HasPrefix(lower, "aws") && !strings.HasPrefix(lower, "ssm")
}

type labelParameterInput struct {
	Name             string
	ParameterVersion int64
	Labels           []string
}

type labelParameterOutput struct {
	InvalidLabels    []string
	ParameterVersion int64
}

// versionOf returns the index of a version; zero means the latest.
func (c *call) versionOf(e *parameterEntry, name string, version int64) (int, *ec2query.Error) {
	if version == 0 {
		return len(e.versions) - 1, nil
	}
	at := slices.IndexFunc(e.versions, func(p parameter) bool { return p.version == version })
	if at < 0 {
		return 0, ec2query.Errorf("ParameterVersionNotFound", "Systems Manager could not find version %d of %s. Verify the version and try again.", version, name)
	}
	return at, nil
}

func checkLabels(labels []string) *ec2query.Error {
	list := "[" + strings.Join(labels, ", ") + "]"
	if len(labels) < 1 {
		return constraint(list, "labels", "have length greater than or equal to 1")
	}
	if slices.ContainsFunc(labels, func(label string) bool { return label == "" || len(label) > 100 }) {
		return constraint(list, "labels", "satisfy constraint: [Member must have length less than or equal to 100, Member must have length greater than or equal to 1]")
	}
	return nil
}

// labelParameter moves labels to a version. If a label is invalid it moves the
// others.
func (c *call) labelParameter(in *labelParameterInput) (*labelParameterOutput, *ec2query.Error) {
	const most = 10
	if err := checkLabels(in.Labels); err != nil {
		return nil, err
	}
	out := &labelParameterOutput{InvalidLabels: []string{}}
	var err *ec2query.Error
	if !c.server.params.entry(c.account, c.name, in.Name, func(e *parameterEntry) {
		var at int
		if at, err = c.versionOf(e, in.Name, in.ParameterVersion); err != nil {
			return
		}
		out.ParameterVersion = e.versions[at].version
		labels := slices.Clone(e.versions[at].labels)
		for _, label := range in.Labels {
			switch {
			case !validLabel(label):
				out.InvalidLabels = append(out.InvalidLabels, label)
			case !slices.Contains(labels, label):
				labels = append(labels, label)
			}
		}
		if len(labels) > most {
			err = ec2query.Errorf("ParameterVersionLabelLimitExceeded", "An error occurred (ParameterVersionLabelLimitExceeded) when calling the LabelParameterVersion operation: "+
				"A parameter version can have maximum %d labels.Move one or more labels to another version and try again.", most)
			return
		}
		for i := range e.versions {
			e.versions[i].labels = slices.DeleteFunc(slices.Clone(e.versions[i].labels), func(have string) bool { return slices.Contains(labels, have) })
		}
		e.versions[at].labels = labels
	}) {
		return nil, parameterNotFound(in.Name)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

type unlabelParameterOutput struct {
	RemovedLabels []string
	InvalidLabels []string
}

func (c *call) unlabelParameter(in *labelParameterInput) (*unlabelParameterOutput, *ec2query.Error) {
	if err := checkLabels(in.Labels); err != nil {
		return nil, err
	}
	out := &unlabelParameterOutput{[]string{}, []string{}}
	var err *ec2query.Error
	if !c.server.params.entry(c.account, c.name, in.Name, func(e *parameterEntry) {
		var at int
		if at, err = c.versionOf(e, in.Name, in.ParameterVersion); err != nil {
			return
		}
		p := &e.versions[at]
		for _, label := range in.Labels {
			if slices.Contains(p.labels, label) {
				out.RemovedLabels = append(out.RemovedLabels, label)
			} else {
				out.InvalidLabels = append(out.InvalidLabels, label)
			}
		}
		p.labels = slices.DeleteFunc(slices.Clone(p.labels), func(have string) bool { return slices.Contains(in.Labels, have) })
	}) {
		return nil, parameterNotFound(in.Name)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

type parameterTagsInput struct {
	ResourceType string
	ResourceID   string `json:"ResourceId"`
}

type parameterTag struct {
	Key   string `json:"Key"`
	Value string `json:"Value"`
}

type parameterTagsOutput struct{ TagList []parameterTag }

func checkParameterTags(list tags) *ec2query.Error {
	params := make([]tagParam, 0, len(list))
	for key, v := range list {
		params = append(params, tagParam{key, &v.value})
	}
	switch err := checkTags(params); {
	case err == nil:
		return nil
	case err.Code == "TagLimitExceeded":
		return ec2query.Errorf("TooManyTagsError", "The number of tags exceeds the limit of %d.", maxTags)
	default:
		return invalidParameter("%s", err.Message)
	}
}

// taggedParameter runs f with the parameter that a tagging call names.
func (c *call) taggedParameter(in parameterTagsInput, f func(*parameterEntry)) *ec2query.Error {
	if in.ResourceType != "Parameter" {
		return ec2query.Errorf("InvalidResourceType", "The resource type is not valid. For example, if you are attempting to tag an EC2 instance, the instance must be a registered managed node. "+
			"The type %q is not supported by ec2test, which has only Parameter", in.ResourceType)
	}
	name, _, err := c.parameterName(in.ResourceID)
	if err != nil || strings.HasPrefix(name, publicPrefix) || !c.server.params.entry(c.account, c.name, name, f) {
		return ec2query.Errorf("InvalidResourceId", "The resource ID is not valid. Verify that you entered the correct ID and try again.")
	}
	return nil
}

func (c *call) listParameterTags(in *parameterTagsInput) (*parameterTagsOutput, *ec2query.Error) {
	out := &parameterTagsOutput{[]parameterTag{}}
	if err := c.taggedParameter(*in, func(e *parameterEntry) {
		for _, tag := range e.tags.list(c.now) {
			out.TagList = append(out.TagList, parameterTag(tag))
		}
	}); err != nil {
		return nil, err
	}
	return out, nil
}

type addParameterTagsInput struct {
	parameterTagsInput
	Tags []struct{ Key, Value string }
}

func (c *call) addParameterTags(in *addParameterTagsInput) (*ec2query.Empty, *ec2query.Error) {
	var failed *ec2query.Error
	if err := c.taggedParameter(in.parameterTagsInput, func(e *parameterEntry) {
		next := e.tags.clone()
		for _, tag := range in.Tags {
			next[tag.Key] = tagValue{value: tag.Value}
		}
		if failed = checkParameterTags(next); failed == nil {
			e.tags = next
		}
	}); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	return &ec2query.Empty{}, nil
}

type removeParameterTagsInput struct {
	parameterTagsInput
	TagKeys []string
}

func (c *call) removeParameterTags(in *removeParameterTagsInput) (*ec2query.Empty, *ec2query.Error) {
	if err := c.taggedParameter(in.parameterTagsInput, func(e *parameterEntry) {
		for _, key := range in.TagKeys {
			delete(e.tags, key)
		}
	}); err != nil {
		return nil, err
	}
	return &ec2query.Empty{}, nil
}
