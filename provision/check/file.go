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

// File is a file or directory that must be there, as its fields say. A field
// that is not set does not count.
type File struct {
	// Path is absolute.
	Path string

	// Absent wants that there is nothing.
	Absent bool

	// Dir wants a directory. Otherwise it may be anything.
	Dir bool

	// Mode is the permission bits.
	Mode fs.FileMode

	// Owner and Group are names on the machine.
	Owner string
	Group string

	// Contains is a text within a line, and Matches an extended regular
	// expression of grep that some line must match.
	Contains string
	Matches  string

	// SHA256 is the digest of the content, 64 hexadecimal digits.
	SHA256 string
}

// String is "file PATH".
func (f File) String() string { return "file " + f.Path }

const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// Validate reports a Path that is not absolute, and what contradicts itself.
func (f File) Validate() error {
	errs := []error{checkLine("File.Contains", f.Contains), checkLine("File.Matches", f.Matches)}
	if !path.IsAbs(f.Path) || strings.ContainsRune(f.Path, 0) {
		errs = append(errs, bake.Invalid("File.Path", "%q is not an absolute path", f.Path))
	}
	content := f.Contains != "" || f.Matches != "" || f.SHA256 != ""
	if f.Absent && (f.Dir || content || f.Mode != 0 || f.Owner != "" || f.Group != "") {
		errs = append(errs, bake.Invalid("File.Absent", "contradicts the other fields"))
	}
	if f.Dir && content {
		errs = append(errs, bake.Invalid("File.Dir", "a directory has no content"))
	}
	if f.Mode&^modeBits != 0 {
		errs = append(errs, bake.Invalid("File.Mode", "%#o has other than permission bits: write 0o644 for rw-r--r--, and fs.ModeSetuid for set-user-id", uint32(f.Mode)))
	}
	if f.SHA256 != "" && !regexp.MustCompile(`^[0-9A-Fa-f]{64}$`).MatchString(f.SHA256) {
		errs = append(errs, bake.Invalid("File.SHA256", "%q is not 64 hexadecimal digits", f.SHA256))
	}
	return errors.Join(errs...)
}

func (f File) script() string {
	var b strings.Builder
	b.WriteString("f=" + posixsh.Quote(f.Path) + "\n")
	if f.Absent {
		b.WriteString(`if [ -e "$f" ] || [ -L "$f" ]; then bad "it is there"; fi`)
		return b.String()
	}
	b.WriteString(`if [ ! -e "$f" ]; then bad "it is missing, or the login may not look there"; exit; fi` + "\n")
	if f.Dir {
		b.WriteString(`[ -d "$f" ] || bad "it is no directory"` + "\n")
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
	b.WriteString(`if [ ! -r "$f" ]; then bad "the login may not read it"; exit; fi` + "\n")
	if f.Contains != "" {
		fmt.Fprintf(&b, "want=%s\ngrep -qF -e \"$want\" \"$f\" || bad \"it does not contain: $want\"\n", posixsh.Quote(f.Contains))
	}
	if f.Matches != "" {
		fmt.Fprintf(&b, "want=%s\ngrep -qE -e \"$want\" \"$f\" || bad \"no line matches: $want\"\n", posixsh.Quote(f.Matches))
	}
	if f.SHA256 != "" {
		fmt.Fprintf(&b, "is 'the digest' \"$(sha256sum <\"$f\" | cut -c1-64)\" %s\n", strings.ToLower(f.SHA256))
	}
	return b.String()
}

// octal is the permission bits as stat prints them; empty for none.
func octal(mode fs.FileMode) string {
	if mode == 0 {
		return ""
	}
	return posixsh.Mode(mode)
}
