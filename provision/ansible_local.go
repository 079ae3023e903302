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
// connection. The baking host needs no Ansible; the machine does, and gets it
// from Install if it has none:
//
//	provision.AnsibleLocal{
//		Ansible: provision.Ansible{Dir: "ansible", Playbooks: []string{"web.yml"}},
//		Install: provision.Packages{Install: []string{"ansible-core"}, NoRecommends: true},
//		Remove:  provision.Packages{Remove: []string{"ansible-core"}},
//	}
//
// Dir is copied to a directory that only root can enter, as are the variables
// and the vault's password, and everything is removed afterwards. Requirements
// are installed on the machine, for this run. What Ansible says of
// configuration and errors holds here, too.
type AnsibleLocal struct {
	// Ansible is what to run and how. Of its fields Program is a path on the
	// machine, empty the one in root's PATH; Become means nothing, since all
	// runs as root; and a VaultPasswordFile is one below Dir.
	Ansible

	// Install installs Ansible if the machine has none, and Remove, which runs
	// after a success, removes it again. Shell is as good as Packages:
	//
	//	Install: provision.Shell("python3 -m venv /opt/ansible", "/opt/ansible/bin/pip install ansible-core").AsRoot(),
	//	Remove:  provision.Shell("rm -r /opt/ansible").AsRoot(),
	//
	// with Program "/opt/ansible/bin/ansible-playbook".
	Install bake.Provisioner
	Remove  bake.Provisioner
}

// String is "ansible on the machine: " and the playbooks.
func (a AnsibleLocal) String() string {
	return "ansible on the machine" + a.Ansible.String()[len("ansible"):]
}

func (a AnsibleLocal) tool() guestTool {
	return guestTool{owner: "AnsibleLocal", program: a.program(), install: a.Install, remove: a.Remove}
}

// Validate reports all that keeps Ansible from being run.
func (a AnsibleLocal) Validate() error {
	errs := append(a.check("AnsibleLocal"), a.tool().check())
	if path.IsAbs(a.VaultPasswordFile) {
		errs = append(errs, bake.Invalid("AnsibleLocal.VaultPasswordFile", "%q is not a path below Dir", a.VaultPasswordFile))
	}
	return errors.Join(errs...)
}

// DeclareInputs declares what Ansible does, and how it is installed.
func (a AnsibleLocal) DeclareInputs(in *bake.Inputs) error {
	return errors.Join(a.Ansible.DeclareInputs(in), a.tool().declare(in))
}

// Provision runs the playbooks on the machine.
func (a AnsibleLocal) Provision(ctx context.Context, m bake.Machine) error {
	if err := a.Validate(); err != nil {
		return err
	}
	bake.RunFromContext(ctx).Mask(a.hidden()...)
	return a.tool().use(ctx, m, func(s *staging, program string) error { return a.play(ctx, s, program) })
}

func (a AnsibleLocal) play(ctx context.Context, s *staging, program string) error {
	cmd, err := a.stage(ctx, s)
	if err != nil {
		return err
	}
	for _, file := range a.Requirements {
		install := *cmd
		install.Args = []string{path.Join(path.Dir(program), ansibleGalaxy), "install", "--role-file", path.Clean(file)}
		if err := s.m.Run(ctx, &install); err != nil {
			return fmt.Errorf("install what %s requires: %w", file, err)
		}
	}
	cmd.Args = append([]string{program}, cmd.Args...)
	err = s.m.Run(ctx, cmd)
	if err != nil && ctx.Err() != nil {
		return err
	}
	text, readErr := s.read(ctx, ansibleResultsFile)
	results, parseErr := parseAnsibleResults(bytes.NewReader(text))
	return a.ended(results, err, errors.Join(readErr, parseErr), a.hidden())
}

// stage uploads everything, and returns the command that uses it, without its
// program.
func (a AnsibleLocal) stage(ctx context.Context, s *staging) (*bake.Cmd, error) {
	playbooks := tree{a.FS, a.Dir, a.Exclude}
	dir, err := s.tree(ctx, "playbooks", playbooks)
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
		dir: s.path, config: path.Join(s.path, ansibleConfig), results: path.Join(s.path, ansibleResultsFile),
	}
	uploads := map[string]string{
		"inventory.yml": inventory, ansiblePluginFile: ansibleCallback, ansibleResultsFile: "", ansibleConfig: "",
	}
	if _, err := stat(a.FS, playbooks.join(ansibleConfig)); err == nil {
		paths.config = path.Join(dir, ansibleConfig)
	}
	varsFile, vault := "", a.VaultPasswordFile
	if vars != "" {
		varsFile = path.Join(s.path, "vars.yml")
		uploads["vars.yml"] = vars
	}
	if !a.VaultPassword.IsZero() {
		vault = path.Join(s.path, "vault")
		uploads["vault"] = a.VaultPassword.Reveal() + "\n"
	}
	for name, content := range uploads {
		if _, err := s.file(ctx, name, content); err != nil {
			return nil, err
		}
	}
	return &bake.Cmd{
		Args: a.arguments(path.Join(s.path, "inventory.yml"), varsFile, vault), Dir: dir, Sudo: true,
		Env: a.environment(paths, func(string) string { return "" }), Secrets: a.Secrets,
	}, nil
}

// ended is the error of a run that ended with err, of which the plugin told the
// results. A program that a test has put in Ansible's place tells none.
func (a Ansible) ended(results ansibleResults, err, readErr error, hidden []bake.Secret) error {
	switch {
	case err != nil:
		return results.explain(errors.Join(err, readErr), hidden)
	case readErr != nil:
		return readErr
	case results.ended && !slices.Contains(results.hosts, a.host()):
		return fmt.Errorf("no play of %s is for the host %s or for a group that it is in: nothing was done", a.Playbooks, a.host())
	}
	return nil
}
