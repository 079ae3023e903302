package provision

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A Repository is a package repository. It is added as a .sources file for
// apt-get, a .repo file for dnf, yum and zypper, and a line of
// /etc/apk/repositories for apk. Exactly one of Key, KeyFile and InsecureUnsigned
// must be set.
type Repository struct {
	// Name names the repository's files. It consists of letters, digits, dots,
	// hyphens and underscores. For apk it must be the key's name in the index
	// signature, without ".rsa.pub".
	Name string

	// URL is the base URL.
	URL string

	// Suite and Components are for apt-get. If Suite is empty, it is the code name
	// of the machine's release. If Components is empty, it is "main". A Suite that
	// ends in a slash has no components.
	Suite      string
	Components []string

	// Key is the public key that signs the repository. KeyFile is a file that
	// contains it, on the baking host or in FS if that is set. apt-get trusts the
	// key only for this repository.
	Key     string
	KeyFile string
	FS      fs.FS

	// InsecureUnsigned accepts unsigned packages. apk does not support it.
	InsecureUnsigned bool
}

func (r Repository) validate(field string) error {
	var errs []error
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`).MatchString(r.Name) {
		errs = append(errs, bake.Invalid(field+".Name", "invalid name %q: use letters, digits, dots, hyphens and underscores", r.Name))
	}
	if u, err := url.Parse(r.URL); err != nil || u.Scheme == "" || strings.ContainsFunc(r.URL, isBlank) {
		errs = append(errs, bake.Invalid(field+".URL", "invalid URL %q", r.URL))
	}
	for _, word := range append([]string{r.Suite}, r.Components...) {
		if strings.ContainsFunc(word, isBlank) {
			errs = append(errs, bake.Invalid(field, "%q contains blanks", word))
		}
	}
	if strings.HasSuffix(r.Suite, "/") && len(r.Components) > 0 {
		errs = append(errs, bake.Invalid(field+".Components", "must be empty for a Suite that ends in a slash"))
	}
	switch {
	case !exactlyOne(r.Key != "", r.KeyFile != "", r.InsecureUnsigned):
		errs = append(errs, bake.Invalid(field, "exactly one of Key, KeyFile and InsecureUnsigned must be set"))
	case r.KeyFile != "":
		errs = append(errs, checkFile(field+".KeyFile", r.FS, r.KeyFile))
	case r.FS != nil:
		errs = append(errs, bake.Invalid(field+".FS", "requires KeyFile, the file in it"))
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
	if r.KeyFile == "" {
		return []byte(r.Key), nil
	}
	return readFile(r.FS, r.KeyFile)
}

// putKey returns shell code that writes a key, which may be binary.
func putKey(file string, key []byte) string {
	if !isArmored(key) {
		return fmt.Sprintf("\tmkdir -p %s\n\tprintf %%s %s | base64 -d >%s\n\tchmod 644 %[3]s\n",
			posixsh.Quote(path.Dir(file)), base64.StdEncoding.EncodeToString(key), posixsh.Quote(file))
	}
	return put(file, strings.TrimRight(string(key), "\n"))
}

// put returns a call of the shell function put, which writes a world-readable file.
func put(file, text string) string { return "\tput" + posixsh.Words(file, text) + "\n" }

func isArmored(key []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(key), []byte("-----BEGIN ")) }

// apt returns shell code that adds the repository for apt-get.
func (r Repository) apt(key []byte) string {
	script, signed := "", "Trusted: yes"
	if len(key) > 0 {
		// The suffix tells apt the form of the key.
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

// rpm returns shell code that adds the repository for dnf, yum or zypper to dir.
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

// apk returns shell code that adds the repository for apk. Unsigned repositories
// would require an option in every apk command.
func (r Repository) apk(key []byte) string {
	if len(key) == 0 {
		return "\trefuse 'apk: unsigned repositories are not supported'\n"
	}
	url := posixsh.Quote(r.URL)
	return putKey("/etc/apk/keys/"+r.Name+".rsa.pub", key) +
		"\tif ! grep -qxF " + url + " /etc/apk/repositories; then\n" +
		"\t\techo " + url + " >>/etc/apk/repositories\n\t\tchanged /etc/apk/repositories\n\tfi\n"
}
