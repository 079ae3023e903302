package sandbox

import (
	"context"
	"os"
	"strings"
)

func uuidgen(_ context.Context, p *Process) int {
	p.print(uuid(), "\n")
	return 0
}

// fileCommand guesses the type of files.
func fileCommand(_ context.Context, p *Process) int {
	o, names, bad := p.options("bLi", "brief=b", "dereference=L", "mime-type=m", "mime=i")
	if bad != 0 {
		return bad
	}
	for _, name := range names {
		if !o.on("b") {
			p.print(name, ": ")
		}
		p.print(p.fileType(name), "\n")
	}
	return 0
}

func (p *Process) fileType(name string) string {
	info, err := p.FS.Lstat(p.Path(name))
	switch {
	case err != nil:
		return "cannot open `" + name + "' (" + errText(err) + ")"
	case info.IsDir():
		return "directory"
	case info.Mode()&os.ModeSymlink != 0:
		target, _ := p.FS.Readlink(p.Path(name)) // it is a link
		return "symbolic link to " + target
	case info.Size() == 0:
		return "empty"
	}
	data, err := p.FS.ReadFile(p.Path(name))
	head := string(data[:min(len(data), 4096)])
	switch {
	case err != nil:
		return "regular file, no read permission"
	case strings.HasPrefix(head, "#!") && strings.Contains(head[:strings.IndexByte(head+"\n", '\n')], "bash"):
		return "Bourne-Again shell script, ASCII text executable"
	case strings.HasPrefix(head, "#!"):
		return "POSIX shell script, ASCII text executable"
	case strings.HasPrefix(head, "\x7fELF"):
		return "ELF 64-bit LSB executable, x86-64, version 1 (SYSV)"
	case strings.HasPrefix(head, "\x1f\x8b"):
		return "gzip compressed data"
	case strings.ContainsRune(head, 0):
		return "data"
	case strings.ContainsFunc(head, func(c rune) bool { return c > 127 }):
		return "Unicode text, UTF-8 text"
	}
	return "ASCII text"
}
