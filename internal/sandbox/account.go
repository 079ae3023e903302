package sandbox

import (
	"slices"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// user is an entry of /etc/passwd.
type user struct {
	name, gecos, home, shell string
	uid, gid                 int
}

// group is an entry of /etc/group.
type group struct {
	name    string
	gid     int
	members []string
}

func (u user) line() string {
	return strings.Join([]string{u.name, "x", strconv.Itoa(u.uid), strconv.Itoa(u.gid), u.gecos, u.home, u.shell}, ":")
}

// shadowLine returns the entry of a user in /etc/shadow, with a locked password.
func (u user) shadowLine() string { return u.name + ":!:19000:0:99999:7:::" }

func (g group) line() string {
	return strings.Join([]string{g.name, "x", strconv.Itoa(g.gid), strings.Join(g.members, ",")}, ":")
}

// records returns the fields of the lines of a colon-separated file. It skips
// lines with fewer than fields fields.
func records(fs *memfs.FS, name string, fields int) [][]string {
	data, _ := fs.ReadFile(name) // a missing file has no records
	var all [][]string
	for line := range strings.Lines(string(data)) {
		if parts := strings.Split(strings.TrimSuffix(line, "\n"), ":"); len(parts) >= fields {
			all = append(all, parts)
		}
	}
	return all
}

func users(fs *memfs.FS) []user {
	var all []user
	for _, r := range records(fs, "/etc/passwd", 7) {
		uid, errUID := strconv.Atoi(r[2])
		gid, errGID := strconv.Atoi(r[3])
		if errUID == nil && errGID == nil {
			all = append(all, user{name: r[0], uid: uid, gid: gid, gecos: r[4], home: r[5], shell: r[6]})
		}
	}
	return all
}

func groups(fs *memfs.FS) []group {
	var all []group
	for _, r := range records(fs, "/etc/group", 4) {
		gid, err := strconv.Atoi(r[2])
		if err != nil {
			continue
		}
		members := strings.FieldsFunc(r[3], func(c rune) bool { return c == ',' })
		all = append(all, group{name: r[0], gid: gid, members: members})
	}
	return all
}

// asRoot returns a handle of fs for root.
func asRoot(fs *memfs.FS) *memfs.FS { return fs.As(memfs.Cred{}, 0o022) }

func lookupUser(fs *memfs.FS, name string) (user, bool) {
	return first(users(asRoot(fs)), func(u user) bool { return u.name == name })
}

func lookupUID(fs *memfs.FS, uid int) (user, bool) {
	return first(users(asRoot(fs)), func(u user) bool { return u.uid == uid })
}

func lookupGroup(fs *memfs.FS, name string) (group, bool) {
	return first(groups(asRoot(fs)), func(g group) bool { return g.name == name })
}

func lookupGID(fs *memfs.FS, gid int) (group, bool) {
	return first(groups(asRoot(fs)), func(g group) bool { return g.gid == gid })
}

func first[T any](all []T, is func(T) bool) (T, bool) {
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], true
	}
	var none T
	return none, false
}

// cred returns the credential of the user's processes.
func (u user) cred(fs *memfs.FS) memfs.Cred {
	c := memfs.Cred{UID: u.uid, GID: u.gid}
	for _, g := range groups(asRoot(fs)) {
		if slices.Contains(g.members, u.name) && g.gid != u.gid {
			c.Groups = append(c.Groups, g.gid)
		}
	}
	return c
}

func userName(fs *memfs.FS, uid int) string {
	if u, ok := lookupUID(fs, uid); ok {
		return u.name
	}
	return strconv.Itoa(uid)
}

func groupName(fs *memfs.FS, gid int) string {
	if g, ok := lookupGID(fs, gid); ok {
		return g.name
	}
	return strconv.Itoa(gid)
}

// parseOwner parses "user", "user:group", "user:" or ":group". A part that is
// not given is -1. If a name is unknown, it returns an error message.
func parseOwner(fs *memfs.FS, spec string) (uid, gid int, unknown string) {
	uid, gid = -1, -1
	name, groupSpec, both := strings.Cut(spec, ":")
	if name != "" {
		if u, ok := lookupUser(fs, name); ok {
			uid = u.uid
			if both && groupSpec == "" {
				gid = u.gid
			}
		} else if uid, ok = number(name); !ok {
			return -1, -1, "invalid user: " + quote(spec)
		}
	}
	if groupSpec != "" {
		var ok bool
		if gid, ok = parseGroup(fs, groupSpec); !ok {
			return -1, -1, "invalid group: " + quote(spec)
		}
	}
	return uid, gid, ""
}

func parseGroup(fs *memfs.FS, spec string) (int, bool) {
	if g, ok := lookupGroup(fs, spec); ok {
		return g.gid, true
	}
	return number(spec)
}

// number parses a non-negative decimal number.
func number(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0
}

// quote quotes a name like the messages of GNU tools.
func quote(s string) string { return "'" + s + "'" }
