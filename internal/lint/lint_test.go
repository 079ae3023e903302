package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tidy is a module without findings.
func tidy() map[string]string {
	return map[string]string{
		"go.mod":       "module example.com/m\n\ngo 1.26\n",
		"CHANGELOG.md": "# Changelog\n\n## Unreleased\n",
		"bake/bake.go": "// Package bake bakes.\npackage bake\n",
	}
}

// write writes files to a new directory and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// lines returns what lint prints about the module at root.
func lines(t *testing.T, root string, update bool) []string {
	t.Helper()
	var out strings.Builder
	found, err := lint(root, update, &out)
	if err != nil {
		t.Fatalf("lint(%s): %v", root, err)
	}
	got := slices.Collect(strings.Lines(out.String()))
	if len(got) != found {
		t.Errorf("lint returned %d and printed %d lines", found, len(got))
	}
	return got
}

func TestLint(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string // added to a tidy module
		want  []string          // the beginnings of the findings
	}{
		{name: "tidy"},
		{
			name: "file names",
			files: map[string]string{
				"bake/plan_image.go":        "package bake\n",
				"bake/plan_image_test.go":   "package bake\n",
				"bake/plan_ec2_image.go":    "package bake\n",
				"bake/planImage.go":         "package bake\n",
				"bake/plan-image.go":        "package bake\n",
				"bake/plan_image_a_test.go": "package bake\n",
				"bake/plan_a_b_c_test.go":   "package bake\n",
				"bake/run_other.go":         "//go:build !windows\n\npackage bake\n",
				"bake/run_windows.go":       "//go:build windows\n\npackage bake\n",
				"bake/run_code_windows.go":  "//go:build windows\n\npackage bake\n",
				"bake/arm64.go":             "package bake\n",
				"bake/run_linux.go":         "package bake\n",
				"bake/run_unix_test.go":     "package bake\n",
				"bake/testdata/A_b_c.go":    "package bake\n",
			},
			want: []string{
				"bake/plan-image.go: name does not have the form",
				"bake/planImage.go: name does not have the form",
				"bake/plan_a_b_c_test.go: name does not have the form",
				"bake/plan_ec2_image.go: name does not have the form",
				"bake/run_linux.go: name ends in linux",
				"bake/run_unix_test.go: name ends in unix",
			},
		},
		{
			name: "file length",
			files: map[string]string{
				"bake/full.go":      "package bake\n" + strings.Repeat("\n", 399),
				"bake/long.go":      "package bake\n" + strings.Repeat("\n", 400),
				"bake/long_test.go": "package bake\n" + strings.Repeat("\n", 400),
			},
			want: []string{"bake/long.go: 401 lines, more than 400"},
		},
		{
			name: "package comments",
			files: map[string]string{
				"ec2/ec2.go":            "// Images on EC2.\npackage ec2\n",
				"examples/hello/run.go": "// Command run says hello.\npackage main\n",
				"internal/x/x_test.go":  "package x\n",
			},
			want: []string{
				`ec2: package comment does not begin with "Package ec2 "`,
				`examples/hello: package comment does not begin with "Command hello "`,
			},
		},
		{
			name:  "leftovers",
			files: map[string]string{"bake/a.go": "package bake\n\n/* a TO" + "DO list */ // and a FIX" + "ME\n\nconst text = \"// TO" + "DO\"\n"},
			want:  []string{"bake/a.go:3: TO" + "DO: do it now", "bake/a.go:3: FIX" + "ME: do it now"},
		},
		{
			name:  "go.mod",
			files: map[string]string{"go.mod": "module example.com/m\n\nreplace example.com/n => ../n\n"},
			want:  []string{"go.mod:3: replace directive"},
		},
		{
			name:  "changelog",
			files: map[string]string{"CHANGELOG.md": "# Changelog\n"},
			want:  []string{"CHANGELOG.md: no section"},
		},
		{
			name: "limits",
			files: map[string]string{
				"internal/lint/limits.txt": "# A comment.\n\nbake 1 0\nec2 1 0\ngone 1 0\n",
				"bake/a.go":                "package bake\n\n// Nobody needs it.\ntype A int\n",
			},
			want: []string{
				"internal/lint/limits.txt: ec2 has less",
				"internal/lint/limits.txt: gone has less",
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			files := tidy()
			if test.name == "limits" {
				files["ec2/ec2.go"] = "// Package ec2 bakes AMIs.\npackage ec2\n"
			}
			maps.Copy(files, test.files)
			compareLines(t, lines(t, write(t, files), false), test.want)
		})
	}
}

