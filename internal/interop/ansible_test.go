package interop_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// Ansible's modules of the collection amazon.aws build a network, bake an AMI from
// an instance in it, and remove everything again. The collection comes with the
// Python package ansible, and boto3 must be beside it. CI has only ansible-core, so
// it skips this test.
func TestAnsibleModules(t *testing.T) {
	playbook := testenv.Need(t, "ansible")
	python := filepath.Join(filepath.Dir(playbook), "python")
	if err := exec.CommandContext(t.Context(), python, "-c", "import boto3, ansible_collections.amazon.aws").Run(); err != nil {
		t.Skipf("no collection amazon.aws beside %s: %v", playbook, err)
	}
	server := ec2test.New(nil)
	t.Cleanup(server.Close)
	cmd := exec.CommandContext(t.Context(), playbook, "-i", "localhost,", "-e", "ansible_python_interpreter="+python, "-e", "endpoint="+server.URL(),
		filepath.Join("testdata", "modules.yml"))
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "ANSIBLE_NOCOLOR=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ansible-playbook: %v\n%s", err, out)
	}
	if left := server.Leftovers(); len(left) != 0 {
		t.Errorf("Leftovers = %q, want none", left)
	}
}
