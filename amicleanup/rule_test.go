package amicleanup_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// embedded is a user's type that embeds a rule.
type embedded struct{ amicleanup.Rule }

// manual forwards every method of a rule.
type manual struct{ rule amicleanup.Rule }

func (m manual) String() string                               { return m.rule.String() }
func (m manual) Validate() error                              { return m.rule.Validate() }
func (m manual) Needs() amicleanup.Needs                      { return m.rule.Needs() }
func (m manual) Keep(g *amicleanup.Group) []amicleanup.Reason { return m.rule.Keep(g) }
func wrapped(m manual) map[string]amicleanup.Rule {
	e := embedded{m.rule}
	return map[string]amicleanup.Rule{
		"embedded": e, "pointer to embedded": &e, "forwarded": m, "pointer to forwarded": &m,
		"named": amicleanup.Named(m.rule.String(), m.rule), "named twice": amicleanup.Named(m.rule.String(), amicleanup.Named("x", m.rule)),
	}
}

// everyRule returns every rule of the package, and a func that makes its images.
func everyRule() map[string]amicleanup.Rule {
	calendar := amicleanup.Calendar{Daily: 1}
	rules := map[string]amicleanup.Rule{
		"ParentOfKept": amicleanup.ParentOfKept(), "Shared": amicleanup.Shared(), "Public": amicleanup.Public(),
		"InUse": amicleanup.InUse(inuse.Instances()), "ImageReferences": amicleanup.InUse(recipes()),
		"Newest": amicleanup.Newest(2), "NewestUsable": amicleanup.NewestUsable(2),
		"NewestPer":   amicleanup.NewestPer(1, amicleanup.ByTag("kernel")),
		"YoungerThan": amicleanup.YoungerThan(30 * amicleanup.Day), "LaunchedWithin": amicleanup.LaunchedWithin(30 * amicleanup.Day),
		"KeepUntil": amicleanup.KeepUntil("until"), "Tagged": amicleanup.Tagged("keep", "*"), "Marked": amicleanup.Marked(),
		"Locked": amicleanup.Locked(), "IDs": amicleanup.IDs("ami-web0"),
		"Calendar": calendar, "Calendar pointer": &calendar,
		"PerClass": amicleanup.PerClass("env", map[string][]amicleanup.Rule{"prod": {amicleanup.Shared()}}),
		"NewRule": amicleanup.NewRule("mine", func(g *amicleanup.Group) []amicleanup.Reason {
			return []amicleanup.Reason{{ImageID: g.Images[len(g.Images)-1].ID, Text: "is the oldest"}}
		}),
	}
	for i, r := range amicleanup.Careful(amicleanup.WithoutImageReferences, amicleanup.WithoutUsageReports) {
		if i > 0 { // not the sources that the fake does not have
			rules["Careful "+r.String()] = r
		}
	}
	return rules
}

// recipes returns a source that answers about given images.
func recipes() inuse.Source {
	return inuse.Source{Name: "recipes", Ask: recipesOf}
}

// ruleWorld has images with something for every rule.
func ruleWorld() *fake {
	f := newFake()
	f.series("web", 6)
	f.set("ami-web0", func(i *ec2types.Image) {
		i.Tags = tags("keep", "yes", "until", "2999-01-01", "env", "prod")
		i.LastLaunchedTime, i.Public = aws.String("2024-01-01T00:00:00Z"), aws.Bool(true)
	})
	f.set("ami-web1", func(i *ec2types.Image) { i.Tags = tags("env", "prod") })
	f.set("ami-web5", func(i *ec2types.Image) {
		i.SourceImageId, i.SourceInstanceId = aws.String("ami-web2"), aws.String("i-1")
	})
	f.shares["ami-web1"] = []ec2types.LaunchPermission{{UserId: aws.String("444455556666")}}
	f.locked = []string{"snap-web3"}
	used(f, "ami-web0", "i-1", ec2types.InstanceStateNameRunning)
	return f
}

