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

// A InputDeclarer is a Provisioner that can say what its result depends on, as far
// as the baking host knows: its parameters and the files that it uses. What it
// fetches while it runs, such as packages, is not among them.
type InputDeclarer interface {
	// DeclareInputs adds everything to in. Its error is a file that cannot be
	// read.
	DeclareInputs(in *Inputs) error
}

// Inputs is what an image is made of: names with values or digests. Equal
// inputs have an equal Sum, which serves as Image.Fingerprint:
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

// Of adds the inputs of a part, each name behind the part's: for provisioners
// that are made of others.
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

// Value adds a parameter, printed as by fmt.Sprint; maps print sorted. In lists
// and maps of strings every string is quoted. A Secret belongs to Secret, since
// it prints as "[redacted]".
func (in *Inputs) Value(name string, value any) {
	if t := reflect.TypeOf(value); t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Map) && t.Elem().Kind() == reflect.String {
		in.add(name, fmt.Sprintf("%q", value))
		return
	}
	in.add(name, strconv.Quote(fmt.Sprint(value)))
}

// Content adds the digest of a text that is part of the definition, or was made
// from it: of a script, of a rendered file.
func (in *Inputs) Content(name string, content []byte) {
	sum := sha256.Sum256(content)
	in.add(name, "sha256:"+hex.EncodeToString(sum[:]))
}

// Secret adds the digest of a secret parameter.
func (in *Inputs) Secret(name string, value Secret) {
	in.Content(name, []byte(value.Reveal()))
}

// File adds the digest of a file of fsys, or of the baking host if that is nil,
// and whether it can be executed.
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

// Tree adds the digests of all files below dir of fsys, or of the baking host
// if that is nil, and the targets of its symbolic links. What matches a
// pattern, which are those of Upload.Exclude, is left out.
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
			return nil // no upload takes it
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

// String is the inputs, one a line, sorted by name: what to compare to see why
// a Sum has changed.
func (in *Inputs) String() string {
	sorted := slices.SortedStableFunc(slices.Values(in.lines), func(a, b input) int { return cmp.Compare(a.name, b.name) })
	var text strings.Builder
	for _, line := range sorted {
		fmt.Fprintf(&text, "%q %s\n", line.name, line.value)
	}
	return text.String()
}

// Sum is the digest of all inputs, 64 hexadecimal digits.
func (in *Inputs) Sum() string {
	sum := sha256.Sum256([]byte(in.String()))
	return hex.EncodeToString(sum[:])
}
