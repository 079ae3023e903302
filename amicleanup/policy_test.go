package amicleanup_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/bake"
)

func TestNewestOfEachGroup(t *testing.T) {
	f := newFake()
	f.pageSize = 3
	f.series("web", 4)
	f.series("web admin", 3)
	f.add("ami-other", "someone else's", nil)
	plan := mustPlan(t, cleaner(f, amicleanup.Newest(2)))
	want := []string{"ami-web admin0", "ami-web0", "ami-web1"}
	if diff := cmp.Diff(want, removals(plan)); diff != "" {
		t.Errorf("removals (-want +got):\n%s", diff)
	}
	if plan.Targets[0].Unselected != 1 {
		t.Errorf("%d not selected, want 1", plan.Targets[0].Unselected)
	}
	if got := why(plan, "ami-web3"); got != "is the newest of its group; is one of the 2 newest" {
		t.Errorf("reasons of the newest: %q", got)
	}
	if changes := f.changes(); len(changes) > 0 {
		t.Errorf("Plan made changes: %v", changes)
	}
}

func TestGroupsPerArchitecture(t *testing.T) {
	f := newFake()
	f.series("web", 2)
	f.add("ami-arm", "web 1600000000", func(i *ec2types.Image) { i.Architecture = ec2types.ArchitectureValuesArm64 })
	if got := removals(mustPlan(t, cleaner(f, amicleanup.Newest(1)))); !cmp.Equal(got, []string{"ami-web0"}) {
		t.Errorf("removals %v", got)
	}
}

