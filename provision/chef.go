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

// chefTool is chef-client, of the packages of Chef or of Cinc if it is not in
// PATH.
func chefTool(owner, program string, install, remove bake.Provisioner) guestTool {
	if program == "" {
		program = chefClient
	}
	return guestTool{
		owner: owner, program: program, places: []string{"/opt/chef/bin", "/opt/cinc/bin"}, install: install, remove: remove,
	}
}

func chefMeaning(status int) string {
	switch status {
	case 1:
		return "the run failed"
	case 2, 3:
		return "chef was told to end"
	case 35:
		return "chef has begun to restart the machine"
	case 37:
		return "the machine has to be restarted"
	case 41:
		return "chef could not restart the machine"
	case 42:
		return "the audit failed"
	case 43:
		return "chef could not read its configuration"
	case 172:
		return "the license of Chef has to be accepted: see AcceptLicense"
	case 213:
		return "chef has replaced itself, and must run again"
	}
	return fmt.Sprintf("chef ended with status %d", status)
}

// chefMarks begin the lines in which Chef says what is wrong.
func chefMarks() []string { return []string{"FATAL: ", "ERROR: ", "Error executing action "} }

// A rubyFile is lines of a configuration file of Chef's, which is Ruby.
type rubyFile struct{ lines []string }

// set adds a setting whose value is one or several texts, unless there are none
// or it is empty.
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

// symbol adds a setting whose value is a name of Ruby's.
func (f *rubyFile) symbol(name, value string) { f.lines = append(f.lines, name+" :"+value) }

func (f *rubyFile) String() string { return strings.Join(f.lines, "\n") + "\n" }

// rubyString is s in single quotes, where Ruby replaces nothing.
func rubyString(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// chefAttributes stages the node's attributes and run list as chef-client reads
// them, and returns the file on the machine.
func chefAttributes(ctx context.Context, s *staging, attributes any, runList []string) (file string, err error) {
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
	return s.file(ctx, "attributes.json", string(text))
}

// checkRunList reports what is no recipe and no role.
func checkRunList(field string, runList []string) error {
	for _, item := range runList {
		if strings.TrimSpace(item) == "" || strings.ContainsAny(item, " \t\r\n,\x00") {
			return bake.Invalid(field, "%q is neither a recipe nor a role", item)
		}
	}
	return nil
}

// chefArguments are those that both kinds of runs have.
func chefArguments(program, config, attributes string, license bool, more []string) []string {
	args := []string{program, "--config", config, "--json-attributes", attributes, "--no-color", "--once"}
	if license {
		args = append(args, "--chef-license", "accept-no-persist")
	}
	return append(args, more...)
}

// besideChef is the path of another program of the same installation.
func besideChef(program, name string) string { return path.Join(path.Dir(program), name) }

// checkChef reports what both kinds of runs may have wrong.
func checkChef(owner string, attributes any, runList, args []string, env map[string]string, secrets map[string]bake.Secret) []error {
	errs := []error{
		checkObject(owner+".Attributes", attributes), checkRunList(owner+".RunList", runList), checkEnv(owner, env, secrets),
	}
	if slices.ContainsFunc(args, hasNUL) {
		errs = append(errs, bake.Invalid(owner+".Args", "contain a NUL byte"))
	}
	return errs
}

// declareChef declares what both kinds of runs have.
func declareChef(in *bake.Inputs, attributes any, runList, args []string, env map[string]string, secrets map[string]bake.Secret) error {
	in.Value("run list", runList)
	in.Value("args", args)
	declareEnv(in, env, secrets)
	return declareObject(in, "attributes", attributes)
}

// joined is a's and b's values.
func joined(a map[string]bake.Secret, more ...bake.Secret) []bake.Secret {
	return append(slices.Collect(maps.Values(a)), more...)
}

// runListCookbooks are the cookbooks that a run list names: of "web",
// "recipe[web::users@1.2]" and "recipe[web]" it is "web".
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
