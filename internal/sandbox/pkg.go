package sandbox

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// A Package describes a package that the simulated package managers can install.
type Package struct {
	// Version is the version, with the release: "1.24.0-2". Empty means "1.0-1".
	Version string

	// Files are the contents of the package's files by absolute path. Those below a
	// directory named bin, sbin or libexec are executable.
	Files map[string]string

	// Requires are packages that are installed with it.
	Requires []string

	// Absent means that no repository has the package.
	Absent bool
}

// packageKind is a format of package databases.
type packageKind struct {
	db                  string // the database
	lists               string // the directory of the lists of files
	name, version, arch string // the keys in the database
	space               string // after the colon of a key
}

// packaging returns the kind of the distribution's packages.
func (f Facts) packaging() packageKind {
	switch f.family() {
	case familyDebian:
		return packageKind{"/var/lib/dpkg/status", "/var/lib/dpkg/info", "Package", "Version", "Architecture", " "}
	case familyAlpine:
		return packageKind{"/lib/apk/db/installed", "/lib/apk/db/lists", "P", "V", "A", ""}
	}
	return packageKind{"/var/lib/rpm/packages", "/var/lib/rpm/lists", "P", "V", "A", ""}
}

// installed is an installed package.
type installed struct {
	name, version, arch string
	held                bool
}

// packages is the database of installed packages of a disk.
type packages struct {
	h    *Host
	disk *memfs.FS
	kind packageKind
}

func (h *Host) packages() packages {
	return packages{h, asRoot(h.FS()), h.o.Facts.packaging()}
}

// packages returns the database of the file system that p sees.
func (p *Process) packages() packages {
	return packages{p.Host, asRoot(p.FS), p.Host.o.Facts.packaging()}
}

// all returns the installed packages by name.
func (db packages) all() []installed {
	data, _ := db.disk.ReadFile(db.kind.db) // a missing file has no packages
	var all []installed
	var one installed
	removed := false
	add := func() {
		if one.name != "" && !removed {
			all = append(all, one)
		}
		one, removed = installed{}, false
	}
	for line := range strings.Lines(string(data)) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		switch value = strings.TrimSpace(value); {
		case !ok:
			add()
		case key == db.kind.name:
			one.name = value
		case key == db.kind.version:
			one.version = value
		case key == db.kind.arch:
			one.arch = value
		case key == "Status":
			one.held, removed = strings.HasPrefix(value, "hold "), !strings.HasSuffix(value, " installed")
		}
	}
	add()
	slices.SortFunc(all, func(a, b installed) int { return strings.Compare(a.name, b.name) })
	return all
}

func (db packages) get(name string) (installed, bool) {
	name, _, _ = strings.Cut(name, ":") // an architecture
	return first(db.all(), func(i installed) bool { return i.name == name })
}

// match returns the packages whose names match a pattern.
func (db packages) match(pattern string) []installed {
	pattern, _, _ = strings.Cut(pattern, ":")
	return slices.DeleteFunc(db.all(), func(i installed) bool {
		ok, err := path.Match(pattern, i.name)
		return err != nil || !ok
	})
}

func (db packages) write(all []installed) error {
	var b strings.Builder
	k := db.kind
	for _, i := range all {
		b.WriteString(k.name + ":" + k.space + i.name + "\n")
		if k.space != "" {
			want := "install"
			if i.held {
				want = "hold"
			}
			b.WriteString("Status: " + want + " ok installed\nMaintainer: test machine\n")
		}
		b.WriteString(k.arch + ":" + k.space + i.arch + "\n" + k.version + ":" + k.space + i.version + "\n\n")
	}
	if err := db.disk.MkdirAll(path.Dir(k.db), 0o755); err != nil {
		return err
	}
	return db.disk.WriteFile(k.db, []byte(b.String()), 0o644)
}

// put adds or replaces an entry.
func (db packages) put(one installed) error {
	all := slices.DeleteFunc(db.all(), func(i installed) bool { return i.name == one.name })
	all = append(all, one)
	slices.SortFunc(all, func(a, b installed) int { return strings.Compare(a.name, b.name) })
	return db.write(all)
}

// files returns the files of a package.
func (db packages) files(name string) []string {
	data, _ := db.disk.ReadFile(db.kind.lists + "/" + name + ".list") // none if missing
	return strings.Fields(string(data))
}

// available returns the package that the repositories have.
func (db packages) available(name string) (Package, bool) {
	pkg, known := db.h.o.Packages[name]
	if pkg.Version == "" {
		pkg.Version = "1.0-1"
		if db.h.o.Facts.family() == familyAlpine {
			pkg.Version = "1.0-r0"
		}
	}
	return pkg, !known || !pkg.Absent
}