func TestNeverRemoved(t *testing.T) {
	with := func(change func(*ec2types.Image)) func(*fake) {
		return func(f *fake) { f.add("ami-x", "web 1600000000", change) }
	}
	tests := []struct {
		name, want string
		setup      func(*fake)
	}{
		{"pending", "is pending", with(func(i *ec2types.Image) { i.State = ec2types.ImageStatePending })},
		{"protected", "is protected from deregistration", with(func(i *ec2types.Image) {
			i.DeregistrationProtection = aws.String("disabled after 2026-01-01T00:00:00Z")
		})},
		{"of AWS Backup", "is managed by AWS Backup", with(func(i *ec2types.Image) { i.ImageOwnerAlias = aws.String("aws-backup-vault") })},
		{"milliseconds", `timestamp "1600000000000" is not in seconds since 1970`, func(f *fake) { f.add("ami-x", "web 1600000000000", nil) }},
		{"not a time", `timestamp "7" is not in seconds since 1970`, func(f *fake) { f.add("ami-x", "web 7", nil) }},
		{"newest usable", "is the newest usable of its group", func(f *fake) {
			f.images = map[string]ec2types.Image{}
			f.add("ami-x", "web 1600000000", nil)
			f.add("ami-y", "web 1600000001", func(i *ec2types.Image) { i.State = ec2types.ImageStateFailed })
		}},
		{"newest though not available", "is the newest of its group; is the newest", func(f *fake) {
			f.add("ami-x", "web 1900000000", func(i *ec2types.Image) { i.State = ec2types.ImageStateDisabled })
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			f.series("web", 3)
			tt.setup(f)
			if got := why(mustPlan(t, cleaner(f, amicleanup.Newest(1))), "ami-x"); got != tt.want {
				t.Errorf("kept because it %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNewestUsableIgnoresFailedImages(t *testing.T) {
	f := newFake()
	f.series("web", 4)
	for _, id := range []string{"ami-web2", "ami-web1"} {
		f.set(id, func(img *ec2types.Image) { img.State = ec2types.ImageStateFailed })
	}
	if got := removals(mustPlan(t, cleaner(f, amicleanup.Newest(2)))); !cmp.Equal(got, []string{"ami-web0", "ami-web1"}) {
		t.Errorf("with the newest of any state: removals %v", got)
	}
	got := removals(mustPlan(t, cleaner(f, amicleanup.NewestUsable(2))))
	if diff := cmp.Diff([]string{"ami-web1", "ami-web2"}, got); diff != "" {
		t.Errorf("removals (-want +got):\n%s", diff)
	}
}

func TestPolicies(t *testing.T) {
	f := newFake()
	f.series("web", 3)
	tag := func(id, key, value string) {
		f.set(id, func(img *ec2types.Image) {
			img.Tags = append(img.Tags, ec2types.Tag{Key: aws.String(key), Value: aws.String(value)})
		})
	}
	tag("ami-web0", "keep", "yes")
	tag("ami-web0", "app", "shop")
	tag("ami-web1", "app", "shop")
	tag("ami-web2", "app", "blog")
	tag("ami-web1", "made", "2020-01-01")
	tag("ami-web0", "made", "2021-01-01")
	newest := []amicleanup.Rule{amicleanup.Newest(1)}
	tests := []struct {
		name   string
		policy amicleanup.Policy
		want   []string
	}{
		{"zero", amicleanup.Policy{}, nil},
		{"no rules", amicleanup.Policy{Select: amicleanup.Select{Name: "{group} {unix}"}}, nil},
		{"nothing to group by", amicleanup.Policy{Keep: newest}, nil},
		{"one group by name", amicleanup.Policy{Select: amicleanup.Select{Name: "web *"}, Keep: newest}, []string{"ami-web0", "ami-web1"}},
		{"tagged rule", amicleanup.Policy{
			Select: amicleanup.Select{Name: "web {unix}"},
			Keep:   []amicleanup.Rule{amicleanup.Newest(1), amicleanup.Tagged("keep", "*")},
		}, []string{"ami-web1"}},
		{"ids", amicleanup.Policy{
			Select: amicleanup.Select{Name: "web {unix}"}, Keep: []amicleanup.Rule{amicleanup.IDs("ami-web0")},
		}, []string{"ami-web1"}},
		{"selected by tag, except by tag", amicleanup.Policy{
			Select: amicleanup.Select{Name: "web {unix}", Tags: map[string]string{"app": "*"}, Except: map[string]string{"app": "blog"}},
			Keep:   newest,
		}, []string{"ami-web0"}},
		{"grouped and dated by tag", amicleanup.Policy{
			Group: amicleanup.ByTag("app"), Timestamp: amicleanup.TimestampByTag("made", time.DateOnly), Keep: newest,
		}, []string{"ami-web1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := cleaner(f)
			c.Policy = tt.policy
			if diff := cmp.Diff(tt.want, removals(mustPlan(t, c))); diff != "" {
				t.Errorf("removals (-want +got):\n%s", diff)
			}
		})
	}
}

func TestYoungerThan(t *testing.T) {
	images := []amicleanup.Image{
		{ID: "ami-1", Name: "web 20231114-221320", State: "available"},
		{ID: "ami-2", Name: "web 20231115-221321", State: "available"},
		{ID: "ami-3", Name: "web 20231116-000000", State: "available"},
		{ID: "ami-4", Name: "web 20231316-000000", State: "available"},
	}
	policy := amicleanup.Policy{
		Select: amicleanup.Select{Name: "{group} {time:20060102-150405}"},
		Keep:   []amicleanup.Rule{amicleanup.YoungerThan(24 * time.Hour)},
	}
	plan := policy.Evaluate(after(48), "r", images...)
	if got := removals(plan); !cmp.Equal(got, []string{"ami-1"}) {
		t.Errorf("removals %v", got)
	}
	if got := why(plan, "ami-4"); !strings.Contains(got, `timestamp "20231316-000000"`) {
		t.Errorf("the impossible date: %q", got)
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		policy amicleanup.Policy
		want   string
	}{
		{"brace", amicleanup.Policy{Select: amicleanup.Select{Name: "{group"}}, `Select.Name: "{group": missing closing brace`},
		{"word", amicleanup.Policy{Select: amicleanup.Select{Name: "{name}"}}, `Select.Name: "{name}": unknown placeholder {name}, want {group}, {unix}, {time:LAYOUT}, {version} or *`},
		{"twice", amicleanup.Policy{Select: amicleanup.Select{Name: "{unix}{time:2006}"}}, `Select.Name: "{unix}{time:2006}": duplicate {time:2006}`},
		{"newest", amicleanup.Policy{Keep: []amicleanup.Rule{amicleanup.Newest(0)}}, `Keep: Newest(0): must be at least 1`},
		{"nil", amicleanup.Policy{Keep: []amicleanup.Rule{nil}}, `Keep[0]: is nil`},
		{"age", amicleanup.Policy{Keep: []amicleanup.Rule{amicleanup.YoungerThan(0)}}, `Keep: YoungerThan(0s): must be positive`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			c := cleaner(f)
			c.Policy = tt.policy
			plan, err := c.Plan(t.Context())
			if plan != nil || err == nil || err.Error() != tt.want {
				t.Errorf("got %v, error %v, want %s", plan, err, tt.want)
			}
			if field := new(bake.FieldError); !errors.As(err, &field) {
				t.Errorf("%T holds no *bake.FieldError", err)
			}
			if len(f.calls) > 0 {
				t.Errorf("calls were made: %v", f.calls)
			}
		})
	}
	err := (&amicleanup.Cleaner{Targets: []amicleanup.Target{{}, {}}}).Validate()
	for _, want := range []string{"Targets[0].Config", "Targets[1].Config", "Targets[1]:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}
