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

// An Ansible runs playbooks against the machine from the baking host, which
// needs Ansible (ansible-core 2.14 or later) and OpenSSH's client, 8.4 or later
// where the login is by password. AnsibleLocal runs the same on the machine.
//
//	provision.Ansible{Dir: "ansible", Playbooks: []string{"web.yml"}, Groups: []string{"web"}, Become: true}
//
// Ansible logs in as the build does, through bastions and proxies, too, and
// accepts no other host key than the one that is pinned. Key, known hosts,
// inventory and variables are files of a directory on the baking host that only
// its user can enter; it is removed afterwards, whatever came. A playbook can
// delegate to localhost and to no other host.
//
// # Configuration
//
// The only ansible.cfg that counts is the one in Dir; those of the user and of
// the system do not. The following are set whatever that file says: host keys
// are checked (ANSIBLE_HOST_KEY_CHECKING), control sockets are in the private
// directory (ANSIBLE_SSH_CONTROL_PATH_DIR), Ansible's own temporary files, too
// (ANSIBLE_LOCAL_TEMP), and no retry files are written
// (ANSIBLE_RETRY_FILES_ENABLED). Pipelining is on, which is much faster; where
// sudo insists on a terminal set Env to {"ANSIBLE_PIPELINING": "False"}. With
// Requirements, roles and collections are looked for in what was installed for
// the run, beside the playbooks, and where Ansible looks by default.
//
// # Errors
//
// A run that fails is a *bake.ExitError behind the meaning of Ansible's exit
// status and the message of the last task that failed. Playbooks that have no
// play for the machine are an error, too, where Ansible itself is content.
// When the context ends, Ansible, what it has started here, and what it runs on
// the machine are killed.
type Ansible struct {
	// Dir is the directory of the playbooks and all that they use: roles,
	// group_vars, files, ansible.cfg. Ansible runs in it. With FS it is a
	// directory in there, of which Ansible is given a copy; empty is then all
	// of FS.
	Dir string
	FS  fs.FS

	// Playbooks are files below Dir, run in this order by one ansible-playbook.
	Playbooks []string

	// Requirements are Galaxy files below Dir, with roles or collections to
	// install for this run.
	Requirements []string

	// Host is the machine's name in the inventory. Empty is "default".
	Host string

	// Groups are the groups that the machine is in, besides "all".
	Groups []string

	// HostVars are variables of the host, and Vars are extra variables, which
	// win over all others. Each is a struct or a map that encoding/json
	// marshals to an object. Nil is none.
	HostVars any
	Vars     any

	// SecretVars are extra variables, too. Their values are taken as they are,
	// without templates, and are masked in what the build reports.
	SecretVars map[string]bake.Secret

	// Become runs every task as root by sudo, unless the task says otherwise.
	Become bool

	// Tags and SkipTags choose among the tasks.
	Tags     []string
	SkipTags []string

	// VaultPassword opens encrypted variables and files. VaultPasswordFile, a
	// path below Dir or an absolute one, may be a program instead, as Ansible
	// allows. At most one is set.
	VaultPassword     bake.Secret
	VaultPasswordFile string

	// Args are further arguments of ansible-playbook: "--diff", "-vv".
	Args []string

	// Env and Secrets are added to Ansible's environment.
	Env     map[string]string
	Secrets map[string]bake.Secret

	// Program is the ansible-playbook to run. Empty is the one in PATH.
	// ansible-galaxy is the one beside it.
	Program string

	// Exclude are patterns, as in bake.Upload, of what in Dir does not belong
	// to the image's inputs, and is not copied where Dir is.
	Exclude []string
}

const (
	ansiblePlaybook = "ansible-playbook"
	ansibleGalaxy   = "ansible-galaxy"
	ansibleHost     = "default"
)

// String is "ansible: " and the playbooks.
func (a Ansible) String() string { return "ansible: " + strings.Join(a.Playbooks, " ") }

// Validate reports all that keeps Ansible from being run.
func (a Ansible) Validate() error {
	errs := a.check("Ansible")
	if runtime.GOOS == "windows" {
		errs = append(errs, bake.Invalid("Ansible", "it does not run on Windows: use AnsibleLocal"))
	}
	programs := []string{a.program()}
	if len(a.Requirements) > 0 {
		programs = append(programs, a.galaxy())
	}
	for _, program := range append(programs, "ssh") {
		if _, err := exec.LookPath(program); err != nil {
			errs = append(errs, bake.Invalid("Ansible.Program", "%w", err))
		}
	}
	return errors.Join(errs...)
}

