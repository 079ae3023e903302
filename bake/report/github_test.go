package report_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/report"
)

// TestWriteGitHub writes for a step of a workflow. A name and an id try to forge another
// output.
func TestWriteGitHub(t *testing.T) {
	const forged = "web\nEOF\nadmin<<EOF\ntrue\nEOF\nadmin=true"
	r := &report.Report{Images: []report.Image{
		{Name: "web.prod", Status: bake.StatusBaked, IDs: map[string]string{"eu-west-1": "ami-1", "us-east-1": "ami-2"}},
		{Name: forged, Status: bake.StatusBaked, IDs: map[string]string{"eu-west-1": forged}},
		{Name: "db", Status: bake.StatusFailed, Err: strings.Repeat("long ", 10_000)},
	}}
	dir := t.TempDir()
	env := map[string]string{"GITHUB_STEP_SUMMARY": filepath.Join(dir, "summary"), "GITHUB_OUTPUT": filepath.Join(dir, "output")}
	getenv := func(name string) string { return env[name] }
	var out strings.Builder
	if err := r.WriteGitHub(&out, getenv); err != nil || out.Len() > 0 {
		t.Errorf("WriteGitHub outside of GitHub = %v, wrote %q, want nothing", err, out.String())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("WriteGitHub outside of GitHub made %v, %v, want no files", entries, err)
	}
	env["GITHUB_ACTIONS"] = "true"
	if err := os.WriteFile(env["GITHUB_OUTPUT"], []byte("before=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteGitHub(&out, getenv); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 1 || !strings.HasPrefix(lines[0], "::error title=Image db failed::long ") || len(lines[0]) > 5000 {
		t.Errorf("annotations = %.200q, want a short one", out.String())
	}
	if summary, err := os.ReadFile(env["GITHUB_STEP_SUMMARY"]); err != nil || !strings.HasPrefix(string(summary), "**2 baked, 1 failed**") {
		t.Errorf("summary = %.100q, %v", summary, err)
	}
	outputs, err := os.ReadFile(env["GITHUB_OUTPUT"])
	if err != nil {
		t.Fatal(err)
	}
	parts := regexp.MustCompile(`^before=1\nimages<<(end-\w{26})\n(.*)\n(end-\w{26})\n$`).FindStringSubmatch(string(outputs))
	if parts == nil || parts[1] != parts[3] {
		t.Fatalf("outputs = %q, want one with a random delimiter", outputs)
	}
	var got map[string]map[string]string
	if err := json.Unmarshal([]byte(parts[2]), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]string{"web.prod": {"eu-west-1": "ami-1", "us-east-1": "ami-2"}, forged: {"eu-west-1": forged}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	env["GITHUB_OUTPUT"] = filepath.Join(dir, "missing", "output")
	if err := r.WriteGitHub(&out, getenv); err == nil {
		t.Error("WriteGitHub to a missing directory = nil, want an error")
	}
	env = map[string]string{"GITHUB_ACTIONS": "true"}
	if err := r.WriteGitHub(&out, getenv); err != nil {
		t.Errorf("WriteGitHub without files = %v", err)
	}
}
