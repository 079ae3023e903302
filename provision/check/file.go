package check

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A File verifies that a file or directory exists and has certain properties.
// Fields that are not set are not verified. It follows symbolic links.
type File struct {
	// Path is the absolute path on the machine. It is required.
	Path string

	// Absent requires that nothing exists at Path, not even a dangling link.
	Absent bool

	// Dir requires a directory.
	Dir bool

	// Mode is the expected permission bits.
	Mode fs.FileMode

	// Owner and Group are the expected owners, as names on the machine.
	Owner string
	Group string

	// Contains is text that a line must contain. Matches is an extended regular
	// expression (grep -E) that a line must match.
	Contains string
	Matches  string

	// SHA256 is the expected digest of the content, 64 hexadecimal digits.
	SHA256 string
}

var _ Test = File{}

// String returns "file PATH".
func (f File) String() string { return "file " + f.Path }

// Validate reports invalid and conflicting fields.
func (f File) Validate() error {
	errs := []error{checkLine("File.Contains", f.Contains), checkLine("File.Matches", f.Matches)}
	if !path.IsAbs(f.Path) || strings.ContainsRune(f.Path, 0) {
		errs = append(errs, bake.Invalid("File.Path", "%q is not an absolute path", f.Path))
	}
	content := f.Contains != "" || f.Matches != "" || f.SHA256 != ""
	if f.Absent && (f.Dir || content || f.Mode != 0 || f.Owner != "" || f.Group != "") {
		errs = append(errs, bake.Invalid("File.Absent", "conflicts with the other fields"))
	}
	if f.Dir && content {
		errs = append(errs, bake.Invalid("File.Dir", "conflicts with Contains, Matches and SHA256"))
	}
	if f.Mode&^posixsh.ModeBits != 0 {
		errs = append(errs, bake.Invalid("File.Mode", "%#o contains bits other than permissions: write 0o644 for rw-r--r--, and fs.ModeSetuid for set-user-id", uint32(f.Mode)))
	}
	if f.SHA256 != "" && !regexp.MustCompile(`^[0-9A-Fa-f]{64}$`).MatchString(f.SHA256) {
		errs = append(errs, bake.Invalid("File.SHA256", "invalid digest %q: use 64 hexadecimal digits", f.SHA256))
	}
	return errors.Join(errs...)
}

func (f File) script() string {
	var b strings.Builder
	b.WriteString("f=" + posixsh.Quote(f.Path) + "\n")
	if f.Absent {
		b.WriteString(`if [ -e "$f" ] || [ -L "$f" ]; then bad "exists"; fi`)
		return b.String()
	}
	b.WriteString(`if [ ! -e "$f" ]; then bad "does not exist or is not accessible to the login"; exit; fi` + "\n")
	if f.Dir {
		b.WriteString(`[ -d "$f" ] || bad "is not a directory"` + "\n")
	}
	for _, stat := range []struct{ what, format, want string }{
		{"the mode", "%a", octal(f.Mode)}, {"the owner", "%U", f.Owner}, {"the group", "%G", f.Group},
	} {
		if stat.want != "" {
			fmt.Fprintf(&b, "is '%s' \"$(stat -L -c %s \"$f\")\" %s\n", stat.what, stat.format, posixsh.Quote(stat.want))
		}
	}
	if f.Contains == "" && f.Matches == "" && f.SHA256 == "" {
		return b.String()
	}
	b.WriteString(`if [ ! -r "$f" ]; then bad "` + notReadable + `"; exit; fi` + "\n")
	if f.Contains != "" {
		fmt.Fprintf(&b, "want=%s\ngrep -qF -e \"$want\" \"$f\" || bad \"does not contain: $want\"\n", posixsh.Quote(f.Contains))
	}
	if f.Matches != "" {
		fmt.Fprintf(&b, "want=%s\ngrep -qE -e \"$want\" \"$f\" || bad \"no line matches: $want\"\n", posixsh.Quote(f.Matches))
	}
	if f.SHA256 != "" {
		fmt.Fprintf(&b, "is 'the digest' \"$(sha256sum <\"$f\" | cut -c1-64)\" %s\n", strings.ToLower(f.SHA256))
	}
	return b.String()
}

const notReadable = "is not readable by the login"

// octal returns the permission bits as stat prints them, or "" if mode is zero.
func octal(mode fs.FileMode) string {
	if mode == 0 {
		return ""
	}
	return posixsh.Mode(mode)
}
