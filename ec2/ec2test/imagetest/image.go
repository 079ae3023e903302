package imagetest

import (
	"bytes"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// An Image is an AMI under test. Its methods end the test on failure.
type Image struct {
	ID       string
	Artifact bake.Artifact // nil for an image of [Env.Image]

	env    *Env
	label  string
	files  []ec2test.File // cached by Files
	source *Image         // cached by Source
}

// AMI returns the AMI's attributes.
func (i *Image) AMI() ec2test.AMI {
	i.env.t.Helper()
	ami, err := i.env.Server.AMI(i.ID)
	if err != nil {
		i.env.t.Fatal(err)
	}
	return ami
}

// Source returns the image from which this one was baked or copied.
func (i *Image) Source() *Image {
	i.env.t.Helper()
	if i.source == nil {
		ami := i.AMI()
		if ami.Source == "" {
			i.env.t.Fatalf("%s: the AMI has no source", i.label)
		}
		i.source = i.env.Image(ami.Source)
	}
	return i.source
}

// Files returns all files of the image, sorted by path.
func (i *Image) Files() []ec2test.File {
	i.env.t.Helper()
	if i.files == nil {
		files, err := i.env.Server.Files(i.ID)
		if err != nil {
			i.env.t.Fatal(err)
		}
		i.files = files
	}
	return i.files
}

// List returns the paths of the files that match a pattern of path.Match, sorted.
func (i *Image) List(pattern string) []string {
	i.env.t.Helper()
	var found []string
	for _, f := range i.Files() {
		ok, err := path.Match(pattern, f.Path)
		if err != nil {
			i.env.t.Fatalf("List(%q): %v", pattern, err)
		}
		if ok {
			found = append(found, f.Path)
		}
	}
	return found
}

// Has reports whether the image has a file, directory or link.
func (i *Image) Has(name string) bool {
	i.env.t.Helper()
	_, ok := i.lookup(name)
	return ok
}

func (i *Image) lookup(name string) (ec2test.File, bool) {
	i.env.t.Helper()
	files := i.Files()
	at, ok := slices.BinarySearchFunc(files, name, func(f ec2test.File, name string) int { return strings.Compare(f.Path, name) })
	if !ok {
		return ec2test.File{}, false
	}
	return files[at], true
}

// Stat returns a file, which must exist. It does not follow links.
func (i *Image) Stat(name string) ec2test.File {
	i.env.t.Helper()
	f, ok := i.lookup(name)
	if !ok {
		i.env.t.Fatalf("%s: %s does not exist%s", i.label, name, i.near(name))
	}
	return f
}

// near lists what the file's directory has.
func (i *Image) near(name string) string {
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		found := i.List(strings.TrimSuffix(dir, "/") + "/*")
		if len(found) > 0 || dir == "/" {
			return "; " + dir + " has " + strings.Join(found, " ")
		}
	}
}

// ReadFile returns the contents of a file, which must exist.
func (i *Image) ReadFile(name string) string {
	i.env.t.Helper()
	data, err := i.env.Server.ReadFile(i.ID, name)
	if errors.Is(err, fs.ErrNotExist) {
		i.env.t.Fatalf("%s: %s does not exist%s", i.label, name, i.near(name))
	}
	if err != nil {
		i.env.t.Fatalf("%s: %v", i.label, err)
	}
	return string(data)
}

// Find returns the paths of the files whose contents contain a text, such as a
// secret.
func (i *Image) Find(text string) []string {
	i.env.t.Helper()
	var found []string
	for _, f := range i.Files() {
		if f.Mode.IsRegular() && bytes.Contains([]byte(i.ReadFile(f.Path)), []byte(text)) {
			found = append(found, f.Path)
		}
	}
	return found
}

// Commands returns the programs that ran on the machine from which the image was
// made, in the order in which they ended.
func (i *Image) Commands() []ec2test.CommandRun {
	i.env.t.Helper()
	ami := i.AMI()
	if ami.Instance == "" {
		i.env.t.Fatalf("%s: the AMI was not made from an instance", i.label)
	}
	return i.env.Server.CommandRuns(ami.Instance)
}

// Ran returns the command lines of a program that ran on the machine from which
// the image was made, without its name: "install -y nginx".
func (i *Image) Ran(program string) []string {
	i.env.t.Helper()
	var lines []string
	for _, run := range i.Commands() {
		if path.Base(run.Args[0]) == program {
			lines = append(lines, strings.Join(run.Args[1:], " "))
		}
	}
	return lines
}
