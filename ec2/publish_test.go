package ec2_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// published bakes the image of multiRegion with publishers.
func published(t *testing.T, server *ec2test.Server, publishers ...bake.Publisher) (*ec2.AMI, error) {
	t.Helper()
	img := multiRegion(newCloud(server))
	img.Publishers = publishers
	results, err := bake.Bake(t.Context(), nil, img)
	if results == nil || results[0].Artifact == nil {
		t.Fatal(err)
	}
	return amiOf(t, results[0]), err
}

func TestSSMParameter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		for range 2 { // the second overwrites
			ami, err := published(t, server, ec2.SSMParameter{Name: "/images/web", Tier: "Standard", Description: "the web"})
			if err != nil {
				t.Fatal(err)
			}
			for place, id := range ami.IDs() {
				out, err := ssm.NewFromConfig(owner(server, place)).GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/images/web")})
				if err != nil || *out.Parameter.Value != id || *out.Parameter.DataType != "aws:ec2:image" {
					t.Errorf("%s: GetParameter() = %+v, %v, want %s of type aws:ec2:image", place, out, err, id)
				}
			}
		}
		// TestPreflight covers parameters that exist before the bake.
		meanwhile := bake.PublisherFunc{Do: func(context.Context, bake.Artifact) error {
			putParameter(t, server, "us-east-1", "/images/late")
			return nil
		}}
		_, err := published(t, server, meanwhile, ec2.SSMParameter{Name: "/images/late", NoOverwrite: true, Regions: []string{"us-east-1"}})
		wantError(t, "Bake", err, "publish 2: parameter /images/late: us-east-1: ", "ParameterAlreadyExists")
		// After a lost response, the parameter is the publisher's own.
		server.Fail(ec2test.Fault{Action: "PutParameter", Region: "us-east-1", When: ec2test.After})
		if _, err := published(t, server, ec2.SSMParameter{Name: "new", NoOverwrite: true, PlainText: true}); err != nil {
			t.Errorf("Bake() after a lost response: error = %v", err)
		}
	})
}

// TestSSMParameterNotSet has Systems Manager report success without setting the
// parameter, as it does if its later check of the AMI fails.
func TestSSMParameterNotSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		putParameter(t, server, "us-east-1", "/images/web")
		server.Fail(ec2test.Fault{Action: "PutParameter", Region: "us-east-1", Status: 200, Code: "Taken", Times: -1})
		img := multiRegion(newCloud(server))
		img.Publishers = []bake.Publisher{ec2.SSMParameter{Name: "/images/web"}}
		results, err := bake.Bake(t.Context(), nil, img)
		wantError(t, "Bake", err, `publish 1: parameter /images/web: us-east-1: value is still "another": `)
		if results[0].Artifact == nil {
			t.Error("artifact = nil, want the AMI")
		}
		// Without permission to read it, the response counts.
		server.Fail(ec2test.Fault{Action: "GetParameter", Code: "AccessDeniedException", Times: -1})
		if _, err := published(t, server, ec2.SSMParameter{Name: "/images/web"}); err != nil {
			t.Error(err)
		}
	})
}

func TestLaunchTemplate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		newTemplates(t, server, definitionPlaces()...)
		server.Fail(ec2test.Fault{Action: "CreateLaunchTemplateVersion", When: ec2test.After}) // lose a response
		ami, err := published(t, server, ec2.LaunchTemplate{Name: "web", MakeDefault: true}, ec2.LaunchTemplate{Name: "web", Regions: []string{"us-east-1"}, Description: "not default"})
		if err != nil {
			t.Fatal(err)
		}
		for place, id := range ami.IDs() {
			list := versions(t, awsec2.NewFromConfig(owner(server, place)))
			want := 2
			if place == "us-east-1" {
				if want++; *list[0].VersionDescription != "not default" || *list[0].DefaultVersion {
					t.Errorf("%s: newest version = %+v, want one that is not the default", place, list[0])
				}
				list = list[1:]
				want--
			}
			if v := list[0]; len(list) != want || !*v.DefaultVersion || *v.VersionDescription != ami.Name || *v.LaunchTemplateData.ImageId != id ||
				v.LaunchTemplateData.InstanceType != "m5.large" || v.LaunchTemplateData.MetadataOptions.HttpTokens != "required" {
				t.Errorf("%s: %d versions, the newest %+v with %+v, want %d and a default that changes only the image, to %s", place, len(list), v, v.LaunchTemplateData, want, id)
			}
		}
		// If one place fails, the others are still updated.
		server.Fail(ec2test.Fault{Action: "CreateLaunchTemplateVersion", Region: "us-east-1", Code: "UnauthorizedOperation", Times: -1})
		made := server.CallCount("CreateLaunchTemplateVersion")
		_, err = published(t, server, ec2.LaunchTemplate{Name: "web"})
		wantError(t, "Bake", err, "launch template web: us-east-1: ")
		if n := server.CallCount("CreateLaunchTemplateVersion") - made; n != len(definitionPlaces()) {
			t.Errorf("calls of CreateLaunchTemplateVersion = %d, want one in each of %v", n, definitionPlaces())
		}
	})
}

