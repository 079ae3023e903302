package sandbox

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

const (
	unitDir       = "/etc/systemd/system"
	vendorUnitDir = "/usr/lib/systemd/system"
)

// unit is a unit of systemd.
type unit struct {
	name     string
	file     string // empty for a unit without a file
	template string // the template's name, if it is an instance
	vendor   bool   // of a simulated package
	masked   bool
	settings map[string][]string // by section and key: "Service.ExecStart"
}

var errNoUnit = errors.New("unit not found")

// unit returns the unit with a name. A service of an installed package exists even
// if the package has no file for it.
func (h *Host) unit(name string) (*unit, error) {
	full, ok := posixsh.UnitName(name)
	if !ok {
		return nil, errNoUnit
	}
	disk := asRoot(h.FS())
	u := &unit{name: full}
	if prefix, _, ok := strings.Cut(full, "@"); ok {
		u.template = prefix + "@" + path.Ext(full)
	}
	for _, dir := range []string{unitDir, "/run/systemd/system", vendorUnitDir} {
		for _, candidate := range []string{full, u.template} {
			if candidate == "" {
				continue
			}
			file := dir + "/" + candidate
			if _, err := disk.Lstat(file); err != nil {
				continue
			}
			if target, err := disk.Readlink(file); err == nil {
				if target == "/dev/null" {
					u.file, u.masked = file, true
					return u, nil
				}
				if base := path.Base(target); base != candidate && base != u.template { // an alias
					return h.unit(base)
				}
			}
			u.file, u.vendor = file, dir == vendorUnitDir
			return u, u.read(disk)
		}
	}
	if h.hasService(strings.TrimSuffix(full, ".service")) {
		u.vendor = true
		u.file = vendorUnitDir + "/" + full
		text := "[Unit]\nDescription=" + strings.TrimSuffix(full, ".service") + "\n\n[Service]\nExecStart=/usr/sbin/" + strings.TrimSuffix(full, ".service") + "\n\n[Install]\nWantedBy=multi-user.target\n"
		if err := errors.Join(disk.MkdirAll(vendorUnitDir, 0o755), disk.WriteFile(u.file, []byte(text), 0o644)); err != nil {
			return nil, err
		}
		return u, u.read(disk)
	}
	return nil, errNoUnit
}

// hasService reports whether an installed package has a service: one of the known
// services, or one with the package's name.
func (h *Host) hasService(name string) bool {
	return slices.ContainsFunc(h.packages().all(), func(i installed) bool {
		known, ok := knownPackageOf(i.name)
		return ok && known.unit == name || i.name == name
	})
}

// read reads the unit's file and the files that extend it.
func (u *unit) read(disk *memfs.FS) error {
	u.settings = map[string][]string{}
	files := []string{u.file}
	for _, dir := range []string{unitDir, "/run/systemd/system", vendorUnitDir} {
		entries, _ := disk.ReadDir(dir + "/" + u.name + ".d") // optional
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".conf") {
				files = append(files, dir+"/"+u.name+".d/"+e.Name())
			}
		}
	}
	for _, file := range files {
		data, err := disk.ReadFile(file)
		if err != nil {
			return err
		}
		u.parse(string(data))
	}
	return nil
}

// parse adds the settings of a unit file. An empty value resets a list.
func (u *unit) parse(text string) {
	section := ""
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch key, value, ok := strings.Cut(line, "="); {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[' && line[len(line)-1] == ']':
			section = line[1 : len(line)-1]
		case ok && strings.TrimSpace(value) == "":
			delete(u.settings, section+"."+strings.TrimSpace(key))
		case ok:
			key = section + "." + strings.TrimSpace(key)
			u.settings[key] = append(u.settings[key], u.expand(strings.TrimSpace(value)))
		}
	}
}

