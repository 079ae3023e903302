package ec2_test

import (
	"maps"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
)

// TestRunTags checks that RunTags are on the machine but not on the AMI.
func TestRunTags(t *testing.T) {
	for name, capture := range map[string]ec2.Capture{"image": {}, "snapshots": {FromSnapshots: true}} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t, nil)
			cloud := newCloud(server)
			img := captured(cloud, capture)
			configure(img, func(b *ec2.Builder) {
				b.Tags = map[string]string{"team": "not this one", "cost": "42"}
				b.RunTags = map[string]string{"purpose": "baking", "team": "nor this one"}
			})
			var machine ec2types.Instance
			img.Steps = []bake.Step{describeMachine(cloud, &machine)}
			results, err := bake.Bake(t.Context(), nil, img)
			if err != nil {
				t.Fatal(err)
			}
			ami := describe(t, cloud, "", results[0].Artifact.ID())
			for where, tags := range map[string]map[string]string{"instance": tagsOf(machine.Tags), "AMI": tagsOf(ami.Tags)} {
				want := map[string]string{"team": "web", "cost": "42", "purpose": "baking"}
				if where == "AMI" {
					delete(want, "purpose")
				}
				maps.DeleteFunc(tags, func(key, _ string) bool { return key != "team" && key != "cost" && key != "purpose" })
				if !maps.Equal(tags, want) {
					t.Errorf("tags of the %s = %v, want %v", where, tags, want)
				}
			}
		})
	}
}

// tagsOf returns tags as a map.
func tagsOf(list []ec2types.Tag) map[string]string {
	tags := map[string]string{}
	for _, tag := range list {
		tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return tags
}
