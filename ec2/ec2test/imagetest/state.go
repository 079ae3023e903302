package imagetest

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// The files in which sandbox machines keep packages and services.
const (
	dpkgStatus = "/var/lib/dpkg/status"
	rpmDB      = "/var/lib/rpm/packages"
	apkDB      = "/lib/apk/db/installed"
	unitDir    = "/etc/systemd/system"
)

// Packages returns the versions of the installed packages by name.
func (i *Image) Packages() map[string]string {
	i.env.t.Helper()
	all := map[string]string{}
	for _, db := range []string{dpkgStatus, rpmDB, apkDB} {
		if !i.Has(db) {
			continue
		}
		name, version := "", ""
		for line := range strings.Lines(i.ReadFile(db) + "\n\n") {
			key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			switch value = strings.TrimSpace(value); {
			case !ok && name != "":
				all[name] = version
				name, version = "", ""
			case key == "Package" || key == "P":
				name = value
			case key == "Version" || key == "V":
				version = value
			}
		}
	}
	return all
}

// Services returns the units that start at boot, "enabled", and those that cannot
// be started, "masked", by name with suffix: "nginx.service".
func (i *Image) Services() map[string]string {
	i.env.t.Helper()
	all := map[string]string{}
	for _, f := range i.Files() {
		switch dir := path.Dir(f.Path); {
		case f.Target == "/dev/null" && dir == unitDir:
			all[path.Base(f.Path)] = "masked"
		case path.Dir(dir) == unitDir && (strings.HasSuffix(dir, ".wants") || strings.HasSuffix(dir, ".requires")):
			if name := path.Base(f.Path); all[name] == "" {
				all[name] = "enabled"
			}
		}
	}
	return all
}

// Users returns the users of the image by name, each as its line in /etc/passwd
// without the name and the password: "1000:1000::/home/app:/bin/bash".
func (i *Image) Users() map[string]string {
	i.env.t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(i.ReadFile("/etc/passwd")) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		if _, rest, ok := strings.Cut(rest, ":"); ok {
			all[name] = rest
		}
	}
	return all
}

// changes returns lines for what differs between two maps.
func changes(before, after map[string]string) []string {
	all := maps.Clone(before)
	maps.Copy(all, after)
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		old, had := before[name]
		now, has := after[name]
		switch {
		case !had:
			lines = append(lines, "+ "+name+" "+now)
		case !has:
			lines = append(lines, "- "+name+" "+old)
		case old != now:
			lines = append(lines, "~ "+name+" "+old+" → "+now)
		}
	}
	return lines
}
