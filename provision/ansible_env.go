package provision

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// Names of files in the private directory of a run.
const (
	ansibleConfig      = "ansible.cfg"
	ansibleResultsFile = "results"
	ansiblePlugins     = "plugins"
	ansiblePluginFile  = ansiblePlugins + "/bakestone.py"
)

// ansiblePaths are the paths of a run's files on the baking host or the machine,
// separated by slashes.
type ansiblePaths struct {
	dir     string // private directory
	config  string // ansible.cfg to use
	results string // written by the plugin
}

// environment returns the variables for Ansible. Env overrides defaults, and the
// run's own settings override Env. inherited looks up a variable of the environment
// that the variables are added to.
func (a Ansible) environment(p ansiblePaths, inherited func(name string) string) map[string]string {
	env := map[string]string{
		"ANSIBLE_PIPELINING":  "True",
		"ANSIBLE_NOCOLOR":     "1",
		"ANSIBLE_FORCE_COLOR": "0",
		"ANSIBLE_CONFIG":      p.config,
		"PYTHONUNBUFFERED":    "1", // output lines become events immediately
	}
	maps.Copy(env, a.Env)
	maps.Copy(env, map[string]string{
		"ANSIBLE_HOST_KEY_CHECKING":   "True",
		"ANSIBLE_RETRY_FILES_ENABLED": "False",
		"ANSIBLE_LOCAL_TEMP":          path.Join(p.dir, "tmp"),
		"BAKESTONE_ANSIBLE_RESULTS":   p.results,
	})
	// extend prepends a directory of the run to the search path that is set, or
	// to Ansible's default.
	extend := func(name, dir string, defaults ...string) {
		if set := env[name]; set != "" {
			defaults = []string{set}
		} else if set := inherited(name); set != "" {
			defaults = []string{set}
		}
		env[name] = strings.Join(slices.Concat([]string{path.Join(p.dir, dir)}, defaults), ":")
	}
	extend("ANSIBLE_CALLBACK_PLUGINS", ansiblePlugins, "~/.ansible/plugins/callback", "/usr/share/ansible/plugins/callback")
	if len(a.Requirements) > 0 {
		extend("ANSIBLE_ROLES_PATH", "roles", "~/.ansible/roles", "/usr/share/ansible/roles", "/etc/ansible/roles")
		extend("ANSIBLE_COLLECTIONS_PATH", "collections", "~/.ansible/collections", "/usr/share/ansible/collections")
	}
	return env
}
