package sandbox

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// appendLine adds a line to an account file.
func appendLine(disk *memfs.FS, name, line string) error {
	f, err := disk.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

// freeID returns the first unused id starting at start.
func freeID(start int, taken func(int) bool) int {
	for taken(start) {
		start++
	}
	return start
}

func addGroup(disk *memfs.FS, name string, gid int, system bool) (int, error) {
	if _, ok := lookupGroup(disk, name); ok {
		return 0, errors.New("group " + quote(name) + " already exists")
	}
	if gid < 0 {
		start := loginUID + 1
		if system {
			start = 900
		}
		gid = freeID(start, func(id int) bool { _, ok := lookupGID(disk, id); return ok })
	}
	return gid, appendLine(disk, "/etc/group", group{name: name, gid: gid}.line())
}

// addMember adds a user to groups, which must exist.
func addMember(disk *memfs.FS, name string, into []string) error {
	all := groups(disk)
	for _, want := range into {
		at := slices.IndexFunc(all, func(g group) bool { return g.name == want })
		if at < 0 {
			return errors.New("group " + quote(want) + " does not exist")
		}
		if !slices.Contains(all[at].members, name) {
			all[at].members = append(all[at].members, name)
		}
	}
	var b strings.Builder
	for _, g := range all {
		b.WriteString(g.line() + "\n")
	}
	return disk.WriteFile("/etc/group", []byte(b.String()), 0o644)
}

// addUser creates an account, its group of the same name and its home directory.
func addUser(disk *memfs.FS, u user, home, system bool, groups []string) error {
	if _, ok := lookupUser(disk, u.name); ok {
		return errors.New("user " + quote(u.name) + " already exists")
	}
	if u.uid < 0 {
		start := loginUID + 1
		if system {
			start = 900
		}
		u.uid = freeID(start, func(id int) bool { _, ok := lookupUID(disk, id); return ok })
	}
	if u.gid < 0 {
		if g, ok := lookupGroup(disk, u.name); ok {
			u.gid = g.gid
		} else {
			want := u.uid
			if _, taken := lookupGID(disk, want); taken {
				want = -1
			}
			gid, err := addGroup(disk, u.name, want, system)
			if err != nil {
				return err
			}
			u.gid = gid
		}
	}
	if err := appendLine(disk, "/etc/passwd", u.line()); err != nil {
		return err
	}
	if err := appendLine(disk, "/etc/shadow", u.shadowLine()); err != nil {
		return err
	}
	if home {
		if err := disk.MkdirAll(path.Dir(u.home), 0o755); err != nil {
			return err
		}
		if err := disk.Mkdir(u.home, 0o750); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		if err := disk.Chown(u.home, u.uid, u.gid); err != nil {
			return err
		}
	}
	return addMember(disk, u.name, groups)
}

func splitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func useradd(_ context.Context, p *Process) int {
	o, names, bad := p.options("mMrs:d:u:g:G:c:NU", "create-home=m", "no-create-home=M", "system=r", "shell=s:", "home-dir=d:", "home=d:",
		"uid=u:", "gid=g:", "groups=G:", "comment=c:", "user-group=U")
	if bad != 0 {
		return bad
	}
	if p.UID != 0 {
		return p.fail(1, "Permission denied.")
	}
	if len(names) != 1 {
		return p.fail(2, "usage: useradd [options] LOGIN")
	}
	u := user{name: names[0], uid: -1, gid: -1, home: "/home/" + names[0], shell: "/bin/sh"}
	for flag, field := range map[string]*string{"s": &u.shell, "d": &u.home, "c": &u.gecos} {
		if value, ok := o.value(flag); ok {
			*field = value
		}
	}
	if text, ok := o.value("u"); ok {
		if u.uid, ok = number(text); !ok {
			return p.fail(3, "invalid user ID %s", quote(text))
		}
	}
	if text, ok := o.value("g"); ok {
		if u.gid, ok = parseGroup(p.FS, text); !ok {
			return p.fail(6, "group %s does not exist", quote(text))
		}
	} else if o.on("N") {
		u.gid = 100
	}
	list, _ := o.value("G")
	if err := addUser(p.FS, u, o.on("m"), o.on("r"), splitList(list)); err != nil {
		return p.fail(9, "%s", errText(err))
	}
	return 0
}

func groupadd(_ context.Context, p *Process) int {
	o, names, bad := p.options("rfg:", "system=r", "force=f", "gid=g:")
	if bad != 0 {
		return bad
	}
	if len(names) != 1 {
		return p.fail(2, "usage: groupadd [options] GROUP")
	}
	if _, ok := lookupGroup(p.FS, names[0]); ok && o.on("f") {
		return 0
	}
	gid := -1
	if text, ok := o.value("g"); ok {
		if gid, ok = number(text); !ok {
			return p.fail(3, "invalid group ID %s", quote(text))
		}
	}
	if _, err := addGroup(p.FS, names[0], gid, o.on("r")); err != nil {
		return p.fail(9, "%s", errText(err))
	}
	return 0
}

// rewriteLine calls change with the fields of an account's line in a
// colon-separated file, and writes the result.
func rewriteLine(disk *memfs.FS, file, name string, mode fs.FileMode, change func(fields []string)) error {
	var b strings.Builder
	for _, fields := range records(disk, file, 1) {
		if fields[0] == name && len(fields) >= 7 { // passwd has 7, shadow 9
			change(fields)
		}
		b.WriteString(strings.Join(fields, ":") + "\n")
	}
	return disk.WriteFile(file, []byte(b.String()), mode)
}

// usermod changes the fields of an account, adds it to groups, and locks or
// unlocks it.
func usermod(_ context.Context, p *Process) int {
	o, names, bad := p.options("aG:LUs:d:c:u:g:", "append=a", "groups=G:", "lock=L", "unlock=U",
		"shell=s:", "home=d:", "comment=c:", "uid=u:", "gid=g:")
	if bad != 0 {
		return bad
	}
	if len(names) != 1 {
		return p.fail(2, "usage: usermod [options] LOGIN")
	}
	if _, ok := lookupUser(p.FS, names[0]); !ok {
		return p.fail(6, "user %s does not exist", quote(names[0]))
	}
	list, given := o.value("G")
	if given && !o.on("a") {
		return p.fail(2, "option '-G' without '-a' is not supported by this machine")
	}
	if err := addMember(p.FS, names[0], splitList(list)); err != nil {
		return p.fail(6, "%s", errText(err))
	}
	changed := map[int]string{} // by the index of the field in passwd(5)
	for flag, field := range map[string]int{"u": 2, "g": 3, "c": 4, "d": 5, "s": 6} {
		value, ok := o.value(flag)
		if !ok {
			continue
		}
		if flag == "g" {
			gid, known := parseGroup(p.FS, value)
			if !known {
				return p.fail(6, "group %s does not exist", quote(value))
			}
			value = itoa(gid)
		}
		changed[field] = value
	}
	err := rewriteLine(p.FS, "/etc/passwd", names[0], 0o644, func(fields []string) {
		for i, value := range changed {
			fields[i] = value
		}
	})
	if err == nil && (o.on("L") || o.on("U")) {
		err = rewriteLine(p.FS, "/etc/shadow", names[0], 0o640, func(fields []string) {
			if fields[1] = strings.TrimPrefix(fields[1], "!"); o.on("L") {
				fields[1] = "!" + fields[1]
			}
		})
	}
	if err != nil {
		return p.fail(1, "%s", errText(err))
	}
	return 0
}

// passwd accepts the flags to lock and unlock without effect; passwords are set
// in Options.Passwords.
func passwd(_ context.Context, p *Process) int {
	o, names, bad := p.options("ludS", "lock=l", "unlock=u", "delete=d", "status=S")
	if bad != 0 {
		return bad
	}
	if len(o.given) == 0 {
		return p.fail(2, "changing passwords is not supported by this machine")
	}
	for _, name := range names {
		if _, ok := lookupUser(p.FS, name); !ok {
			return p.fail(1, "user %s does not exist", quote(name))
		}
		if o.on("S") {
			p.print(name, " L 2022-01-08 0 99999 7 -1\n")
		}
	}
	return 0
}

// sshKeygen generates host keys with -A, prints fingerprints with -l -f, and
// generates a key pair with -f.
func sshKeygen(_ context.Context, p *Process) int {
	o, _, bad := p.options("AlE:f:qN:t:C:b:")
	if bad != 0 {
		return bad
	}
	file, _ := o.value("f")
	kind, given := o.value("t")
	switch {
	case o.on("A"):
		if p.UID != 0 {
			return p.fail(1, "Permission denied")
		}
		if err := p.Host.makeHostKey(); err != nil {
			return p.fail(1, "%v", err)
		}
		return 0
	case o.on("l"):
		data, err := p.FS.ReadFile(p.Path(file))
		if err != nil {
			return p.fail(1, "%s: %s", file, errText(err))
		}
		text, err := fingerprint(data)
		if err != nil {
			return p.fail(1, "%s is not a public key file.", file)
		}
		p.print(text, "\n")
		return 0
	case file != "" && (!given || kind == "ed25519"):
		if phrase, _ := o.value("N"); phrase != "" {
			return p.fail(2, "passphrases are not supported by this machine")
		}
		comment, _ := o.value("C")
		if err := makeKey(p.FS, p.Path(file), comment); err != nil {
			return p.fail(1, "%s", errText(err))
		}
		return 0
	}
	return p.fail(2, "only -A, -l -f file and -t ed25519 -f file are supported by this machine")
}
