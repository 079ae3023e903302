package ec2_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/ec2"
)

// TestPublishedAgain has every publisher do again what it has done, as a process
// does that takes over from one which died after the call and before it was
// recorded: nothing is there twice. The dead one has left its lock, too.
func TestPublishedAgain(t *testing.T) {
	server := roleServer(t, nil)
	places := []string{testRegion, "us-east-1", "us-west-2", prodAccount + "/" + testRegion}
	for _, place := range places {
		newTemplate(t, awsec2.NewFromConfig(owner(server, place)))
	}
	dir := t.TempDir()
	lock := filepath.Join(dir, ".manifest.json.lock")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if long := time.Now().Add(-time.Hour); os.Chtimes(lock, long, long) != nil {
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
		t.Errorf("the manifest: %s, %v", data, err)
	}
	for place, id := range ami.IDs() {
		if list := versions(t, awsec2.NewFromConfig(owner(server, place))); len(list) != 2 || !*list[0].DefaultVersion || *list[0].LaunchTemplateData.ImageId != id {
			t.Errorf("%s: %d versions, want the old one and that of %s as the default", place, len(list), id)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("files: %v, %v", left, err)
	}
}