// expand replaces the specifiers of a value.
func (u *unit) expand(value string) string {
	if !strings.Contains(value, "%") {
		return value
	}
	bare := strings.TrimSuffix(u.name, path.Ext(u.name))
	prefix, instance, _ := strings.Cut(bare, "@")
	return strings.NewReplacer("%i", instance, "%I", instance, "%n", u.name, "%N", bare, "%p", prefix, "%t", "/run", "%S", "/var/lib", "%L", "/var/log", "%C", "/var/cache", "%E", "/etc", "%h", "/root", "%%", "%").Replace(value)
}

// get returns the last value of a setting.
func (u *unit) get(key string) string {
	if all := u.settings[key]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// words returns the words of all values of a setting.
func (u *unit) words(key string) []string { return strings.Fields(strings.Join(u.settings[key], " ")) }

func (u *unit) on(key string) bool {
	switch strings.ToLower(u.get(key)) {
	case "yes", "true", "on", "1":
		return true
	}
	return false
}

// links returns the links that enable the unit, and their target.
func (u *unit) links() (links []string, target string) {
	target = u.file
	for setting, suffix := range map[string]string{"WantedBy": ".wants/", "RequiredBy": ".requires/"} {
		for _, by := range u.words("Install." + setting) {
			links = append(links, unitDir+"/"+by+suffix+u.name)
		}
	}
	for _, alias := range u.words("Install.Alias") {
		links = append(links, unitDir+"/"+alias)
	}
	slices.Sort(links)
	return links, target
}

// enablement returns what systemctl is-enabled says.
func (h *Host) enablement(u *unit) string {
	if u.masked {
		return "masked"
	}
	links, _ := u.links()
	disk := asRoot(h.FS())
	for _, link := range links {
		if _, err := disk.Lstat(link); err == nil {
			return "enabled"
		}
	}
	switch {
	case len(links) > 0 || len(u.words("Install.Also")) > 0:
		return "disabled"
	case u.file == unitDir+"/"+u.name && isLink(disk, u.file):
		return "linked"
	}
	return "static"
}

func isLink(disk *memfs.FS, name string) bool {
	_, err := disk.Readlink(name)
	return err == nil
}

// enable makes the links of a unit and returns the new ones.
func (h *Host) enable(u *unit) error {
	links, target := u.links()
	disk := asRoot(h.FS())
	for _, link := range links {
		if _, err := disk.Lstat(link); err == nil {
			continue
		}
		if err := errors.Join(disk.MkdirAll(path.Dir(link), 0o755), disk.Symlink(target, link)); err != nil {
			return err
		}
	}
	return nil
}

// disable removes the links of a unit.
func (h *Host) disable(u *unit) error {
	links, _ := u.links()
	disk := asRoot(h.FS())
	for _, link := range links {
		if err := disk.RemoveAll(link); err != nil {
			return err
		}
	}
	return nil
}

// mask links a unit to /dev/null.
func (h *Host) mask(name string) error {
	full, ok := posixsh.UnitName(name)
	if !ok {
		return errNoUnit
	}
	disk, file := asRoot(h.FS()), unitDir+"/"+full
	if target, err := disk.Readlink(file); err == nil && target == "/dev/null" {
		return nil
	}
	if _, err := disk.Lstat(file); err == nil {
		return errors.New("File '" + file + "' already exists.")
	}
	return errors.Join(disk.MkdirAll(unitDir, 0o755), disk.Symlink("/dev/null", file))
}

// enabledUnits returns the names of the units that start at boot.
func (h *Host) enabledUnits() []string {
	disk := asRoot(h.FS())
	entries, _ := disk.ReadDir(unitDir) // it may have been removed
	var names []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".target.wants") && !strings.HasSuffix(e.Name(), ".target.requires") {
			continue
		}
		units, _ := disk.ReadDir(unitDir + "/" + e.Name())
		for _, u := range units {
			names = append(names, u.Name())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// unitFiles returns the names of all units with files.
func (h *Host) unitFiles() []string {
	disk := asRoot(h.FS())
	var names []string
	for _, dir := range []string{unitDir, "/run/systemd/system", vendorUnitDir} {
		entries, _ := disk.ReadDir(dir)
		for _, e := range entries {
			if full, ok := posixsh.UnitName(e.Name()); ok && full == e.Name() {
				names = append(names, full)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
