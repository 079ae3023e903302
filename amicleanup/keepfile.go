package amicleanup

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
)

// An id of an image, wherever it stands in a text.
var imageID = regexp.MustCompile(`\bami-[0-9a-f]{8,17}\b`)

// IDsInFiles keeps the images whose ids stand anywhere in the files of fsys
// that match any of the patterns: Terraform's, a list, a manifest. Patterns
// are those of fs.Glob. It is an error when a pattern matches no file or no
// file names an image: the list that should protect images would be empty.
func IDsInFiles(fsys fs.FS, patterns ...string) (Keeper, error) {
	ids := map[string]bool{}
	for _, pattern := range patterns {
		names, err := fs.Glob(fsys, pattern)
		if err != nil {
			return nil, fmt.Errorf("files with image ids: %q: %w", pattern, err)
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("files with image ids: none matches %q", pattern)
		}
		for _, name := range names {
			text, err := fs.ReadFile(fsys, name)
			if err != nil {
				return nil, fmt.Errorf("files with image ids: %w", err)
			}
			for _, id := range imageID.FindAllString(string(text), -1) {
				ids[id] = true
			}
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("files with image ids: there is no id in them")
	}
	return keepIDs(slices.Collect(maps.Keys(ids)), "is named in a file"), nil
}
