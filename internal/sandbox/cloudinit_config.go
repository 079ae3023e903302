package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// cloudConfig holds the supported keys of #cloud-config. Lists of later parts are
// appended; other values replace earlier ones.
type cloudConfig struct {
	Hostname       string            `yaml:"hostname"`
	FQDN           string            `yaml:"fqdn"`
	SSHKeys        map[string]string `yaml:"ssh_keys"`
	DeleteKeys     *bool             `yaml:"ssh_deletekeys"`
	AuthorizedKeys []string          `yaml:"ssh_authorized_keys"`
	Users          []configUser      `yaml:"users"`
	Groups         []string          `yaml:"groups"`
	WriteFiles     []configFile      `yaml:"write_files"`
	Bootcmd        []configCommand   `yaml:"bootcmd"`
	Runcmd         []configCommand   `yaml:"runcmd"`
	DisableRoot    *bool             `yaml:"disable_root"`
	PasswordAuth   yaml.Node         `yaml:"ssh_pwauth"`
	Chpasswd       yaml.Node         `yaml:"chpasswd"`

	runcmd string // the script made from Runcmd
}

// knownKey reports whether cloudConfig has a field for key.
func knownKey(key string) bool {
	return slices.Contains([]string{
		"hostname", "fqdn", "ssh_keys", "ssh_deletekeys", "ssh_authorized_keys", "users", "groups", "write_files", "bootcmd", "runcmd",
		"disable_root", "ssh_pwauth", "chpasswd",
	}, key)
}

type configUser struct {
	Name           string     `yaml:"name"`
	Gecos          string     `yaml:"gecos"`
	Home           string     `yaml:"homedir"`
	Shell          string     `yaml:"shell"`
	Groups         stringList `yaml:"groups"`
	PrimaryGroup   string     `yaml:"primary_group"`
	UID            *int       `yaml:"uid"`
	System         bool       `yaml:"system"`
	NoHome         bool       `yaml:"no_create_home"`
	Sudo           yaml.Node  `yaml:"sudo"`
	AuthorizedKeys []string   `yaml:"ssh_authorized_keys"`
	byDefault      bool
}

// UnmarshalYAML decodes a user given as a name or a mapping.
func (u *configUser) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		u.Name, u.byDefault = n.Value, n.Value == "default"
		return nil
	}
	type plain configUser
	return n.Decode((*plain)(u))
}

// stringList is a list of strings, which YAML may give as one comma-separated
// string.
type stringList []string

// UnmarshalYAML decodes either form.
func (l *stringList) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*l = splitList(n.Value)
		return nil
	}
	return n.Decode((*[]string)(l))
}

type configFile struct {
	Path        string `yaml:"path"`
	Content     string `yaml:"content"`
	Encoding    string `yaml:"encoding"`
	Permissions string `yaml:"permissions"`
	Owner       string `yaml:"owner"`
	Append      bool   `yaml:"append"`
}

// configCommand is a shell command line.
type configCommand string

// UnmarshalYAML decodes a command line or a list of arguments.
func (c *configCommand) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*c = configCommand(n.Value)
		return nil
	}
	var args []string
	if err := n.Decode(&args); err != nil {
		return err
	}
	*c = configCommand(shellQuote(args...))
	return nil
}

// merge adds one document and returns its unsupported keys.
func (c *cloudConfig) merge(text []byte) (unknown []string, err error) {
	var keys map[string]yaml.Node
	if err := yaml.Unmarshal(text, &keys); err != nil {
		return nil, err
	}
	for key := range keys {
		if !knownKey(key) {
			unknown = append(unknown, key)
		}
	}
	slices.Sort(unknown)
	before := *c
	if err := yaml.Unmarshal(text, c); err != nil {
		return unknown, err
	}
	c.Bootcmd = appendIfKey(before.Bootcmd, c.Bootcmd, keys, "bootcmd")
	c.Runcmd = appendIfKey(before.Runcmd, c.Runcmd, keys, "runcmd")
	c.WriteFiles = appendIfKey(before.WriteFiles, c.WriteFiles, keys, "write_files")
	c.AuthorizedKeys = appendIfKey(before.AuthorizedKeys, c.AuthorizedKeys, keys, "ssh_authorized_keys")
	c.Users = appendIfKey(before.Users, c.Users, keys, "users")
	if len(c.Runcmd) > 0 {
		c.runcmd = "#!/bin/sh\n" + commandLines(c.Runcmd)
	}
	return unknown, nil
}

