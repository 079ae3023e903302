package provision

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// An Ansible runs playbooks from the baking host against the machine. The baking
// host needs ansible-core 2.14 or later and OpenSSH's client, 8.4 or later for
// logins by password. [AnsibleLocal] runs the playbooks on the machine instead.
//
//	provision.Ansible{Dir: "ansible", Playbooks: []string{"web.yml"}, Groups: []string{"web"}, Become: true}
//
// Ansible logs in like the build, including through bastions and proxies, and
// accepts only the pinned host key. Keys, inventory and variables are stored in a
// directory on the baking host that only the current user can enter, which is
// always removed afterwards. Playbooks can delegate to localhost but not to other
// hosts.
//
// # Configuration
//
// Only the ansible.cfg in Dir is used, not those of the user and the system. These
// settings override it: host keys are checked (ANSIBLE_HOST_KEY_CHECKING), control
// sockets and temporary files are in the private directory
// (ANSIBLE_SSH_CONTROL_PATH_DIR, ANSIBLE_LOCAL_TEMP), and retry files are disabled
// (ANSIBLE_RETRY_FILES_ENABLED). Pipelining is enabled for speed; if sudo requires a
// terminal, set Env to {"ANSIBLE_PIPELINING": "False"}. With Requirements, Ansible
// finds roles and collections among those installed for the run, next to the
// playbooks, and in its default directories.
//
// # Errors
//
// A run that fails is a [*bake.ExitError], wrapped with the meaning of Ansible's
// exit status and the message of the last failed task. It is also an error if no
// play of the playbooks matches the machine, which Ansible itself ignores. When the
// context ends, Ansible and its processes on the baking host and the machine are
// killed.
type Ansible struct {
	// Dir is the directory that contains the playbooks and everything they use:
	// roles, group_vars, files, ansible.cfg. Ansible runs in it. If FS is set, Dir
	// is a directory in FS, or all of FS if empty, and Ansible runs in a copy.
	Dir string
	FS  fs.FS

	// Playbooks are files below Dir. A single ansible-playbook runs them in this
	// order. At least one is required.
	Playbooks []string

	// Requirements are Galaxy files below Dir that list roles or collections to
	// install for this run.
	Requirements []string

	// Host is the machine's name in the inventory. If empty, it is "default".
	Host string

	// Groups are the machine's inventory groups besides "all".
	Groups []string

	// HostVars are host variables. Vars are extra variables, which override all
	// others. Each is a struct or map that encoding/json marshals to an object.
	// Both are optional.
	HostVars any
	Vars     any

	// SecretVars are additional extra variables. Ansible does not expand templates
	// in them, and they are masked in everything the build reports.
	SecretVars map[string]bake.Secret

	// Become runs every task as root with sudo, unless the task disables it.
	Become bool

	// Tags and SkipTags select tasks.
	Tags     []string
	SkipTags []string

	// VaultPassword decrypts variables and files. VaultPasswordFile, an absolute
	// path or one below Dir, contains the password or is a program that prints it.
	// At most one of them may be set.
	VaultPassword     bake.Secret
	VaultPasswordFile string

	// Args are additional arguments of ansible-playbook: "--diff", "-vv".
	Args []string

	// Env and Secrets are added to Ansible's environment. The values of Secrets
	// are masked in everything the build reports.
	Env     map[string]string
	Secrets map[string]bake.Secret

	// Program is the path of ansible-playbook; ansible-galaxy is in the same
	// directory. If empty, PATH is searched for both.
	Program string

	// Exclude lists patterns of files in Dir, as in [bake.Upload], that are not
	// inputs of the image. They are also left out if Dir is copied.
	Exclude []string
}

var (
	_ bake.Provisioner   = Ansible{}
	_ bake.Validator     = Ansible{}
	_ bake.HostValidator = Ansible{}
	_ bake.InputDeclarer = Ansible{}
)

const (
	ansiblePlaybook = "ansible-playbook"
	ansibleGalaxy   = "ansible-galaxy"
	ansibleHost     = "default"
)

// String returns "ansible: " and the playbooks.
func (a Ansible) String() string { return "ansible: " + strings.Join(a.Playbooks, " ") }

// Validate reports invalid fields and files that do not exist.
func (a Ansible) Validate() error {
	return errors.Join(append(a.check("Ansible"), checkRedacted("Ansible", a))...)
}

// ValidateHost reports programs that are missing on the baking host.
func (a Ansible) ValidateHost() error {
	if runtime.GOOS == "windows" {
		return bake.Invalid("Ansible", "Ansible does not run on Windows: use AnsibleLocal, which runs it on the machine")
	}
	programs := []string{a.program()}
	if len(a.Requirements) > 0 {
		programs = append(programs, a.galaxy())
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			return bake.Invalid("Ansible.Program", "%w: install ansible-core on the baking host or set Program to its ansible-playbook, or use AnsibleLocal, which runs it on the machine", err)
		}
	}
	if _, err := exec.LookPath("ssh"); err != nil {
		return bake.Invalid("Ansible", "%w: install OpenSSH's client on the baking host, or use AnsibleLocal, which runs Ansible on the machine", err)
	}
	return nil
}

