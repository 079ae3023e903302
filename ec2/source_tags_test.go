package ec2_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// sourceFacts returns facts of a source, for tags or for a manifest.
func sourceFacts(src ec2.SourceImage) (map[string]string, error) {
	release, ok := src.Tags["release"]
	if !ok {
		return nil, fmt.Errorf("%q has no tag release", src.Name)
	}
	return map[string]string{
		"from-id": src.ID, "from-name": src.Name, "from-region": src.Region, "from-owner": src.Owner,
		"from-day": src.Created.Format(time.DateOnly), "from-release": release, "team": "of the source",
	}, nil
}

// withBase bakes an AMI with tags and returns it as a source.
func withBase(t *testing.T, cloud *ec2.Cloud, tags map[string]string) (*ec2.AMI, ec2.Source) {
	t.Helper()
	base := simple(cloud)
	base.Name, base.Tags = "base", tags
	results, err := bake.Bake(t.Context(), nil, base)
	if err != nil {
		t.Fatal(err)
	}
	ami := amiOf(t, results[0])
	return ami, ec2.ImageID(ami.ImageID)
}

// TestSourceTags tags everything that a bake creates with facts of its source, and adds
// them to the manifest.
func TestSourceTags(t *testing.T) {
	for name, capture := range map[string]ec2.Capture{"image": {}, "snapshots": {FromSnapshots: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				cloud := newCloud(server)
				base, source := withBase(t, cloud, map[string]string{"release": "7"})
				manifest := filepath.Join(t.TempDir(), "manifest.json")
				img := configure(captured(cloud, capture), func(b *ec2.Builder) {
					b.Source, b.SourceTags, b.Distribute.Copies = source, sourceFacts, ec2.CopyTo("us-east-1")
					b.RunTags = map[string]string{"from-day": "today"}
				})
				img.Tags = map[string]string{"team": "web"}
				img.Publishers = []bake.Publisher{ec2.PackerManifest{Path: manifest, SourceData: sourceFacts, CustomData: map[string]string{"team": "of the manifest"}}}
				var machine ec2types.Instance
				during := map[string]map[string]string{}
				img.Steps = []bake.Step{describeMachine(cloud, &machine), {Name: "list resources", At: bake.BeforeCapture, Do: func(context.Context) error {
					for _, r := range server.Resources(func(r ec2test.Resource) bool { return r.Tags[ec2.TagImage] == img.Name }) {
						during[r.Type] = r.Tags
					}
					return nil
				}}}
				results, err := bake.Bake(t.Context(), nil, img)
				if err != nil {
					t.Fatal(err)
				}
				want, err := sourceFacts(amiOf(t, results[0]).Source)
				if err != nil {
					t.Fatal(err)
				}
				if want["from-id"] != base.ImageID || want["from-name"] != base.Name || want["from-region"] != testRegion || want["from-owner"] != mainAccount || want["from-release"] != "7" {
					t.Errorf("facts of the source = %v, want those of %s", want, base)
				}
				want["team"] = "web"
				check := func(where string, got map[string]string) {
					t.Helper()
					got = maps.Clone(got)
					maps.DeleteFunc(got, func(key, _ string) bool { return key != "team" && !strings.HasPrefix(key, "from-") })
					if !maps.Equal(got, want) {
						t.Errorf("tags of the %s = %v, want %v", where, got, want)
					}
				}
				for _, r := range server.Resources(func(r ec2test.Resource) bool { return r.Tags[ec2.TagBuild] == results[0].Build }) {
					check(r.Type+" in "+r.Region, r.Tags)
				}
				want["from-day"] = "today"
				for _, kind := range []string{"instance", "volume", "security-group", "network-interface"} {
					check(kind, during[kind])
				}
				data, err := os.ReadFile(manifest)
				if err != nil {
					t.Fatal(err)
				}
				var file struct {
					Builds []struct {
						Data map[string]string `json:"custom_data"`
					}
				}
				if err := json.Unmarshal(data, &file); err != nil {
					t.Fatal(err)
				}
				if got := file.Builds[0].Data; got["from-name"] != base.Name || got["team"] != "of the manifest" {
					t.Errorf("custom data = %v, want the facts of %s", got, base)
				}
			})
		})
	}
}

