package provision

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// Provision runs the playbooks and waits for them. Nothing of the run is left
// on the baking host.
func (a Ansible) Provision(ctx context.Context, m bake.Machine) error {
	if err := a.Validate(); err != nil {
		return err
	}
	bake.RunOf(ctx).Mask(a.hidden()...)
	return bake.ReachSSH(ctx, m, func(ctx context.Context, access bake.SSHAccess) (err error) {
		dir, err := newAnsibleDir()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, dir.remove()) }()
		run, err := a.prepare(ctx, dir, access)
		if err != nil {
			return fmt.Errorf("prepare Ansible: %w", err)
		}
		defer dir.endMasters(ctx)
		return run.play(ctx)
	})
}

// An ansibleRun is one Ansible with the files that were made for its run.
type ansibleRun struct {
	Ansible
	dir     string // of the playbooks
	args    []string
	env     map[string]string
	results string // the file in which the plugin writes
	access  bake.SSHAccess
}

func (a Ansible) prepare(ctx context.Context, dir *ansibleDir, access bake.SSHAccess) (*ansibleRun, error) {
	run := &ansibleRun{Ansible: a, access: access, results: filepath.Join(dir.path, "results")}
	connection, err := dir.connection(access, a.Become)
	if err != nil {
		return nil, err
	}
	inventory, err := a.inventory(connection)
	if err != nil {
		return nil, err
	}
	inventoryFile, err := dir.write("inventory.yml", inventory)
	if err != nil {
		return nil, err
	}
	vars, err := a.extraVars()
	if err != nil {
		return nil, err
	}
	var varsFile string
	if vars != "" {
		if varsFile, err = dir.write("vars.yml", vars); err != nil {
			return nil, err
		}
	}
	vault := a.VaultPasswordFile
	if !a.VaultPassword.IsZero() {
		if vault, err = dir.write("vault", a.VaultPassword.Reveal()+"\n"); err != nil {
			return nil, err
		}
	}
	if run.dir, err = (tree{a.FS, a.Dir, a.Exclude}).local(dir.path); err != nil {
		return nil, err
	}
	run.args = a.arguments(inventoryFile, varsFile, vault)
	asked, err := dir.askPass(ctx, access)
	if err != nil {
		return nil, err
	}
	run.env, err = run.environment(dir, asked)
	return run, err
}

// environment is what the caller wants, over defaults of ours and under what
// the run depends on.
func (r *ansibleRun) environment(dir *ansibleDir, asked map[string]string) (map[string]string, error) {
	plugins := filepath.Join(dir.path, "plugins")
	if err := os.Mkdir(plugins, 0o700); err != nil {
		return nil, err
	}
	if _, err := dir.write("plugins/bakestone.py", ansibleCallback); err != nil {
		return nil, err
	}
	config := filepath.Join(r.dir, "ansible.cfg")
	if _, err := os.Stat(config); err != nil {
		if config, err = dir.write("ansible.cfg", ""); err != nil {
			return nil, err
		}
	}
	env := map[string]string{
		"ANSIBLE_PIPELINING":  "True",
		"ANSIBLE_NOCOLOR":     "1",
		"ANSIBLE_FORCE_COLOR": "0",
		"ANSIBLE_CONFIG":      config,
		"PYTHONUNBUFFERED":    "1", // its lines are events as they come
	}
	maps.Copy(env, r.Env)
	maps.Copy(env, map[string]string{
		"ANSIBLE_HOST_KEY_CHECKING":    "True",
		"ANSIBLE_RETRY_FILES_ENABLED":  "False",
		"ANSIBLE_LOCAL_TEMP":           filepath.Join(dir.path, "tmp"),
		"ANSIBLE_SSH_CONTROL_PATH_DIR": dir.sockets,
		"ANSIBLE_SSH_CONTROL_PATH":     "", // leaves the names to Ansible
		"BAKESTONE_ANSIBLE_RESULTS":    r.results,
	})
	maps.Copy(env, asked)
	r.extend(env, "ANSIBLE_CALLBACK_PLUGINS", plugins, "~/.ansible/plugins/callback", "/usr/share/ansible/plugins/callback")
	if len(r.Requirements) > 0 {
		r.extend(env, "ANSIBLE_ROLES_PATH", filepath.Join(dir.path, "roles"),
			"~/.ansible/roles", "/usr/share/ansible/roles", "/etc/ansible/roles")
		r.extend(env, "ANSIBLE_COLLECTIONS_PATH", filepath.Join(dir.path, "collections"),
			"~/.ansible/collections", "/usr/share/ansible/collections")
	}
	return env, nil
}

// extend puts own before the directories of a path variable, or before the
// ones that Ansible has by default.
func (r *ansibleRun) extend(env map[string]string, name, own string, usual ...string) {
	if given := env[name]; given != "" {
		usual = []string{given}
	} else if given := os.Getenv(name); given != "" {
		usual = []string{given}
	}
	env[name] = strings.Join(slices.Concat([]string{own}, usual), string(filepath.ListSeparator))
}

// play installs what is required and runs the playbooks.
func (r *ansibleRun) play(ctx context.Context) error {
	for _, file := range r.Requirements {
		if err := r.command(r.galaxy(), "install", "--role-file", filepath.Clean(file)).Provision(ctx, nil); err != nil {
			return fmt.Errorf("install what %s requires: %w", file, err)
		}
	}
	started := bake.RunOf(ctx).Clock.Now()
	err := r.command(append([]string{r.program()}, r.args...)...).Provision(ctx, nil)
	results, readErr := readAnsibleResults(r.results)
	switch {
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		return results.explain(errors.Join(err, readErr), r.secrets())
	case readErr != nil:
		return readErr
	case !slices.Contains(results.hosts, r.host()):
		return fmt.Errorf("no play of %s is for the host %s or for a group that it is in: nothing was done", strings.Join(r.Playbooks, ", "), r.host())
	}
	bake.RunOf(ctx).Say("ansible is done after %v", bake.RunOf(ctx).Clock.Now().Sub(started).Round(time.Second))
	return nil
}

func (r *ansibleRun) command(args ...string) Local {
	return Local{Args: args, Dir: r.dir, Env: r.env, Secrets: r.Secrets, hidden: r.secrets()}
}

func (r *ansibleRun) secrets() []bake.Secret {
	return append(r.hidden(), r.access.Password, r.access.SudoPassword, r.access.Key)
}
