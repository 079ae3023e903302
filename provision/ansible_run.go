package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/denial"
)

// Provision runs the playbooks and waits for them. It removes all files of the run
// from the baking host.
func (a Ansible) Provision(ctx context.Context, m bake.Machine) error {
	if err := a.Validate(); err != nil {
		return err
	}
	if err := a.ValidateHost(); err != nil {
		return err
	}
	bake.RunFromContext(ctx).Mask(a.secrets()...)
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

// An ansibleRun is a run of Ansible and the files created for it.
type ansibleRun struct {
	Ansible
	dir     string // directory of the playbooks
	args    []string
	env     map[string]string
	results string // file that the plugin writes
	access  bake.SSHAccess
}

func (a Ansible) prepare(ctx context.Context, dir *ansibleDir, access bake.SSHAccess) (*ansibleRun, error) {
	run := &ansibleRun{Ansible: a, access: access, results: filepath.Join(dir.path, ansibleResultsFile)}
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
	askPass, err := dir.askPass(ctx, access)
	if err != nil {
		return nil, err
	}
	config, err := run.plugin(dir)
	if err != nil {
		return nil, err
	}
	run.env = a.environment(ansiblePaths{dir: dir.path, config: config, results: run.results}, os.Getenv)
	run.env["ANSIBLE_SSH_CONTROL_PATH_DIR"] = dir.sockets
	run.env["ANSIBLE_SSH_CONTROL_PATH"] = "" // Ansible chooses the names
	maps.Copy(run.env, askPass)
	return run, nil
}

// plugin writes the plugin and returns the ansible.cfg to use.
func (r *ansibleRun) plugin(dir *ansibleDir) (config string, err error) {
	if err := os.Mkdir(filepath.Join(dir.path, ansiblePlugins), 0o700); err != nil {
		return "", err
	}
	if _, err := dir.write(ansiblePluginFile, ansibleCallback); err != nil {
		return "", err
	}
	config = filepath.Join(r.dir, ansibleConfig)
	if _, err := os.Stat(config); err != nil {
		return dir.write(ansibleConfig, "")
	}
	return config, nil
}

// play installs the requirements and runs the playbooks.
func (r *ansibleRun) play(ctx context.Context) error {
	for _, file := range r.Requirements {
		if err := r.command(r.galaxy(), "install", "--role-file", filepath.Clean(file)).Provision(ctx, nil); err != nil {
			return fmt.Errorf("install requirements of %s: %w", file, err)
		}
	}
	err := r.command(append([]string{r.program()}, r.args...)...).Provision(ctx, nil)
	if err != nil && ctx.Err() != nil {
		return err
	}
	// The file is missing if Ansible failed early.
	text, readErr := readResults(r.results)
	if errors.Is(readErr, os.ErrNotExist) {
		readErr = nil
	}
	results, parseErr := parseAnsibleResults(bytes.NewReader(text))
	err = r.runError(results, err, errors.Join(readErr, parseErr), r.secrets())
	if failed := results.failed; err != nil && !r.Become && r.access.User != "root" && failed != nil && slices.ContainsFunc(failed.Messages, denial.Is) {
		return fmt.Errorf("%w\n\tset Ansible.Become if the task needs root", err)
	}
	return err
}

func (r *ansibleRun) command(args ...string) Local {
	return Local{Args: args, Dir: r.dir, Env: r.env, Secrets: r.Secrets, fileSecrets: r.secrets()}
}

func (r *ansibleRun) secrets() []bake.Secret {
	return append(r.Ansible.secrets(), r.access.Password, r.access.SudoPassword, r.access.Key)
}

// readResults returns the content of a file of at most maxResults bytes.
func readResults(name string) ([]byte, error) {
	file, err := os.Open(name) //nolint:gosec // G304: it lies in our own directory
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var content results
	_, err = io.Copy(&content, file)
	return content.text, err
}
