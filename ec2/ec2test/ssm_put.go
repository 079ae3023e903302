package ec2test

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

const (
	// imageDataType is the data type of parameters that hold an image id.
	imageDataType = "aws:ec2:image"

	secureString  = "SecureString"
	defaultSSMKey = "alias/aws/ssm"

	standardTier, advancedTier, intelligentTier = "Standard", "Advanced", "Intelligent-Tiering"
)

type putParameterInput struct {
	Name           string
	Value          string
	Type           string
	DataType       string
	Description    *string
	AllowedPattern *string
	KeyID          string `json:"KeyId"`
	Tier           string
	Overwrite      bool
	Tags           []struct{ Key, Value string }
}

type putParameterOutput struct {
	Version int64
	Tier    string
}

const subPathRule = "If formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following 3 symbols .-_"

// parameterPath matches the names of parameters.
var parameterPath = regexp.MustCompile(`^/?[a-zA-Z0-9_.-]+(/[a-zA-Z0-9_.-]+)*$`)

// checkParameterName rejects a name that a parameter cannot have.
func checkParameterName(name string) *ec2query.Error {
	const maxName, maxLevels = 1011, 15
	lower, levels := strings.ToLower(trimSlash(name)), strings.Count(trimSlash(name), "/")+1
	if !strings.HasPrefix(name, "/") {
		levels = 1
	}
	switch {
	case name == "":
		return constraint(name, "name", "have length greater than or equal to 1")
	case strings.HasPrefix(strings.ToLower(name), "/aws") && levels > 1:
		return ec2query.Errorf("AccessDeniedException", "No access to reserved parameter name: %s.", name)
	case (strings.HasPrefix(lower, "aws") || strings.HasPrefix(lower, "ssm")) && levels == 1:
		return invalidParameter(`Parameter name: can't be prefixed with "aws" or "ssm" (case-insensitive).`)
	case strings.HasPrefix(lower, "ssm"):
		return invalidParameter(`Parameter name: can't be prefixed with "ssm" (case-insensitive). ` + subPathRule)
	case strings.Contains(name, "/") && !strings.HasPrefix(name, "/"):
		return invalidParameter("Parameter name must be a fully qualified name.")
	case !parameterPath.MatchString(name):
		return invalidParameter("Parameter name: can only contain letters, numbers and the symbols .-_/. " + subPathRule)
	case len(name) > maxName:
		return invalidParameter("Parameter name: can have at most %d characters.", maxName)
	case levels > maxLevels:
		return ec2query.Errorf("HierarchyLevelLimitExceededException", "A hierarchy can have a maximum of %d levels.", maxLevels)
	}
	return nil
}

// check rejects members with values that no parameter can have.
func (in *putParameterInput) check() *ec2query.Error {
	if err := checkParameterName(in.Name); err != nil {
		return err
	}
	switch {
	case in.Value == "":
		return constraint(in.Value, "value", "have length greater than or equal to 1.")
	case in.Type != "" && !slices.Contains(parameterTypes(), in.Type):
		return constraint(in.Type, "type", "satisfy enum value set: ["+strings.Join(parameterTypes(), ", ")+"]")
	case in.Tier != "" && !slices.Contains(parameterTiers(), in.Tier):
		return constraint(in.Tier, "tier", "satisfy enum value set: ["+strings.Join(parameterTiers(), ", ")+"]")
	case in.DataType != "" && !slices.Contains([]string{"text", imageDataType, "aws:ssm:integration"}, in.DataType):
		return invalidParameter("The following data type is not supported: %s (Data type names are all lowercase.)", in.DataType)
	case in.Description != nil && utf8.RuneCountInString(*in.Description) > 1024:
		return constraint(*in.Description, "description", "have length less than or equal to 1024")
	case in.Overwrite && len(in.Tags) > 0:
		return invalidParameter("Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove overwrite flag. " +
			"To update tags for an existing parameter, please use AddTagsToResource or RemoveTagsFromResource.")
	}
	return nil
}