type packerManifest struct {
	Builds []map[string]any `json:"builds"`
	Last   string           `json:"last_run_uuid"`
}

func TestPackerManifest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		cloud := newCloud(server)
		path := filepath.Join(t.TempDir(), "manifest.json")
		const before = `{"builds": [{"name": "old", "artifact_id": "us-east-1:ami-1", "future": {"field": 1}}], "last_run_uuid": "x"}`
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		images := fleet(cloud, 8)
		for _, img := range images {
			img.Publishers = []bake.Publisher{ec2.PackerManifest{Path: path, RunUUID: "run", CustomData: map[string]string{"commit": "abc"}}}
			setDistribution(img, func(d *ec2.Distribution) { d.Copies = ec2.CopyTo("us-east-1") })
		}
		results, err := bake.Bake(t.Context(), nil, images...)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var got packerManifest
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Builds) != 9 || got.Last != "run" || got.Builds[0]["future"] == nil {
			t.Fatalf("manifest = %s, want the old build unchanged and 8 new ones", data)
		}
		for _, r := range results {
			i := slices.IndexFunc(got.Builds, func(b map[string]any) bool { return b["name"] == r.Image.Name })
			if i < 0 {
				t.Fatalf("manifest lacks %s: %s", r.Image.Name, data)
			}
			b, ids := got.Builds[i], r.Artifact.IDs()
			custom, _ := b["custom_data"].(map[string]any)
			if b["artifact_id"] != testRegion+":"+ids[testRegion]+",us-east-1:"+ids["us-east-1"] || b["builder_type"] != "amazon-ebs" ||
				b["packer_run_uuid"] != "run" || b["files"] != nil || b["build_time"] == nil || custom["commit"] != "abc" {
				t.Errorf("build = %v, want one with the ids %v", b, ids)
			}
		}
		if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
			t.Errorf("files = %v (error %v), want only the manifest", left, err)
		}
		// A file that is not a manifest is left alone.
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = published(t, server, ec2.PackerManifest{Path: path})
		wantError(t, "Bake", err, "parse manifest")
		if data, err := os.ReadFile(path); err != nil || string(data) != "precious" {
			t.Errorf("content of the file = %q (error %v), want it unchanged", data, err)
		}
	})
}

func TestJSONFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		path := filepath.Join(t.TempDir(), "not", "there", "ami.json")
		manifest := filepath.Join(t.TempDir(), "nor", "that", "manifest.json")
		ami, err := published(t, server, ec2.JSONFile{Path: path}, ec2.PackerManifest{Path: manifest})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(manifest); err != nil {
			t.Error(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			ID, Region, Name, Build string
			Copies                  []struct{ ID, Region, Account string }
		}
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if got.ID != ami.ImageID || got.Name != ami.Name || got.Build != ami.Build || len(got.Copies) != 3 || got.Copies[2].Account != prodAccount {
			t.Errorf("content of the file = %s, want the AMI %s and three copies", data, ami.ImageID)
		}
	})
}

func TestPublishForeignArtifact(t *testing.T) {
	for _, p := range []bake.Publisher{ec2.SSMParameter{Name: "x"}, ec2.LaunchTemplate{Name: "web"}, ec2.PackerManifest{Path: filepath.Join(t.TempDir(), "m")}} {
		img := &bake.Image{Name: "other", Builder: baketest.NewBuilder(nil), Publishers: []bake.Publisher{p}}
		_, err := bake.Bake(t.Context(), nil, img)
		wantError(t, "Bake", err, "is not an AMI of this package")
	}
}

func TestValidatePublishers(t *testing.T) {
	for want, p := range map[string]bake.Validator{
		"SSMParameter.Name: is required":                           ec2.SSMParameter{},
		`SSMParameter.Name: invalid name "a b"`:                    ec2.SSMParameter{Name: "a b"},
		`SSMParameter.Name: invalid name "a/b": names with levels`: ec2.SSMParameter{Name: "a/b"},
		"reserved": ec2.SSMParameter{Name: "/aws/images"},
		`SSMParameter.Description: is 1025 characters`:                    ec2.SSMParameter{Name: "x", Description: strings.Repeat("é", 1025)},
		`SSMParameter.Tier: unknown value "Gold"`:                         ec2.SSMParameter{Name: "x", Tier: "Gold"},
		"exactly one of Name and ID":                                      ec2.LaunchTemplate{},
		`LaunchTemplate.Name: invalid name "a b"`:                         ec2.LaunchTemplate{Name: "a b"},
		"LaunchTemplate.Regions":                                          ec2.LaunchTemplate{ID: "lt-1", Regions: []string{"us-east-1"}},
		`LaunchTemplate.SourceVersion: invalid version "newest"`:          ec2.LaunchTemplate{Name: "web", SourceVersion: "newest"},
		"LaunchTemplate.Description: is 300 characters, want at most 255": ec2.LaunchTemplate{Name: "web", Description: strings.Repeat("x", 300)},
		"JSONFile.Path: is required":                                      ec2.JSONFile{},
	} {
		wantError(t, "Validate", p.Validate(), want)
	}
}

