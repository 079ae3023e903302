package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/bakestone-go/bakestone/bake"
)

// An AnsibleLocal runs playbooks on the machine itself, as root over a local
// connection. The machine needs Ansible, which Install can install; the baking host
// does not:
//
//	provision.AnsibleLocal{
//		Ansible: provision.Ansible{Dir: "ansible", Playbooks: []string{"web.yml"}},
//		Install: provision.Packages{Install: []string{"ansible-core"}, NoRecommends: true},
//		Remove:  provision.Packages{Remove: []string{"ansible-core"}},
//	}
//
// It copies Dir, the variables and the vault password to a directory that only root
// can enter, and removes the directory afterwards. Requirements are installed on the
// machine for this run. Configuration and errors are as described for [Ansible].
type AnsibleLocal struct {
	// Ansible defines what to run. Program is a path on the machine; if empty,
	// root's PATH is searched. Become has no effect, since everything runs as
	// root. VaultPasswordFile must be below Dir.
	Ansible

	// Install installs Ansible if it is missing. Remove removes it after a
	// successful run. Both are optional. They can be any provisioner, such
	// as [Packages], or a [Shell] to install into a virtual environment:
	//
	//	Install: provision.Shell("python3 -m venv /opt/ansible", "/opt/ansible/bin/pip install ansible-core").AsRoot(),
	//	Remove:  provision.Shell("rm -r /opt/ansible").AsRoot(),
	//
	// and Program "/opt/ansible/bin/ansible-playbook".
	Install bake.Provisioner
	Remove  bake.Provisioner
}

var (
	_ bake.Provisioner   = AnsibleLocal{}
	_ bake.Validator     = AnsibleLocal{}
	_ bake.InputDeclarer = AnsibleLocal{}
)

// String returns "ansible on the machine: " and the playbooks.
func (a AnsibleLocal) String() string {
	return "ansible on the machine" + a.Ansible.String()[len("ansible"):]
}

func (a AnsibleLocal) tool() guestTool {
	return guestTool{owner: "AnsibleLocal", program: a.program(), install: a.Install, remove: a.Remove}
}

// Validate reports invalid fields and files that do not exist.
func (a AnsibleLocal) Validate() error {
	errs := append(a.check("AnsibleLocal"), a.tool().check())
	if path.IsAbs(a.VaultPasswordFile) {
		errs = append(errs, bake.Invalid("AnsibleLocal.VaultPasswordFile", "%q must be a path below Dir", a.VaultPasswordFile))
	}
	return errors.Join(append(errs, checkRedacted("AnsibleLocal", a))...)
}

// ValidateHost reports nothing: Ansible runs on the machine.
func (a AnsibleLocal) ValidateHost() error { return nil }

// DeclareInputs declares the inputs of Ansible, Install and Remove.
func (a AnsibleLocal) DeclareInputs(in *bake.Inputs) error {
	return errors.Join(a.Ansible.DeclareInputs(in), a.tool().declare(in))
}

// Provision runs the playbooks on the machine.
func (a AnsibleLocal) Provision(ctx context.Context, m bake.Machine) error {
	if err := a.Validate(); err != nil {
		return err
	}
	bake.RunFromContext(ctx).Mask(a.secrets()...)
	return a.tool().use(ctx, m, func(dir *stagingDir, program string) error { return a.play(ctx, dir, program) })
}

func (a AnsibleLocal) play(ctx context.Context, dir *stagingDir, program string) error {
	cmd, err := a.stage(ctx, dir)
	if err != nil {
		return err
	}
	for _, file := range a.Requirements {
		install := *cmd
		install.Args = []string{path.Join(path.Dir(program), ansibleGalaxy), "install", "--role-file", path.Clean(file)}
		if err := dir.m.Run(ctx, &install); err != nil {
			return fmt.Errorf("install requirements of %s: %w", file, err)
		}
	}
	cmd.Args = append([]string{program}, cmd.Args...)
	err = dir.m.Run(ctx, cmd)
	if err != nil && ctx.Err() != nil {
		return err
	}
	text, readErr := dir.read(ctx, ansibleResultsFile)
	results, parseErr := parseAnsibleResults(bytes.NewReader(text))
	return a.runError(results, err, errors.Join(readErr, parseErr), a.secrets())
}

// stage uploads the files and returns the command to run, without the program.
func (a AnsibleLocal) stage(ctx context.Context, staging *stagingDir) (*bake.Cmd, error) {
	playbooks := tree{a.FS, a.Dir, a.Exclude}
	dir, err := staging.tree(ctx, "playbooks", playbooks)
	if err != nil {
		return nil, err
	}
	inventory, err := a.inventory([]variable{textVariable("ansible_connection", "local")})
	if err != nil {
		return nil, err
	}
	vars, err := a.extraVars()
	if err != nil {
		return nil, err
	}
	paths := ansiblePaths{
		dir: staging.path, config: path.Join(staging.path, ansibleConfig), results: path.Join(staging.path, ansibleResultsFile),
	}
	uploads := map[string]string{
		"inventory.yml": inventory, ansiblePluginFile: ansibleCallback, ansibleResultsFile: "", ansibleConfig: "",
	}
	if _, err := stat(a.FS, playbooks.join(ansibleConfig)); err == nil {
		paths.config = path.Join(dir, ansibleConfig)
	}
	varsFile, vault := "", a.VaultPasswordFile
	if vars != "" {
		varsFile = path.Join(staging.path, "vars.yml")
		uploads["vars.yml"] = vars
	}
	if !a.VaultPassword.IsZero() {
		vault = path.Join(staging.path, "vault")
		uploads["vault"] = a.VaultPassword.Reveal() + "\n"
	}
	for name, content := range uploads {
		if _, err := staging.file(ctx, name, content); err != nil {
			return nil, err
		}
	}
	return &bake.Cmd{
		Args: a.arguments(path.Join(staging.path, "inventory.yml"), varsFile, vault), Dir: dir, Sudo: true,
		Env: a.environment(paths, func(string) string { return "" }), Secrets: a.Secrets,
	}, nil
}

// runError returns the error of a run. Ansible ended with err, and reading the
// plugin's results with readErr. Tests may replace Ansible with a program that
// writes no results.
func (a Ansible) runError(results ansibleResults, err, readErr error, secrets []bake.Secret) error {
	switch {
	case err != nil:
		return results.explain(errors.Join(err, readErr), secrets)
	case readErr != nil:
		return readErr
	case results.ended && !slices.Contains(results.hosts, a.host()):
		return fmt.Errorf("no play of %s matches host %s or its groups: nothing was done", a.Playbooks, a.host())
	}
	return nil
}
