package ec2test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// policyText encodes a policy document as IAM returns it.
func policyText(document string) string {
	return strings.ReplaceAll(url.QueryEscape(document), "+", "%20")
}

// iamPath returns the path of a role or profile, "/" by default.
func iamPath(path string) (string, *ec2query.Error) {
	if path == "" {
		return "/", nil
	}
	const most = 512
	if len(path) > most || !strings.HasPrefix(path, "/") || !strings.HasSuffix(path, "/") {
		return "", ec2query.Errorf("ValidationError", "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.")
	}
	return path, nil
}

type rolePolicyOutput struct {
	Role     string `xml:"RoleName"`
	Policy   string `xml:"PolicyName"`
	Document string `xml:"PolicyDocument"`
}

func (c *call) getRolePolicy(in *rolePolicyInput) (*rolePolicyOutput, *ec2query.Error) {
	r, err := c.iamRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	document, ok := r.policies[in.PolicyName]
	if !ok {
		return nil, iamFail(http.StatusNotFound, "NoSuchEntity", "The role policy with name %s cannot be found.", in.PolicyName)
	}
	return &rolePolicyOutput{r.name, in.PolicyName, policyText(document)}, nil
}

type roleListInput struct {
	roleInput
	iamListInput
}

// rolePageInput holds the parameters of calls without PathPrefix.
type rolePageInput struct {
	roleInput
	iamPageInput
}

type rolePoliciesOutput struct {
	Names     ec2query.Members[string] `xml:"PolicyNames"`
	Truncated bool                     `xml:"IsTruncated"`
	Marker    string                   `xml:"Marker,omitempty"`
}

func (c *call) listRolePolicies(in *rolePageInput) (*rolePoliciesOutput, *ec2query.Error) {
	r, err := c.iamRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for name := range r.policies {
		names[c.account+" "+name] = name
	}
	found, next, err := iamPage(c, names, &iamListInput{iamPageInput: in.iamPageInput}, func(string) string { return "" })
	return &rolePoliciesOutput{ec2query.MembersOf(found...), next != "", next}, err
}

// managedPolicy matches the ARN of a policy of AWS or of an account.
var managedPolicy = regexp.MustCompile(`^arn:aws[a-z-]*:iam::(aws|[0-9]{12}):policy/[^ ]+$`)

type attachedInput struct {
	roleInput
	PolicyARN string `ec2:"PolicyArn,required"`
}

// attachRolePolicy attaches a policy of AWS. Which there are is not known, and accounts
// have none of their own.
func (c *call) attachRolePolicy(in *attachedInput) (*ec2query.Empty, *ec2query.Error) {
	r, err := c.iamRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	owner := managedPolicy.FindStringSubmatch(in.PolicyARN)
	switch {
	case owner == nil:
		return nil, ec2query.Errorf("ValidationError", "ARN %s is not valid.", in.PolicyARN)
	case owner[1] != "aws":
		return nil, iamFail(http.StatusNotFound, "NoSuchEntity", "Policy %s does not exist or is not attachable.", in.PolicyARN)
	}
	const most = 10
	if slices.Contains(r.attached, in.PolicyARN) {
		return &ec2query.Empty{}, nil
	}
	if len(r.attached) == most {
		return nil, iamFail(http.StatusConflict, "LimitExceeded", "Cannot exceed quota for PoliciesPerRole: %d", most)
	}
	r.attached = append(r.attached, in.PolicyARN)
	slices.SortFunc(r.attached, func(a, b string) int { return strings.Compare(policyName(a), policyName(b)) })
	return &ec2query.Empty{}, nil
}

func policyName(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

func (c *call) detachRolePolicy(in *attachedInput) (*ec2query.Empty, *ec2query.Error) {
	r, err := c.iamRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	at := slices.Index(r.attached, in.PolicyARN)
	if at < 0 {
		return nil, iamFail(http.StatusNotFound, "NoSuchEntity", "Policy %s was not found.", in.PolicyARN)
	}
	r.attached = slices.Delete(r.attached, at, at+1)
	return &ec2query.Empty{}, nil
}

type attachedXML struct {
	Name string `xml:"PolicyName"`
	ARN  string `xml:"PolicyArn"`
}

type attachedOutput struct {
	Policies  ec2query.Members[attachedXML] `xml:"AttachedPolicies"`
	Truncated bool                          `xml:"IsTruncated"`
	Marker    string                        `xml:"Marker,omitempty"`
}

func (c *call) listAttachedRolePolicies(in *roleListInput) (*attachedOutput, *ec2query.Error) {
	r, err := c.iamRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	all := map[string]attachedXML{}
	for _, arn := range r.attached {
		all[c.account+" "+policyName(arn)] = attachedXML{policyName(arn), arn}
	}
	found, next, err := iamPage(c, all, &in.iamListInput, func(p attachedXML) string {
		_, path, _ := strings.Cut(p.ARN, ":policy")
		return path
	})
	return &attachedOutput{ec2query.MembersOf(found...), next != "", next}, err
}

func (c *call) listProfilesForRole(in *rolePageInput) (*listProfilesOutput, *ec2query.Error) {
	r, err := c.iamRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	all := map[string]*profile{}
	for key, p := range c.server.identities.profiles {
		if p.role == r {
			all[key] = p
		}
	}
	found, next, err := iamPage(c, all, &iamListInput{iamPageInput: in.iamPageInput}, func(p *profile) string { return p.path })
	return &listProfilesOutput{ec2query.MapMembers(found, (*profile).xml), next != "", next}, err
}

type updateTrustInput struct {
	roleInput
	PolicyDocument string `ec2:"PolicyDocument,required"`
}

func (c *call) updateAssumeRolePolicy(in *updateTrustInput) (*ec2query.Empty, *ec2query.Error) {
	r, err := c.iamRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	if err := checkPolicy(in.PolicyDocument); err != nil {
		return nil, err
	}
	r.trust = in.PolicyDocument
	return &ec2query.Empty{}, nil
}
