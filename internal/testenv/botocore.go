package testenv

import (
	"os/exec"
	"strings"
	"testing"
)

// Botocore returns the data directory of botocore, AWS's client for Python. It
// contains the models of AWS's services, such as
// ec2/2016-11-15/service-2.json.gz. Botocore comes with moto; without moto, t is
// skipped, as by Need.
func Botocore(t testing.TB) (data string) {
	t.Helper()
	const program = "import os, botocore; print(os.path.join(os.path.dirname(botocore.__file__), 'data'))"
	out, err := exec.CommandContext(t.Context(), Need(t, "moto"), "-c", program).Output()
	if err != nil {
		t.Fatalf("testenv: find botocore: %v", err)
	}
	return strings.TrimSpace(string(out))
}
