package amicleanup

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// IDsInFiles returns a rule that keeps the images whose ids occur anywhere in
// the files of fsys that match any of the patterns: Terraform's files, a list, a
// manifest. Patterns are those of [path.Match], with ** for any number of
// folders: "**/*.tf". Links to files are followed, links to folders are not. It is
// an error if a pattern matches no file or no file names an image, since the list
// that should protect images would be empty.
func IDsInFiles(fsys fs.FS, patterns ...string) (Rule, error) {
	ids := map[string]bool{}
	for _, pattern := range patterns {
		names, err := glob(fsys, pattern)
		if err != nil {
			return nil, fmt.Errorf("files with image ids: %q: %w", pattern, err)
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("files with image ids: no file matches %q", pattern)
		}
		for _, name := range names {
			text, err := fs.ReadFile(fsys, name)
			if err != nil {
				return nil, fmt.Errorf("files with image ids: %w", err)
			}
			for _, ref := range inuse.InText(string(text), name) {
				ids[ref.ImageID] = true
			}
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("files with image ids: no image id found")
	}
	return keepIDs("IDsInFiles", slices.Collect(maps.Keys(ids)), "is named in a file"), nil
}

// glob returns the files that match a pattern, in which ** stands for any number
// of folders.
func glob(fsys fs.FS, pattern string) ([]string, error) {
	if !strings.Contains(pattern, "**") {
		return fs.Glob(fsys, pattern)
	}
	parts := strings.Split(pattern, "/")
	for _, part := range parts {
		if _, err := path.Match(part, ""); err != nil {
			return nil, err
		}
	}
	var names []string
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && matchParts(parts, strings.Split(name, "/")) {
			names = append(names, name)
		}
		return err
	})
	return names, err
}

func matchParts(pattern, name []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			for i := range len(name) + 1 {
				if matchParts(pattern[1:], name[i:]) {
					return true
				}
			}
			return false
		}
		if len(name) == 0 {
			return false
		}
		if ok, err := path.Match(pattern[0], name[0]); err != nil || !ok {
			return false
		}
		pattern, name = pattern[1:], name[1:]
	}
	return len(name) == 0
}
