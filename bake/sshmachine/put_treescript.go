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
	move := `xargs -0 -r /bin/sh -c 'mv -f "$@" "$0/"' "$2"`
	if !t.xargs {
		move = ""
	}
	b.WriteString(mergeScript(move))
	b.WriteString(`if [ -d "$d" ]; then merge "$s/t" "${d%/}" || exit 1` + "\n")
	fmt.Fprintf(&b, "else chmod %s \"$s/t\" && mv \"$s/t\" \"$d\" || exit 1; fi\n", octal(t.root))
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

// mergeScript defines the shell function merge FROM TO, which moves the contents of
// one directory into another, merging directories that exist in both, also through
// links that the shell function follow permits. move is the
// command that moves the NUL-separated names on its input; if empty, mv is called
// for each.
func mergeScript(move string) string {
	const each = `for e in * .[!.]* ..?*; do if [ -e "$e" ] || [ -L "$e" ]; then `
	script := "merge() (\ncd \"$1\" || exit 1\n" +
		each + `if [ -d "$e" ] && [ ! -L "$e" ] && [ -d "$2/$e" ]; then follow "$2/$e" && merge "$1/$e" "$2/$e" && rmdir "$1/$e" || exit 1; fi; fi; done` + "\n"
	if move == "" {
		return script + each + `mv -f "./$e" "$2/" || exit 1; fi; done` + "\n)\n"
	}
	return script + each + `printf '%s\0' "./$e"; fi; done | ` + move + "\n)\n"
}