// appendIfKey returns both lists if the document has the key, and only before
// otherwise.
func appendIfKey[T any](before, after []T, keys map[string]yaml.Node, key string) []T {
	if _, ok := keys[key]; !ok {
		return before
	}
	return append(slices.Clone(before), after...)
}

func commandLines(commands []configCommand) string {
	var b strings.Builder
	for _, c := range commands {
		b.WriteString(strings.TrimSuffix(string(c), "\n") + "\n")
	}
	return b.String()
}

// apply applies the configuration in cloud-init's order. Only bootcmd runs at
// every boot.
func (c *initRun) apply(ctx context.Context) error {
	if len(c.conf.Bootcmd) > 0 {
		c.run(ctx, "bootcmd", "/bin/sh", "-c", commandLines(c.conf.Bootcmd))
	}
	if !c.newInstance {
		return nil
	}
	errs := []error{c.replaceHostKeys()}
	for _, f := range c.conf.WriteFiles {
		if err := c.writeFile(f); err != nil {
			errs = append(errs, fmt.Errorf("write_files %s: %w", f.Path, err))
		}
	}
	for _, name := range c.conf.Groups {
		if _, err := addGroup(c.disk, name, -1, false); err != nil {
			errs = append(errs, err)
		}
	}
	for _, u := range c.conf.Users {
		if err := c.addUser(u); err != nil {
			errs = append(errs, fmt.Errorf("users: %w", err))
		}
	}
	login, ok := lookupUser(c.disk, c.h.o.Login)
	all := append(slices.Clone(c.h.o.AuthorizedKeys), c.conf.AuthorizedKeys...)
	if ok && len(all) > 0 {
		errs = append(errs, c.authorize(login, all))
	}
	if admin, known := lookupUser(c.disk, "root"); known && c.conf.DisableRoot != nil && !*c.conf.DisableRoot {
		errs = append(errs, c.authorize(admin, all))
	}
	if !c.conf.Chpasswd.IsZero() || !c.conf.PasswordAuth.IsZero() {
		c.h.log("cloud-init[]: WARNING: chpasswd and ssh_pwauth are not supported by this machine and have no effect")
	}
	return errors.Join(errs...)
}

// replaceHostKeys replaces the host keys of the image by the configured ones.
func (c *initRun) replaceHostKeys() error {
	remove := c.conf.DeleteKeys == nil || *c.conf.DeleteKeys
	entries, _ := c.disk.ReadDir("/etc/ssh") // created below if missing
	for _, e := range entries {
		if remove && strings.HasPrefix(e.Name(), "ssh_host_") {
			_ = c.disk.Remove("/etc/ssh/" + e.Name()) // does not fail for root
		}
	}
	if err := c.disk.MkdirAll("/etc/ssh", 0o755); err != nil {
		return err
	}
	var errs []error
	for name, text := range c.conf.SSHKeys {
		kind, part, _ := strings.Cut(name, "_")
		file, mode := "/etc/ssh/ssh_host_"+kind+"_key", os.FileMode(0o644)
		switch part {
		case "private":
			mode = 0o600
		case "public":
			file += ".pub"
		case "certificate":
			file += "-cert.pub"
		}
		switch {
		case (part == "private" || part == "public" || part == "certificate") && slices.Contains([]string{"rsa", "ecdsa", "ed25519"}, kind):
		default:
			c.h.log("cloud-init[]: WARNING: unknown host key %q", name)
			continue
		}
		errs = append(errs, c.disk.WriteFile(file, []byte(strings.TrimSpace(text)+"\n"), mode))
	}
	return errors.Join(errs...)
}

