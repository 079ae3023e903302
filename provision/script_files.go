package provision

import (
	"context"
	"errors"
	"path"
	"path/filepath"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// scriptDir is the value of Script.Dir for the directory that contains the script.
const scriptDir = "."

// A scriptFile is one of Script.Files.
type scriptFile struct {
	name   string // as in Files
	source string // on the baking host or in FS
	staged string // relative to the staging directory
}

// layout returns where the script and Files are in the staging directory. A file
// that begins with "../" moves the script into subdirectories, named like those on
// the baking host.
func (s Script) layout() (dir string, files []scriptFile, err error) {
	up := 0
	for _, name := range s.Files {
		rest, above := path.Clean(filepath.ToSlash(name))+"/", 0
		for found := true; found; above++ {
			rest, found = strings.CutPrefix(rest, "../")
		}
		up = max(up, above-1)
	}
	if dir, err = s.lastDirs(up); err != nil {
		return "", nil, err
	}
	for _, name := range s.Files {
		clean := path.Clean(filepath.ToSlash(name))
		if name == "" || path.IsAbs(clean) || filepath.IsAbs(name) {
			return "", nil, bake.Invalid("Script.Files", "%q is not a path relative to the directory of Path", name)
		}
		source := filepath.Join(filepath.Dir(s.Path), filepath.FromSlash(clean))
		if s.FS != nil {
			source = path.Join(path.Dir(s.Path), clean)
		}
		files = append(files, scriptFile{name, source, path.Join(dir, clean)})
	}
	return dir, files, nil
}

// lastDirs returns the last n directories of the path of the script's directory.
func (s Script) lastDirs(n int) (string, error) {
	if n == 0 {
		return "", nil
	}
	dir := path.Dir(s.Path)
	if s.FS == nil {
		abs, err := filepath.Abs(filepath.Dir(s.Path))
		if err != nil {
			return "", err
		}
		dir = strings.TrimPrefix(filepath.ToSlash(abs), filepath.ToSlash(filepath.VolumeName(abs)))
	}
	names := strings.FieldsFunc(dir, func(r rune) bool { return r == '/' })
	if len(names) < n || dir == "." {
		return "", bake.Invalid("Script.Files", "has more \"../\" than there are directories above %s", s.Path)
	}
	return path.Join(names[len(names)-n:]...), nil
}

// checkFiles reports invalid and missing Files.
func (s Script) checkFiles() error {
	switch {
	case len(s.Files) == 0:
		return nil
	case s.Path == "":
		return bake.Invalid("Script.Files", "requires Path, whose directory they are relative to")
	}
	_, files, err := s.layout()
	if err != nil {
		return err
	}
	errs := make([]error, 0, len(files))
	for _, f := range files {
		info, err := stat(s.FS, f.source)
		switch {
		case err != nil:
			errs = append(errs, bake.Invalid("Script.Files", "%w", err))
		case !info.IsDir():
			errs = append(errs, checkFile("Script.Files", s.FS, f.source))
		}
	}
	return errors.Join(errs...)
}

func (s Script) declareFiles(in *bake.Inputs) error {
	_, files, err := s.layout()
	errs := append(make([]error, 0, 1+len(files)), err)
	for _, f := range files {
		errs = append(errs, declarePath(in, "file "+f.name, s.FS, f.source))
	}
	return errors.Join(errs...)
}

// stageFiles uploads Files and returns the path of the script's directory.
func (s Script) stageFiles(ctx context.Context, staging *stagingDir) (dir string, err error) {
	below, files, err := s.layout()
	if err != nil {
		return "", err
	}
	for _, f := range files {
		if err := staging.copy(ctx, f.staged, s.FS, f.source); err != nil {
			return "", err
		}
	}
	return path.Join(staging.path, below), nil
}
