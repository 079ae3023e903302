package ec2_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
)

// TestRunTags checks that RunTags are on the machine but not on the AMI.
func TestRunTags(t *testing.T) {
	for name, capture := range map[string]ec2.Capture{"image": {}, "snapshots": {FromSnapshots: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
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

// TestCharacterLimits bakes with texts of the greatest length beyond ASCII, where EC2
// counts characters, and validates texts that are one character longer.
func TestCharacterLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := func(n int) string { return strings.Repeat("ü", n-1) + "😀" }
		define := func(cloud *ec2.Cloud, key, value, description, name int) *bake.Image {
			img := simple(cloud)
			img.Name = text(name)
			img.Tags = map[string]string{text(key): text(value)}
			return configure(img, func(b *ec2.Builder) { b.AMIName, b.Description = "web", text(description) })
		}
		server := newServer(t, nil)
		cloud := newCloud(server)
		results, err := bake.Bake(t.Context(), nil, define(cloud, 128, 256, 255, 200))
		if err != nil {
			t.Fatal(err)
		}
		ami := describe(t, cloud, "", results[0].Artifact.ID())
		if got := tagsOf(ami.Tags)[text(128)]; got != text(256) {
			t.Errorf("tag %q = %q, want %q", text(128), got, text(256))
		}
		if got := aws.ToString(ami.Description); got != text(255) {
			t.Errorf("description = %q, want %q", got, text(255))
		}
		for want, img := range map[string]*bake.Image{
			"keys have 1 to 128 characters":                            define(cloud, 129, 1, 1, 1),
			"values at most 256":                                       define(cloud, 1, 257, 1, 1),
			"Builder.Description: is 256 characters, want at most 255": define(cloud, 1, 1, 256, 1),
			"Image.Name: is 201 characters, want at most 200":          define(cloud, 1, 1, 1, 201),
		} {
			wantError(t, "Validate", bake.Validate(nil, img), want)
		}
		img := define(cloud, 1, 1, 1, 1)
		img.Tags["x"] = "\xff"
		wantError(t, "Validate", bake.Validate(nil, img), `invalid tag "x"`)
	})
}

// TestTagCount bakes with as many tags as EC2 allows, and checks that the error for
// more names the tags that the build sets.
func TestTagCount(t *testing.T) {
	for name, most := range map[string]int{"tags": 41, "tags and a Name": 42} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				img := simple(newCloud(server))
				img.Fingerprint = "0123456789abcdef"
				img.Tags = map[string]string{}
				if most == 42 {
					img.Tags["Name"] = "web"
				}
				for i := len(img.Tags); i < most; i++ {
					img.Tags[fmt.Sprint(i)] = ""
				}
				if _, err := bake.Bake(t.Context(), nil, img); err != nil {
					t.Errorf("Bake() with %d tags: error = %v", most, err)
				}
				img.Tags["one more"] = ""
				want := fmt.Sprintf("Tags: %d tags, want at most %d: EC2 allows 50, of which Bakestone sets ", most+1, most)
				wantError(t, "Validate", bake.Validate(nil, img), want, "bakestone:build, ", ", bakestone:fingerprint")
			})
		})
	}
}

// TestMetadataTagKeys bakes with tag keys that the instance metadata service accepts,
// and validates keys that it does not.
func TestMetadataTagKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		for key, valid := range map[string]bool{
			"aZ09-_+=,.@:": true, "...": true, "_index2": true,
			"my key": false, "a/b": false, "schlüssel": false, "a(b)": false, ".": false, "..": false, "_index": false,
		} {
			for where, img := range map[string]*bake.Image{
				"Tags":       configure(simple(cloud), func(b *ec2.Builder) { b.Tags = map[string]string{key: ""} }),
				"RunTags":    configure(simple(cloud), func(b *ec2.Builder) { b.RunTags = map[string]string{key: ""} }),
				"Image.Tags": {Name: "simple", Builder: ec2.Builder{Cloud: cloud, Source: ubuntu()}, Tags: map[string]string{key: ""}},
			} {
				if err := bake.Validate(nil, img); err != nil {
					t.Errorf("Validate() with key %q in %s without Metadata.Tags: error = %v", key, where, err)
				}
				configure(img, func(b *ec2.Builder) { b.Metadata.Tags = true })
				if !valid {
					wantError(t, "Validate", bake.Validate(nil, img), fmt.Sprintf("Tags: invalid key %q: with Builder.Metadata.Tags", key))
				} else if _, err := bake.Bake(t.Context(), nil, img); err != nil {
					t.Errorf("Bake() with key %q in %s: error = %v", key, where, err)
				}
			}
		}
	})
}
