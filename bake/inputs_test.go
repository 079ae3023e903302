package bake_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/bakestone-go/bakestone/bake"
)

// declared is a provisioner with inputs.
type declared func(in *bake.Inputs) error

func (declared) Provision(context.Context, bake.Machine) error { return nil }
func (d declared) DeclareInputs(in *bake.Inputs) error         { return d(in) }

// TestInputs changes one input after another and expects a new sum each time.
func TestInputs(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write := func(content string, mode fs.FileMode) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("one", 0o600)
	tree := fstest.MapFS{
		"a/b":     {Data: []byte("b")},
		"a/c.tmp": {Data: []byte("left out")},
		".git/x":  {Data: []byte("left out")},
	}
	value, secret := "v", "s"
	sum := func() string {
		t.Helper()
		in, err := bake.InputsOf(declared(func(in *bake.Inputs) error {
			in.Value("value", value)
			in.Secret("secret", bake.NewSecret(secret))
			if err := in.File("file", nil, file); err != nil {
				return err
			}
			return in.Tree("tree", tree, "", []string{"*.tmp", ".git"})
		}))
		if err != nil {
			t.Fatal(err)
		}
		if text := in.String(); strings.Contains(text, "left out") || strings.Contains(text, ".git") || strings.Contains(text, ".tmp") {
			t.Errorf("Inputs contain excluded files:\n%s", text)
		}
		return in.Sum()
	}
	known := map[string]string{sum(): "the first"}
	if len(known) != 1 || known[sum()] == "" {
		t.Fatal("Sum of equal inputs differs")
	}
	tree["a/c.tmp"].Data = []byte("left out again")
	if known[sum()] == "" {
		t.Error("Sum depends on an excluded file")
	}
	for name, change := range map[string]func(){
		"a value":             func() { value = "v2" },
		"a secret":            func() { secret = "s2" },
		"a file's content":    func() { write("two", 0o600) },
		"its mode":            func() { write("two", 0o700) },
		"a tree's file":       func() { tree["a/b"] = &fstest.MapFile{Data: []byte("B")} },
		"a file in a tree":    func() { tree["a/d"] = &fstest.MapFile{} },
		"a directory in it":   func() { tree["e"] = &fstest.MapFile{Mode: fs.ModeDir | 0o755} },
		"a link in the tree":  func() { tree["l"] = &fstest.MapFile{Data: []byte("a/b"), Mode: fs.ModeSymlink} },
		"a value's next line": func() { value = "v\"\n\"secret\" \"x" },
	} {
		change()
		got := sum()
		if same := known[got]; same != "" {
			t.Errorf("Sum after changing %s equals that after %s", name, same)
		}
		known[got] = name
	}
}

func TestInputsOfParts(t *testing.T) {
	part := func(v string) bake.Provisioner {
		return declared(func(in *bake.Inputs) error { in.Value("v", v); return nil })
	}
	both := func(a, b string) string {
		t.Helper()
		in, err := bake.InputsOf(declared(func(in *bake.Inputs) error { return in.Of("then", part(a)) }), part(b))
		if err != nil {
			t.Fatal(err)
		}
		return in.Sum()
	}
	list := func(v ...string) string {
		t.Helper()
		in, err := bake.InputsOf(declared(func(in *bake.Inputs) error { in.Value("v", v); return nil }))
		if err != nil {
			t.Fatal(err)
		}
		return in.Sum()
	}
	if both("1", "2") == both("2", "1") {
		t.Error("Sum does not depend on the order of provisioners")
	}
	if list("a b", "c") == list("a", "b c") {
		t.Error("Sum does not depend on the boundaries of list elements")
	}
	nothing := bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error { return nil }}
	missing := declared(func(in *bake.Inputs) error { return in.File("script", nil, filepath.Join(t.TempDir(), "missing")) })
	_, err := bake.InputsOf(nothing, missing)
	for _, want := range []string{"1: ProvisionFunc.Version: is required", "2: script: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("InputsOf = %v, want %q in it", err, want)
		}
	}
	if _, err := bake.InputsOf(declared(func(in *bake.Inputs) error { return in.Tree("t", fstest.MapFS{}, "", []string{"["}) })); err == nil {
		t.Error("Tree with an invalid pattern = nil, want an error")
	}
}

func ExampleInputsOf() {
	in, err := bake.InputsOf(declared(func(in *bake.Inputs) error {
		in.Value("version", 7)
		return nil
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(in)
	// Output:
	// "1" bake_test.declared
	// "1/version" "7"
}

// A busyClient changes while builds use it.
type busyClient struct {
	mu    sync.Mutex
	calls int
	Name  string
}

// TestFieldsOfSharedClient reads the fields of a value that refers to a client, which another
// goroutine uses. It fails with the race detector only.
func TestFieldsOfSharedClient(t *testing.T) {
	client := &busyClient{Name: "eu"}
	var using sync.WaitGroup
	using.Go(func() {
		for range 1000 {
			client.mu.Lock()
			client.calls++
			client.mu.Unlock()
		}
	})
	for range 100 {
		var in bake.Inputs
		in.Fields("builder", struct{ Client *busyClient }{client})
		if in.Sum() == "" {
			t.Error("Sum is empty")
		}
	}
	using.Wait()
}