func TestRulesSurviveWrapping(t *testing.T) {
	plans := func(rule amicleanup.Rule) map[string][]amicleanup.Reason {
		c := cleaner(ruleWorld(), rule)
		c.Clock = &stepped{now: after(50 * 24)}
		reasons := map[string][]amicleanup.Reason{}
		for _, item := range mustPlan(t, c).Targets[0].Items {
			reasons[item.Image.ID+" "+string(item.Action)] = item.Reasons
		}
		return reasons
	}
	for name, rule := range everyRule() {
		t.Run(name, func(t *testing.T) {
			plain := plans(rule)
			for how, other := range wrapped(manual{rule}) {
				if diff := cmp.Diff(plain, plans(other), cmp.AllowUnexported(amicleanup.Reason{})); diff != "" {
					t.Errorf("%s, %s: plan (-plain +wrapped):\n%s", name, how, diff)
				}
			}
		})
	}
}

// The base of a kept image was removed, and Shared and second opinions blocked all
// removal, when they were named.
func TestNamedRules(t *testing.T) {
	for _, tt := range []struct {
		rule amicleanup.Rule
		want []string
	}{
		{amicleanup.Named("bases", amicleanup.ParentOfKept()), []string{"ami-web0", "ami-web1", "ami-web3", "ami-web4"}},
		{amicleanup.Named("partners", amicleanup.Shared()), []string{"ami-web2", "ami-web3", "ami-web4"}},
		{amicleanup.Named("EC2 itself", amicleanup.InUse(recipes())), []string{"ami-web0", "ami-web1", "ami-web3", "ami-web4"}},
	} {
		if got := removals(mustPlan(t, cleaner(ruleWorld(), tt.rule))); !cmp.Equal(got, tt.want) {
			t.Errorf("%s: removals %v, want %v", tt.rule, got, tt.want)
		}
	}
}

// Every source of package inuse is a value; what it finds does not depend on who
// holds it.
func TestSourcesAreValues(t *testing.T) {
	for _, s := range append(inuse.All(), inuse.AllLaunchTemplateVersions(), inuse.SecureParameters(), inuse.ImageReferences(1), inuse.UsageReports(nil), inuse.Parameters("/x")) {
		pointer := &s
		again := inuse.AtLeast(0, *pointer)
		if err := again.Validate(); err != nil || again.Name != s.Name || again.Permissions == nil {
			t.Errorf("%s: %v, %+v", s.Name, err, again)
		}
	}
	if err := (&inuse.Source{Name: "neither"}).Validate(); err == nil {
		t.Error("Validate of a source without a func: no error")
	}
}

// Equal keys have equal names wherever they are made, and others differ.
func TestKeysAreValues(t *testing.T) {
	key := func(tag string) amicleanup.Key { return amicleanup.ByTag(tag) }
	if a, b := key("role"), amicleanup.ByTag("role"); a.String() != b.String() {
		t.Errorf("ByTag: %s and %s", a, b)
	}
	if a, b := key("role"), key("env"); a.String() == b.String() {
		t.Errorf("ByTag(role) and ByTag(env) are both %s", a)
	}
	img := &amicleanup.Image{Tags: map[string]string{"role": "web"}}
	pointer := new(amicleanup.Key)
	*pointer = key("role")
	if got, ok := pointer.Of(img); got != "web" || !ok {
		t.Errorf("Of = %q, %v", got, ok)
	}
	if _, ok := (amicleanup.Key{}).Of(img); ok || !(amicleanup.Key{}).IsZero() {
		t.Error("the zero key has a value")
	}
	for i, want := range map[string]string{
		fmt.Sprint(amicleanup.SameBuild()): "SameBuild()", fmt.Sprint(amicleanup.ByDefinition()): "ByDefinition()",
	} {
		if i != want {
			t.Errorf("String() = %q, want %q", i, want)
		}
	}
}

func recipesOf(_ context.Context, _ inuse.Place, images []string) ([]inuse.Reference, error) {
	if !slices.Contains(images, "ami-web2") {
		return nil, nil
	}
	return []inuse.Reference{{ImageID: "ami-web2", By: "recipe base"}}, nil
}
