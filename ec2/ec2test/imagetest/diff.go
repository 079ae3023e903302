package imagetest

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/textdiff"
)

// A Change is a file that differs between two images.
type Change struct {
	Path   string
	Before *ec2test.File // nil if the file is new
	After  *ec2test.File // nil if the file was removed
	Text   string        // the difference of the contents in the unified format, if both are text
}

// String returns the change as one line and the difference of the contents:
//
//   - -rw-r--r-- root:root /etc/motd
//     @@ -0,0 +1 @@
//     +hello
func (c Change) String() string {
	var line string
	switch {
	case c.Before == nil:
		line = "+ " + c.After.String()
	case c.After == nil:
		line = "- " + c.Before.String()
	case c.Before.String() == c.After.String():
		line = "~ " + c.After.String()
	default:
		line = "~ " + c.Before.String() + " → " + strings.TrimSuffix(c.After.String(), " "+c.Path)
	}
	return line + "\n" + c.Text
}

// Diff returns the files that differ from those of the image's source, sorted by
// path.
func (i *Image) Diff() []Change {
	i.env.t.Helper()
	return i.DiffFrom(i.Source())
}

// DiffFrom returns the files that differ from those of another image, sorted by
// path. Of a new or removed directory only the files are listed, unless it is
// empty.
func (i *Image) DiffFrom(other *Image) []Change {
	i.env.t.Helper()
	before, after := other.Files(), i.Files()
	var all []Change
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && before[0].Path < after[0].Path:
			if !leads(before) {
				all = append(all, Change{Path: before[0].Path, Before: &before[0], Text: i.compare(other, &before[0], nil)})
			}
			before = before[1:]
		case len(before) == 0 || after[0].Path < before[0].Path:
			if !leads(after) {
				all = append(all, Change{Path: after[0].Path, After: &after[0], Text: i.compare(other, nil, &after[0])})
			}
			after = after[1:]
		default:
			text := i.compare(other, &before[0], &after[0])
			if text != "" || before[0].String() != after[0].String() {
				all = append(all, Change{Path: after[0].Path, Before: &before[0], After: &after[0], Text: text})
			}
			before, after = before[1:], after[1:]
		}
	}
	return all
}

// leads reports whether the first file is a directory of root with the usual mode
// that contains others, which imply it.
func leads(files []ec2test.File) bool {
	f := files[0]
	if !f.Mode.IsDir() || f.Mode.Perm() != 0o755 || f.UID != 0 {
		return false
	}
	for _, other := range files[1:] {
		if strings.HasPrefix(other.Path, f.Path+"/") {
			return true
		}
		if !strings.HasPrefix(other.Path, f.Path) {
			return false
		}
	}
	return false
}

// compare returns the difference of the contents of two versions of a file.
func (i *Image) compare(other *Image, before, after *ec2test.File) string {
	i.env.t.Helper()
	var a, b string
	if before != nil && before.Mode.IsRegular() {
		a = other.ReadFile(before.Path)
	}
	if after != nil && after.Mode.IsRegular() {
		b = i.ReadFile(after.Path)
	}
	const most = 64 << 10
	switch {
	case a == b:
		return ""
	case !isText(a) || !isText(b) || len(a)+len(b) > most:
		return fmt.Sprintf("%d → %d bytes\n", len(a), len(b))
	}
	return textdiff.Unified(a, b)
}

func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
