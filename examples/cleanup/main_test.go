package main

import (
	"bytes"
	"strings"
	"testing"
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
	if !strings.Contains(planned.String(), "nothing was changed: the review held it") {
		t.Errorf("without -apply:\n%s", planned.String())
	}
	for want, n := range map[string]int{
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