// TestInvalidSourceTags bakes and plans with tags and custom data that cannot be made
// from the source, or that a resource cannot have.
func TestInvalidSourceTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		_, source := withBase(t, cloud, map[string]string{"team": "base"})
		fixed := func(tags map[string]string) func(ec2.SourceImage) (map[string]string, error) {
			return func(ec2.SourceImage) (map[string]string, error) { return tags, nil }
		}
		many := map[string]string{}
		for i := range 41 {
			many[fmt.Sprint(i)] = ""
		}
		planted := errors.New("no such fact")
		before := server.CallCount("CreateSecurityGroup")
		cases := map[string]func(*bake.Image, *ec2.Builder){
			`Builder.SourceTags: source ami-`: func(_ *bake.Image, b *ec2.Builder) {
				b.SourceTags = func(ec2.SourceImage) (map[string]string, error) { return nil, planted }
			},
			`has no tag release`:                func(_ *bake.Image, b *ec2.Builder) { b.SourceTags = sourceFacts },
			`Builder.SourceTags: Tags: "aws:x"`: func(_ *bake.Image, b *ec2.Builder) { b.SourceTags = fixed(map[string]string{"aws:x": ""}) },
			"Builder.SourceTags: Tags: 42 tags": func(_ *bake.Image, b *ec2.Builder) { b.SourceTags = fixed(many) }, // with the image's own
			"Builder.SourceTags: Tags: invalid k": func(_ *bake.Image, b *ec2.Builder) {
				b.SourceTags, b.Metadata.Tags = fixed(map[string]string{"a b": ""}), true
			},
			"Builder.SourceTags: Tags: invalid t": func(_ *bake.Image, b *ec2.Builder) {
				b.SourceTags, b.InstanceProfilePolicy = fixed(map[string]string{"a": "*"}), readBucket
			},
			"printed form of a bake.Secret": func(_ *bake.Image, b *ec2.Builder) {
				b.SourceTags = fixed(map[string]string{"a": fmt.Sprint(bake.NewSecret("x"))})
			},
			`Builder.SourceTags["b"]: contains [redacted], the printed form of a bake.Secret`: func(_ *bake.Image, b *ec2.Builder) {
				b.SourceTags = fixed(map[string]string{"b": base64.StdEncoding.EncodeToString([]byte("user:" + fmt.Sprint(bake.NewSecret("x"))))})
			},
			`PackerManifest.SourceData["c"]: contains [redacted]`: func(img *bake.Image, _ *ec2.Builder) {
				img.Publishers = []bake.Publisher{ec2.PackerManifest{SourceData: fixed(map[string]string{"c": fmt.Sprint(bake.NewSecret("x"))})}}
			},
			"PackerManifest.SourceData: source ami-": func(img *bake.Image, _ *ec2.Builder) {
				img.Publishers = []bake.Publisher{wrappedPublisher{ec2.PackerManifest{SourceData: sourceFacts}}}
			},
		}
		for want, change := range cases {
			img := simple(cloud)
			configure(img, func(b *ec2.Builder) { b.Source = source; change(img, b) })
			_, planErr := ec2.Plan(t.Context(), img)
			_, err := bake.Bake(t.Context(), nil, img)
			wantError(t, "Bake", err, "find source image: ", want)
			wantError(t, "Plan", planErr, want)
		}
		if n := server.CallCount("CreateSecurityGroup") - before; n > len(cases) { // the dry runs of Plan
			t.Errorf("calls of CreateSecurityGroup = %d, want only those of Plan", n)
		}
	})
}

// TestSourceTagsOfCheck checks that the check instance, whose source is the AMI itself,
// has no tags of SourceTags, and that they are made once.
func TestSourceTagsOfCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		made := 0
		img := configure(simple(cloud), func(b *ec2.Builder) {
			b.SourceTags = func(src ec2.SourceImage) (map[string]string, error) {
				made++
				return map[string]string{"from": src.Name}, nil
			}
		})
		var machine ec2types.Instance
		img.Checks = []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, _ bake.Machine) error {
			return describeMachine(cloud, &machine).Do(ctx)
		}}}
		results, err := bake.Bake(t.Context(), nil, img)
		if err != nil {
			t.Fatal(err)
		}
		if _, has := tagsOf(machine.Tags)["from"]; has || made != 1 {
			t.Errorf("tags of the check instance = %v, made %d times, want no tag from, once", tagsOf(machine.Tags), made)
		}
		ami := amiOf(t, results[0])
		if got := tagsOf(describe(t, cloud, "", ami.ImageID).Tags)["from"]; got != ami.Source.Name {
			t.Errorf("tag from of the AMI = %q, want %q", got, ami.Source.Name)
		}
	})
}
