package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// An ansibleDir is the private directory of one run on the baking host.
type ansibleDir struct {
	path    string
	sockets string // of ssh's masters; elsewhere when path is too long for a socket
}

// longestSocketDir is the longest directory in which ssh can make its sockets:
// their whole path has 103 bytes at most, of which Ansible's names take 11 and
// ssh's own, while it makes one, 18 more.
const longestSocketDir = 70

func newAnsibleDir() (*ansibleDir, error) {
	dir, err := os.MkdirTemp("", ownDirPrefix) // 0700
	if err != nil {
		return nil, err
	}
	d := &ansibleDir{path: dir, sockets: dir}
	if len(dir) > longestSocketDir {
		if d.sockets, err = os.MkdirTemp("/tmp", ownDirPrefix); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	return d, nil
}

// remove removes everything.
func (d *ansibleDir) remove() error {
	return errors.Join(os.RemoveAll(d.path), os.RemoveAll(d.sockets))
}

// write makes a file that only its owner can read.
func (d *ansibleDir) write(name, content string) (string, error) {
	at := filepath.Join(d.path, name)
	return at, os.WriteFile(at, []byte(content), 0o600)
}

// writeProgram makes a script that only its owner can run.
func (d *ansibleDir) writeProgram(name, script string) (string, error) {
	at := filepath.Join(d.path, name)
	return at, os.WriteFile(at, []byte(script), 0o700) //nolint:gosec // it is a program
}

// connection writes what ssh needs to reach the machine, and returns the
// variables that tell Ansible so.
func (d *ansibleDir) connection(access bake.SSHAccess, become bool) ([]variable, error) {
	config, err := d.sshConfig(access)
	if err != nil {
		return nil, err
	}
	at, err := d.write("ssh_config", config)
	if err != nil {
		return nil, err
	}
	ssh, err := d.writeProgram("ssh", sshWithMark(access.Mark))
	if err != nil {
		return nil, err
	}
	port, _ := variablesOf(map[string]int{"ansible_port": access.Port}) // always marshals
	variables := append(port,
		textVariable("ansible_connection", "ssh"),
		textVariable("ansible_host", access.Host),
		textVariable("ansible_user", access.User),
		textVariable("ansible_ssh_executable", ssh),
		textVariable("ansible_ssh_common_args", "-F "+posixsh.Quote(at)),
	)
	if byPassword(access) {
		variables = append(variables,
			// Ansible forbids passwords that it does not know itself, after these.
			textVariable("ansible_ssh_args", "-C -o ControlMaster=auto -o ControlPersist=60s -o PasswordAuthentication=yes"+
				" -o KbdInteractiveAuthentication=yes -o PreferredAuthentications=password,keyboard-interactive"),
			// sftp and scp in batch mode never ask for a password.
			textVariable("ansible_ssh_transfer_method", "piped"))
	}
	if become {
		variables = append(variables, variable{name: "ansible_become", value: []byte("true")})
	}
	if !access.SudoPassword.IsZero() {
		variables = append(variables, secretVariable("ansible_become_password", access.SudoPassword))
	}
	return variables, nil
}

// byPassword reports whether a password is the only way to log in.
func byPassword(access bake.SSHAccess) bool { return access.Key.IsZero() && access.Agent == "" }

// sshConfig writes the keys, and returns the configuration that has ssh use
// them and nothing of the user's own.
func (d *ansibleDir) sshConfig(access bake.SSHAccess) (string, error) {
	lines := []string{
		"Host *",
		"GlobalKnownHostsFile /dev/null",
		"StrictHostKeyChecking yes",
		"UpdateHostKeys no",
		"ForwardAgent no",
		"ServerAliveInterval 15",
		"ServerAliveCountMax 4",
	}
	file := func(keyword, name, content string) error {
		at, err := d.write(name, content)
		lines = append(lines, keyword+` "`+strings.ReplaceAll(at, "%", "%%")+`"`)
		return err
	}
	err := file("UserKnownHostsFile", "known_hosts", access.KnownHosts)
	if !access.Key.IsZero() {
		err = errors.Join(err, file("IdentityFile", "key", access.Key.Reveal()))
	}
	if access.Certificate != "" {
		err = errors.Join(err, file("CertificateFile", "key-cert.pub", access.Certificate))
	}
	switch {
	case access.Agent != "":
		lines = append(lines, `IdentityAgent "`+strings.ReplaceAll(access.Agent, "%", "%%")+`"`)
	case !access.Key.IsZero():
		lines = append(lines, "IdentityAgent none", "IdentitiesOnly yes")
	default:
		lines = append(lines, "IdentityAgent none", "IdentityFile none", "PubkeyAuthentication no", "NumberOfPasswordPrompts 1")
	}
	return strings.Join(lines, "\n") + "\n", err
}

// sshWithMark is an ssh that runs its commands on the machine with the mark by
// which they are found and killed. Only a command has a space in it; what else
// Ansible says at the end is the host. With an empty mark it is plain ssh.
func sshWithMark(mark string) string {
	if mark == "" {
		return "#!/bin/sh\nexec ssh \"$@\"\n"
	}
	return `#!/bin/sh
n=$#
for arg do
	shift
	n=$((n-1))
	case $n-$arg in
	0-*\ *) arg="env ` + mark + ` $arg" ;;
	esac
	set -- "$@" "$arg"
done
exec ssh "$@"
`
}

// askPass is the environment in which ssh gets the password from a file.
func (d *ansibleDir) askPass(ctx context.Context, access bake.SSHAccess) (map[string]string, error) {
	if !byPassword(access) {
		return nil, nil //nolint:nilnil // nothing is needed, and nothing is wrong
	}
	if err := knowsAskPass(ctx); err != nil {
		return nil, err
	}
	file, err := d.write("password", access.Password.Reveal()+"\n")
	if err != nil {
		return nil, err
	}
	program, err := d.writeProgram("askpass", "#!/bin/sh\nexec cat "+posixsh.Quote(file)+"\n")
	if err != nil {
		return nil, err
	}
	return map[string]string{"SSH_ASKPASS": program, "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}, nil
}

// knowsAskPass reports an ssh that would ask for a password at a terminal,
// whatever it is told.
func knowsAskPass(ctx context.Context) error {
	said, err := exec.CommandContext(ctx, "ssh", "-V").CombinedOutput()
	if err != nil {
		return fmt.Errorf("ssh -V: %w", err)
	}
	version := regexp.MustCompile(`OpenSSH_[a-zA-Z_]*([0-9]+)\.([0-9]+)`).FindSubmatch(said)
	if version == nil {
		return fmt.Errorf("the login is by password, for which ssh must be OpenSSH 8.4 or later; it is %.60q", said)
	}
	major, _ := strconv.Atoi(string(version[1])) // digits
	minor, _ := strconv.Atoi(string(version[2]))
	if major < 8 || major == 8 && minor < 4 {
		return fmt.Errorf("the login is by password, for which ssh must be OpenSSH 8.4 or later; it is %d.%d", major, minor)
	}
	return nil
}

// endMasters ends the connections that ssh holds open for the next command.
func (d *ansibleDir) endMasters(ctx context.Context) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer stop()
	entries, _ := os.ReadDir(d.sockets)
	for _, entry := range entries {
		if entry.Type()&os.ModeSocket == 0 {
			continue
		}
		// One that has ended by itself is no error.
		_ = exec.CommandContext(ctx, "ssh", "-F", "none", "-O", "exit", //nolint:gosec // the name is ours
			"-o", "ControlPath="+strings.ReplaceAll(filepath.Join(d.sockets, entry.Name()), "%", "%%"), "master").Run()
	}
}