func parameterTypes() []string { return []string{secureString, "StringList", "String"} }

func parameterTiers() []string { return []string{standardTier, advancedTier, intelligentTier} }

// next returns the version that a request makes after another, which is zero for
// a new parameter. It keeps the attributes that the request does not have.
func (in *putParameterInput) next(now parameter) (parameter, *ec2query.Error) {
	p := now
	p.name, p.value = cmp.Or(now.name, in.Name), in.Value
	p.kind, p.dataType = cmp.Or(in.Type, now.kind), cmp.Or(in.DataType, now.dataType, "text")
	if in.Description != nil {
		p.description = *in.Description
	}
	if in.AllowedPattern != nil {
		p.pattern = *in.AllowedPattern
	}
	switch {
	case p.kind == "":
		return p, invalidParameter("A parameter type is required when you create a parameter.")
	case p.kind != secureString && in.KeyID != "":
		return p, invalidParameter("KeyId is only supported for parameters of type SecureString.")
	case p.dataType != "text" && p.kind != "String" && p.dataType == imageDataType:
		return p, invalidParameter("The data type %s is only supported for parameters of type String.", p.dataType)
	}
	p.keyID = ""
	if p.kind == secureString {
		p.keyID = cmp.Or(in.KeyID, now.keyID, defaultSSMKey)
	}
	if p.pattern != "" {
		pattern, err := regexp.Compile(p.pattern)
		switch {
		case err != nil:
			return p, ec2query.Errorf("InvalidAllowedPatternException", "The request does not meet the regular expression requirement: %v", err)
		case !pattern.MatchString(p.value):
			return p, ec2query.Errorf("ParameterPatternMismatchException", "Parameter value, cannot be validated against allowedPattern: %s", p.pattern)
		}
	}
	var err *ec2query.Error
	p.tier, err = in.tier(now.tier)
	return p, err
}

// tier returns the parameter's tier, which limits the size of its value.
func (in *putParameterInput) tier(now string) (string, *ec2query.Error) {
	const standardSize, advancedSize = 4 << 10, 8 << 10
	tier := cmp.Or(in.Tier, now, standardTier)
	if tier == intelligentTier {
		tier = standardTier
		if now == advancedTier || len(in.Value) > standardSize {
			tier = advancedTier
		}
	}
	switch {
	case tier == standardTier && now == advancedTier:
		return "", invalidParameter("This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the advanced-parameter tier to the standard-parameter tier. " +
			"If necessary, you can delete the advanced parameter and recreate it as a standard parameter. Be aware that parameter policies and history will be lost.")
	case tier == standardTier && len(in.Value) > standardSize:
		return "", invalidParameter("Standard tier parameters support a maximum parameter value of %d characters. To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier. "+
			"For more information, see https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html", standardSize)
	case len(in.Value) > advancedSize:
		return "", invalidParameter("Advanced tier parameters support a maximum parameter value of %d characters.", advancedSize)
	}
	return tier, nil
}

func (c *call) putParameter(in *putParameterInput) (*putParameterOutput, *ec2query.Error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	var now parameter
	exists := c.server.params.entry(c.account, c.name, in.Name, func(e *parameterEntry) { now = e.latest() })
	if exists && !in.Overwrite {
		return nil, ec2query.Errorf("ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")
	}
	p, err := in.next(now)
	if err != nil {
		return nil, err
	}
	made := make(tags, len(in.Tags))
	for _, t := range in.Tags {
		made[t.Key] = tagValue{value: t.Value}
	}
	if err := checkParameterTags(made); err != nil {
		return nil, err
	}
	if p.dataType == imageDataType {
		// AWS checks this after it has responded. A value that fails changes
		// nothing, which only an event reports.
		if img, ok := c.images.get(p.value); !ok || !c.mayLaunch(img) {
			return &putParameterOutput{now.version + 1, p.tier}, nil
		}
	}
	version, err := c.server.params.put(c.account, c.name, p, made, c.now)
	if err != nil {
		return nil, err
	}
	return &putParameterOutput{version, p.tier}, nil
}
