package check

import (
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// Goss is a file of the program goss, which must be on the machine. What it
// finds to be wrong is one problem. The file cannot include others.
type Goss struct {
	// Path is a file on the baking host, or in FS if that is set.
	Path string
	FS   fs.FS
}

// String is "goss PATH".
func (g Goss) String() string { return "goss " + g.Path }

// Validate reports a file that cannot be read.
func (g Goss) Validate() error {
	if g.Path == "" {
		return bake.Invalid("Goss.Path", "is required")
	}
	if _, err := g.read(); err != nil {
		return bake.Invalid("Goss.Path", "%w", err)
	}
	return nil
}

func (g Goss) read() ([]byte, error) {
	if g.FS != nil {
		return fs.ReadFile(g.FS, g.Path)
	}
	return os.ReadFile(filepath.Clean(g.Path))
}

// script gives the file to goss by its input, for which it needs no place on
// the machine.
func (g Goss) script() string {
	text, err := g.read()
	if err != nil {
		return "bad " + posixsh.Quote("the file cannot be read any more: "+err.Error())
	}
	return `if ! have goss; then bad "goss is not on the machine: install it, or use the other tests of package check"; exit; fi
out=$(printf '%s' ` + posixsh.Quote(string(text)) + ` | goss -g - validate --no-color 2>&1) || bad "$out"`
}
