package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
)

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 2 {
			var out bytes.Buffer
			if err := run(t.Context(), []string{"-destroy"}, &out); err != nil {
				t.Fatalf("run(-destroy) = %v, output:\n%s", err, out.String())
			}
			for _, want := range []string{
				"launch instance", "| built on Linux by root", "check: launch instance", "page is readable",
				"<h1>Hello from Bakestone</h1>",
			} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("run(-destroy): output lacks %q:\n%s", want, out.String())
				}
			}
			if !regexp.MustCompile(`Baked ami-[0-9a-f]{17} "hello \d+" in eu-west-1\.`).MatchString(out.String()) {
				t.Errorf("run(-destroy): output does not name the AMI:\n%s", out.String())
			}
		}
	})
}
