package amicleanup_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// Two accounts in two regions are cleaned through assumed roles; a third
// region, which is not enabled, does not affect them.
func TestEverywhere(t *testing.T) {
	regions := []string{"eu-west-1", "us-east-1"}
	srv := ec2test.New(&ec2test.Options{Regions: regions})
	t.Cleanup(srv.Close)
	id := map[string]string{}
	for _, account := range []string{home, neighbour} {
		srv.AddRole(ec2test.Role{ARN: "arn:aws:iam::" + account + ":role/cleaner"})
		for i := range 3 {
			img := ec2test.Image{Name: fmt.Sprintf("web %d", after(i).Unix()), Owner: account, Created: after(i)}
			for region, made := range srv.Publish(img) {
				id[fmt.Sprintf("%s %s %d", account, region, i)] = made
			}
		}
	}
	// The neighbour runs a home image.
	_, err := awsec2.NewFromConfig(srv.ConfigFor(neighbour, "us-east-1")).RunInstances(t.Context(), &awsec2.RunInstancesInput{
		ImageId: aws.String(id[home+" us-east-1 0"]), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: "t3.micro",
	})
	if err != nil {
		t.Fatal(err)
	}
	targets, err := amicleanup.Everywhere([]string{home, neighbour}, append(regions, "me-south-1"),
		amicleanup.AssumeRole(srv.Config("eu-west-1"), "cleaner", nil), &amicleanup.ConnectOptions{NoCallLimits: true})
	if err != nil {
		t.Fatal(err)
	}
	c := &amicleanup.Cleaner{SettleTime: atOnce, Targets: targets, Policy: amicleanup.Policy{
		Select: amicleanup.Select{Name: "{group} {unix}"},
		Keep:   []amicleanup.Rule{amicleanup.Newest(1), amicleanup.InUse(inuse.Standard()...)},
	}}
	plan, err := c.Plan(t.Context())
	if bad := new(amicleanup.TargetError); !errors.As(err, &bad) || bad.Region != "me-south-1" {
		t.Errorf("error %v, want that of the region", err)
	}
	want := []string{
		id[home+" eu-west-1 0"], id[home+" eu-west-1 1"], id[home+" us-east-1 1"],
		id[neighbour+" eu-west-1 0"], id[neighbour+" eu-west-1 1"], id[neighbour+" us-east-1 0"], id[neighbour+" us-east-1 1"],
	}
	slices.Sort(want)
	if got := removals(plan); !slices.Equal(got, want) {
		t.Errorf("removals %v, want %v", got, want)
	}
	result, err := c.Apply(t.Context(), plan)
	if err != nil || result.Count(amicleanup.Removed) != len(want) {
		t.Errorf("Apply: %v, %v", outcomes(result), err)
	}
	if n := srv.CallCount("AssumeRole"); n != 2 {
		t.Errorf("roles were assumed %d times, want once for each account", n)
	}
}

// If a role cannot be assumed, images of the region that its account may use stay.
func TestTrapMissingRole(t *testing.T) {
	w := newEstate(t, 3, nil, amicleanup.InUse(inuse.Instances()))
	cfg, err := amicleanup.AssumeRole(w.Config(where), "cleaner", nil)(neighbour)
	if err != nil {
		t.Fatal(err)
	}
	w.check()
	w.cleaner.Targets = append(w.cleaner.Targets, amicleanup.Connect(cfg, &amicleanup.ConnectOptions{Account: neighbour, NoCallLimits: true}))
	plan, err := w.cleaner.Plan(t.Context())
	if bad := new(amicleanup.TargetError); !errors.As(err, &bad) || bad.Account != neighbour || plan.Removals() != 0 {
		t.Errorf("%d removals, error %v", plan.Removals(), err)
	}
}

func TestAssumeRoleInvalid(t *testing.T) {
	if _, err := amicleanup.AssumeRole(aws.Config{}, "", nil)(home); err == nil {
		t.Error("AssumeRole with an empty role: no error")
	}
}
