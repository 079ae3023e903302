package sandbox

import (
	_ "embed" // for the tables of files and accounts
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

//go:embed data/etc.txt
var etcTable string

//go:embed data/accounts.txt
var accountTable string

// kinds returns the names in the tables that hold for the distribution: its family
// and its own. Distributions of unknown families have the files of Debian.
func (f Facts) kinds() []string {
	switch {
	case f.family() == familyRedHat && f.Distro != "amzn":
		return []string{"redhat", "rhel", f.Distro}
	case f.family() == familyRedHat || f.family() == familySUSE:
		return []string{"redhat", f.Distro}
	}
	return []string{"debian", f.Distro}
}

// etc writes the configuration files of the distribution.
func (b *diskBuilder) etc(f Facts, login string) {
	kinds := f.kinds()
	replace := strings.NewReplacer(
		"@sftp@", map[bool]string{true: "/usr/lib/openssh/sftp-server", false: "/usr/libexec/openssh/sftp-server"}[f.dash()],
		"@login@", login, "@name@", f.Name, "@selinux@", map[bool]string{true: "permissive", false: "enforcing"}[f.Distro == "amzn"],
		"@best@", map[bool]string{true: "False", false: "True"}[f.Distro == "amzn"],
	)
	_, all, _ := strings.Cut(etcTable, "\n== ")
	for entry := range strings.SplitSeq(all, "\n== ") {
		head, text, _ := strings.Cut(entry+"\n", "\n")
		words := strings.Fields(head)
		mode := uint64(0o644)
		if n, err := strconv.ParseUint(words[len(words)-1], 8, 12); err == nil {
			mode, words = n, words[:len(words)-1]
		}
		name := words[len(words)-1]
		if slices.ContainsFunc(words[:len(words)-1], func(kind string) bool { return slices.Contains(kinds, kind) }) {
			b.file(name, replace.Replace(strings.TrimSuffix(text, "\n")+map[bool]string{true: "\n"}[text != "\n" && text != ""]), fs.FileMode(mode))
		}
	}
	b.check(b.disk.Symlink("/usr/share/zoneinfo/Etc/UTC", "/etc/localtime"))
	b.check(b.disk.Symlink("../proc/self/mounts", "/etc/mtab"))
	for dir := range strings.FieldsSeq("/etc/cron.daily /etc/cron.hourly /etc/cron.weekly /etc/cron.monthly /etc/rsyslog.d /etc/ssh/sshd_config.d /etc/ssh/ssh_config.d /etc/security/limits.d " +
		"/etc/cloud/cloud.cfg.d /etc/modprobe.d /etc/modules-load.d /etc/tmpfiles.d /etc/udev/rules.d /etc/systemd/network /etc/systemd/user /usr/lib/systemd/system-preset /usr/lib/sysctl.d /usr/lib/tmpfiles.d " +
		"/usr/lib/modules/" + f.Kernel + " /var/lib/cloud /var/lib/systemd /var/log/journal /var/spool/cron") {
		b.dir(dir, 0o755)
	}
	if f.dash() {
		for dir := range strings.FieldsSeq("/etc/apt/keyrings /etc/apt/trusted.gpg.d /etc/apt/preferences.d /usr/share/keyrings /var/spool/cron/crontabs /usr/games") {
			b.dir(dir, 0o755)
		}
		b.sources(f)
		return
	}
	b.check(b.disk.MkdirAll("/usr/lib64", 0o755))
	b.check(b.disk.Symlink("usr/lib64", "/lib64"))
	b.dir("/etc/pki/rpm-gpg", 0o755)
	b.dir("/usr/libexec", 0o755)
}

// sources writes the repositories of apt: until Debian 12 and Ubuntu 23.10 in one
// line each.
func (b *diskBuilder) sources(f Facts) {
	code, _ := f.codename()
	uri, suites, components := "http://deb.debian.org/debian", code+" "+code+"-updates", "main"
	keyring := "/usr/share/keyrings/debian-archive-keyring.gpg"
	if f.Distro == "ubuntu" {
		uri, suites, components = "http://archive.ubuntu.com/ubuntu/", suites+" "+code+"-backports", "main restricted universe multiverse"
		keyring = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
	}
	b.file(keyring, "", 0o644)
	switch f.Version {
	case "20.04", "22.04", "11":
		var text strings.Builder
		for suite := range strings.FieldsSeq(suites) {
			text.WriteString("deb " + uri + " " + suite + " " + components + "\n")
		}
		b.file("/etc/apt/sources.list", text.String(), 0o644)
		return
	}
	b.file("/etc/apt/sources.list.d/"+f.Distro+".sources", joinLines("Types: deb", "URIs: "+uri, "Suites: "+suites, "Components: "+components, "Signed-By: "+keyring), 0o644)
	if f.Distro == "ubuntu" {
		b.file("/etc/apt/sources.list", "# Ubuntu sources have moved to /etc/apt/sources.list.d/ubuntu.sources\n", 0o644)
	}
}

// accounts writes the users and groups of the distribution, and the login user.
func (b *diskBuilder) accounts(f Facts, login string) {
	kinds := f.kinds()
	nologin := map[bool]string{true: "/usr/sbin/nologin", false: "/sbin/nologin"}[kinds[0] == "debian"]
	var all []user
	var named []group
	member := ""
	for line := range strings.Lines(accountTable) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !slices.Contains(kinds, kind) {
			continue
		}
		what, rest, _ := strings.Cut(rest, " ")
		switch what {
		case "passwd":
			field := strings.Split(rest, ":")
			uid, _ := number(field[1])
			gid, _ := number(field[2])
			shell := field[5]
			if shell == "" {
				shell = nologin
			}
			all = append(all, user{field[0], field[3], field[4], shell, uid, gid})
		case "group":
			for word := range strings.FieldsSeq(rest) {
				name, id, _ := strings.Cut(word, ":")
				gid, _ := number(id)
				named = append(named, group{name: name, gid: gid})
			}
		case "member":
			if member == "" {
				member = rest
			}
		}
	}
	if login != "root" {
		gecos := map[string]string{"ubuntu": "Ubuntu", "debian": "Debian", "amzn": "EC2 Default User", "rhel": "Cloud User"}[f.Distro]
		all = append(all, user{login, gecos, "/home/" + login, "/bin/bash", loginUID, loginUID})
		for i := range named {
			if slices.Contains(strings.Fields(member), named[i].name) {
				named[i].members = []string{login}
			}
		}
		named = append(named, group{name: login, gid: loginUID})
		b.dir("/home/"+login, 0o750)
		b.copySkeleton("/home/"+login, loginUID, loginUID)
		b.check(b.disk.Chown("/home/"+login, loginUID, loginUID))
		b.file("/etc/sudoers.d/90-cloud-init-users", login+" ALL=(ALL) NOPASSWD:ALL\n", 0o440)
	}
	b.copySkeleton("/root", 0, 0)
	var passwd, groups, shadow, gshadow strings.Builder
	for _, u := range all {
		passwd.WriteString(u.line() + "\n")
		shadow.WriteString(u.shadowLine() + "\n")
	}
	for _, g := range named {
		groups.WriteString(g.line() + "\n")
		gshadow.WriteString(g.name + ":*::" + strings.Join(g.members, ",") + "\n")
	}
	b.file("/etc/passwd", passwd.String(), 0o644)
	b.file("/etc/group", groups.String(), 0o644)
	admins, mode := "%sudo", fs.FileMode(0o640)
	if kinds[0] == "redhat" {
		admins, mode = "%wheel", 0
	}
	b.file("/etc/shadow", shadow.String(), mode)
	b.file("/etc/gshadow", gshadow.String(), mode)
	if mode != 0 {
		for _, name := range []string{"/etc/shadow", "/etc/gshadow"} {
			b.check(b.disk.Chown(name, 0, 42)) // the group shadow
		}
	}
	b.file("/etc/sudoers", joinLines("Defaults	env_reset", `Defaults	secure_path="`+defaultPath+`"`, "", "root	ALL=(ALL:ALL) ALL", admins+"	ALL=(ALL:ALL) ALL", "", "@includedir /etc/sudoers.d"), 0o440)
}
