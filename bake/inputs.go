package bake

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/internal/exclude"
)

// An InputDeclarer is a Provisioner that can list what its result depends on, as far
// as the baking host knows: its parameters and the files it uses, but not what it
// downloads while it runs.
type InputDeclarer interface {
	// DeclareInputs adds the inputs to in. It fails if a file cannot be read.
	DeclareInputs(in *Inputs) error
}

// Inputs lists the inputs of an image: names with values or digests. Equal inputs
// have the same Sum, which serves as Image.Fingerprint:
//
//	in, err := bake.InputsOf(img.Provisioners...)
//	if err != nil { ... }
//	img.Fingerprint = in.Sum()
type Inputs struct{ lines []input }

type input struct{ name, value string }

// InputsOf collects the inputs of all provisioners. A provisioner that is not an
// InputDeclarer is an error. The inputs include the type of each provisioner, so a
// type that embeds another has other inputs.
func InputsOf(provisioners ...Provisioner) (*Inputs, error) {
	in := new(Inputs)
	errs := make([]error, 0, len(provisioners))
	for i, p := range provisioners {
		errs = append(errs, in.Of(strconv.Itoa(i+1), p))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return in, nil
}

// Of adds the inputs of p with names prefixed by part, for provisioners made of
// others.
func (in *Inputs) Of(part string, p Provisioner) error {
	d, ok := As[InputDeclarer](p)
	if !ok {
		return fmt.Errorf("%s: %T does not declare its inputs", part, p)
	}
	var below Inputs
	if err := d.DeclareInputs(&below); err != nil {
		return fmt.Errorf("%s: %w", part, err)
	}
	in.add(part, strings.TrimLeft(fmt.Sprintf("%T", d), "*"))
	for _, line := range below.lines {
		in.add(part+"/"+line.name, line.value)
	}
	return nil
}

func (in *Inputs) add(name, value string) { in.lines = append(in.lines, input{name, value}) }

// Value adds a parameter, formatted like fmt.Sprint, with the strings of slices and
// maps quoted. For a Secret, which prints as "[redacted]", use the Secret method.
func (in *Inputs) Value(name string, value any) {
	if t := reflect.TypeOf(value); t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Map) && t.Elem().Kind() == reflect.String {
		in.add(name, fmt.Sprintf("%q", value))
		return
	}
	in.add(name, strconv.Quote(fmt.Sprint(value)))
}

// Content adds the digest of content from the definition, such as a script or a
// rendered template.
func (in *Inputs) Content(name string, content []byte) {
	sum := sha256.Sum256(content)
	in.add(name, "sha256:"+hex.EncodeToString(sum[:]))
}

// Secret adds the digest of a secret parameter.
func (in *Inputs) Secret(name string, value Secret) {
	in.Content(name, []byte(value.Reveal()))
}

// File adds the digest of a file of fsys, and whether it is executable. If fsys is
// nil, the file is on the baking host.
func (in *Inputs) File(name string, fsys fs.FS, file string) error {
	value, err := digest(func() (fs.File, error) {
		if fsys != nil {
			return fsys.Open(file)
		}
		return os.Open(filepath.Clean(file))
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	in.add(name, value)
	return nil
}

// Tree adds the digests of all files and the targets of all symbolic links below dir
// of fsys. If fsys is nil, dir is on the baking host. It leaves out files that match
// a pattern, as Upload.Exclude does.
func (in *Inputs) Tree(name string, fsys fs.FS, dir string, patterns []string) error {
	ex, err := exclude.Parse(patterns)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	switch {
	case fsys == nil:
		fsys = os.DirFS(filepath.Clean(dir))
	case dir != "":
		if fsys, err = fs.Sub(fsys, dir); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	err = fs.WalkDir(fsys, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || file == "." {
			return err
		}
		var value string
		switch {
		case ex.Match(file) && entry.IsDir():
			return fs.SkipDir
		case ex.Match(file):
			return nil
		case entry.IsDir():
			value = "directory"
		case entry.Type()&fs.ModeSymlink != 0:
			if value, err = fs.ReadLink(fsys, file); err != nil {
				return err
			}
			value = fmt.Sprintf("link to %q", value)
		case entry.Type().IsRegular():
			if value, err = digest(func() (fs.File, error) { return fsys.Open(file) }); err != nil {
				return err
			}
		default:
			return nil // uploads skip special files
		}
		in.add(path.Join(name, file), value)
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func digest(open func() (fs.File, error)) (string, error) {
	file, err := open()
	if err != nil {
		return "", err
	}
	defer file.Close() //nolint:errcheck // only read
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	value := "sha256:" + hex.EncodeToString(sum.Sum(nil))
	const anyExecute = 0o111
	if info.Mode()&anyExecute != 0 {
		value += " executable"
	}
	return value, nil
}

// String returns the inputs sorted by name, one per line. Compare it to see why a Sum
// changed.
func (in *Inputs) String() string {
	sorted := slices.SortedStableFunc(slices.Values(in.lines), func(a, b input) int { return cmp.Compare(a.name, b.name) })
	var text strings.Builder
	for _, line := range sorted {
		fmt.Fprintf(&text, "%q %s\n", line.name, line.value)
	}
	return text.String()
}

// Sum returns the SHA-256 digest of all inputs as 64 hexadecimal digits.
func (in *Inputs) Sum() string {
	sum := sha256.Sum256([]byte(in.String()))
	return hex.EncodeToString(sum[:])
}
