package sandbox

import (
	"context"
	"slices"
	"strings"
)

// localeFile returns the file that names the machine's locale.
func (p *Process) localeFile() string {
	if p.Host.o.Facts.dash() {
		return "/etc/default/locale"
	}
	return "/etc/locale.conf"
}

// localeArchive lists the locales that were generated, in place of the real archive.
const localeArchive = "/usr/lib/locale/locale-archive"

func (p *Process) locales() []string {
	data, _ := p.FS.ReadFile(localeArchive) // none if it is missing
	all := append(strings.Fields(string(data)), "C", "C.utf8", "POSIX")
	slices.Sort(all)
	return slices.Compact(all)
}

// locale implements locale, with -a and charmap.
func locale(_ context.Context, p *Process) int {
	o, names, bad := p.options("akm", "all-locales=a", "charmaps=m", "keyword-name=k")
	switch {
	case bad != 0:
		return bad
	case o.on("a"):
		p.print(strings.Join(p.locales(), "\n"), "\n")
		return 0
	case o.on("m"):
		p.print("ANSI_X3.4-1968\nUTF-8\n")
		return 0
	}
	value := func(name string) string {
		for _, v := range []string{"LC_ALL", name, "LANG"} {
			if p.Env[v] != "" {
				return p.Env[v]
			}
		}
		return "POSIX"
	}
	if len(names) > 0 {
		if names[0] != "charmap" {
			return p.fail(1, "unknown name %s", quote(names[0]))
		}
		charmap := "ANSI_X3.4-1968"
		if l := strings.ToLower(value("LC_CTYPE")); strings.Contains(l, "utf-8") || strings.Contains(l, "utf8") {
			charmap = "UTF-8"
		}
		p.print(charmap, "\n")
		return 0
	}
	p.print("LANG=", p.Env["LANG"], "\n")
	if p.Host.o.Facts.dash() {
		p.print("LANGUAGE=", p.Env["LANGUAGE"], "\n")
	}
	for name := range strings.FieldsSeq("LC_CTYPE LC_NUMERIC LC_TIME LC_COLLATE LC_MONETARY LC_MESSAGES LC_PAPER LC_NAME LC_ADDRESS LC_TELEPHONE LC_MEASUREMENT LC_IDENTIFICATION") {
		if p.Env[name] != "" && p.Env["LC_ALL"] == "" {
			p.print(name, "=", p.Env[name], "\n")
		} else {
			p.print(name, `="`, value(name), "\"\n")
		}
	}
	p.print("LC_ALL=", p.Env["LC_ALL"], "\n")
	return 0
}

// localeGen generates the given locales, or those of /etc/locale.gen.
func localeGen(_ context.Context, p *Process) int {
	_, names, bad := p.options("", "purge=p", "no-purge=n", "lang=l:", "no-archive=a", "keep-existing=k")
	switch {
	case bad != 0:
		return bad
	case p.UID != 0:
		return p.fail(1, "permission denied")
	case len(names) == 0:
		data, _ := p.FS.ReadFile("/etc/locale.gen") // none if it is missing
		for line := range strings.Lines(string(data)) {
			if name, _, ok := strings.Cut(line, " "); ok && !strings.HasPrefix(name, "#") {
				names = append(names, name)
			}
		}
	}
	data, _ := p.FS.ReadFile(localeArchive)
	all := strings.Fields(string(data))
	p.print("Generating locales (this might take a while)...\n")
	for _, name := range names {
		p.print("  ", name, "... done\n")
		all = append(all, strings.NewReplacer("UTF-8", "utf8", "utf-8", "utf8").Replace(name))
	}
	p.print("Generation complete.\n")
	slices.Sort(all)
	if err := p.put(localeArchive, strings.Join(slices.Compact(all), "\n")+"\n"); err != nil {
		return p.fail(1, "%s: %s", localeArchive, errText(err))
	}
	return 0
}

func (p *Process) put(name, text string) error {
	if err := p.FS.MkdirAll(name[:strings.LastIndexByte(name, '/')], 0o755); err != nil {
		return err
	}
	return p.FS.WriteFile(name, []byte(text), 0o644)
}

// setLocale changes the variables of the machine's locale. A name without a value
// is removed.
func (p *Process) setLocale(assignments []string) int {
	if p.UID != 0 {
		return p.fail(1, "access denied")
	}
	data, _ := p.FS.ReadFile(p.localeFile()) // empty if it is missing
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	for _, a := range assignments {
		name, value, set := strings.Cut(a, "=")
		if !strings.HasPrefix(name, "LC_") && name != "LANG" && name != "LANGUAGE" {
			return p.fail(1, "invalid locale setting %s", quote(a))
		}
		lines = slices.DeleteFunc(lines, func(line string) bool { return line == "" || strings.HasPrefix(line, name+"=") })
		if set && value != "" {
			lines = append(lines, name+"="+strings.Trim(value, `"`))
		}
	}
	if err := p.put(p.localeFile(), strings.Join(lines, "\n")+"\n"); err != nil {
		return p.fail(1, "%s: %s", p.localeFile(), errText(err))
	}
	return 0
}

func updateLocale(_ context.Context, p *Process) int {
	_, assignments, bad := p.options("", "reset=r", "no-checks=n")
	if bad != 0 {
		return bad
	}
	return p.setLocale(assignments)
}

// localectl implements status, set-locale and list-locales; keymaps are ignored, as
// a server has no keyboard.
func localectl(_ context.Context, p *Process) int {
	args := slices.DeleteFunc(p.Args[1:], func(s string) bool { return strings.HasPrefix(s, "--") })
	switch {
	case len(args) == 0 || args[0] == "status":
		data, _ := p.FS.ReadFile(p.localeFile()) // empty if it is missing
		p.print("System Locale: ", strings.ReplaceAll(strings.TrimSpace(string(data)), "\n", "\n               "), "\n    VC Keymap: (unset)\n   X11 Layout: (unset)\n")
	case args[0] == "list-locales":
		p.print(strings.Join(slices.DeleteFunc(p.locales(), func(s string) bool { return s == "C" || s == "POSIX" }), "\n"), "\n")
	case args[0] == "set-locale" && len(args) > 1:
		assignments := args[1:]
		if !strings.Contains(assignments[0], "=") {
			assignments[0] = "LANG=" + assignments[0]
		}
		return p.setLocale(assignments)
	case args[0] == "set-keymap" || args[0] == "set-x11-keymap":
	default:
		return p.fail(1, "command %s is not supported by this machine", quote(args[0]))
	}
	return 0
}
