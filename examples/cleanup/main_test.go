package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestNightly(t *testing.T) {
	var plan, applied bytes.Buffer
	if err := run(t.Context(), nil, &plan); err != nil {
		t.Fatalf("%v\n%s", err, plan.String())
	}
	if err := run(t.Context(), []string{"-apply"}, &applied); err != nil {
		t.Fatalf("%v\n%s", err, applied.String())
	}
	if !strings.HasPrefix(strings.TrimSpace(applied.String()), strings.TrimSpace(plan.String())[:20]) {
		t.Errorf("the applied output does not begin with the plan:\n%s", applied.String())
	}
	t.Log(applied.String())
}
