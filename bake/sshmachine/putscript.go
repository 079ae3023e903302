package sshmachine

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// prefix of everything temporary that a transfer makes on the machine.
const temporary = ".bakestone."

// cleanUp makes a script remove what it made when it ends early.
func cleanUp(command string) string {
	return "trap " + quote(command) + " EXIT; trap 'exit 1' HUP INT TERM\n"
}

// fileScripts are the parts of writing one file.
type fileScripts struct {
	dest  string
	temp  string // beside dest
	from  string // where the data goes; temp, or a file of the login's
	login string // who owns from, when that is not temp
	mode  fs.FileMode
	owner string // "user:group" for chown, empty to leave it
}

// begin makes the directory and the empty temporary file.
func (f *fileScripts) begin() string {
	var b strings.Builder
	fmt.Fprintf(&b, "d=%s t=%s f=%s\n", quote(f.dest), quote(f.temp), quote(f.from))
	b.WriteString(`if [ -d "$d" ]; then echo "$d is a directory" >&2; exit 1; fi` + "\n")
	fmt.Fprintf(&b, "mkdir -p %s || exit 1\n", quote(path.Dir(f.dest)))
	b.WriteString("u=$(umask); umask 077\n")
	b.WriteString(cleanUp(`rm -f "$t" "$f"`))
	b.WriteString(`: >"$t" && : >"$f" || exit 1` + "\n")
	if f.login != "" {
		fmt.Fprintf(&b, "chown %s \"$f\" || exit 1\n", quote(f.login))
	}
	return b.String()
}

// end sets owner and mode, and gives the file its name.
func (f *fileScripts) end() string {
	var b strings.Builder
	if f.from != f.temp {
		b.WriteString(`mv -f "$f" "$t" || exit 1` + "\n")
	}
	owner := f.owner
	if owner == "" && f.from != f.temp {
		owner = "0:0"
	}
	if owner != "" {
		fmt.Fprintf(&b, "chown %s \"$t\" || exit 1\n", quote(owner))
	}
	fmt.Fprintf(&b, "chmod %s \"$t\" && mv -f \"$t\" \"$d\" || exit 1\n", octal(f.mode))
	return b.String()
}

// treeScripts are the parts of writing a tree: it arrives in t below the
// staging directory, beside n, the names of its files, and h, their digest.
type treeScripts struct {
	dest   string
	tag    string
	upload string // where the tree arrives; empty is the staging directory
	login  string // who owns upload
	root   fs.FileMode
	owner  string
	hasher string
	xargs  bool
}

// begin makes the staging directory: in dest when that exists, for it is surely
// writable and on the same file system, else beside it.
func (t *treeScripts) begin() string {
	var b strings.Builder
	fmt.Fprintf(&b, "d=%s\n", quote(t.dest))
	b.WriteString(`if [ -d "$d" ]; then s="${d%/}/` + temporary + t.tag + `"; else` + "\n")
	b.WriteString(`if [ -e "$d" ] || [ -L "$d" ]; then echo "$d is not a directory" >&2; exit 1; fi` + "\n")
	parent := path.Dir(t.dest)
	fmt.Fprintf(&b, "mkdir -p %s || exit 1\n", quote(parent))
	fmt.Fprintf(&b, "s=%s\nfi\n", quote(path.Join(parent, temporary+t.tag)))
	upload := `"$s"`
	if t.upload != "" {
		upload = quote(t.upload)
	}
	fmt.Fprintf(&b, "w=%s\n", upload)
	// What is still on its way over SFTP can come between.
	b.WriteString(cleanUp(`rm -rf "$s" "$w" || { sleep 1; rm -rf "$s" "$w"; }`))
	b.WriteString(`(umask 077; mkdir "$s" && if [ "$w" != "$s" ]; then mkdir "$w"; fi && mkdir "$w/t") || exit 1` + "\n")
	if t.upload != "" {
		fmt.Fprintf(&b, "chown -R %s \"$w\" || exit 1\n", quote(t.login))
	}
	return b.String()
}

// end checks what has arrived, sets owners and moves it into place. The file h
// arrives last: without it the transfer broke off.
func (t *treeScripts) end() string {
	var b strings.Builder
	b.WriteString(`if [ ! -f "$w/h" ]; then echo "the transfer broke off" >&2; exit 1; fi` + "\n")
	b.WriteString(`if [ "$w" != "$s" ]; then mv "$w"/* "$s/" || exit 1; fi` + "\n")
	if t.hasher != "" && t.xargs {
		b.WriteString(`v=$(cd "$s/t" && ` + digestOfDigests(t.hasher) + " <../n)\n")
		b.WriteString(`if [ "$v" != "$(cat "$s/h")" ]; then echo "the digest differs: $v" >&2; exit 1; fi` + "\n")
	}
	// Each is the work of a way that has no links, and of bits that chown clears.
	const script = `if [ -f "$s/%[1]s" ]; then (cd "$s/t" && . ../%[1]s) || exit 1; fi` + "\n"
	fmt.Fprintf(&b, script, "l")
	owner := t.owner
	if owner == "" && t.upload != "" {
		owner = "0:0"
	}
	if owner != "" {
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
	return b.String()
}

// mergeScript defines merge FROM TO, which moves what is in one directory into
// another. A directory that is missing there is moved as it is.
func mergeScript(move string) string {
	const each = `for e in * .[!.]* ..?*; do if [ -e "$e" ] || [ -L "$e" ]; then `
	script := "merge() (\ncd \"$1\" || exit 1\n" +
		each + `if [ -d "$e" ] && [ ! -L "$e" ] && [ -d "$2/$e" ]; then merge "$1/$e" "$2/$e" && rmdir "$1/$e" || exit 1; fi; fi; done` + "\n"
	if move == "" {
		return script + each + `mv -f "./$e" "$2/" || exit 1; fi; done` + "\n)\n"
	}
	return script + each + `printf '%s\0' "./$e"; fi; done | ` + move + "\n)\n"
}