// TestPublishTwice runs each publisher twice, as a process does that resumes a
// build which died before it recorded the first run. Nothing may exist twice. The
// first process also left its lock.
func TestPublishTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		newTemplates(t, server, definitionPlaces()...)
		dir := t.TempDir()
		lock := filepath.Join(dir, ".manifest.json.lock")
		if err := os.WriteFile(lock, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if old := time.Now().Add(-time.Hour); os.Chtimes(lock, old, old) != nil {
			t.Fatal("the lock cannot be made old")
		}
		manifest := ec2.PackerManifest{Path: filepath.Join(dir, "manifest.json")}
		template := ec2.LaunchTemplate{Name: "web", MakeDefault: true}
		parameter := ec2.SSMParameter{Name: "/images/web", NoOverwrite: true}
		file := ec2.JSONFile{Path: filepath.Join(dir, "ami.json")}
		ami, err := published(t, server, manifest, template, parameter, file, manifest, template, parameter, file)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(manifest.Path)
		if err != nil {
			t.Fatal(err)
		}
		var got packerManifest
		if err := json.Unmarshal(data, &got); err != nil || len(got.Builds) != 1 {
			t.Errorf("manifest = %s (error %v), want one build", data, err)
		}
		for place, id := range ami.IDs() {
			if list := versions(t, awsec2.NewFromConfig(owner(server, place))); len(list) != 2 || !*list[0].DefaultVersion || *list[0].LaunchTemplateData.ImageId != id {
				t.Errorf("%s: launch template versions = %d, want the old one and a default that launches %s", place, len(list), id)
			}
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
			t.Errorf("files = %v (error %v), want the manifest and the JSON file", left, err)
		}
	})
}

// TestPublishReused publishes an AMI again that is found by its fingerprint, where what
// was published is lost.
func TestPublishReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		manifest := filepath.Join(t.TempDir(), "manifest.json")
		img := multiRegion(newCloud(server))
		img.Fingerprint, img.PublishReused = "1", true
		img.Publishers = []bake.Publisher{
			ec2.SSMParameter{Name: "/images/web", NoOverwrite: true},
			ec2.PackerManifest{Path: manifest, SourceData: func(source ec2.SourceImage) (map[string]string, error) {
				return map[string]string{"source": source.Name, "owner": source.Owner, "region": source.Region, "login": source.Login}, nil
			}},
		}
		var first *ec2.AMI
		var written []byte
		for i, want := range []bake.Status{bake.StatusBaked, bake.StatusReused} {
			results, err := bake.Bake(t.Context(), nil, img)
			if err != nil || results[0].Status != want {
				t.Fatalf("Bake %d = %v, %v, want %s", i+1, results, err, want)
			}
			ami := amiOf(t, results[0])
			for place, id := range ami.IDs() {
				out, err := ssm.NewFromConfig(owner(server, place)).GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/images/web")})
				if err != nil || *out.Parameter.Value != id {
					t.Errorf("%s: GetParameter() = %+v, %v, want %s", place, out, err, id)
				}
			}
			data, err := os.ReadFile(manifest)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first, written = ami, data
				place := slices.Sorted(maps.Keys(ami.IDs()))[0]
				if _, err := ssm.NewFromConfig(owner(server, place)).DeleteParameter(t.Context(), &ssm.DeleteParameterInput{Name: aws.String("/images/web")}); err != nil {
					t.Fatal(err)
				}
				if err := os.Remove(manifest); err != nil {
					t.Fatal(err)
				}
				continue
			}
			const built = `"build_time": \d+`
			time := regexp.MustCompile(built)
			if got, want := time.ReplaceAllString(string(data), ""), time.ReplaceAllString(string(written), ""); got != want {
				t.Errorf("manifest of the reused AMI:\n%s\nwant\n%s", got, want)
			}
			if !maps.Equal(ami.IDs(), first.IDs()) {
				t.Errorf("Bake %d = %v, want %v", i+1, ami.IDs(), first.IDs())
			}
		}
	})
}
