package amicleanup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// Programs of six teams, each as a func of its configuration.

// newestFivePerPrefix keeps the newest five images of every name without its time.
func newestFivePerPrefix(ctx context.Context, cfg aws.Config) (*amicleanup.Result, error) {
	cleaner := &amicleanup.Cleaner{
		Targets: []amicleanup.Target{amicleanup.Connect(cfg, nil)},
		Policy: amicleanup.Policy{
			Select: amicleanup.Select{Name: "{group}-{time:20060102150405}"},
			Keep:   append(amicleanup.Careful(), amicleanup.NewestUsable(5)),
		},
	}
	plan, err := cleaner.Plan(ctx)
	if err != nil {
		return nil, err
	}
	return cleaner.Apply(ctx, plan)
}

// ninetyDaysButThree keeps 90 days, and at least three images of each role.
func ninetyDaysButThree() amicleanup.Policy {
	return amicleanup.Policy{
		Group: amicleanup.ByTag("role"),
		Keep: append(amicleanup.Careful(),
			amicleanup.YoungerThan(90*amicleanup.Day),
			amicleanup.NewestUsable(3),
		),
	}
}

// manyAccounts cleans accounts that share images, through one role in each.
func manyAccounts(ctx context.Context, cfg aws.Config, accounts, regions []string) error {
	role := amicleanup.AssumeRole(cfg, "ami-cleaner", &amicleanup.RoleOptions{ExternalID: "cleanup"})
	targets, err := amicleanup.Everywhere(accounts, regions, role, nil)
	if err != nil {
		return err
	}
	cleaner := &amicleanup.Cleaner{Targets: targets, Policy: amicleanup.Policy{
		Select: amicleanup.Select{Name: "{group} {unix}"},
		Keep:   append(amicleanup.Careful(amicleanup.WithoutShared), amicleanup.NewestUsable(2)), // usage counts, sharing does not
	}}
	plan, err := cleaner.Plan(ctx)
	if err != nil {
		return err
	}
	_, err = cleaner.Apply(ctx, plan)
	return err
}

// everythingInUse keeps what groups, templates, EKS, Batch and parameters use, and
// what CloudFormation and Beanstalk name.
func everythingInUse(lists map[string]func(ctx context.Context, cfg aws.Config) (string, error)) amicleanup.Rule {
	sources := inuse.All()
	for name, list := range lists { // templates of stacks, option settings: any text
		sources = append(sources, inuse.Source{
			Name: name,
			List: func(ctx context.Context, at inuse.Place) ([]inuse.Reference, error) {
				text, err := list(ctx, at.Config)
				return inuse.InText(text, name), err
			},
		})
	}
	return amicleanup.InUse(sources...)
}

// propose stores a plan and writes it for a review; carryOut applies what the
// review has left of it.
func propose(ctx context.Context, cleaner *amicleanup.Cleaner, store, comment io.Writer) error {
	plan, err := cleaner.Plan(ctx)
	if err != nil {
		return err
	}
	if err := plan.WriteMarkdown(comment); err != nil {
		return err
	}
	return json.NewEncoder(store).Encode(plan)
}

func carryOut(ctx context.Context, cleaner *amicleanup.Cleaner, stored io.Reader) (*amicleanup.Result, error) {
	plan := new(amicleanup.Plan)
	if err := json.NewDecoder(stored).Decode(plan); err != nil {
		return nil, err
	}
	return cleaner.Apply(ctx, plan)
}

// deleteByDate removes images past the date in a tag, the newest included, unless
// something uses them.
func deleteByDate() amicleanup.Policy {
	return amicleanup.Policy{
		Select: amicleanup.Select{Tags: map[string]string{"delete-after": "*"}},
		Keep:   amicleanup.Careful(),
		Remove: []amicleanup.Match{amicleanup.DeleteAfter("delete-after")},
	}
}

