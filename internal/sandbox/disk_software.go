package sandbox

import (
	"slices"
	"strings"
)

// software writes the database of the packages that the distribution's images come
// with, and the units of their services.
func (b *diskBuilder) software(f Facts) {
	kind := f.packaging()
	names, arch := "bash ca-certificates cloud-init coreutils curl findutils gawk gnupg grep gzip jq logrotate openssh-client openssh-server openssl passwd procps rsyslog sed sudo systemd tar tzdata util-linux wget", f.debianArch()
	switch f.family() {
	case familyDebian:
		names += " adduser apt base-files cron dpkg libc6 lsb-release mawk netplan.io unattended-upgrades"
		if f.Distro == "ubuntu" {
			names += " snapd ubuntu-minimal ubuntu-server"
		}
	case familyAlpine:
		names, arch = "alpine-base apk-tools busybox ca-certificates musl openssh openssl", f.Arch
	default:
		names, arch = strings.ReplaceAll(names, "openssh-client ", "openssh-clients openssh ")+" chrony dnf glibc rpm shadow-utils systemd-udev yum", f.Arch
		names = strings.NewReplacer(" passwd", "", " procps", " procps-ng", " gnupg", " gnupg2").Replace(names)
		if f.Distro == "amzn" {
			names = strings.ReplaceAll(names, " rsyslog", "") + " amazon-ssm-agent awscli-2 ec2-utils system-release"
		}
	}
	known := map[string]string{ // of Ubuntu 24.04; the others have "1.0-1"
		"bash": "5.2.21-2ubuntu4", "coreutils": "9.4-3ubuntu6", "curl": "8.5.0-2ubuntu10.6", "dpkg": "1.22.6ubuntu6.1", "apt": "2.7.14build2", "libc6": "2.39-0ubuntu8.4", "openssh-server": "1:9.6p1-3ubuntu13.8",
		"systemd": "255.4-1ubuntu8.5", "sudo": "1.9.15p5-3ubuntu5", "jq": "1.7.1-3build1", "cloud-init": "24.4-0ubuntu1", "tar": "1.35+dfsg-3build1", "openssl": "3.0.13-0ubuntu3.4",
	}
	for _, pkg := range f.distributionPackages() {
		names += " " + pkg.name
	}
	sorted := strings.Fields(names)
	slices.Sort(sorted)
	names = strings.Join(slices.Compact(sorted), " ")
	var all []installed
	for name := range strings.FieldsSeq(names) {
		version := "1.0-1"
		if v, ok := known[name]; ok && f.Distro == "ubuntu" && f.Version == "24.04" {
			version = v
		}
		all = append(all, installed{name: name, version: version, arch: arch})
	}
	b.check(packages{disk: b.disk, kind: kind}.write(all))
	if f.family() != familyAlpine {
		b.units(f)
	}
}

// units writes the units of the distribution's services, those that start at boot
// enabled.
func (b *diskBuilder) units(f Facts) {
	enabled := "cloud-init.service cloud-final.service rsyslog.service "
	other := "rescue.service debug-shell.service "
	alias := map[string]string{"ssh.service": "sshd.service"}
	if f.family() == familyDebian {
		enabled += "ssh.service cron.service unattended-upgrades.service systemd-timesyncd.service systemd-resolved.service systemd-networkd.service apt-daily.timer apt-daily-upgrade.timer fstrim.timer logrotate.timer "
		other += "apt-daily.service apt-daily-upgrade.service "
		if f.Distro == "ubuntu" {
			enabled += "snapd.service snapd.socket ufw.service multipathd.service motd-news.timer "
		}
	} else {
		enabled += "sshd.service crond.service chronyd.service auditd.service "
		other += "fstrim.timer "
		alias = nil
		if f.Distro == "amzn" {
			enabled = strings.NewReplacer("rsyslog.service ", "", "crond.service ", "").Replace(enabled) + "amazon-ssm-agent.service systemd-networkd.service systemd-resolved.service "
		}
	}
	for name := range strings.FieldsSeq("systemd-journald.service dbus.service getty@.service") {
		b.file(vendorUnitDir+"/"+name, "[Unit]\nDescription="+name+"\n\n[Service]\nExecStart=/usr/lib/systemd/"+strings.TrimSuffix(name, ".service")+"\n", 0o644)
	}
	for name := range strings.FieldsSeq("basic.target multi-user.target graphical.target network.target network-online.target timers.target sockets.target sysinit.target cloud-init.target") {
		b.file(vendorUnitDir+"/"+name, "[Unit]\nDescription="+name+"\n", 0o644)
	}
	for name := range strings.FieldsSeq(enabled + other) {
		bare, kind, _ := strings.Cut(name, ".")
		section, by := "[Service]\nExecStart=/usr/sbin/"+bare+"\n", "multi-user.target"
		switch kind {
		case "timer":
			section, by = "[Timer]\nOnCalendar=daily\n", "timers.target"
		case "socket":
			section, by = "[Socket]\nListenStream=/run/"+name+"\n", "sockets.target"
		}
		install := "WantedBy=" + by + "\n"
		if other := alias[name]; other != "" {
			install += "Alias=" + other + "\n"
			b.check(b.disk.Symlink(vendorUnitDir+"/"+name, unitDir+"/"+other))
		}
		b.file(vendorUnitDir+"/"+name, "[Unit]\nDescription="+bare+"\n\n"+section+"\n[Install]\n"+install, 0o644)
		if strings.Contains(enabled, name+" ") {
			b.dir(unitDir+"/"+by+".wants", 0o755)
			b.check(b.disk.Symlink(vendorUnitDir+"/"+name, unitDir+"/"+by+".wants/"+name))
		}
	}
}
