package provision

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A Repository is a source of packages in the form of the machine's manager: a
// .sources file of its own for apt-get, a .repo file for dnf, yum and zypper,
// and a line of /etc/apk/repositories for apk.
type Repository struct {
	// Name names its files: letters, digits, dots, hyphens and underscores. On
	// apk it is what the signature of the index calls the key, without
	// ".rsa.pub".
	Name string

	// URL is its base.
	URL string

	// Suite and Components are for apt-get. An empty Suite is the code name of
	// the machine's release, no Components are "main", and a Suite that ends in
	// a slash has none.
	Suite      string
	Components []string

	// Key is the public key that signs the repository, and KeyFile the file in
	// which it is, on the baking host or in FS if that is set. One of both is
	// required, unless InsecureUnsigned is set. On apt-get it is good for this
	// repository and for no other.
	Key     string
	KeyFile string
	FS      fs.FS

	// InsecureUnsigned takes packages from it that nobody has signed.
	InsecureUnsigned bool
}

func (r Repository) validate(field string) error {
	var errs []error
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`).MatchString(r.Name) {
		errs = append(errs, bake.Invalid(field+".Name", "%q is not made of letters, digits, dots, hyphens and underscores", r.Name))
	}
	if u, err := url.Parse(r.URL); err != nil || u.Scheme == "" || strings.ContainsFunc(r.URL, isBlank) {
		errs = append(errs, bake.Invalid(field+".URL", "%q is not a URL", r.URL))
	}
	for _, word := range append([]string{r.Suite}, r.Components...) {
		if strings.ContainsFunc(word, isBlank) {
			errs = append(errs, bake.Invalid(field, "%q has blanks in it", word))
		}
	}
	if strings.HasSuffix(r.Suite, "/") && len(r.Components) > 0 {
		errs = append(errs, bake.Invalid(field+".Components", "a Suite that ends in a slash has none"))
	}
	switch {
	case !exactlyOne(r.Key != "", r.KeyFile != "", r.InsecureUnsigned):
		errs = append(errs, bake.Invalid(field, "exactly one of Key, KeyFile and InsecureUnsigned must be set"))
	case r.KeyFile != "":
		errs = append(errs, checkFile(field+".KeyFile", r.FS, r.KeyFile))
	case r.FS != nil:
		errs = append(errs, bake.Invalid(field+".FS", "needs KeyFile, the file in it"))
	}
	return errors.Join(errs...)
}

func isBlank(r rune) bool { return r <= ' ' || r == 0x7f }

func (r Repository) declare(in *bake.Inputs, prefix string) error {
	key, err := r.key()
	if err != nil {
		return err
	}
	in.Content(prefix+"key", key)
	in.Value(prefix+"name", r.Name)
	in.Value(prefix+"URL", r.URL)
	in.Value(prefix+"suite", r.Suite)
	in.Value(prefix+"components", r.Components)
	in.Value(prefix+"unsigned", r.InsecureUnsigned)
	return nil
}

func (r Repository) key() ([]byte, error) {
	switch {
	case r.KeyFile == "":
		return []byte(r.Key), nil
	case r.FS != nil:
		return fs.ReadFile(r.FS, r.KeyFile)
	}
	return os.ReadFile(filepath.Clean(r.KeyFile))
}

// putKey writes a key, which may be binary. Armored is a text.
func putKey(file string, key []byte) string {
	if !isArmored(key) {
		return fmt.Sprintf("\tmkdir -p %s\n\tprintf %%s %s | base64 -d >%s\n\tchmod 644 %[3]s\n",
			posixsh.Quote(path.Dir(file)), base64.StdEncoding.EncodeToString(key), posixsh.Quote(file))
	}
	return put(file, strings.TrimRight(string(key), "\n"))
}

// put is a call of the function put for a file that everybody may read.
func put(file, text string) string { return "\tput" + posixsh.Words(file, text) + "\n" }

func isArmored(key []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(key), []byte("-----BEGIN ")) }

// apt writes the repository for apt-get.
func (r Repository) apt(key []byte) string {
	script, signed := "", "Trusted: yes"
	if len(key) > 0 {
		// apt tells the two forms of a key by these endings.
		file := "/etc/apt/keyrings/" + r.Name + ".gpg"
		if isArmored(key) {
			file = "/etc/apt/keyrings/" + r.Name + ".asc"
		}
		script, signed = putKey(file, key), "Signed-By: "+file
	}
	suite := "suite=" + posixsh.Quote(r.Suite) + "\n"
	if r.Suite == "" {
		suite = "suite=$(. /etc/os-release; echo \"$VERSION_CODENAME\")\n"
	}
	text := "Types: deb\nURIs: " + r.URL + "\nSuites: "
	rest := "\n"
	if !strings.HasSuffix(r.Suite, "/") {
		components := "main"
		if len(r.Components) > 0 {
			components = strings.Join(r.Components, " ")
		}
		rest += "Components: " + components + "\n"
	}
	file := "/etc/apt/sources.list.d/" + r.Name + ".sources"
	return script + "\t" + suite + "\tput " + posixsh.Quote(file) + " " + posixsh.Quote(text) + `"$suite"` + posixsh.Quote(rest+signed) + "\n"
}

// rpm writes the repository for dnf, yum and zypper into dir.
func (r Repository) rpm(key []byte, dir string) string {
	text := fmt.Sprintf("[%[1]s]\nname=%[1]s\nbaseurl=%[2]s\nenabled=1\n", r.Name, r.URL)
	script := ""
	if len(key) > 0 {
		file := "/etc/pki/rpm-gpg/RPM-GPG-KEY-" + r.Name
		script = putKey(file, key) + "\trpm --import " + posixsh.Quote(file) + "\n"
		text += "gpgcheck=1\ngpgkey=file://" + file
	} else {
		text += "gpgcheck=0"
	}
	return script + put(dir+"/"+r.Name+".repo", text)
}

// apk adds the repository to those of apk, whose unsigned ones need an option
// of every command.
func (r Repository) apk(key []byte) string {
	if len(key) == 0 {
		return "\trefuse 'apk takes no unsigned repository'\n"
	}
	url := posixsh.Quote(r.URL)
	return putKey("/etc/apk/keys/"+r.Name+".rsa.pub", key) +
		"\tif ! grep -qxF " + url + " /etc/apk/repositories; then\n" +
		"\t\techo " + url + " >>/etc/apk/repositories\n\t\tchanged /etc/apk/repositories\n\tfi\n"
}
