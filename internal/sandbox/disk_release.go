package sandbox

import (
	"strings"
)

// codename returns the name of a release of Ubuntu or Debian, and its full
// version.
func (f Facts) codename() (name, full string) {
	switch f.Distro + " " + f.Version {
	case "ubuntu 20.04":
		return "focal", "20.04.6 LTS (Focal Fossa)"
	case "ubuntu 22.04":
		return "jammy", "22.04.5 LTS (Jammy Jellyfish)"
	case "ubuntu 24.04":
		return "noble", "24.04.2 LTS (Noble Numbat)"
	case "ubuntu 25.10":
		return "questing", "25.10 (Questing Quokka)"
	case "ubuntu 26.04":
		return "resolute", "26.04 LTS (Resolute Raccoon)"
	case "debian 11":
		return "bullseye", "11 (bullseye)"
	case "debian 12":
		return "bookworm", "12 (bookworm)"
	case "debian 13":
		return "trixie", "13 (trixie)"
	}
	return "", f.Version
}

// debianArch returns the name that dpkg has for the architecture.
func (f Facts) debianArch() string {
	switch f.Arch {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return f.Arch
}

// osRelease returns /etc/os-release as the distribution's images have it.
func (f Facts) osRelease() string {
	code, full := f.codename()
	switch f.Distro {
	case "ubuntu":
		return joinLines(
			`PRETTY_NAME="`+f.Name+`"`, `NAME="Ubuntu"`, `VERSION_ID="`+f.Version+`"`, `VERSION="`+full+`"`, "VERSION_CODENAME="+code,
			"ID=ubuntu", "ID_LIKE=debian", `HOME_URL="https://www.ubuntu.com/"`, `SUPPORT_URL="https://help.ubuntu.com/"`,
			`BUG_REPORT_URL="https://bugs.launchpad.net/ubuntu/"`,
			`PRIVACY_POLICY_URL="https://www.ubuntu.com/legal/terms-and-policies/privacy-policy"`, "UBUNTU_CODENAME="+code, "LOGO=ubuntu-logo")
	case "debian":
		return joinLines(
			`PRETTY_NAME="`+f.Name+`"`, `NAME="Debian GNU/Linux"`, `VERSION_ID="`+f.Version+`"`, `VERSION="`+full+`"`, "VERSION_CODENAME="+code,
			"ID=debian", `HOME_URL="https://www.debian.org/"`, `SUPPORT_URL="https://www.debian.org/support"`, `BUG_REPORT_URL="https://bugs.debian.org/"`)
	case "amzn":
		return joinLines(
			`NAME="Amazon Linux"`, `VERSION="`+f.Version+`"`, `ID="amzn"`, `ID_LIKE="fedora"`, `VERSION_ID="`+f.Version+`"`,
			`PLATFORM_ID="platform:al`+f.Version+`"`, `PRETTY_NAME="`+f.Name+`"`, `ANSI_COLOR="0;33"`,
			`CPE_NAME="cpe:2.3:o:amazon:amazon_linux:`+f.Version+`"`, `HOME_URL="https://aws.amazon.com/linux/amazon-linux-2023/"`,
			`DOCUMENTATION_URL="https://docs.aws.amazon.com/linux/"`, `SUPPORT_URL="https://aws.amazon.com/premiumsupport/"`,
			`BUG_REPORT_URL="https://github.com/amazonlinux/amazon-linux-2023"`, `VENDOR_NAME="AWS"`, `VENDOR_URL="https://aws.amazon.com/"`,
			`SUPPORT_END="2029-06-30"`)
	}
	name, _, _ := strings.Cut(f.Name, " "+f.Version)
	all := []string{`NAME="` + name + `"`, `VERSION="` + f.Version + `"`, `ID="` + f.Distro + `"`}
	switch f.Distro {
	case "rhel":
		all = append(all, `ID_LIKE="fedora"`)
	case "rocky", "almalinux", "ol", "centos":
		all = append(all, `ID_LIKE="rhel centos fedora"`)
	}
	return joinLines(append(all, `VERSION_ID="`+f.Version+`"`, `PRETTY_NAME="`+f.Name+`"`)...)
}

func joinLines(all ...string) string { return strings.Join(all, "\n") + "\n" }

// release writes the files that identify the distribution.
func (b *diskBuilder) releaseFiles(f Facts) {
	b.file("/usr/lib/os-release", f.osRelease(), 0o644)
	b.check(b.disk.Symlink("../usr/lib/os-release", "/etc/os-release"))
	code, _ := f.codename()
	switch f.Distro {
	case "ubuntu":
		b.file("/etc/lsb-release", joinLines("DISTRIB_ID=Ubuntu", "DISTRIB_RELEASE="+f.Version, "DISTRIB_CODENAME="+code, `DISTRIB_DESCRIPTION="`+f.Name+`"`), 0o644)
		b.file("/etc/debian_version", map[string]string{"noble": "trixie/sid", "jammy": "bookworm/sid", "focal": "bullseye/sid"}[code]+"\n", 0o644)
		b.file("/etc/issue", f.Name+" \\n \\l\n\n", 0o644)
	case "debian":
		b.file("/etc/debian_version", f.Version+map[string]string{"11": ".11", "12": ".12", "13": ".1"}[f.Version]+"\n", 0o644)
		b.file("/etc/issue", "Debian GNU/Linux "+f.Version+" \\n \\l\n\n", 0o644)
	case "amzn":
		text := "Amazon Linux release " + f.Version + " (Amazon Linux)\n"
		b.file("/etc/amazon-linux-release", text, 0o644)
		b.check(b.disk.Symlink("amazon-linux-release", "/etc/system-release"))
		b.file("/etc/system-release-cpe", "cpe:2.3:o:amazon:amazon_linux:"+f.Version+"\n", 0o644)
	case "rhel", "rocky", "almalinux", "centos", "ol", "fedora":
		b.file("/etc/redhat-release", f.Name+"\n", 0o644)
		b.check(b.disk.Symlink("redhat-release", "/etc/system-release"))
	}
}

// loginFiles writes what a login shell reads.
func (b *diskBuilder) loginFiles(f Facts) {
	b.file("/etc/profile", `# /etc/profile: system-wide settings of login shells.
if [ -d /etc/profile.d ]; then
  for i in /etc/profile.d/*.sh; do
    if [ -r "$i" ]; then
      . "$i"
    fi
  done
  unset i
fi
`, 0o644)
	b.file("/etc/environment", `PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/games:/usr/local/games:/snap/bin"`+"\n", 0o644)
	bashrc := "# ~/.bashrc: executed by bash for interactive shells.\ncase $- in\n  *i*) ;;\n  *) return ;;\nesac\n"
	b.file("/etc/skel/.bash_logout", "# ~/.bash_logout: executed when a login shell exits.\n", 0o644)
	b.file("/etc/skel/.bashrc", bashrc, 0o644)
	profile := "/etc/skel/.profile"
	if !f.dash() {
		profile = "/etc/skel/.bash_profile"
		b.check(b.disk.Remove("/etc/environment"))
		b.file("/etc/environment", "", 0o644)
		b.file("/etc/bashrc", "# /etc/bashrc: system-wide settings of interactive shells.\n", 0o644)
	} else {
		b.file("/etc/bash.bashrc", "# System-wide .bashrc file for interactive shells.\n", 0o644)
	}
	b.file(profile, "# Executed by the command interpreter for login shells.\nif [ -n \"$BASH_VERSION\" ] && [ -f \"$HOME/.bashrc\" ]; then\n  . \"$HOME/.bashrc\"\nfi\nif [ -d \"$HOME/.local/bin\" ]; then\n  PATH=\"$HOME/.local/bin:$PATH\"\nfi\n", 0o644)
}

// copySkeleton copies the files of a new user's home.
func (b *diskBuilder) copySkeleton(home string, uid, gid int) {
	entries, err := b.disk.ReadDir("/etc/skel")
	b.check(err)
	for _, e := range entries {
		data, err := b.disk.ReadFile("/etc/skel/" + e.Name())
		b.check(err)
		name := home + "/" + e.Name()
		b.file(name, string(data), 0o644)
		b.check(b.disk.Chown(name, uid, gid))
	}
}
