package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/ec2/ec2test/imagetest"
)

func TestReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := imagetest.Start(t, &imagetest.Options{Server: ec2test.Options{Latency: ec2test.Realistic()}})
		if err := setUp(t.Context(), env.Server, env.Cloud, clock.System().Sleep); err != nil {
			t.Fatal(err)
		}
		runs := func(want string) {
			t.Helper()
			for _, group := range []string{"shop-canary", "shop-a", "shop-b"} {
				check := ec2.InstanceRefresh{Waves: []ec2.Wave{{Groups: []string{group}}}}
				lines, err := check.PlanDetails(t.Context(), ec2.Destination{Region: env.Cloud.Region(), Cloud: env.Cloud})
				if err != nil || !strings.Contains(lines[0], " from "+want+" ") {
					t.Errorf("%s: %v, %v, want %s", group, lines, err, want)
				}
			}
		}
		results, err := release(t.Context(), env.Cloud, env.BakeOptions(), "1.0")
		if err != nil {
			t.Fatalf("release(1.0) = %v", err)
		}
		first := results[1].Artifact.ID()
		runs(first)

		_, err = release(t.Context(), env.Cloud, env.BakeOptions(), "2.0")
		failed, ok := errors.AsType[*ec2.RolloutError](err)
		if !ok || !strings.Contains(err.Error(), "no connection to the database") {
			t.Fatalf("release(2.0) = %v, want a RolloutError of the check", err)
		}
		for _, g := range failed.Groups {
			if want := map[string]ec2.GroupStatus{"shop-canary": ec2.GroupRolledBack}[g.Group]; want != "" && g.Status != want || want == "" && g.Status != ec2.GroupNotBegun {
				t.Errorf("release(2.0): %s", g)
			}
		}
		runs(first)

		// Version 1.1 turns out to be bad a day later, and is put back by hand.
		if _, err := release(t.Context(), env.Cloud, env.BakeOptions(), "1.1"); err != nil {
			t.Fatalf("release(1.1) = %v", err)
		}
		time.Sleep(24 * time.Hour)
		if groups, err := rollout().RollBack(context.WithoutCancel(t.Context()), env.Cloud); err != nil {
			t.Errorf("RollBack() = %v, %v", groups, err)
		}
		runs(first)
	})
}

// The jobs run the program with flags that it has.
func TestJobs(t *testing.T) {
	job, err := os.ReadFile("ci/github.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(job, new(any)); err != nil {
		t.Errorf("ci/github.yml: %v", err)
	}
	jenkins, err := os.ReadFile("ci/Jenkinsfile")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"github.yml": string(job), "Jenkinsfile": string(jenkins)} {
		for _, want := range []string{"go build -o pipeline ./examples/pipeline", "./pipeline -aws -release", "./pipeline -aws -rollback"} {
			if !strings.Contains(text, want) {
				t.Errorf("ci/%s lacks %q", name, want)
			}
		}
	}
}
