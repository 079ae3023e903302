package check

import (
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A Goss runs a goss file with the program goss, which must be installed on the
// machine. All problems that goss finds are one Failure. The file cannot include
// other files.
type Goss struct {
	// Path is a file on the baking host, or in FS if that is set. It is required.
	Path string
	FS   fs.FS
}

var _ Test = Goss{}

// String returns "goss PATH".
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

// script passes the file to goss on standard input, which needs no file on the
// machine.
func (g Goss) script() string {
	text, err := g.read()
	if err != nil {
		return "bad " + posixsh.Quote("cannot read the file: "+err.Error())
	}
	return `if ! have goss; then bad "goss not found: install it, or use other tests of package check"; exit; fi
out=$(printf '%s' ` + posixsh.Quote(string(text)) + ` | goss -g - validate --no-color 2>&1) || bad "$out"`
}
