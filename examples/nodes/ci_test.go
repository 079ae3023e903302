package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.yaml.in/yaml/v3"

	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
)

// The tests of this file run the snippets of docs/ci.md, as far as that is possible without
// the CI systems: their commands, with a program that ends with each exit code.

// ciChildVar makes TestCIChild run as the program, and end with the exit code.
const ciChildVar = "BAKESTONE_CI_CHILD"

// TestCIChild is the program that the snippets run: this example, on the embedded EC2.
func TestCIChild(t *testing.T) {
	code := os.Getenv(ciChildVar)
	if code == "" {
		t.Skip("runs in the commands of docs/ci.md only")
	}
	args := os.Args[slices.Index(os.Args, "--")+1:]
	onAWS := slices.Index(args, "-aws")
	if onAWS < 0 {
		t.Fatalf("arguments %q without -aws", args)
	}
	os.Args = append([]string{"nodes"}, slices.Delete(args, onAWS, onAWS+1)...)
	demo.Main("nodes", func(ctx context.Context, args []string, out io.Writer) error {
		switch code {
		case "2":
			return run(ctx, append(args, "-unknown"), out)
		case "3":
			return run(ctx, args, interrupter{out})
		case "4":
			return &ec2.DeniedError{Err: errors.New("planted")}
		}
		var err error
		synctest.Test(t, func(t *testing.T) {
			err = run(t.Context(), args, out)
		})
		if code == "1" {
			err = errors.Join(err, errors.New("planted"))
		}
		return err
	})
}

// An interrupter interrupts the program when it is written to that a machine starts.
type interrupter struct{ io.Writer }

func (i interrupter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("wait for instance")) {
		self, err := os.FindProcess(os.Getpid())
		if err := errors.Join(err, self.Signal(os.Interrupt)); err != nil {
			return 0, err
		}
	}
	return i.Writer.Write(p)
}

// A workspace is a directory in which the commands of a CI job run.
type workspace struct {
	dir string
	env []string
}

// newWorkspace returns a workspace whose program "go" builds and runs TestCIChild instead
// of ./examples/nodes.
func newWorkspace(t *testing.T, code int) *workspace {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &workspace{dir: t.TempDir()}
	bin := t.TempDir()
	for name, script := range map[string]string{
		"nodes": fmt.Sprintf("#!/bin/sh\n%s=%d exec %s -test.run='^TestCIChild$' -- \"$@\"\n", ciChildVar, code, self),
		"go": `#!/bin/sh
case "$1 $*" in
"build build -o "*" ./examples/nodes") cp "$(dirname "$0")/nodes" "$3" ;;
"run run ./examples/nodes "*) shift 2; nodes "$@" || { echo "exit status $?" >&2; exit 1; } ;;
*) echo "unexpected: go $*" >&2; exit 9 ;;
esac
`,
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "GITHUB_ACTIONS=", "CI=true")
	return w
}

// run runs a script as a CI system does, and returns its standard output and exit code.
func (w *workspace) run(t *testing.T, script string) (output string, code int) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "bash", "-n", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("bash -n of %q: %v: %s", script, err, out)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = w.dir, w.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(out), exit.ExitCode()
	}
	if err != nil {
		t.Fatalf("%q: %v: %s", script, err, stderr.String())
	}
	return string(out), 0
}

