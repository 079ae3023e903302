package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

func TestNightly(t *testing.T) {
	var planned, applied bytes.Buffer
	if err := run(t.Context(), nil, &planned); err != nil {
		t.Fatalf("%v\n%s", err, planned.String())
	}
	if err := run(t.Context(), []string{"-apply"}, &applied); err != nil {
		t.Fatalf("%v\n%s", err, applied.String())
	}
	for text, want := range map[string]int{
		"is the newest of its group": 4, // two names in two regions
		"is one of the 3 newest":     12,
		"is the newest of week":      12,
		"is in use (instance i-":     2,
		"  remove  ami-":             10,
		"eu-west-1: 5 to remove":     1,
		"us-east-1: 5 to remove":     1,
		"  1 snapshot\n":             10,
		"0 not selected":             2,
	} {
		if got := strings.Count(planned.String(), text); got != want {
			t.Errorf("the plan says %q %d times, want %d:\n%s", text, got, want, planned.String())
		}
	}
	if !strings.Contains(planned.String(), "nothing was changed: not approved by the review") {
		t.Errorf("without -apply:\n%s", planned.String())
	}
	if want := "left by dead builds: 2 to remove, 0 kept\n"; !strings.Contains(planned.String(), want) || strings.Contains(planned.String(), " removed,") {
		t.Errorf("without -apply: %s, want %q and nothing removed", planned.String(), want)
	}
	for want, n := range map[string]int{
		"left by dead builds: 2 removed, 0 kept\n": 1,
		"  10 removed\n": 1, " GiB of 10 images": 1, "  12 by NewestUsable(3)\n": 1,
	} {
		if got := strings.Count(applied.String(), want); got != n {
			t.Errorf("the report says %q %d times, want %d:\n%s", want, got, n, applied.String())
		}
	}
	for _, want := range []string{"eu-west-1  removed  ami-", "us-east-1  removed  ami-"} {
		if got := strings.Count(applied.String(), want); got != 5 {
			t.Errorf("%q %d times, want 5:\n%s", want, got, applied.String())
		}
	}
}

func TestPolicyOfTheJob(t *testing.T) {
	printed := func(args ...string) []string {
		t.Helper()
		var out bytes.Buffer
		if err := run(t.Context(), append(args, "-policy", "-lock", "/lock"), &out); err != nil {
			t.Fatal(err)
		}
		policy := new(iampolicy.Document)
		if err := json.Unmarshal(out.Bytes(), policy); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
		return policy.Actions()
	}
	const removes, disables, locks, reaps = "ec2:DeregisterImage", "ec2:DisableImage", "ssm:PutParameter", "ec2:TerminateInstances"
	for _, test := range []struct {
		args    []string
		allowed []string
	}{
		{nil, []string{locks}},
		{[]string{"-apply"}, []string{removes, locks, reaps}},
		{[]string{"-apply", "-disabled", "336h"}, []string{removes, disables, locks, reaps}},
	} {
		actions := printed(test.args...)
		for _, action := range []string{removes, disables, locks, reaps} {
			if got, want := slices.Contains(actions, action), slices.Contains(test.allowed, action); got != want {
				t.Errorf("with %v it allows %s: %t, want %t", test.args, action, got, want)
			}
		}
	}
}
