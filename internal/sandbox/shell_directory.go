package sandbox

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// cd implements cd with -L and -P.
func (r *runner) cd(args []string) {
	physical := false
	args = args[1:]
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		if args[0] == "--" {
			args = args[1:]
			break
		}
		physical = args[0] == "-P"
		args = args[1:]
	}
	shown := false
	target := ""
	switch {
	case len(args) > 1 && !r.dash:
		r.fail(1, "cd: too many arguments")
		return
	case len(args) == 0:
		var ok bool
		if target, ok = r.lookup("HOME").scalar(); !ok {
			r.fail(1, "cd: HOME not set")
			return
		}
		if target == "" {
			return
		}
	case args[0] == "-":
		var ok bool
		if target, ok = r.lookup("OLDPWD").scalar(); !ok {
			r.fail(1, "cd: OLDPWD not set")
			return
		}
		shown = true
	default:
		target = args[0]
	}
	dir := ""
	if cdpath := r.get("CDPATH"); cdpath != "" && !strings.HasPrefix(target, "/") && !strings.HasPrefix(target, ".") {
		for prefix := range strings.SplitSeq(cdpath, ":") {
			full := path.Clean(absPath(r.p.Dir, path.Join(prefix, target)))
			if info, err := r.p.FS.Stat(full); err == nil && info.IsDir() {
				dir, shown = full, prefix != ""
				break
			}
		}
	}
	if dir == "" {
		dir = path.Clean(absPath(r.p.Dir, target))
	}
	if target == "" {
		return
	}
	if !r.changeDir(dir, target, physical, "cd") {
		return
	}
	if shown {
		r.print(r.get("PWD"), "\n")
	}
}

func (r *runner) changeDir(dir, shown string, physical bool, by string) bool {
	info, err := r.p.FS.Stat(dir)
	if err == nil && physical {
		dir, err = r.p.FS.EvalSymlinks(dir)
	}
	if err == nil && info.IsDir() {
		err = r.p.FS.Access(dir, 1)
	}
	switch {
	case err != nil && r.dash:
		r.fail(2, "%s: can't cd to %s", by, shown)
		return false
	case err != nil:
		r.fail(1, "%s: %s: %s", by, shown, errText(err))
		return false
	case !info.IsDir():
		r.fail(map[bool]int{true: 2, false: 1}[r.dash], "%s: %s: Not a directory", by, shown)
		return false
	}
	r.assign("OLDPWD", r.p.Dir)
	r.p.Dir = dir
	r.assign("PWD", dir)
	return true
}

func (r *runner) sameDir(name string) bool {
	a, errA := r.p.FS.Stat(name)
	b, errB := r.p.FS.Stat(r.p.Dir)
	return path.IsAbs(name) && errA == nil && errB == nil && a.Ino() == b.Ino()
}

func (r *runner) pwd(args []string) {
	dir := r.p.Dir
	if slices.Contains(args[1:], "-P") {
		if real, err := r.p.FS.EvalSymlinks(dir); err == nil {
			dir = real
		}
	}
	r.print(dir, "\n")
}

// directoryStack implements pushd, popd and dirs.
func (r *runner) directoryStack(args []string) {
	name := args[0]
	args = slices.DeleteFunc(args[1:], func(s string) bool { return s == "-n" })
	switch {
	case name == "dirs" && len(args) > 0 && args[0] == "-c":
		r.dirs = nil
		return
	case name == "dirs" && len(args) > 0 && args[0] == "-p":
		r.print(strings.Join(append([]string{r.p.Dir}, r.dirs...), "\n"), "\n")
		return
	case name == "pushd" && len(args) == 0:
		if len(r.dirs) == 0 {
			r.fail(1, "pushd: no other directory")
			return
		}
		old := r.p.Dir
		if !r.changeDir(r.dirs[0], r.dirs[0], false, name) {
			return
		}
		r.dirs = append([]string{old}, r.dirs[1:]...)
	case name == "pushd":
		old := r.p.Dir
		if !r.changeDir(path.Clean(r.p.Path(args[0])), args[0], false, name) {
			return
		}
		r.dirs = append([]string{old}, r.dirs...)
	case name == "popd":
		if len(r.dirs) == 0 {
			r.fail(1, "popd: directory stack empty")
			return
		}
		if !r.changeDir(r.dirs[0], r.dirs[0], false, name) {
			return
		}
		r.dirs = r.dirs[1:]
	}
	all := append([]string{r.p.Dir}, r.dirs...)
	home := r.get("HOME")
	for i, dir := range all {
		if home != "" && home != "/" && (dir == home || strings.HasPrefix(dir, home+"/")) {
			all[i] = "~" + dir[len(home):]
		}
	}
	r.print(strings.Join(all, " "), "\n")
}

// umask implements the umask builtin.
func (r *runner) umask(args []string) {
	symbolic, prefix := false, ""
	for _, arg := range args[1:] {
		if flags, ok := strings.CutPrefix(arg, "-"); ok && strings.Trim(flags, "Sp") == "" {
			symbolic = symbolic || strings.Contains(flags, "S")
			if strings.Contains(flags, "p") {
				prefix = "umask "
			}
			continue
		}
		mask := r.p.Umask
		if bits, err := strconv.ParseUint(arg, 8, 12); err == nil {
			mask = modeOf(uint32(bits))
		} else {
			allowed, err := parseMode(arg, ^mask&0o777, false, 0)
			if err != nil {
				r.fail(1, "umask: %v", err)
				return
			}
			mask = ^allowed & 0o777
		}
		r.p.setUmask(mask)
		return
	}
	if !symbolic {
		fprintf(r.stdout(), "%s%04o\n", prefix, uint32(r.p.Umask))
		return
	}
	if prefix != "" {
		prefix += "-S "
	}
	text := make([]string, 0, 3)
	for i, who := range "ugo" {
		bits := ^uint32(r.p.Umask) >> (6 - 3*i) & 7
		allowed := strings.Map(func(c rune) rune {
			if bits&(4>>strings.IndexRune("rwx", c)) == 0 {
				return -1
			}
			return c
		}, "rwx")
		text = append(text, string(who)+"="+allowed)
	}
	r.print(prefix, strings.Join(text, ","), "\n")
}
