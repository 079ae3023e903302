package ec2test

import (
	"net/http"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// The Recycle Bin's retention rules belong to a separate REST service. Listing
// and restoring are calls of EC2.

// rbinAction returns the call for a method and path, and the rule's id if the
// path has one.
func rbinAction(method, path string) (action, id string) {
	id, hasID := strings.CutPrefix(path, "/rules/")
	switch {
	case method == http.MethodPost && path == "/rules":
		return "CreateRule", ""
	case method == http.MethodPost && path == "/list-rules":
		return "ListRules", ""
	case method == http.MethodGet && hasID:
		return "GetRule", id
	case method == http.MethodDelete && hasID:
		return "DeleteRule", id
	}
	return method + " " + path, ""
}

// rbinTable returns the calls of the Recycle Bin's own service by name.
func rbinTable() map[string]action {
	return tableOf(
		handleJSON("CreateRule", (*call).createRule),
		handleJSON("ListRules", (*call).listRules),
		handleJSON("GetRule", (*call).getRule),
		handleJSON("DeleteRule", (*call).deleteRule),
	)
}

type retentionJSON struct {
	Value int    `json:"RetentionPeriodValue"`
	Unit  string `json:"RetentionPeriodUnit"`
}

type createRuleInput struct {
	ResourceType        string
	RetentionPeriod     retentionJSON
	Description         string
	ResourceTags        []binTag
	ExcludeResourceTags []binTag
}

type ruleJSON struct {
	Identifier          string
	RuleArn             string
	Description         string `json:",omitempty"`
	ResourceType        string `json:",omitempty"`
	RetentionPeriod     retentionJSON
	ResourceTags        []binTag `json:",omitempty"`
	ExcludeResourceTags []binTag `json:",omitempty"`
	Status              string   `json:",omitempty"`
}

func (c *call) ruleJSON(r *binRule) *ruleJSON {
	return &ruleJSON{
		Identifier: r.id, RuleArn: "arn:aws:rbin:" + c.name + ":" + r.owner + ":rule/" + r.id, Description: r.description,
		ResourceType: r.resource, RetentionPeriod: retentionJSON{r.days, "DAYS"}, ResourceTags: r.tags, ExcludeResourceTags: r.except,
		Status: "available",
	}
}

func (c *call) createRule(in *createRuleInput) (*ruleJSON, *ec2query.Error) {
	const longest = 365
	switch {
	case in.ResourceType != "EC2_IMAGE" && in.ResourceType != "EBS_SNAPSHOT":
		return nil, ec2query.Errorf("ValidationException", "The resource type %q is not supported by ec2test", in.ResourceType)
	case in.RetentionPeriod.Unit != "DAYS" || in.RetentionPeriod.Value < 1 || in.RetentionPeriod.Value > longest:
		return nil, ec2query.Errorf("ValidationException", "The retention period must be 1 to 365 DAYS")
	case len(in.ResourceTags) > 0 && len(in.ExcludeResourceTags) > 0:
		return nil, ec2query.Errorf("ValidationException", "A rule has either resource tags or exclusion tags")
	}
	r := &binRule{
		base: c.newBase(kind{prefix: ""}, nil), resource: in.ResourceType, description: in.Description,
		days: in.RetentionPeriod.Value, tags: in.ResourceTags, except: in.ExcludeResourceTags,
	}
	c.binRules.put(r)
	return c.ruleJSON(r), nil
}

type ruleIDInput struct{ Identifier string }

func (c *call) binRule(id string) (*binRule, *ec2query.Error) {
	r, ok := c.binRules.get(id)
	if !ok || !c.owns(&r.base) {
		return nil, &ec2query.Error{Code: "ResourceNotFoundException", Message: "The rule " + id + " does not exist", Status: http.StatusNotFound}
	}
	return r, nil
}

func (c *call) getRule(in *ruleIDInput) (*ruleJSON, *ec2query.Error) {
	r, err := c.binRule(in.Identifier)
	if err != nil {
		return nil, err
	}
	return c.ruleJSON(r), nil
}

func (c *call) deleteRule(in *ruleIDInput) (*ec2query.Empty, *ec2query.Error) {
	r, err := c.binRule(in.Identifier)
	if err != nil {
		return nil, err
	}
	c.binRules.remove(r.id)
	return &ec2query.Empty{}, nil
}

type listRulesInput struct {
	ResourceType        string
	ResourceTags        []binTag
	ExcludeResourceTags []binTag
	MaxResults          *int
	NextToken           string
}

type ruleSummaryJSON struct {
	Identifier      string
	RuleArn         string
	Description     string `json:",omitempty"`
	RetentionPeriod retentionJSON
}

type listRulesOutput struct {
	Rules     []ruleSummaryJSON
	NextToken string `json:",omitempty"`
}

func (c *call) listRules(in *listRulesInput) (*listRulesOutput, *ec2query.Error) {
	var found []*binRule
	for r := range c.binRules.all() {
		if c.owns(&r.base) && r.resource == in.ResourceType && holds(r.tags, in.ResourceTags) && holds(r.except, in.ExcludeResourceTags) {
			found = append(found, r)
		}
	}
	items, next, err := page(c, found, pageParams{in.MaxResults, in.NextToken}, pageLimits{1, 1000}, func(r *binRule) uint64 { return r.seq })
	if err != nil {
		return nil, ec2query.Errorf("ValidationException", "%s", err.Message)
	}
	out := &listRulesOutput{Rules: []ruleSummaryJSON{}, NextToken: next}
	for _, r := range items {
		full := c.ruleJSON(r)
		out.Rules = append(out.Rules, ruleSummaryJSON{full.Identifier, full.RuleArn, full.Description, full.RetentionPeriod})
	}
	return out, nil
}

// holds reports whether have includes all tags in want.
func holds(have, want []binTag) bool {
	return !slices.ContainsFunc(want, func(t binTag) bool { return !slices.Contains(have, t) })
}
