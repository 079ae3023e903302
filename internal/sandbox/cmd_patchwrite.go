package sandbox

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// patchWrite is a change of a file.
type patchWrite struct {
	name   string
	data   string
	mode   fs.FileMode
	from   *memfs.Info // the file that it replaces or removes, or nil
	backup bool

	unchanged bool // only the backup is made
}

// save writes the result of a patch.
func (c *patcher) save(run *patchRun, result *patchResult, out string) error {
	if err := run.copyTo(max(run.frozen, len(run.lines))); err != nil {
		return err
	}
	if c.output != "" {
		c.outputText.WriteString(run.out.String())
		return c.hold(2 * run.out.Len()) //nolint:mnd // the text grows by doubling
	}
	removed := c.head.missing[c.side(true)] == 2
	empty := run.out.Len() == 0
	if removed && !empty {
		c.sayIf(!c.silent, "Not deleting file %s as content differs from patch\n", patchQuote(out))
		c.status = 1
	}
	if c.dry {
		c.sayIf(empty && (removed || c.o.on("E")) && c.verbose(), "Removing file %s\n", patchQuote(out))
		return nil
	}
	w := patchWrite{name: out, data: run.out.String(), mode: 0o666 &^ c.p.Umask, from: c.info, backup: c.backup(result)}
	if empty && (removed || c.o.on("E")) {
		c.removals = append(c.removals, w)
		return nil
	}
	if c.info != nil {
		w.mode = c.info.Mode().Perm()
	}
	before, after := c.head.modes[c.side(false)], c.head.modes[c.side(true)]
	newMode := after != 0 && after != before
	if newMode {
		w.mode = fs.FileMode(after) & fs.ModePerm //nolint:gosec // of 17 bits
		if c.info == nil {
			w.mode &^= c.p.Umask
		}
	}
	moved, copied := c.head.moved && out != c.in, c.head.copied
	if result.failed == result.count && !newMode && !moved && !copied {
		w.unchanged = true
	}
	if c.head.git && c.head.missing[c.side(false)] != 2 {
		c.queue = append(c.queue, w)
	} else if err := c.write(w); err != nil {
		return err
	}
	if moved {
		c.removals = append(c.removals, patchWrite{name: c.in, from: c.info, backup: w.backup})
	}
	return nil
}

// backup reports whether to keep the original of the current file.
func (c *patcher) backup(result *patchResult) bool {
	return c.o.on("b") || c.o.last("nm") != "n" && (result.mismatch || result.failed > 0)
}

// flush does what git patches wait for.
func (c *patcher) flush() error {
	for _, w := range c.queue {
		if err := c.write(w); err != nil {
			return err
		}
	}
	c.queue = nil
	return nil
}

// write replaces a file by a new one.
func (c *patcher) write(w patchWrite) error {
	if w.backup {
		if err := c.keep(w.name, !w.unchanged); err != nil {
			return err
		}
	}
	if w.unchanged {
		return nil
	}
	return c.create(w)
}

// mayCreate checks that files can be created beside the result, before the messages
// about it.
func (c *patcher) mayCreate(name string) error {
	dir := path.Dir(c.p.Path(name))
	if _, err := c.p.FS.Stat(dir); err != nil {
		return nil //nolint:nilerr // it is made later
	}
	if err := c.p.FS.Access(dir, memfs.Write); err != nil {
		return createError(name+tempSuffix(), err)
	}
	return nil
}

func tempSuffix() string { return ".o" + rand.Text()[:6] }

func createError(name string, err error) error {
	if !strings.Contains(name, "/") {
		name = "./" + name
	}
	return fmt.Errorf("Can't create temporary file %s : %s", patchQuote(name), errText(err)) //nolint:staticcheck // as the real one
}

func (c *patcher) create(w patchWrite) error {
	full := c.p.Path(w.name)
	suffix := tempSuffix()
	temp := full + suffix
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := c.p.FS.OpenFile(temp, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) && c.p.FS.MkdirAll(path.Dir(full), 0o777) == nil {
		f, err = c.p.FS.OpenFile(temp, flags, 0o600)
	}
	if err != nil {
		return createError(w.name+suffix, err)
	}
	_, err = f.WriteString(w.data)
	if err == nil {
		if w.from != nil {
			_ = f.Chown(w.from.UID(), w.from.GID()) // fails unless root or owner
		}
		err = f.Chmod(w.mode)
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = c.p.FS.Rename(temp, full)
	}
	if err != nil {
		_ = c.p.FS.Remove(temp)
		return fmt.Errorf("write error : %s", errText(err))
	}
	c.made[full] = true
	c.removals = slices.DeleteFunc(c.removals, func(r patchWrite) bool { return c.p.Path(r.name) == full })
	return nil
}