// check checks the files that are there after an exit code: none if there was no bake.
func (w *workspace) check(t *testing.T, code int, files ...string) {
	t.Helper()
	for _, name := range files {
		found, err := filepath.Glob(filepath.Join(w.dir, name))
		if err != nil || len(found) > 0 != slices.Contains([]int{demo.Succeeded, demo.Failed, demo.Canceled}, code) {
			t.Errorf("exit code %d: %s is %q, %v", code, name, found, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(w.dir, "junit.xml"))
	if err != nil {
		return
	}
	var suites struct {
		Tests int `xml:"tests,attr"`
		Suite []struct {
			Tests int `xml:"tests,attr"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &suites); err != nil || len(suites.Suite) != 1 || suites.Suite[0].Tests != 3 {
		t.Errorf("exit code %d: junit.xml has %+v, %v, want three tests", code, suites, err)
	}
}

// snippet returns the block of docs/ci.md below a heading.
func snippet(t *testing.T, heading, language string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/ci.md")
	if err != nil {
		t.Fatal(err)
	}
	_, below, _ := strings.Cut(string(text), "\n## "+heading+"\n")
	_, below, found := strings.Cut(below, "\n```"+language+"\n")
	block, _, closed := strings.Cut(below, "\n```\n")
	if !found || !closed {
		t.Fatalf("docs/ci.md has no block of %s below %q", language, heading)
	}
	return block
}

// decode decodes YAML that may have the fields of into only.
func decode(t *testing.T, text string, into any) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
}

// eachCode runs a test for each exit code.
func eachCode(t *testing.T, test func(t *testing.T, code int)) {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil || runtime.GOOS == "windows" {
		t.Skip("needs bash, on a system where programs can be interrupted")
	}
	for code := demo.Succeeded; code <= demo.Refused; code++ {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			test(t, code)
		})
	}
}

func TestGitHubSnippet(t *testing.T) {
	var steps []struct {
		ID, If, Uses, Run string
		With              struct{ Name, Path string }
	}
	decode(t, snippet(t, "GitHub Actions", "yaml"), &steps)
	if len(steps) != 3 || steps[0].ID != "bake" || steps[1].If != "${{ !cancelled() }}" || steps[1].Uses == "" {
		t.Fatalf("steps are %+v", steps)
	}
	eachCode(t, func(t *testing.T, code int) {
		t.Helper()
		w := newWorkspace(t, code)
		outputs, summary := filepath.Join(w.dir, "output"), filepath.Join(w.dir, "summary")
		w.env = append(w.env, "GITHUB_ACTIONS=true", "GITHUB_OUTPUT="+outputs, "GITHUB_STEP_SUMMARY="+summary)
		printed, got := w.run(t, steps[0].Run)
		if got != min(code, 1) { // of go run
			t.Errorf("the step ends with %d, want %d: %s", got, min(code, 1), printed)
		}
		w.check(t, code, strings.Fields(steps[1].With.Path)...)
		for line := range strings.Lines(printed) {
			if strings.HasPrefix(line, "::") && !regexp.MustCompile(`^::(group::(web|db|worker): \d+ lines of output|endgroup::|error title=Image \w+ canceled::.+)\n$`).MatchString(line) {
				t.Errorf("the step prints the command %q", line)
			}
		}
		if code != demo.Succeeded {
			return
		}
		if text, err := os.ReadFile(summary); err != nil || !strings.HasPrefix(string(text), "**3 baked** in ") {
			t.Errorf("the summary is %q, %v", text, err)
		}
		script, expressions := evaluate(t, steps[2].Run, outputs)
		if err := os.WriteFile(filepath.Join(w.dir, "deploy"), []byte("#!/bin/sh\necho deployed $#: \"$@\"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if printed, got := w.run(t, script); expressions != 1 || got != 0 || !regexp.MustCompile(`^deployed 1: ami-[0-9a-f]{17}\n$`).MatchString(printed) {
			t.Errorf("%q ends with %d and prints %q, want one deployed AMI", script, got, printed)
		}
	})
}

// evaluate replaces the expressions in a script by their values: fields of the JSON of an
// output.
func evaluate(t *testing.T, script, outputs string) (evaluated string, expressions int) {
	t.Helper()
	text, err := os.ReadFile(outputs)
	if err != nil {
		t.Fatal(err)
	}
	values := regexp.MustCompile(`(?s)^(\w+)<<(\S+)\n(.*)\n(\S+)\n$`).FindStringSubmatch(string(text))
	if values == nil || values[2] != values[4] {
		t.Fatalf("outputs are %q, want one", text)
	}
	expression := regexp.MustCompile(`\$\{\{ fromJSON\(steps\.bake\.outputs\.(\w+)\)\.(\w+)\['([\w-]+)'\] \}\}`)
	return expression.ReplaceAllStringFunc(script, func(found string) string {
		expressions++
		parts := expression.FindStringSubmatch(found)
		var images map[string]map[string]string
		if err := json.Unmarshal([]byte(values[3]), &images); err != nil || parts[1] != values[1] {
			t.Errorf("%s of the output %s = %q: %v", found, values[1], values[3], err)
		}
		return images[parts[2]][parts[3]]
	}), expressions
}

func TestGitLabSnippet(t *testing.T) {
	var jobs map[string]struct {
		Script       []string
		AllowFailure struct {
			Codes int `yaml:"exit_codes"`
		} `yaml:"allow_failure"`
		Artifacts struct {
			When    string
			Paths   []string
			Reports struct{ JUnit string }
		}
	}
	decode(t, snippet(t, "GitLab", "yaml"), &jobs)
	if names := slices.Collect(maps.Keys(jobs)); len(names) != 1 {
		t.Fatalf("jobs are %q, want one", names)
	}
	job := jobs["bake"]
	if job.AllowFailure.Codes != demo.Refused || job.Artifacts.When != "always" || job.Artifacts.Reports.JUnit != "junit.xml" {
		t.Errorf("job is %+v", job)
	}
	eachCode(t, func(t *testing.T, code int) {
		t.Helper()
		w := newWorkspace(t, code)
		if printed, got := w.run(t, strings.Join(job.Script, "\n")); got != code {
			t.Errorf("the job ends with %d, want %d: %s", got, code, printed)
		}
		w.check(t, code, append(job.Artifacts.Paths, job.Artifacts.Reports.JUnit)...)
	})
}

func TestJenkinsSnippet(t *testing.T) {
	stage := snippet(t, "Jenkins", "groovy")
	build := regexp.MustCompile(`(?m)^  sh '(.*)'$`).FindStringSubmatch(stage)
	bakes := regexp.MustCompile(`(?m)^  def code = sh\(returnStatus: true, script: '(.*)'\)$`).FindStringSubmatch(stage)
	files := regexp.MustCompile(`(?:testResults|artifacts): '(.*?)'`).FindAllStringSubmatch(stage, -1)
	if build == nil || bakes == nil || len(files) != 2 || !strings.Contains(stage, fmt.Sprintf("code == %d", demo.Canceled)) {
		t.Fatalf("commands and files not found in\n%s", stage)
	}
	eachCode(t, func(t *testing.T, code int) {
		t.Helper()
		w := newWorkspace(t, code)
		if printed, got := w.run(t, build[1]); got != 0 {
			t.Fatalf("%s ends with %d: %s", build[1], got, printed)
		}
		if printed, got := w.run(t, bakes[1]); got != code {
			t.Errorf("%s ends with %d, want %d: %s", bakes[1], got, code, printed)
		}
		var names []string
		for _, f := range files {
			names = append(names, strings.Split(f[1], ", ")...)
		}
		w.check(t, code, names...)
	})
}
