package sandbox

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// unzip extracts, lists or tests an archive, or with -p prints its files.
func unzip(_ context.Context, p *Process) int {
	o, names, bad := p.options("qonjlptd:xv")
	if bad != 0 {
		return bad
	}
	if len(names) == 0 {
		return p.fail(10, "archive name is missing") //nolint:mnd // of invalid options
	}
	const missing, broken = 9, 3
	file := names[0]
	if _, err := p.FS.Stat(p.Path(file)); err != nil && !strings.HasSuffix(file, ".zip") {
		file += ".zip"
	}
	in, err := p.input(file)
	if err != nil {
		fprintf(p.Stderr, "unzip:  cannot find or open %s, %s.zip or %[2]s.ZIP.\n", names[0], names[0])
		return missing
	}
	defer shut(in)
	data, err := p.readAll(in)
	if err != nil {
		return p.fail(broken, "%s", errText(err))
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		fprintf(p.Stderr, "  End-of-central-directory signature not found.\nunzip:  cannot find zipfile directory in %s\n", file)
		return missing
	}
	if !o.on("p") && (!o.on("q") || o.on("l")) {
		p.print("Archive:  ", file, "\n")
	}
	if o.on("l") {
		p.listZip(archive, names[1:])
		return 0
	}
	dir := "."
	if given, ok := o.value("d"); ok {
		dir = given
		if err := p.FS.MkdirAll(p.Path(dir), 0o777); err != nil {
			return p.fail(broken, "cannot create extraction directory: %s", dir)
		}
	}
	status, found := 0, 0
	for _, f := range archive.File {
		if len(names) > 1 && !zipWanted(f.Name, names[1:]) {
			continue
		}
		found++
		if err := p.unzipFile(o, f, dir); err != nil {
			status = p.fail(broken, "%s: %s", f.Name, errText(err))
		}
	}
	if len(names) > 1 && found == 0 {
		out := p.Stderr
		if o.on("t") {
			out = p.Stdout
		}
		fprintf(out, "caution: filename not matched:  %s\n", names[1])
		status = 11 // no matching files
	}
	if o.on("t") {
		p.print(tested(file, status, len(names) > 1, found))
	}
	return status
}

// tested returns what unzip -t says of an archive at the end.
func tested(file string, status int, chosen bool, found int) string {
	switch {
	case status != 0:
		return "At least one error was detected in " + file + ".\n"
	case !chosen:
		return "No errors detected in compressed data of " + file + ".\n"
	case found == 1:
		return "No errors detected in " + file + " for the 1 file tested.\n"
	}
	return fmt.Sprintf("No errors detected in %s for the %d files tested.\n", file, found)
}

func zipWanted(name string, patterns []string) bool {
	for _, pattern := range patterns {
		if re, err := compile(globExpression(pattern), true, false, false); err == nil && re.MatchString(name) {
			return true
		}
	}
	return false
}

func (p *Process) listZip(archive *zip.Reader, patterns []string) {
	p.print("  Length      Date    Time    Name\n---------  ---------- -----   ----\n")
	total, n := uint64(0), 0
	for _, f := range archive.File {
		if len(patterns) > 0 && !zipWanted(f.Name, patterns) {
			continue
		}
		fprintf(p.Stdout, "%9d  %s   %s\n", f.UncompressedSize64, p.local(f.Modified, false).Format("2006-01-02 15:04"), f.Name)
		total += f.UncompressedSize64
		n++
	}
	files := "files"
	if n == 1 {
		files = "file"
	}
	fprintf(p.Stdout, "---------                     -------\n%9d                     %d %s\n", total, n, files)
}

