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
	"github.com/bakestone-go/bakestone/internal/staging"
)

// An ansibleDir is the private directory of a run on the baking host.
type ansibleDir struct {
	path    string
	sockets string // directory of ssh's control sockets: path, or a shorter one
}

// maxSocketDirLen is the length of the longest directory for ssh's control sockets.
// The path of a socket is limited to 103 bytes. Ansible's names take 11 bytes, and
// ssh appends 18 while it creates a socket.
const maxSocketDirLen = 70

func newAnsibleDir() (*ansibleDir, error) {
	dir, err := os.MkdirTemp("", staging.Prefix) // 0700
	if err != nil {
		return nil, err
	}
	d := &ansibleDir{path: dir, sockets: dir}
	if len(dir) > maxSocketDirLen {
		if d.sockets, err = os.MkdirTemp("/tmp", staging.Prefix); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	return d, nil
}

// remove removes the directories.
func (d *ansibleDir) remove() error {
	return errors.Join(os.RemoveAll(d.path), os.RemoveAll(d.sockets))
}

// write creates a file that only its owner can read.
func (d *ansibleDir) write(name, content string) (string, error) {
	at := filepath.Join(d.path, name)
	return at, os.WriteFile(at, []byte(content), 0o600)
}

// writeProgram creates a script that only its owner can run.
func (d *ansibleDir) writeProgram(name, script string) (string, error) {
	at := filepath.Join(d.path, name)
	return at, os.WriteFile(at, []byte(script), 0o700) //nolint:gosec // it must be executable
}

// connection writes the files that ssh needs to reach the machine and returns
// Ansible's variables for the connection.
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
			// These precede Ansible's own options, which disable passwords.
			textVariable("ansible_ssh_args", "-C -o ControlMaster=auto -o ControlPersist=60s -o PasswordAuthentication=yes"+
				" -o KbdInteractiveAuthentication=yes -o PreferredAuthentications=password,keyboard-interactive"),
			// In batch mode, sftp and scp do not ask for a password.
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

// byPassword reports whether the login requires a password.
func byPassword(access bake.SSHAccess) bool { return access.Key.IsZero() && access.Agent == "" }

// sshConfig writes the keys and returns a configuration that makes ssh use only
// them.
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

// sshWithMark returns a script that calls ssh and marks the remote command, so that
// it can be found and killed. The last argument is a command if it contains a space,
// else the host. If mark is empty, the script only calls ssh.
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

// askPass returns the environment variables that make ssh read the password from a
// file, or nil for other logins.
func (d *ansibleDir) askPass(ctx context.Context, access bake.SSHAccess) (map[string]string, error) {
	if !byPassword(access) {
		return nil, nil //nolint:nilnil // no variables are needed
	}
	if err := checkSSHVersion(ctx); err != nil {
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

// checkSSHVersion reports an ssh that ignores SSH_ASKPASS_REQUIRE and would ask for
// the password at the terminal.
func checkSSHVersion(ctx context.Context) error {
	output, err := exec.CommandContext(ctx, "ssh", "-V").CombinedOutput()
	if err != nil {
		return fmt.Errorf("ssh -V: %w", err)
	}
	version := regexp.MustCompile(`OpenSSH_[a-zA-Z_]*([0-9]+)\.([0-9]+)`).FindSubmatch(output)
	if version == nil {
		return fmt.Errorf("login by password requires OpenSSH 8.4 or later, not %.60q", output)
	}
	major, _ := strconv.Atoi(string(version[1])) // digits
	minor, _ := strconv.Atoi(string(version[2]))
	if major < 8 || major == 8 && minor < 4 {
		return fmt.Errorf("login by password requires OpenSSH 8.4 or later, not %d.%d", major, minor)
	}
	return nil
}

// endMasters closes the connections that ssh keeps open for later commands.
func (d *ansibleDir) endMasters(ctx context.Context) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), localKillDelay)
	defer stop()
	entries, _ := os.ReadDir(d.sockets)
	for _, entry := range entries {
		if entry.Type()&os.ModeSocket == 0 {
			continue
		}
		// The connection may already be closed.
		_ = exec.CommandContext(ctx, "ssh", "-F", "none", "-O", "exit", //nolint:gosec // the name is ours
			"-o", "ControlPath="+strings.ReplaceAll(filepath.Join(d.sockets, entry.Name()), "%", "%%"), "master").Run()
	}
}