func compareLines(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("lint printed\n%s\nwant lines that begin\n%s", strings.Join(got, ""), strings.Join(want, "\n"))
	}
}

func TestUpdate(t *testing.T) {
	files := tidy()
	files["bake/a.go"] = "package bake\n\n// Nobody calls F.\nfunc F() {}\n\n// G is called.\nfunc G() {}\n\n// H is called.\nfunc H() {}\n"
	root := write(t, files)
	if err := os.MkdirAll(filepath.Join(root, "internal/lint"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := lines(t, root, false); len(got) != 5 {
		t.Errorf("lint printed %q, want each mark and the two totals", got)
	}
	compareLines(t, lines(t, root, true), nil)
	compareLines(t, lines(t, root, false), nil)
	text, err := os.ReadFile(filepath.Join(root, limitsFile))
	if want := limitsHead + "bake 1 2\n"; err != nil || string(text) != want {
		t.Errorf("%s = %q, %v, want %q", limitsFile, text, err, want)
	}
}

func TestLimitsAreParsed(t *testing.T) {
	files := tidy()
	files[limitsFile] = "bake one 0\n"
	if _, err := lint(write(t, files), false, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), `"bake one 0"`) {
		t.Errorf("lint = %v, want an error with the line", err)
	}
}

func TestAssertions(t *testing.T) {
	const types = `// Package bake bakes.
package bake

import "io"

type Image struct{}

type Name string

type Builder interface{ Build() }

type (
	Maker   = Builder
	Tagged  Builder
	Copy    = Image
	Pair[T any] struct{ a, b T }
	Reader  = io.Reader
)
`
	tests := []struct {
		name, body string
		want       string // empty if there is no finding
	}{
		{name: "interface", body: "v.(bake.Builder)"},
		{name: "alias of an interface", body: "v.(bake.Maker)"},
		{name: "type of an interface", body: "v.(bake.Tagged)"},
		{name: "interface of another module", body: "v.(bake.Reader)"},
		{name: "method set", body: "v.(interface{ Build() })"},
		{name: "basic type", body: "v.(string)"},
		{name: "type of another module", body: "v.(time.Duration)"},
		{name: "pointer", body: "v.(*bake.Image)", want: "ec2/a.go:14: assertion"},
		{name: "pointer to a type of another module", body: "v.(*time.Timer)", want: "ec2/a.go:14: assertion"},
		{name: "struct", body: "v.(bake.Image)", want: "ec2/a.go:14: assertion"},
		{name: "alias of a struct", body: "v.(bake.Copy)", want: "ec2/a.go:14: assertion"},
		{name: "renamed import", body: "v.(other.Name)", want: "ec2/a.go:14: assertion"},
		{name: "instance of a generic type", body: "v.(bake.Pair[int])", want: "ec2/a.go:14: assertion"},
		{name: "type of the same package", body: "v.(local)", want: "ec2/a.go:14: assertion"},
		{name: "in parentheses", body: "v.((local))", want: "ec2/a.go:14: assertion"},
		{name: "value of a context", body: "ctx.Value(0).(*bake.Image)"},
		{name: "value of something else", body: "once.Value(0).(*bake.Image)", want: "ec2/a.go:14: assertion"},
		{name: "permitted", body: "v.(*bake.Image) //lint:concrete there is no other Image"},
		{name: "without a reason", body: "v.(*bake.Image) //lint:concrete", want: "ec2/a.go:14: //lint:concrete without a reason"},
		{name: "nothing to permit", body: "v.(bake.Builder) //lint:concrete no reason needed", want: "ec2/a.go:14: //lint:concrete permits nothing"},
	}
	const head = `// Package ec2 bakes AMIs.
package ec2

import (
	"time"

	"example.com/m/bake"
	other "example.com/m/bake"
)

type local struct{}

func f() {
	_ = `
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			files := tidy()
			files["bake/bake.go"] = types
			files["ec2/a.go"] = head + test.body + "\n}\n"
			// The same elsewhere is not checked.
			files["ec2/a_test.go"] = "package ec2\n\nfunc g() { _ = v.(*local) }\n"
			files["internal/a/a.go"] = "// Package a asserts.\npackage a\n\nfunc g() { _ = v.(*T) }\n"
			files["examples/b/b.go"] = "// Command b asserts.\npackage main\n\nfunc g() { _ = v.(*T) }\n"
			var want []string
			if test.want != "" {
				want = append(want, test.want)
			}
			compareLines(t, lines(t, write(t, files), false), want)
		})
	}
}

