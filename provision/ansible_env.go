package provision

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// The files of a run, in its private directory.
const (
	ansibleConfig      = "ansible.cfg"
	ansibleResultsFile = "results"
	ansiblePlugins     = "plugins"
	ansiblePluginFile  = ansiblePlugins + "/bakestone.py"
)

// ansiblePaths are where a run has its files, on the baking host or on the
// machine; both have slashes.
type ansiblePaths struct {
	dir     string // the private directory
	config  string // the configuration that counts
	results string // what the plugin writes
}

// environment is what the caller wants, over defaults of ours and under what
// the run depends on. Inherited is the environment that it is added to.
func (a Ansible) environment(p ansiblePaths, inherited func(name string) string) map[string]string {
	env := map[string]string{
		"ANSIBLE_PIPELINING":  "True",
		"ANSIBLE_NOCOLOR":     "1",
		"ANSIBLE_FORCE_COLOR": "0",
		"ANSIBLE_CONFIG":      p.config,
		"PYTHONUNBUFFERED":    "1", // its lines are events as they come
	}
	maps.Copy(env, a.Env)
	maps.Copy(env, map[string]string{
		"ANSIBLE_HOST_KEY_CHECKING":   "True",
		"ANSIBLE_RETRY_FILES_ENABLED": "False",
		"ANSIBLE_LOCAL_TEMP":          path.Join(p.dir, "tmp"),
		"BAKESTONE_ANSIBLE_RESULTS":   p.results,
	})
	// extend puts a directory of ours before those that are set already, or
	// that Ansible has by default.
	extend := func(name, own string, usual ...string) {
		if given := env[name]; given != "" {
			usual = []string{given}
		} else if given := inherited(name); given != "" {
			usual = []string{given}
		}
		env[name] = strings.Join(slices.Concat([]string{path.Join(p.dir, own)}, usual), ":")
	}
	extend("ANSIBLE_CALLBACK_PLUGINS", ansiblePlugins, "~/.ansible/plugins/callback", "/usr/share/ansible/plugins/callback")
	if len(a.Requirements) > 0 {
		extend("ANSIBLE_ROLES_PATH", "roles", "~/.ansible/roles", "/usr/share/ansible/roles", "/etc/ansible/roles")
		extend("ANSIBLE_COLLECTIONS_PATH", "collections", "~/.ansible/collections", "/usr/share/ansible/collections")
	}
	return env
}
