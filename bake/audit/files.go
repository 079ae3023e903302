package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ext4"
)

// mostRead limits what is read of a file.
const mostRead = 1 << 20

func checkPattern(pattern string) error {
	_, err := path.Match(pattern, "")
	return err
}

// allows reports whether Options.AllowPaths has a file.
func (a *auditor) allows(name string) bool {
	for _, p := range a.options.AllowPaths {
		if ok, err := path.Match(p, name); err == nil && ok && name != "" {
			return true
		}
	}
	return false
}

// walk audits the files of a file system.
func (a *auditor) walk(ctx context.Context, files *ext4.FS) error {
	return files.Walk(func(name string, i *ext4.Inode, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if a.files++; a.files > a.options.MostFiles {
			return fmt.Errorf("the disks have more than %d files: raise Options.MostFiles", a.options.MostFiles)
		}
		if err != nil {
			if !errors.Is(err, ext4.ErrCorrupt) {
				return err // of reading the disk
			}
			return a.add(Unreadable, name, "%v", err)
		}
		if err := a.mode(name, i); err != nil {
			return err
		}
		if !i.Mode.IsRegular() || i.Size == 0 || !interesting(name, i) {
			return nil
		}
		data, err := files.Read(i, mostRead)
		if err != nil {
			if !errors.Is(err, ext4.ErrCorrupt) {
				return err
			}
			return a.add(Unreadable, name, "%v", err)
		}
		return a.file(name, data)
	})
}

// systemDirs are the directories of the system's own files.
var systemDirs = regexp.MustCompile(`^/(usr|bin|sbin|lib|lib32|lib64|etc|boot|opt|root|var/lib|var/spool/cron)(/|$)`)

// mode reports files of the system that anyone may change.
func (a *auditor) mode(name string, i *ext4.Inode) error {
	const others = 0o002
	if i.Mode.Perm()&others == 0 || i.Mode&fs.ModeSymlink != 0 || !systemDirs.MatchString(name) ||
		!i.Mode.IsRegular() && !i.Mode.IsDir() || i.Mode.IsDir() && i.Mode&fs.ModeSticky != 0 {
		return nil
	}
	return a.add(WorldWritable, name, "mode %v", i.Mode)
}

// small are files that are searched for credentials, if they are no larger.
const small = 256 << 10

// Names of files with a meaning of their own.
var (
	hostKey   = regexp.MustCompile(`^/etc/(ssh|dropbear)/[^/]*(ssh|dropbear)_[^/]*_?(host_)?key$`)
	history   = regexp.MustCompile(`^(/root|/home/[^/]+|/var/lib/[^/]+)/(\.[a-z]*_history|\.lesshst|\.viminfo|\.local/share/fish/fish_history)$`)
	cloud     = regexp.MustCompile(`^/var/lib/cloud/(instance|instances|data|sem)/|^/var/log/cloud-init(-output)?\.log$`)
	keys      = regexp.MustCompile(`/\.ssh/authorized_keys2?$`)
	packaged  = regexp.MustCompile(`^/usr/(share|lib|lib64|include|src)/|^/lib/|^/boot/|^/var/lib/(dpkg|apt|rpm|dnf)/|^/var/cache/`)
	sensitive = regexp.MustCompile(`(^|/)(\.env|\.netrc|\.git-credentials|\.pgpass|\.npmrc|\.pypirc|\.dockercfg|credentials|config\.json|\.my\.cnf)$`)
)

// interesting reports whether a file must be read.
func interesting(name string, i *ext4.Inode) bool {
	switch {
	case hostKey.MatchString(name), history.MatchString(name), cloud.MatchString(name), keys.MatchString(name), name == "/etc/machine-id", name == "/var/lib/dbus/machine-id", name == "/etc/shadow":
		return true
	case packaged.MatchString(name): // what packages bring is in every copy of them
		return sensitive.MatchString(name)
	}
	return i.Size <= small
}

// file audits the beginning of a file.
func (a *auditor) file(name string, data []byte) error {
	switch {
	case hostKey.MatchString(name):
		return a.add(HostKey, name, "")
	case keys.MatchString(name):
		return a.lines(AuthorizedKeys, name, data, "%d keys")
	case name == "/etc/machine-id" || name == "/var/lib/dbus/machine-id":
		if id := strings.TrimSpace(string(data)); id == "" || id == "uninitialized" {
			return nil
		}
		return a.add(MachineID, name, "")
	case history.MatchString(name):
		return a.lines(History, name, data, "%d lines")
	case cloud.MatchString(name):
		return a.add(CloudState, name, "")
	case name == "/etc/shadow":
		return a.shadow(name, data)
	}
	for _, p := range a.patterns {
		if p.re.Match(data) && (p.needs == nil || p.needs.Match(data)) {
			if err := a.add(p.kind, name, "%s", p.what); err != nil {
				return err
			}
		}
	}
	return nil
}

// lines reports a file with lines besides comments.
func (a *auditor) lines(kind Kind, name string, data []byte, format string) error {
	n := 0
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return a.add(kind, name, format, n)
}

// shadow reports accounts with a password.
func (a *auditor) shadow(name string, data []byte) error {
	for line := range strings.Lines(string(data)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) < 2 || strings.HasPrefix(fields[1], "!") || strings.HasPrefix(fields[1], "*") || fields[1] == "x" {
			continue
		}
		what := "a password"
		if fields[1] == "" {
			what = "no password, so anyone can log in"
		}
		if err := a.add(Password, name, "%q has %s", fields[0], what); err != nil {
			return err
		}
	}
	return nil
}

// A pattern is the form of a secret.
type pattern struct {
	kind  Kind
	what  string
	re    *regexp.Regexp
	needs *regexp.Regexp // must match as well, or nil
}

// newPatterns returns the forms of secrets.
func newPatterns() []pattern {
	return []pattern{
		{PrivateKey, "in PEM", regexp.MustCompile(`-----BEGIN (RSA |EC |DSA |OPENSSH |ENCRYPTED |PGP )?PRIVATE KEY( BLOCK)?-----`), nil},
		{PrivateKey, "of age", regexp.MustCompile(`AGE-SECRET-KEY-1[0-9A-Z]{58}`), nil},
		{Credential, "an access key of AWS", regexp.MustCompile(`\b(AKIA|ASIA)[A-Z2-7]{16}\b`), regexp.MustCompile(`(?i)(secret|aws)`)},
		{Credential, "a token of GitHub", regexp.MustCompile(`\b(gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{60,})`), nil},
		{Credential, "a token of GitLab", regexp.MustCompile(`\bglpat-[0-9A-Za-z_-]{20}`), nil},
		{Credential, "a token of Slack", regexp.MustCompile(`\bxox[abprs]-[0-9A-Za-z-]{20,}`), nil},
		{Credential, "a key of Google", regexp.MustCompile(`"type":\s*"service_account"|\bAIza[0-9A-Za-z_-]{35}\b`), nil},
		{Credential, "a password in a URL", regexp.MustCompile(`\b(https?|postgres(ql)?|mysql|redis|amqps?|mongodb(\+srv)?)://[^\s/:@'"<>$%{}]+:[^\s/@'"<>$%{}]{4,}@[\w.-]+`), nil},
		{Credential, "a login of a registry", regexp.MustCompile(`"auths":\s*\{[^}]*"auth":\s*"[A-Za-z0-9+/=]{8,}"`), nil},
		{Credential, "a password of netrc", regexp.MustCompile(`(?m)^\s*(machine\s+\S+|default)\s+login\s+\S+\s+password\s+\S+`), nil},
	}
}
