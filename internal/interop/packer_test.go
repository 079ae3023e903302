package interop_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// Packer bakes whole AMIs on ec2test, with its own temporary keys and groups: one
// that is copied and shared, one on a spot instance with encryption, and one of a
// second disk.
func TestPackerBuilds(t *testing.T) {
	packer := testenv.Need(t, "packer")
	if runtime.GOOS != "linux" {
		t.Skip("instances listen on addresses of their own only on Linux")
	}
	port := 20000 + os.Getpid()%10000 // of this process alone
	server := ec2test.New(&ec2test.Options{Listen: true, Port: port})
	t.Cleanup(server.Close)
	cmd := exec.CommandContext(t.Context(), packer, "build", "-color=false", "-var", "url="+server.URL(), "-var", fmt.Sprint("port=", port),
		filepath.Join("testdata", "packer.json"))
	cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "AWS_EC2_METADATA_DISABLED=true", "PACKER_CONFIG_DIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("packer build: %v\n%s", err, out)
	}
	for name, want := range map[string]struct{ region, file string }{
		"plain-1": {"us-east-1 eu-west-1", "/etc/baked"}, "spot-1": {"us-east-1", "/etc/baked"}, "surrogate-1": {"us-east-1", ""},
	} {
		images := server.Resources(func(r ec2test.Resource) bool { return r.Type == "image" && r.Name == name })
		if len(images) != len(strings.Fields(want.region)) {
			t.Errorf("images named %s: %v, want one in each of %s", name, images, want.region)
		}
		for _, image := range images {
			if want.file == "" {
				continue
			}
			if got, err := server.ReadFile(image.ID, want.file); err != nil || string(got) != "baked\n" {
				t.Errorf("ReadFile(%s, %s) = %q, %v, want baked", image.ID, want.file, got, err)
			}
		}
	}
	left := server.Resources(func(r ec2test.Resource) bool {
		return r.Type == "instance" || r.Type == "security-group" || r.Type == "key-pair" || r.Type == "volume"
	})
	if len(left) != 0 {
		t.Errorf("Packer left %v, want only images and snapshots", left)
	}
}
