package provision

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

const (
	chefClient = "chef-client"
	knife      = "knife"
)

// chefTool returns the tool chef-client. The packages of Chef and Cinc install it
// outside of PATH.
func chefTool(owner, program string, install, remove bake.Provisioner) guestTool {
	if program == "" {
		program = chefClient
	}
	return guestTool{
		owner: owner, program: program, dirs: []string{"/opt/chef/bin", "/opt/cinc/bin"}, install: install, remove: remove,
	}
}

func chefMeaning(status int) string {
	switch status {
	case 1:
		return "the run failed"
	case 2, 3:
		return "chef was terminated by a signal"
	case 35:
		return "chef has started to restart the machine"
	case 37:
		return "the machine must be restarted"
	case 41:
		return "chef could not restart the machine"
	case 42:
		return "the audit failed"
	case 43:
		return "chef could not read its configuration"
	case 172:
		return "Chef's license is not accepted: set AcceptLicense"
	case 213:
		return "chef has updated itself and must run again"
	}
	return fmt.Sprintf("chef exited with status %d", status)
}

// chefMarks returns the prefixes of Chef's error messages.
func chefMarks() []string { return []string{"FATAL: ", "ERROR: ", "Error executing action "} }

// A rubyFile is a configuration file of Chef, which is Ruby code.
type rubyFile struct{ lines []string }

// set adds a setting with one or more string values. It ignores empty values.
func (f *rubyFile) set(name string, values ...string) {
	quoted := make([]string, 0, len(values))
	for _, value := range values {
		if value != "" {
			quoted = append(quoted, rubyString(value))
		}
	}
	switch {
	case len(quoted) == 1 && len(values) == 1:
		f.lines = append(f.lines, name+" "+quoted[0])
	case len(quoted) > 0:
		f.lines = append(f.lines, name+" ["+strings.Join(quoted, ", ")+"]")
	}
}

// symbol adds a setting whose value is a Ruby symbol.
func (f *rubyFile) symbol(name, value string) { f.lines = append(f.lines, name+" :"+value) }

func (f *rubyFile) String() string { return strings.Join(f.lines, "\n") + "\n" }

// rubyString returns s as a single-quoted Ruby string, without interpolation.
func rubyString(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// chefAttributes uploads the node's attributes and run list in chef-client's
// format and returns the file's path on the machine.
func chefAttributes(ctx context.Context, dir *stagingDir, attributes any, runList []string) (file string, err error) {
	text, err := object(attributes)
	if err != nil {
		return "", err
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &all); err != nil {
		return "", err
	}
	if len(runList) > 0 {
		if all["run_list"], err = json.Marshal(runList); err != nil {
			return "", err
		}
	}
	if text, err = json.Marshal(all); err != nil {
		return "", err
	}
	return dir.file(ctx, "attributes.json", string(text))
}

// checkRunList reports invalid items of a run list.
func checkRunList(field string, runList []string) error {
	for _, item := range runList {
		if strings.TrimSpace(item) == "" || strings.ContainsAny(item, " \t\r\n,\x00") {
			return bake.Invalid(field, "invalid recipe or role %q", item)
		}
	}
	return nil
}

// chefArguments returns the command line that ChefClient and ChefZero share.
func chefArguments(program, config, attributes string, license bool, extra []string) []string {
	args := []string{program, "--config", config, "--json-attributes", attributes, "--no-color", "--once"}
	if license {
		args = append(args, "--chef-license", "accept-no-persist")
	}
	return append(args, extra...)
}

// siblingProgram returns the path of another program of the same installation.
func siblingProgram(program, name string) string { return path.Join(path.Dir(program), name) }

// checkChef reports invalid fields that ChefClient and ChefZero share.
func checkChef(owner string, attributes any, runList, args []string, env map[string]string, secrets map[string]bake.Secret) []error {
	errs := []error{
		checkObject(owner+".Attributes", attributes), checkRunList(owner+".RunList", runList), checkEnv(owner, env, secrets),
	}
	if slices.ContainsFunc(args, hasNUL) {
		errs = append(errs, bake.Invalid(owner+".Args", "contains a NUL byte"))
	}
	return errs
}

// declareChef declares the fields that ChefClient and ChefZero share.
func declareChef(in *bake.Inputs, attributes any, runList, args []string, env map[string]string, secrets map[string]bake.Secret) error {
	in.Value("run list", runList)
	in.Value("args", args)
	declareEnv(in, env, secrets)
	return declareObject(in, "attributes", attributes)
}

// secretsAnd returns the values of secrets and more.
func secretsAnd(secrets map[string]bake.Secret, more ...bake.Secret) []bake.Secret {
	return append(slices.Collect(maps.Values(secrets)), more...)
}

// runListCookbooks returns the cookbooks of a run list: "web" for each of "web",
// "recipe[web]" and "recipe[web::users@1.2]".
func runListCookbooks(runList []string) []string {
	var names []string
	for _, item := range runList {
		if recipe, found := strings.CutPrefix(item, "recipe["); found {
			item = strings.TrimSuffix(recipe, "]")
		} else if strings.Contains(item, "[") {
			continue
		}
		item, _, _ = strings.Cut(item, "@")
		name, _, _ := strings.Cut(item, "::")
		names = append(names, name)
	}
	return names
}
