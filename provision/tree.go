package provision

import (
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// A tree is a directory of the baking host, or of a file system if fsys is
// set, without what the patterns exclude.
type tree struct {
	fsys    fs.FS
	dir     string
	exclude []string
}

// check reports a directory that is missing, or patterns that are none.
func (t tree) check(field string) error {
	if t.dir == "" && t.fsys == nil {
		return bake.Invalid(field, "is required")
	}
	if t.dir != "" {
		if err := checkDir(field, t.fsys, t.dir); err != nil {
			return err
		}
	}
	return checkExclude(field, t.exclude)
}

// checkFile reports a file that is not in the tree.
func (t tree) checkFile(field, name string) error {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return bake.Invalid(field, "%q is not a path below %s", name, t)
	}
	return checkFile(field, t.fsys, t.join(name))
}

func (t tree) join(name string) string {
	if t.fsys != nil {
		return path.Join(t.dir, name)
	}
	return filepath.Join(t.dir, name)
}

// String is the directory as an error may name it.
func (t tree) String() string {
	if t.dir == "" {
		return "the file system"
	}
	return t.dir
}

func (t tree) sub() (fs.FS, error) {
	if t.dir == "" {
		return t.fsys, nil
	}
	return fs.Sub(t.fsys, t.dir)
}

// local is the path of the tree on the baking host, where a program can work
// in it: the directory itself, or, of a file system, a copy below scratch.
func (t tree) local(scratch string) (string, error) {
	if t.fsys == nil {
		return filepath.Abs(t.dir)
	}
	sub, err := t.sub()
	if err != nil {
		return "", err
	}
	to := filepath.Join(scratch, "tree")
	return to, os.CopyFS(to, sub)
}

// object is v, a struct or a map that a caller filled in, as a JSON object.
// Nil is "{}".
func object(v any) ([]byte, error) {
	if v == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(v)
}

// checkObject reports what does not marshal to a JSON object, or would lose a
// secret on the way.
func checkObject(field string, v any) error {
	text, err := object(v)
	if err != nil {
		return bake.Invalid(field, "%w", err)
	}
	switch {
	case !strings.HasPrefix(string(text), "{"):
		return bake.Invalid(field, "a %T marshals to %.20s: it must be a struct or a map", v, text)
	case strings.Contains(string(text), `"`+bake.Secret{}.String()+`"`):
		return bake.Invalid(field, "there is a bake.Secret in it, which marshals to %q: secrets have a field of their own", bake.Secret{})
	}
	return nil
}

// declareObject declares v by its JSON.
func declareObject(in *bake.Inputs, name string, v any) error {
	text, err := object(v)
	if err != nil {
		return err
	}
	in.Value(name, string(text))
	return nil
}

// upload is the tree to be written at dest on the machine.
func (t tree) upload(dest string) (*bake.Upload, error) {
	up := &bake.Upload{Dest: dest, Exclude: t.exclude, Sudo: true}
	if t.fsys == nil {
		up.Path = t.dir
		return up, nil
	}
	var err error
	up.FS, err = t.sub()
	return up, err
}
