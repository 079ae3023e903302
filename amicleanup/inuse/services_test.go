package inuse_test

import (
	"net/url"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// A monthly pruning left EKS without the image of its nodes: a node group
// launches from the version that it names, also when it has no nodes.
func TestTrapNodeGroups(t *testing.T) {
	w := newAccount(t, 5, nil, inuse.NodeGroups())
	id := w.template("nodes", w.ids[1], w.ids[4])
	w.makeDefault("nodes", "2")
	w.rest.answers = map[string]string{ //nolint:gosec // no credentials
		"/clusters":                              `{"clusters":["test"],"nextToken":"a"}`,
		"/clusters?nextToken=a":                  `{"clusters":["prod","deleted"]}`,
		"/clusters/test/node-groups":             `{"nodegroups":[]}`,
		"/clusters/prod/node-groups":             `{"nodegroups":["plain","own"],"nextToken":"b"}`,
		"/clusters/prod/node-groups?nextToken=b": `{"nodegroups":["custom","deleted"]}`,
		"/clusters/prod/node-groups/plain":       `{"nodegroup":{"releaseVersion":"1.33.1-20261101"}}`,
		"/clusters/prod/node-groups/own":         `{"nodegroup":{"launchTemplate":{"id":"` + id + `","version":"1"}}}`,
		"/clusters/prod/node-groups/custom":      `{"nodegroup":{"releaseVersion":"` + w.ids[2] + `"}}`,
	}
	refs := w.check(1, 2)
	if got := evidence(refs, w.ids[2]); !slices.Equal(got, []string{"node group prod/custom"}) {
		t.Errorf("evidence %q", got)
	}
}

func TestBatchEnvironments(t *testing.T) {
	w := newAccount(t, 9, nil, inuse.BatchEnvironments())
	w.template("jobs", w.ids[2], w.ids[3], w.ids[8])
	w.makeDefault("jobs", "3")
	gpu := w.template("gpu", w.ids[4])
	w.rest.answers = map[string]string{
		`/v1/describecomputeenvironments {"maxResults":100}`: `{"computeEnvironments":[
			{"computeEnvironmentName":"old","state":"DISABLED","status":"INVALID","computeResources":{"imageId":"` + w.ids[0] + `"}},
			{"computeEnvironmentName":"ecs","computeResources":{"ec2Configuration":[{"imageType":"ECS_AL2023","imageIdOverride":"` + w.ids[1] + `"}]}},
			{"computeEnvironmentName":"unmanaged","type":"UNMANAGED"}],"nextToken":"a"}`,
		`/v1/describecomputeenvironments {"maxResults":100,"nextToken":"a"}`: `{"computeEnvironments":[
			{"computeEnvironmentName":"templated","computeResources":{"launchTemplate":{"launchTemplateName":"jobs","version":"2",
				"overrides":[{"launchTemplateId":"` + gpu + `","version":"$Latest","targetInstanceTypes":["g6.xlarge"]}]}}},
			{"computeEnvironmentName":"gone","status":"DELETED","computeResources":{"imageId":"` + w.ids[5] + `"}}]}`,
	}
	refs := w.check(0, 1, 3, 4)
	for i, want := range map[int]string{0: "batch environment old", 4: "batch environment templated in an override through launch template " + gpu + " version 1"} {
		if got := evidence(refs, w.ids[i]); !slices.Equal(got, []string{want}) {
			t.Errorf("evidence for image %d: %q, want %q", i, got, want)
		}
	}
}

// Recipes are based on an image by its id, by a parameter or as an image of Image
// Builder.
func TestTrapRecipes(t *testing.T) {
	const shared, wild, missing = "arn:aws:imagebuilder:eu-west-1:210987654321:image/base/1.0.0/3",
		"arn:aws:imagebuilder:eu-west-1:123456789012:image/base/x.x.x", "arn:aws:imagebuilder:eu-west-1:123456789012:image/gone/1.0.0/1"
	w := newAccount(t, 9, nil, inuse.ImageBuilder())
	w.parameter("/base", w.ids[1])
	w.parameter("/base", w.ids[8])
	w.rest.answers = map[string]string{
		`/ListImageRecipes {"maxResults":25,"owner":"Self"}`: `{"imageRecipeSummaryList":[
			{"arn":"r0","parentImage":"` + w.ids[0] + `"},{"arn":"r1","parentImage":"ssm:/base:1"}],"nextToken":"a"}`,
		`/ListImageRecipes {"maxResults":25,"nextToken":"a","owner":"Self"}`: `{"imageRecipeSummaryList":[
			{"arn":"r2","parentImage":"` + wild + `"},{"arn":"r3","parentImage":"` + missing + `"},
			{"arn":"r4","parentImage":"arn:aws:imagebuilder:eu-west-1:aws:image/amazon-linux-2023-x86/x.x.x"},{"arn":"r5","parentImage":"prod-abc"}]}`,
		`/ListImageRecipes {"maxResults":25,"owner":"Shared"}`:     `{"imageRecipeSummaryList":[{"arn":"r6","parentImage":"` + shared + `"}]}`,
		`/ListContainerRecipes {"maxResults":25,"owner":"Self"}`:   `{"containerRecipeSummaryList":[{"arn":"c0","parentImage":"amazonlinux:latest","instanceImage":"` + w.ids[4] + `"}]}`,
		`/ListContainerRecipes {"maxResults":25,"owner":"Shared"}`: `{"containerRecipeSummaryList":[{"arn":"c1"}]}`,
		"/GetImage?imageBuildVersionArn=" + url.QueryEscape(wild): `{"image":{"outputResources":{"amis":[
			{"region":"us-east-1","image":"ami-0000000000000000f"},{"region":"eu-west-1","image":"` + w.ids[2] + `"}]}}}`,
		"/GetImage?imageBuildVersionArn=" + url.QueryEscape(shared): `{"image":{"outputResources":{"amis":[{"region":"eu-west-1","image":"` + w.ids[3] + `"}]}}}`,
	}
	refs := w.check(0, 1, 2, 3, 4)
	want := []string{"image recipe r2 through " + wild}
	if diff := cmp.Diff(want, evidence(refs, w.ids[2])); diff != "" {
		t.Errorf("evidence (-want +got):\n%s", diff)
	}
}