// keep makes the backup of a file unless it was written by this run, by renaming it if
// it is to be replaced. A file that does not exist has an empty one.
func (c *patcher) keep(name string, replaced bool) error {
	full := c.p.Path(name)
	if c.made[full] && replaced {
		return nil
	}
	suffix := c.p.Env["SIMPLE_BACKUP_SUFFIX"]
	if text, ok := c.o.value("z"); ok {
		suffix = text
	}
	if suffix == "" {
		suffix = ".orig"
	}
	info, err := c.p.FS.Lstat(full)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := c.create(patchWrite{name: name + suffix, mode: 0o666 &^ c.p.Umask}); err != nil || replaced {
			return err
		}
		return fmt.Errorf("Can't reopen file %s : %s", patchQuote(name), errText(fs.ErrNotExist)) //nolint:staticcheck // as the real one
	case err == nil && replaced:
		err = c.p.FS.Rename(full, full+suffix)
	case err == nil:
		var data []byte
		if data, err = c.p.FS.ReadFile(full); err == nil {
			return c.create(patchWrite{name: name + suffix, data: string(data), mode: info.Mode().Perm(), from: info})
		}
	}
	if err != nil {
		return fmt.Errorf("Can't rename file %s to %s : %s", patchQuote(name), patchQuote(name+suffix), errText(err)) //nolint:staticcheck // as the real one
	}
	return nil
}

// remove removes a file and the directories that become empty.
func (c *patcher) remove(w patchWrite) error {
	c.sayIf(c.verbose(), "Removing file %s\n", patchQuote(w.name))
	full := c.p.Path(w.name)
	if w.backup && !c.made[full] {
		if err := c.keep(w.name, true); err != nil {
			return err
		}
	} else if err := c.p.FS.Remove(full); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("Can't remove file %s : %s", patchQuote(w.name), errText(err)) //nolint:staticcheck // as the real one
	}
	for dir := path.Dir(w.name); c.removeEmpty(dir); dir = path.Dir(dir) {
		c.sayIf(c.verbose(), "Removed empty directory %s\n", patchQuote(dir))
	}
	return nil
}

// removeEmpty removes a directory that a name has, if it is empty.
func (c *patcher) removeEmpty(dir string) bool {
	if dir == "." || dir == "/" || path.Base(dir) == ".." {
		return false
	}
	info, err := c.p.FS.Lstat(c.p.Path(dir))
	return err == nil && info.IsDir() && c.p.FS.Remove(c.p.Path(dir)) == nil
}

// saveRejects says how many hunks were not applied, and writes them to a file.
func (c *patcher) saveRejects(result *patchResult, out string) error {
	if result.failed == 0 {
		return nil
	}
	c.status = 1
	what := map[bool]string{true: "ignored", false: "FAILED"}[c.skip]
	c.say("%d out of %d hunk%s %s", result.failed, result.count, map[bool]string{true: "", false: "s"}[result.count == 1], what)
	name, given := c.o.value("r")
	if !given {
		name = out + ".rej"
	}
	if out == "" || given && name == "-" || c.dry {
		c.say("\n")
		return nil
	}
	c.say(" -- saving rejects to file %s\n", patchQuote(name))
	text := result.rejects.String()
	if c.made[c.p.Path(name)] {
		before, err := c.p.FS.ReadFile(c.p.Path(name))
		if err != nil {
			return fmt.Errorf("Can't open file %s : %s", patchQuote(name), errText(err)) //nolint:staticcheck // as the real one
		}
		text = string(before) + text
	}
	if info, err := c.p.FS.Lstat(c.p.Path(name)); err == nil && info.IsDir() {
		return fmt.Errorf("Can't create file %s : %s", patchQuote(name), errText(syscall.EISDIR)) //nolint:staticcheck // as the real one
	}
	return c.create(patchWrite{name: name, data: text, mode: 0o666 &^ c.p.Umask})
}