// check reports invalid fields, whether Ansible runs on the baking host or on the
// machine. The owner is the type to name in errors.
func (a Ansible) check(owner string) []error {
	field := func(name string) string { return owner + "." + name }
	dir := tree{a.FS, a.Dir, a.Exclude}
	errs := []error{
		dir.check(field("Dir")),
		checkEnv(owner, a.Env, a.Secrets),
		checkObject(field("HostVars"), a.HostVars),
		checkObject(field("Vars"), a.Vars),
	}
	if len(a.Playbooks) == 0 {
		errs = append(errs, bake.Invalid(field("Playbooks"), "is required"))
	}
	for _, name := range a.Playbooks {
		errs = append(errs, dir.checkFile(field("Playbooks"), name))
	}
	for _, name := range a.Requirements {
		errs = append(errs, dir.checkFile(field("Requirements"), name))
	}
	switch {
	case a.VaultPasswordFile == "":
	case !a.VaultPassword.IsZero():
		errs = append(errs, bake.Invalid(owner, "at most one of VaultPassword and VaultPasswordFile may be set"))
	case filepath.IsAbs(a.VaultPasswordFile):
		errs = append(errs, checkFile(field("VaultPasswordFile"), nil, a.VaultPasswordFile))
	default:
		errs = append(errs, dir.checkFile(field("VaultPasswordFile"), a.VaultPasswordFile))
	}
	if !validHostName(a.host()) {
		errs = append(errs, bake.Invalid(field("Host"), "invalid inventory host name %q", a.Host))
	}
	for _, group := range a.Groups {
		if !validVariableName(group) {
			errs = append(errs, bake.Invalid(field("Groups"), "invalid group name %q", group))
		}
	}
	for name := range a.SecretVars {
		if !validVariableName(name) {
			errs = append(errs, bake.Invalid(field("SecretVars"), "invalid variable name %q", name))
		}
	}
	for _, arg := range a.Args {
		switch arg {
		case "-k", "--ask-pass", "-K", "--ask-become-pass", "-J", "--ask-vault-pass", "--ask-vault-password":
			errs = append(errs, bake.Invalid(field("Args"), "%s: interactive prompts are not supported", arg))
		}
	}
	if slices.ContainsFunc(a.Args, hasNUL) {
		errs = append(errs, bake.Invalid(field("Args"), "contains a NUL byte"))
	}
	return errs
}

// DeclareInputs declares the files below Dir that are not excluded, and the
// parameters.
func (a Ansible) DeclareInputs(in *bake.Inputs) error {
	if err := in.Tree("dir", a.FS, a.Dir, a.Exclude); err != nil {
		return err
	}
	if filepath.IsAbs(a.VaultPasswordFile) {
		if err := in.File("vault password file", nil, a.VaultPasswordFile); err != nil {
			return err
		}
	} else {
		in.Value("vault password file", a.VaultPasswordFile)
	}
	for _, vars := range []struct {
		name  string
		value any
	}{{"host vars", a.HostVars}, {"vars", a.Vars}} {
		if err := declareObject(in, vars.name, vars.value); err != nil {
			return err
		}
	}
	in.Value("playbooks", a.Playbooks)
	in.Value("requirements", a.Requirements)
	in.Value("host", a.host())
	in.Value("groups", a.Groups)
	in.Value("become", a.Become)
	in.Value("tags", a.Tags)
	in.Value("skip tags", a.SkipTags)
	in.Secret("vault password", a.VaultPassword)
	in.Value("args", a.Args)
	declareSecrets(in, "secret var", a.SecretVars)
	declareEnv(in, a.Env, a.Secrets)
	return nil
}

func (a Ansible) host() string {
	if a.Host == "" {
		return ansibleHost
	}
	return a.Host
}

func (a Ansible) program() string {
	if a.Program == "" {
		return ansiblePlaybook
	}
	return a.Program
}

// galaxy returns the path of the ansible-galaxy of the same installation.
func (a Ansible) galaxy() string {
	if filepath.Base(a.Program) == a.Program {
		return ansibleGalaxy
	}
	return filepath.Join(filepath.Dir(a.Program), ansibleGalaxy)
}

// validHostName reports whether name, as a host pattern, matches only itself.
func validHostName(name string) bool {
	return name != "" && !strings.HasPrefix(name, "-") && !strings.ContainsAny(name, " \t\r\n,:;&!*?[]{}()~@/\\'\"\x00")
}

// validVariableName reports whether name is valid for a variable or group of
// Ansible.
func validVariableName(name string) bool { return bake.ValidEnvName(name) }

// arguments returns the arguments of ansible-playbook, given the paths of the files
// created for the run.
func (a Ansible) arguments(inventory, vars, vault string) []string {
	args := []string{"--inventory", inventory}
	if vars != "" {
		args = append(args, "--extra-vars", "@"+vars)
	}
	if vault != "" {
		args = append(args, "--vault-password-file", vault)
	}
	if len(a.Tags) > 0 {
		args = append(args, "--tags", strings.Join(a.Tags, ","))
	}
	if len(a.SkipTags) > 0 {
		args = append(args, "--skip-tags", strings.Join(a.SkipTags, ","))
	}
	args = append(args, a.Args...)
	for _, playbook := range a.Playbooks {
		// Without "./", Ansible would parse "-x.yml" as an option.
		args = append(args, "./"+filepath.ToSlash(filepath.Clean(playbook)))
	}
	return args
}

// secrets returns every value to mask.
func (a Ansible) secrets() []bake.Secret {
	all := slices.Collect(maps.Values(a.SecretVars))
	all = slices.AppendSeq(all, maps.Values(a.Secrets))
	return append(all, a.VaultPassword)
}

// ansibleMeaning returns the meaning of Ansible's exit status.
func ansibleMeaning(status int) string {
	switch status {
	case 1:
		return "ansible could not run the playbooks"
	case 2:
		return "a task failed"
	case 3, 4:
		return "the machine is unreachable, or a file could not be parsed"
	case 5:
		return "invalid options"
	case 99:
		return "ansible was interrupted"
	case 250:
		return "ansible crashed"
	}
	return fmt.Sprintf("ansible exited with status %d", status)
}