func TestTeamPolicies(t *testing.T) {
	f := newFake()
	f.series("web", 6)
	for i := range 6 {
		f.set(fmt.Sprint("ami-web", i), func(img *ec2types.Image) {
			img.Tags = tags("role", "web", "delete-after", after(24*(198+i)).Format(time.DateOnly))
			img.CreationDate = aws.String(after(24 * 30 * i).Format("2006-01-02T15:04:05.000Z"))
		})
	}
	for _, tt := range []struct {
		name   string
		policy amicleanup.Policy
		want   []string
	}{
		{"90 days but at least three", ninetyDaysButThree(), []string{"ami-web0", "ami-web1", "ami-web2"}},
		{"delete by date", deleteByDate(), []string{"ami-web0", "ami-web1"}},
	} {
		for i, rule := range tt.policy.Keep { // the fake answers for instances and sharing only
			if strings.HasPrefix(rule.String(), "InUse(") {
				tt.policy.Keep[i] = amicleanup.InUse(inuse.Instances())
			}
		}
		c := cleaner(f)
		c.Policy, c.Clock = tt.policy, &stepped{now: after(24 * 200)}
		if got := removals(mustPlan(t, c)); !cmp.Equal(got, tt.want) {
			t.Errorf("%s: removals %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestTeamReview(t *testing.T) {
	f := newFake()
	f.series("web", 4)
	c := cleaner(f, amicleanup.Newest(1))
	var store, comment bytes.Buffer
	if err := propose(t.Context(), c, &store, &comment); err != nil || !strings.Contains(comment.String(), "3 images to remove") {
		t.Fatalf("propose: %v\n%s", err, comment.String())
	}
	struck := strings.Replace(store.String(), `"action":"remove"`, `"action":"keep"`, 1)
	if result, err := carryOut(t.Context(), c, strings.NewReader(struck)); err != nil || result.Count(amicleanup.Removed) != 2 {
		t.Errorf("carryOut: %v, %v", result, err)
	}
}

func TestTeamEverythingInUse(t *testing.T) {
	w := newEstate(t, 5, nil)
	w.cleaner.Policy.Keep = append(w.cleaner.Policy.Keep, everythingInUse(map[string]func(context.Context, aws.Config) (string, error){
		"stacks": func(_ context.Context, cfg aws.Config) (string, error) {
			return `{"Resources":{"Web":{"ImageId":"` + w.ids[1] + `"}},"Region":"` + cfg.Region + `"}`, nil
		},
	}))
	w.cleaner.Targets[0].Config = fakeConfig(w.cleaner.Targets[0].Config, &watchedClusters{clusters: &clusters{groups: []ekstypes.Nodegroup{{NodegroupName: aws.String("plain")}}}})
	w.template("web", w.ids[2])
	w.check(1, 2)
}

func TestTeamPrograms(t *testing.T) {
	w := newEstate(t, 0, nil)
	if _, err := newestFivePerPrefix(t.Context(), w.Config(where)); err != nil {
		t.Errorf("newestFivePerPrefix: %v", err)
	}
	if err := manyAccounts(t.Context(), w.Config(where), []string{neighbour}, []string{where}); err == nil {
		t.Error("manyAccounts without a role: no error")
	}
}

// A plan as a review sees it.
func ExamplePlan_WriteMarkdown() {
	f := newFake()
	f.series("web", 3)
	c := cleaner(f, amicleanup.Newest(2))
	c.Clock = &stepped{now: after(48)}
	plan, err := c.Plan(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := plan.WriteMarkdown(os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// ## Plan of 2023-11-16 22:13:20
	//
	// May be applied until 2023-11-17 22:13:20. 1 image to remove, at most 0 GiB and 0.00 USD a month.
	//
	// ### eu-west-1
	//
	// 1 to remove, 2 to keep, 0 not selected.
	//
	// | action | image | name | made | why |
	// |---|---|---|---|---|
	// | remove | `ami-web0` | web 1700000000 | 2023-11-14 22:13:20 | 1 snapshot |
	//
	// <details><summary>2 kept in eu-west-1</summary>
	//
	// | action | image | name | made | why |
	// |---|---|---|---|---|
	// | keep | `ami-web2` | web 1700007200 | 2023-11-15 00:13:20 | is the newest of its group; is one of the 2 newest |
	// | keep | `ami-web1` | web 1700003600 | 2023-11-14 23:13:20 | is one of the 2 newest |
	//
	// </details>
}