func (c *initRun) writeFile(f configFile) error {
	content := []byte(f.Content)
	encoding := strings.ToLower(f.Encoding)
	if encoding == "b64" || encoding == "base64" || strings.HasSuffix(encoding, "+b64") || strings.HasSuffix(encoding, "+base64") {
		var err error
		if content, err = decodeBase64(content); err != nil {
			return err
		}
	}
	if strings.HasPrefix(encoding, "gz") {
		var err error
		if content, err = gunzip(content); err != nil {
			return err
		}
	}
	if err := c.disk.MkdirAll(path.Dir(f.Path), 0o755); err != nil {
		return err
	}
	flag := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if f.Append {
		flag = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	}
	out, err := c.disk.OpenFile(f.Path, flag, 0o644)
	if err != nil {
		return err
	}
	_, err = out.Write(content)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	mode := f.Permissions
	if mode == "" {
		mode = "0644"
	}
	bits, err := parseMode(strings.TrimPrefix(mode, "0o"), 0, false, 0)
	if err != nil {
		return err
	}
	if f.Owner != "" {
		uid, gid, unknown := parseOwner(c.disk, f.Owner)
		if unknown != "" {
			return errors.New(unknown)
		}
		if err := c.disk.Chown(f.Path, uid, gid); err != nil {
			return err
		}
	}
	return c.disk.Chmod(f.Path, bits)
}

func (c *initRun) addUser(u configUser) error {
	if u.byDefault {
		return nil
	}
	account := user{name: u.Name, gecos: u.Gecos, home: u.Home, shell: u.Shell, uid: -1, gid: -1}
	if account.home == "" {
		account.home = "/home/" + u.Name
	}
	if account.shell == "" {
		account.shell = "/bin/bash"
	}
	if u.UID != nil {
		account.uid = *u.UID
	}
	if u.PrimaryGroup != "" {
		gid, ok := parseGroup(c.disk, u.PrimaryGroup)
		if !ok {
			return fmt.Errorf("%s: group %q not found", u.Name, u.PrimaryGroup)
		}
		account.gid = gid
	}
	groups := slices.Clone(u.Groups)
	if !u.Sudo.IsZero() && u.Sudo.Value != "false" { // our sudo checks only group membership
		groups = append(groups, "sudo")
	}
	if _, ok := lookupUser(c.disk, u.Name); !ok {
		if err := addUser(c.disk, account, !u.NoHome && !u.System, u.System, groups); err != nil {
			return err
		}
	} else if err := addMember(c.disk, u.Name, groups); err != nil {
		return err
	}
	if len(u.AuthorizedKeys) == 0 {
		return nil
	}
	created, _ := lookupUser(c.disk, u.Name)
	return c.authorize(created, u.AuthorizedKeys)
}

// authorize adds keys to the user's authorized_keys, skipping those present.
func (c *initRun) authorize(u user, keys []string) error {
	dir := u.home + "/.ssh"
	file := dir + "/authorized_keys"
	if err := c.disk.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	have, _ := c.disk.ReadFile(file) // it may not exist
	var b strings.Builder
	b.Write(have)
	if b.Len() > 0 && !strings.HasSuffix(b.String(), "\n") {
		b.WriteByte('\n')
	}
	for _, key := range keys {
		if key = strings.TrimSpace(key); key != "" && !slices.Contains(strings.Split(b.String(), "\n"), key) {
			b.WriteString(key + "\n")
		}
	}
	return errors.Join(
		c.disk.WriteFile(file, []byte(b.String()), 0o600),
		c.disk.Chown(dir, u.uid, u.gid), c.disk.Chmod(dir, 0o700),
		c.disk.Chown(file, u.uid, u.gid), c.disk.Chmod(file, 0o600))
}
