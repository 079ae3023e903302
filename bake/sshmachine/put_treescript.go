package sshmachine

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// treeScripts generates the parts of a script that writes a tree. The tree arrives
// in the subdirectory "t" of the staging directory, beside its sidecar files.
type treeScripts struct {
	dest   string
	tag    string
	upload string // where the tree arrives; empty for the staging directory
	login  string // owner of upload
	uid    int    // of the login
	root   fs.FileMode
	owner  string
	hasher string
	xargs  bool

	newlines bool // in names
}

// begin creates the staging directory: inside dest if that exists, since dest must
// be writable and is on the same file system, or else beside it.
func (t *treeScripts) begin() string {
	var b strings.Builder
	fmt.Fprintf(&b, "d=%s\n", quote(t.dest))
	b.WriteString(checkLinks(t.uid, t.dest))
	b.WriteString(`x=0; if [ -d "$d" ]; then x=1; s="${d%/}/` + tempPrefix + t.tag + `"; else` + "\n")
	b.WriteString(`if [ -e "$d" ] || [ -L "$d" ]; then echo "$d is not a directory" >&2; exit 1; fi` + "\n")
	parent := path.Dir(t.dest)
	fmt.Fprintf(&b, "mkdir -p %s || exit 1\n", quote(parent))
	fmt.Fprintf(&b, "s=%s\nfi\n", quote(path.Join(parent, tempPrefix+t.tag)))
	upload := `"$s"`
	if t.upload != "" {
		upload = quote(t.upload)
	}
	fmt.Fprintf(&b, "w=%s\n", upload)
	// Writes still in progress over SFTP can make the first rm fail.
	b.WriteString(trapCleanUp(`rm -rf "$s" "$w" || { sleep 1; rm -rf "$s" "$w"; }`))
	b.WriteString(`(umask 077; mkdir "$s" && if [ "$w" != "$s" ]; then mkdir "$w"; fi && mkdir "$w/t") || exit 1` + "\n")
	if t.upload != "" {
		fmt.Fprintf(&b, "chown -R %s \"$w\" || exit 1\n", quote(t.login))
	}
	return b.String()
}

// end verifies the tree, sets owners and moves it into place. The sidecar "h"
// arrives last, so without it the transfer is incomplete.
func (t *treeScripts) end() string {
	var b strings.Builder
	b.WriteString(`if [ ! -f "$w/h" ]; then echo "transfer incomplete" >&2; exit 1; fi` + "\n")
	b.WriteString(`if [ "$w" != "$s" ]; then mv "$w"/* "$s/" || exit 1; fi` + "\n")
	b.WriteString(t.verify(`"$s"`, "n", "h"))
	// "l" creates links if the transfer cannot, "m" sets bits that chown clears.
	const script = `if [ -f "$s/%[1]s" ]; then (cd "$s/t" && . ../%[1]s) || exit 1; fi` + "\n"
	fmt.Fprintf(&b, script, "l")
	owner := t.owner
	if owner == "" && t.upload != "" {
		owner = "0:0"
	}
	// In a set-gid directory, only some transfers pass the bit and the group on.
	b.WriteString("set -- $(ls -ldn \"$s/t\")\n" + `case $1 in ??????[sS]*) chmod -R g-s "$s/t" || exit 1;; esac` + "\n")
	if owner == "" {
		b.WriteString(`if [ "$4" != "$(id -g)" ]; then chown -hR ":$(id -g)" "$s/t" || exit 1; fi` + "\n")
	} else {
		fmt.Fprintf(&b, "chown -hR %s \"$s/t\" || exit 1\n", quote(owner))
	}
	fmt.Fprintf(&b, script, "m")
	b.WriteString(moveScript + mergeScript)
	b.WriteString(`if [ -d "$d" ]; then q=${d%/}; (cd "$s/t" && merge ./) || exit 1` + "\n")
	fmt.Fprintf(&b, "else chmod %s \"$s/t\" && move \"$d\" \"$s/t\" || exit 1; fi\n", octal(t.root))
	b.WriteString(removeScript)
	return b.String()
}

// verify compares the digests of the files in the directory "t" of dir that the file
// names lists with the digest of all of them, if the machine has the tools.
func (t *treeScripts) verify(dir, names, digest string) string {
	if t.hasher == "" || !t.xargs {
		return ""
	}
	return fmt.Sprintf("v=$(cd %s/t && %s <../%s)\n", dir, digestOfDigests(t.hasher, t.newlines), names) +
		fmt.Sprintf(`if [ "$v" != "$(cat %s/%s)" ]; then echo "digest mismatch: ${v:-%s printed nothing}" >&2; exit 1; fi`+"\n", dir, digest, program(t.hasher))
}

// extractScript extracts an archive into a directory, given as a word of the shell.
// last is the last file of the archive.
func extractScript(dir, last string, compressed bool) string {
	extract := "try tar -xpf - -C " + dir
	if compressed {
		extract = "try gzip -dc | " + extract
	}
	return extract + " || exit 1\n" +
		fmt.Sprintf(`if [ ! -f %s/%s ]; then echo "tar: exit status 0 before the end of the archive" >&2; exit 1; fi`+"\n", dir, last)
}

// removeScript removes the files that the sidecar "x" lists, and then the directories
// of "y".
const removeScript = `if [ -f "$s/x" ]; then (cd "$d" && try xargs -0 rm -f) <"$s/x" || exit 1; fi
if [ -f "$s/y" ]; then (cd "$d" && try xargs -0 rmdir) <"$s/y" || exit 1; fi
`

// mergeScript defines the shell function merge DIR/, which moves what a directory below the
// working one has to the one of the same name below $q. Directories that both have are
// merged, also through links that the shell function follow permits. Few programs are
// started, which takes longer than anything else.
const mergeScript = "merge() {\n" +
	eachEntry + inBoth + `; then follow "$q/$e" && merge "$e/" || return 1; fi; done` + "\n" +
	eachEntry + inBoth + `; then :; elif ` + isThere + `; then set -- "$@" "$e"; if [ $# -gt 100 ]; then move "$q/$@" && set -- "$1" || return 1; fi; fi; done` + "\n" +
	`[ $# -eq 1 ] || move "$q/$@"` + "\n}\n"

const (
	eachEntry = `for e in "$1"* "$1".[!.]* "$1"..?*; do if `
	inBoth    = `[ -d "$e" ] && [ ! -L "$e" ] && [ -d "$q/$e" ]`
	isThere   = `[ -e "$e" ] || [ -L "$e" ]`
)
