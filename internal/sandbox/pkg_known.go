package sandbox

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
)

// The families of distributions, by their package managers.
const (
	familyDebian = "debian"
	familyRedHat = "redhat"
	familySUSE   = "suse"
	familyAlpine = "alpine"
)

// family returns the family of the distribution.
func (f Facts) family() string {
	switch {
	case f.dash():
		return familyDebian
	case f.Distro == "alpine":
		return familyAlpine
	case f.Distro == "sles" || strings.HasPrefix(f.Distro, "opensuse"):
		return familySUSE
	}
	return familyRedHat
}

// knownPackage describes what a package does besides being installed.
type knownPackage struct {
	name  string
	unit  string // its service; empty means none
	dirs  string // separated by blanks
	user  string // a system user and group
	group string // a system group
	ports []int  // on which the service listens
}

// knownPackages are the packages with more than their files: services, users and
// directories that scripts expect.
func knownPackages() []knownPackage {
	return []knownPackage{
		{name: "nginx", unit: "nginx", dirs: "/etc/nginx/conf.d /etc/nginx/sites-available /etc/nginx/sites-enabled /usr/share/nginx/html /var/www/html /var/log/nginx", ports: []int{80}},
		{name: "apache2", unit: "apache2", dirs: "/etc/apache2/sites-available /etc/apache2/sites-enabled /etc/apache2/conf-available /etc/apache2/conf-enabled /etc/apache2/mods-enabled /var/www/html /var/log/apache2", ports: []int{80}},
		{name: "httpd", unit: "httpd", dirs: "/etc/httpd/conf /etc/httpd/conf.d /var/www/html /var/log/httpd", user: "apache", ports: []int{80}},
		{name: "caddy", unit: "caddy", dirs: "/etc/caddy", user: "caddy", ports: []int{80}},
		{name: "haproxy", unit: "haproxy", dirs: "/etc/haproxy", user: "haproxy"},
		{name: "postgresql", unit: "postgresql", dirs: "/etc/postgresql /var/lib/postgresql", user: "postgres", ports: []int{5432}},
		{name: "postgresql-server", unit: "postgresql", dirs: "/var/lib/pgsql/data", user: "postgres", ports: []int{5432}},
		{name: "mysql-server", unit: "mysql", dirs: "/etc/mysql/conf.d /var/lib/mysql", user: "mysql", ports: []int{3306}},
		{name: "mariadb-server", unit: "mariadb", dirs: "/etc/mysql/conf.d /etc/my.cnf.d /var/lib/mysql", user: "mysql", ports: []int{3306}},
		{name: "redis-server", unit: "redis-server", dirs: "/etc/redis /var/lib/redis", user: "redis", ports: []int{6379}},
		{name: "redis", unit: "redis", dirs: "/etc/redis /var/lib/redis", user: "redis", ports: []int{6379}},
		{name: "memcached", unit: "memcached", ports: []int{11211}},
		{name: "mongodb-org", unit: "mongod", user: "mongodb", dirs: "/var/lib/mongodb", ports: []int{27017}},
		{name: "rabbitmq-server", unit: "rabbitmq-server", user: "rabbitmq", dirs: "/etc/rabbitmq", ports: []int{5672}},
		{name: "elasticsearch", unit: "elasticsearch", user: "elasticsearch", dirs: "/etc/elasticsearch", ports: []int{9200}},
		{name: "grafana", unit: "grafana-server", user: "grafana", dirs: "/etc/grafana", ports: []int{3000}},
		{name: "prometheus-node-exporter", unit: "prometheus-node-exporter", user: "prometheus", ports: []int{9100}},
		{name: "jenkins", unit: "jenkins", user: "jenkins", dirs: "/var/lib/jenkins", ports: []int{8080}},
		{name: "docker.io", unit: "docker", group: "docker", dirs: "/etc/docker"},
		{name: "docker-ce", unit: "docker", group: "docker", dirs: "/etc/docker"},
		{name: "docker", unit: "docker", group: "docker", dirs: "/etc/docker"},
		{name: "containerd", unit: "containerd", dirs: "/etc/containerd"},
		{name: "containerd.io", unit: "containerd", dirs: "/etc/containerd"},
		{name: "consul", unit: "consul", user: "consul", dirs: "/etc/consul.d", ports: []int{8500}},
		{name: "vault", unit: "vault", user: "vault", dirs: "/etc/vault.d", ports: []int{8200}},
		{name: "nomad", unit: "nomad", dirs: "/etc/nomad.d", ports: []int{4646}},
		{name: "kubelet", unit: "kubelet", dirs: "/etc/kubernetes"},
		{name: "chrony", unit: "chronyd"},
		{name: "fail2ban", unit: "fail2ban", dirs: "/etc/fail2ban/jail.d"},
		{name: "auditd", unit: "auditd", dirs: "/etc/audit/rules.d"},
		{name: "puppet-agent", unit: "puppet", dirs: "/etc/puppetlabs/puppet"},
		{name: "salt-minion", unit: "salt-minion", dirs: "/etc/salt/minion.d"},
		{name: "amazon-cloudwatch-agent", unit: "amazon-cloudwatch-agent", dirs: "/opt/aws/amazon-cloudwatch-agent/etc"},
		{name: "amazon-ssm-agent", unit: "amazon-ssm-agent"},
		{name: "openssh-server", unit: "ssh", dirs: "/etc/ssh", ports: []int{22}},
		{name: "cron", unit: "cron"},
		{name: "cronie", unit: "crond"},
		{name: "rsyslog", unit: "rsyslog", dirs: "/etc/rsyslog.d"},
		{name: "unattended-upgrades", unit: "unattended-upgrades"},
	}
}

