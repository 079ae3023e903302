package sandbox

import (
	"context"
	"encoding/json"
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
	width := 0
	for _, name := range names {
		width = max(width, len(name))
	}
	for _, name := range names {
		if !o.on("b") {
			p.print(name, ": ", strings.Repeat(" ", width-len(name)))
		}
		kind := p.fileType(name)
		if o.on("m") || o.on("i") {
			kind = mimeType(kind, o.on("i"))
		}
		p.print(kind, "\n")
	}
	return 0
}

// mimeType returns the MIME type of a kind of files, with its charset if asked for.
func mimeType(kind string, charset bool) string {
	known := []struct{ kind, mime, charset string }{
		{"cannot open", "", ""}, {"directory", "inode/directory", "binary"}, {"symbolic link", "inode/symlink", "binary"},
		{"empty", "inode/x-empty", "binary"}, {"ELF", "application/x-pie-executable", "binary"}, {"gzip", "application/gzip", "binary"},
		{"Zip", "application/zip", "binary"}, {"JSON", "application/json", "us-ascii"}, {"Bourne", "text/x-shellscript", "us-ascii"},
		{"POSIX shell", "text/x-shellscript", "us-ascii"}, {"data", "application/octet-stream", "binary"}, {"Unicode", "text/plain", "utf-8"},
		{"regular file", "", ""},
	}
	mime, set := "text/plain", "us-ascii"
	for _, k := range known {
		if strings.HasPrefix(kind, k.kind) {
			mime, set = k.mime, k.charset
			break
		}
	}
	switch {
	case mime == "":
		return kind
	case charset:
		return mime + "; charset=" + set
	}
	return mime
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
	case strings.HasPrefix(head, "PK\x03\x04") && len(head) > 9 && head[8] == 0:
		return "Zip archive data, at least v1.0 to extract, compression method=store"
	case strings.HasPrefix(head, "PK\x03\x04"):
		return "Zip archive data, at least v2.0 to extract, compression method=deflate"
	case len(data) <= len(head) && strings.ContainsAny(head[:1], "{[") && json.Valid(data):
		return "JSON text data"
	case strings.ContainsRune(head, 0):
		return "data"
	case strings.ContainsFunc(head, func(c rune) bool { return c > 127 }):
		return "Unicode text, UTF-8 text"
	}
	return "ASCII text"
}