// unzipFile extracts, prints or tests a member. It writes nothing outside dir.
func (p *Process) unzipFile(o opts, f *zip.File, dir string) error {
	clean := strings.TrimPrefix(path.Clean("/"+f.Name), "/")
	if o.on("j") {
		clean = path.Base(clean)
	}
	name := path.Join(dir, clean)
	say := func(what string) {
		if !o.on("q") && !o.on("p") {
			fprintf(p.Stdout, "%s%-22s  \n", what, name)
		}
	}
	if f.FileInfo().IsDir() && !o.on("t") {
		if o.on("p") || o.on("j") {
			return nil
		}
		if _, err := p.FS.Stat(p.Path(name)); err != nil && !o.on("q") {
			p.print("   creating: ", name, "/\n")
		}
		return p.FS.MkdirAll(p.Path(name), 0o777)
	}
	opened, err := f.Open()
	if err != nil {
		return err
	}
	defer shut(opened)
	content := &workingReader{p, opened} // which may be a thousand times as long as the archive
	switch {
	case o.on("p"):
		_, err = io.Copy(p.Stdout, content)
		return err
	case o.on("t"):
		if _, err = io.Copy(io.Discard, content); err == nil && !o.on("q") {
			fprintf(p.Stdout, "    testing: %-22s   OK\n", f.Name)
		}
		return err
	}
	full := p.Path(name)
	if err := p.FS.MkdirAll(path.Dir(full), 0o777); err != nil {
		return err
	}
	if _, err := p.FS.Lstat(full); err == nil {
		if !o.on("o") && o.on("n") {
			return nil
		}
		if !o.on("o") {
			return errors.New("replace? it exists: use -o or -n")
		}
		if err := p.FS.Remove(full); err != nil {
			return err
		}
	}
	data, err := p.readAll(content)
	if err != nil {
		return err
	}
	if f.Mode()&fs.ModeSymlink != 0 {
		say("    linking: ")
		return p.FS.Symlink(string(data), full)
	}
	if f.Method == zip.Store {
		say(" extracting: ")
	} else {
		say("  inflating: ")
	}
	if err := p.FS.WriteFile(full, data, 0o600); err != nil {
		return err
	}
	if err := p.FS.Chmod(full, f.Mode().Perm()); err != nil {
		return err
	}
	return p.FS.Chtimes(full, time.Time{}, f.Modified)
}

// zipCommand creates an archive.
func zipCommand(_ context.Context, p *Process) int {
	o, names, bad := p.options("rqj9y", "recurse-paths=r", "quiet=q", "junk-paths=j", "symlinks=y")
	if bad != 0 {
		return bad
	}
	const missing, nothing, failed = 16, 12, 15
	if len(names) < 2 { //nolint:mnd // the archive and a file
		return p.fail(missing, "error: Nothing to do!")
	}
	file := names[0]
	if path.Ext(file) == "" {
		file += ".zip"
	}
	if _, err := p.FS.Stat(p.Path(file)); err == nil {
		return p.fail(missing, "updating %s is not supported by this machine", file)
	}
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	added := 0
	for _, name := range names[1:] {
		base := p.Path(name)
		err := p.walk(base, func(at string, info *memfs.Info) error {
			member := strings.TrimLeft(path.Clean(name)+strings.TrimPrefix(at, base), "/")
			if at != base && !o.on("r") || at == p.Path(file) || info.IsDir() && (o.on("j") || member == ".") {
				return nil
			}
			if o.on("j") {
				member = path.Base(member)
			}
			added++
			return p.zipFile(archive, o, strings.TrimPrefix(member, "./"), at, info)
		})
		if err != nil {
			fprintf(p.Stdout, "\tzip warning: name not matched: %s\n", name)
		}
	}
	if added == 0 {
		fprintf(p.Stdout, "\nzip error: Nothing to do! (%s)\n", file)
		return nothing
	}
	err := archive.Close()
	if err == nil {
		err = p.FS.WriteFile(p.Path(file), out.Bytes(), 0o666)
	}
	if err != nil {
		return p.fail(failed, "%s", errText(err))
	}
	return 0
}

func (p *Process) zipFile(archive *zip.Writer, o opts, member, file string, info *memfs.Info) error {
	h, err := zip.FileInfoHeader(info)
	if err != nil {
		return err
	}
	h.Name, h.Method = member, zip.Deflate
	if info.IsDir() {
		h.Name, h.Method = member+"/", zip.Store
		_, err := archive.CreateHeader(h)
		if !o.on("q") {
			p.print("  adding: ", h.Name, " (stored 0%)\n")
		}
		return err
	}
	data, err := p.FS.ReadFile(file)
	if target, linkErr := p.FS.Readlink(file); linkErr == nil && o.on("y") {
		data, err = []byte(target), nil
	}
	if err != nil {
		return err
	}
	if !p.hold(int64(len(data))) {
		return errMemory
	}
	const worth = 32 // bytes that deflating may save
	if len(data) < worth {
		h.Method = zip.Store
	}
	w, err := archive.CreateHeader(h)
	if err == nil {
		_, err = w.Write(data)
	}
	if !o.on("q") {
		p.print("  adding: ", h.Name, map[bool]string{true: " (stored 0%)", false: " (deflated)"}[h.Method == zip.Store], "\n")
	}
	return err
}