func knownPackageOf(name string) (knownPackage, bool) {
	return first(knownPackages(), func(k knownPackage) bool { return k.name == name })
}

// unitPorts returns the TCP ports on which a service listens while it is active.
func (h *Host) unitPorts(unit string) []int {
	name := strings.TrimSuffix(unit, ".service")
	if ports, ok := h.o.Ports[name]; ok {
		return ports
	}
	if name == "sshd" || name == "ssh" {
		return []int{22}
	}
	known, _ := first(knownPackages(), func(k knownPackage) bool { return k.unit == name })
	return known.ports
}

// setUp does what the installation script of a package would. As on a real
// machine, Debian starts services at once.
func (h *Host) setUp(ctx context.Context, name string) error {
	known, ok := knownPackageOf(name)
	if !ok {
		return nil
	}
	disk := asRoot(h.FS())
	for dir := range strings.FieldsSeq(known.dirs) {
		if err := disk.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	p := h.process(user{name: "root", home: "/root", shell: "/bin/sh"})
	p.Stdin, p.Stdout, p.Stderr, p.by = strings.NewReader(""), io.Discard, io.Discard, name
	run := func(args ...string) error {
		if status := p.child(args).exec(ctx); status != 0 {
			return errors.New("installation script: " + strings.Join(args, " ") + ": exit status " + itoa(status))
		}
		return nil
	}
	for _, group := range []string{known.group, known.user} {
		if _, ok := lookupGroup(disk, group); group != "" && !ok {
			if err := run("groupadd", "-r", group); err != nil {
				return err
			}
		}
	}
	if _, ok := lookupUser(disk, known.user); known.user != "" && !ok {
		if err := run("useradd", "-r", "-M", "-g", known.user, "-s", "/usr/sbin/nologin", known.user); err != nil {
			return err
		}
	}
	if known.unit != "" && h.o.Facts.family() == familyDebian && h.systemd() {
		u, err := h.unit(known.unit)
		if err == nil && h.enable(u) == nil {
			h.startUnit(ctx, u)
		}
	}
	return nil
}

// systemd reports whether the machine has systemctl and has no other than ours.
func (h *Host) systemd() bool {
	return h.o.Commands["systemctl"] == nil && !slices.Contains(h.o.Missing, "systemctl")
}

// tearDown stops the service of a package before its removal.
func (h *Host) tearDown(ctx context.Context, name string) {
	known, ok := knownPackageOf(name)
	if !ok {
		known.unit = name
	}
	if u, err := h.unit(known.unit); err == nil && h.systemd() {
		h.stopUnit(ctx, u)
		_ = h.disable(u) // a link that stays does no harm
	}
}
