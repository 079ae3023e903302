package testenv

import (
	"os/exec"
	"strings"
	"testing"
)

// Botocore returns the directory of botocore, AWS's client for Python, that
// holds the models of AWS's services: ec2/2016-11-15/service-2.json.gz and the
// like. It comes with moto; without that it skips t, as Need does.
func Botocore(t testing.TB) (data string) {
	t.Helper()
	const where = "import os, botocore; print(os.path.join(os.path.dirname(botocore.__file__), 'data'))"
	out, err := exec.CommandContext(t.Context(), Need(t, "moto"), "-c", where).Output()
	if err != nil {
		t.Fatalf("testenv: moto is there, but not botocore: %v", err)
	}
	return strings.TrimSpace(string(out))
}