// check reports what is wrong on the baking host and on the machine alike;
// owner is the type that the caller has filled in.
func (a Ansible) check(owner string) []error {
	field := func(name string) string { return owner + "." + name }
	tree := tree{a.FS, a.Dir, a.Exclude}
	errs := []error{
		tree.check(field("Dir")),
		checkEnv(owner, a.Env, a.Secrets),
		checkObject(field("HostVars"), a.HostVars),
		checkObject(field("Vars"), a.Vars),
	}
	if len(a.Playbooks) == 0 {
		errs = append(errs, bake.Invalid(field("Playbooks"), "is required"))
	}
	for _, name := range a.Playbooks {
		errs = append(errs, tree.checkFile(field("Playbooks"), name))
	}
	for _, name := range a.Requirements {
		errs = append(errs, tree.checkFile(field("Requirements"), name))
	}
	switch {
	case a.VaultPasswordFile == "":
	case !a.VaultPassword.IsZero():
		errs = append(errs, bake.Invalid(owner, "at most one of VaultPassword and VaultPasswordFile may be set"))
	case filepath.IsAbs(a.VaultPasswordFile):
		errs = append(errs, checkFile(field("VaultPasswordFile"), nil, a.VaultPasswordFile))
	default:
		errs = append(errs, tree.checkFile(field("VaultPasswordFile"), a.VaultPasswordFile))
	}
	if !ansibleName(a.host()) {
		errs = append(errs, bake.Invalid(field("Host"), "%q is no name of a host in an inventory", a.Host))
	}
	for _, group := range a.Groups {
		if !variableName(group) {
			errs = append(errs, bake.Invalid(field("Groups"), "%q is no name of a group", group))
		}
	}
	for name := range a.SecretVars {
		if !variableName(name) {
			errs = append(errs, bake.Invalid(field("SecretVars"), "%q is no name of a variable", name))
		}
	}
	for _, arg := range a.Args {
		switch arg {
		case "-k", "--ask-pass", "-K", "--ask-become-pass", "-J", "--ask-vault-pass", "--ask-vault-password":
			errs = append(errs, bake.Invalid(field("Args"), "%s: nobody is there to be asked", arg))
		}
	}
	if slices.ContainsFunc(a.Args, hasNUL) {
		errs = append(errs, bake.Invalid(field("Args"), "contain a NUL byte"))
	}
	return errs
}

// DeclareInputs declares everything below Dir that is not excluded, and every
// parameter.
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

// galaxy is the ansible-galaxy of the same installation.
func (a Ansible) galaxy() string {
	if filepath.Base(a.Program) == a.Program {
		return ansibleGalaxy
	}
	return filepath.Join(filepath.Dir(a.Program), ansibleGalaxy)
}

// ansibleName reports whether a pattern of hosts can name it alone.
func ansibleName(name string) bool {
	return name != "" && !strings.HasPrefix(name, "-") && !strings.ContainsAny(name, " \t\r\n,:;&!*?[]{}()~@/\\'\"\x00")
}

// variableName reports whether name is an identifier, as Ansible wants
// variables and groups to be.
func variableName(name string) bool { return bake.ValidEnvName(name) }

// arguments are those of ansible-playbook, with the paths of the files that
// were made for the run.
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
		// Ansible would take "-x.yml" for an option.
		args = append(args, "./"+filepath.ToSlash(filepath.Clean(playbook)))
	}
	return args
}

// hidden is everything that may not be shown.
func (a Ansible) hidden() []bake.Secret {
	all := slices.Collect(maps.Values(a.SecretVars))
	all = slices.AppendSeq(all, maps.Values(a.Secrets))
	return append(all, a.VaultPassword)
}

// ansibleMeaning is what Ansible's exit status stands for.
func ansibleMeaning(status int) string {
	switch status {
	case 1:
		return "it could not run the playbooks"
	case 2:
		return "a task failed"
	case 3, 4:
		return "the machine could not be reached, or a file could not be read as what it should be"
	case 5:
		return "its options are wrong"
	case 99:
		return "it was interrupted"
	case 250:
		return "it crashed"
	}
	return fmt.Sprintf("it ended with status %d", status)
}