// resolve returns the version to install for a wanted one, which may be a pattern
// or lack the release. It reports false if no repository has it.
func (db packages) resolve(name, want string) (string, bool) {
	pkg, ok := db.available(name)
	if !ok || want == "" {
		return pkg.Version, ok
	}
	_, known := db.h.o.Packages[name]
	matches, err := path.Match(want, pkg.Version)
	if err == nil && (matches || strings.HasPrefix(pkg.Version, want+"-")) {
		return pkg.Version, true
	}
	if known && db.h.o.Packages[name].Version != "" {
		return "", false
	}
	return strings.Trim(strings.NewReplacer("*", "", "?", "0").Replace(want), ".-"), true
}

// install installs a package with those it requires, and returns what changed.
func (db packages) install(ctx context.Context, name, version string) ([]installed, error) {
	pkg, _ := db.available(name)
	var changed []installed
	for _, other := range pkg.Requires {
		if _, ok := db.get(other); ok {
			continue
		}
		v, _ := db.resolve(other, "")
		more, err := db.install(ctx, other, v)
		if err != nil {
			return changed, err
		}
		changed = append(changed, more...)
	}
	one := installed{name: name, version: version, arch: db.architecture()}
	if before, ok := db.get(name); ok && before.version == version {
		return changed, nil
	}
	var list strings.Builder
	for file, text := range pkg.Files {
		mode := fs.FileMode(0o644)
		if dir := path.Base(path.Dir(file)); dir == "bin" || dir == "sbin" || dir == "libexec" {
			mode = 0o755
		}
		if err := db.disk.MkdirAll(path.Dir(file), 0o755); err != nil {
			return changed, err
		}
		if err := db.disk.WriteFile(file, []byte(text), mode); err != nil {
			return changed, err
		}
		if err := db.disk.Chmod(file, mode); err != nil {
			return changed, err
		}
		list.WriteString(file + "\n")
	}
	if err := db.disk.MkdirAll(db.kind.lists, 0o755); err != nil {
		return changed, err
	}
	if err := db.disk.WriteFile(db.kind.lists+"/"+name+".list", []byte(list.String()), 0o644); err != nil {
		return changed, err
	}
	if err := db.put(one); err != nil {
		return changed, err
	}
	changed = append(changed, one)
	if db.disk.Chrooted() {
		return changed, nil // nothing runs there
	}
	return changed, db.h.setUp(ctx, name)
}

func (db packages) architecture() string {
	if db.h.o.Facts.family() == familyDebian {
		return db.h.o.Facts.debianArch()
	}
	return db.h.o.Facts.Arch
}

// remove removes a package and its files.
func (db packages) remove(ctx context.Context, name string) error {
	if !db.disk.Chrooted() {
		db.h.tearDown(ctx, name)
	}
	for _, file := range db.files(name) {
		if err := db.disk.RemoveAll(file); err != nil {
			return err
		}
	}
	if err := db.disk.RemoveAll(db.kind.lists + "/" + name + ".list"); err != nil {
		return err
	}
	return db.write(slices.DeleteFunc(db.all(), func(i installed) bool { return i.name == name }))
}

// upgrade installs newer versions of packages, and returns those that changed.
func (db packages) upgrade(ctx context.Context, names []string) ([]installed, error) {
	var changed []installed
	for _, i := range db.all() {
		pkg, known := db.h.o.Packages[i.name]
		if !known || pkg.Absent || i.held || pkg.Version == "" || pkg.Version == i.version || len(names) > 0 && !slices.Contains(names, i.name) {
			continue
		}
		more, err := db.install(ctx, i.name, pkg.Version)
		if err != nil {
			return changed, err
		}
		changed = append(changed, more...)
	}
	return changed, nil
}

// fileOf returns the name and version of a package file by its file name.
func fileOf(file string) (name, version string) {
	base := path.Base(file)
	for _, suffix := range []string{".deb", ".rpm", ".apk"} {
		base = strings.TrimSuffix(base, suffix)
	}
	if name, rest, ok := strings.Cut(base, "_"); ok {
		version, _, _ = strings.Cut(rest, "_")
		return name, version
	}
	for _, arch := range []string{".noarch", ".x86_64", ".aarch64"} {
		base = strings.TrimSuffix(base, arch)
	}
	for i := range len(base) - 1 {
		if base[i] == '-' && base[i+1] >= '0' && base[i+1] <= '9' {
			return base[:i], base[i+1:]
		}
	}
	return base, ""
}

// isPackageFile reports whether an operand names a file or address instead of a
// package.
func isPackageFile(spec string) bool {
	return strings.HasPrefix(spec, "/") || strings.HasPrefix(spec, ".") || strings.Contains(spec, "://")
}