func TestTypeSwitches(t *testing.T) {
	files := tidy()
	files["bake/bake.go"] = `// Package bake bakes.
package bake

type Image struct{}

func f() {
	switch v := v.(type) {
	case nil, error, Image:
	case *Image:
	//lint:concrete there is no other Image
	case func(), []Image, Image:
	}
	switch v.(type) {
	case Image:
	}
	switch ctx.Value(0).(type) {
	case Image:
	}
}
`
	compareLines(t, lines(t, write(t, files), false), []string{
		"bake/bake.go:8: assertion", "bake/bake.go:9: assertion", "bake/bake.go:14: assertion",
	})
}

func TestMarksInComment(t *testing.T) {
	tests := []struct {
		comment string
		want    int
	}{
		{"Apply re-reads each image before changing it.", 0},
		{"What EC2 shows late is waited for.", 1},
		{"It waits. What EC2 shows late\nis waited for.", 1},
		{"What does it wait for? For the image.", 0},
		{"# What a bake does\n\nIt waits.", 0},
		{"It waits:\n\n\tWhat is this\n\nAnd so on.", 0},
		{"Whoever waits, nobody sees.", 2},
		{`80 is no port, and the others are none of ours.`, 2},
		{"There is no port. There are none. It is no longer open and is no more than a port.", 0},
		{`The error reads "80 is no port".`, 0},
	}
	for _, test := range tests {
		if got := marksInComment(test.comment); len(got) != test.want {
			t.Errorf("marksInComment(%q) = %q, want %d", test.comment, got, test.want)
		}
	}
}

func TestMarksInMessage(t *testing.T) {
	tests := []struct {
		text string
		want int
	}{
		{`"invalid port %d"`, 0},
		{`"%d is no port"`, 1},
		{`"ports are none of the choices, %q is no choice"`, 2},
		{`"there is no port %d"`, 0},
		{`"it is no longer there"`, 0},
	}
	for _, test := range tests {
		if got := marksInMessage(test.text); len(got) != test.want {
			t.Errorf("marksInMessage(%s) = %q, want %d", test.text, got, test.want)
		}
	}
}

// A tenth of a package's funcs, rounded up, may have comments that begin "Name
// is".
func TestFuncComments(t *testing.T) {
	const verb, name = "// F returns.\nfunc F() {}\n\n", "// F is what it returns.\nfunc F() {}\n\n"
	tests := []struct {
		source string
		want   []string
	}{
		{name, nil},
		{name + strings.Repeat(verb, 10) + name, nil},
		{name + strings.Repeat(verb, 8) + name, []string{"bake/a.go:3: comment begins \"F is\"", "bake/a.go:30: ", "bake: 2 of 10 func comments"}},
		{"func F() {}\n\n// G is.\ntype G int\n\n// It is.\nfunc H() {}\n", nil},
	}
	for _, test := range tests {
		files := tidy()
		files["bake/a.go"] = "package bake\n\n" + test.source
		compareLines(t, lines(t, write(t, files), false), test.want)
	}
}
