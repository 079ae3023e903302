package provision

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strconv"

	"github.com/bakestone-go/bakestone/bake"
)

// A ChefZero runs Chef on the machine without a server, as root: chef-client in
// local mode, which serves the cookbooks to itself, or chef-solo. Cookbooks,
// attributes and all the rest are copied to a directory that only root can
// enter and that is removed afterwards.
//
//	provision.ChefZero{Cookbooks: []string{"cookbooks"}, RunList: []string{"recipe[web]"}, AcceptLicense: true}
//
// A run that fails is a *bake.ExitError behind the meaning of its status and
// Chef's own messages.
//
// Chef is in none of the registries that this library's tests can install from:
// they run it against a program in its place.
type ChefZero struct {
	// FS is where the paths below are. Nil is the baking host.
	FS fs.FS

	// Cookbooks are directories with cookbooks in them, looked through in this
	// order.
	Cookbooks []string

	// RunList is what to run: "recipe[web::default]", "role[base]".
	RunList []string

	// Attributes are the node's: a struct or a map that encoding/json marshals
	// to an object. Nil is none.
	Attributes any

	// DataBags, Roles and Environments are directories. Empty is none.
	DataBags     string
	Roles        string
	Environments string

	// DataBagSecret opens encrypted data bags.
	DataBagSecret bake.Secret

	// Environment is one of Environments, or "_default" if it is empty.
	Environment string

	// NodeName is the node's name. Empty is its host name with the domain.
	NodeName string

	// Solo runs chef-solo.
	Solo bool

	// AcceptLicense accepts Chef's license for this run, without which it does
	// nothing.
	AcceptLicense bool

	// ExitCodes are the exit statuses that count as success: 35 and 37 are those
	// of a run that wants a restart. Empty is 0 alone.
	ExitCodes []int

	// Args are further arguments: "--log_level", "debug".
	Args []string

	// Env and Secrets are added to Chef's environment; the values of Secrets are
	// masked in what the build reports.
	Env     map[string]string
	Secrets map[string]bake.Secret

	// Exclude are patterns, as in bake.Upload, of what is not copied.
	Exclude []string

	// Install installs Chef if the machine has none, and Remove, which runs
	// after a success, removes it again: a Shell with a command of your own, as
	// a rule.
	Install bake.Provisioner
	Remove  bake.Provisioner

	// Program is the chef-client or chef-solo to run. Empty is the one in root's
	// PATH or in /opt/chef/bin or /opt/cinc/bin.
	Program string
}

const chefSolo = "chef-solo"

// String is the program and the run list.
func (c ChefZero) String() string {
	name := "chef"
	if c.Solo {
		name = chefSolo
	}
	for _, item := range c.RunList {
		name += " " + item
	}
	return name
}

func (c ChefZero) tool() guestTool {
	program := c.Program
	if program == "" && c.Solo {
		program = chefSolo
	}
	return chefTool("ChefZero", program, c.Install, c.Remove)
}

// A chefTree is a directory to copy, and the setting that names it.
type chefTree struct{ field, setting, dir string }

func (c ChefZero) trees() []chefTree {
	return []chefTree{
		{"DataBags", "data_bag_path", c.DataBags},
		{"Roles", "role_path", c.Roles},
		{"Environments", "environment_path", c.Environments},
	}
}

// Validate reports all that keeps Chef from being run.
func (c ChefZero) Validate() error {
	errs := append(checkChef("ChefZero", c.Attributes, c.RunList, c.Args, c.Env, c.Secrets),
		c.tool().check(), checkExitCodes("ChefZero.ExitCodes", c.ExitCodes), checkExclude("ChefZero.Exclude", c.Exclude))
	if len(c.Cookbooks) == 0 {
		errs = append(errs, bake.Invalid("ChefZero.Cookbooks", "is required"))
	}
	for _, dir := range c.Cookbooks {
		errs = append(errs, checkDir("ChefZero.Cookbooks", c.FS, dir))
	}
	for _, name := range runListCookbooks(c.RunList) {
		if name != "" {
			errs = append(errs, c.checkCookbook(name))
		}
	}
	for _, t := range c.trees() {
		if t.dir != "" {
			errs = append(errs, checkDir("ChefZero."+t.field, c.FS, t.dir))
		}
	}
	if c.Environment != "" && c.Environments == "" {
		errs = append(errs, bake.Invalid("ChefZero.Environment", "needs Environments, the directory that it is in"))
	}
	return errors.Join(errs...)
}

// checkCookbook reports a cookbook of the run list that is in none of the
// directories.
func (c ChefZero) checkCookbook(name string) error {
	for _, dir := range c.Cookbooks {
		if info, err := stat(c.FS, tree{fsys: c.FS, dir: dir}.join(name)); err == nil && info.IsDir() {
			return nil
		}
	}
	return bake.Invalid("ChefZero.RunList", "there is no cookbook %q in %q", name, c.Cookbooks)
}

// DeclareInputs declares all files and parameters.
func (c ChefZero) DeclareInputs(in *bake.Inputs) error {
	errs := []error{c.tool().declare(in), declareChef(in, c.Attributes, c.RunList, c.Args, c.Env, c.Secrets)}
	for i, dir := range c.Cookbooks {
		errs = append(errs, in.Tree("cookbooks "+strconv.Itoa(i+1), c.FS, dir, c.Exclude))
	}
	for _, t := range c.trees() {
		if t.dir != "" {
			errs = append(errs, in.Tree(t.field, c.FS, t.dir, c.Exclude))
		}
	}
	in.Secret("data bag secret", c.DataBagSecret)
	in.Value("environment", c.Environment)
	in.Value("node name", c.NodeName)
	in.Value("solo", c.Solo)
	in.Value("exit codes", c.ExitCodes)
	return errors.Join(errs...)
}

// Provision runs Chef.
func (c ChefZero) Provision(ctx context.Context, m bake.Machine) error {
	if err := c.Validate(); err != nil {
		return err
	}
	bake.RunFromContext(ctx).Mask(c.DataBagSecret)
	return c.tool().use(ctx, m, func(s *staging, program string) error {
		config, err := c.stage(ctx, s)
		if err != nil {
			return err
		}
		attributes, err := chefAttributes(ctx, s, c.Attributes, c.RunList)
		if err != nil {
			return err
		}
		args := chefArguments(program, config, attributes, c.AcceptLicense, c.Args)
		if !c.Solo {
			args = append(args, "--local-mode")
		}
		said, err := runTool(ctx, m, &bake.Cmd{Args: args, Env: c.Env, Secrets: c.Secrets}, chefMarks()...)
		return toolError(accept(err, c.ExitCodes), chefMeaning, said, joined(c.Secrets, c.DataBagSecret))
	})
}

// stage uploads everything and writes the configuration that names it.
func (c ChefZero) stage(ctx context.Context, s *staging) (config string, err error) {
	var file rubyFile
	cookbooks := make([]string, 0, len(c.Cookbooks))
	for i, dir := range c.Cookbooks {
		at, err := s.tree(ctx, "cookbooks-"+strconv.Itoa(i+1), tree{c.FS, dir, c.Exclude})
		if err != nil {
			return "", err
		}
		cookbooks = append(cookbooks, at)
	}
	file.set("chef_repo_path", s.path)
	file.set("cookbook_path", cookbooks...)
	for _, t := range c.trees() {
		if t.dir == "" {
			continue
		}
		at, err := s.tree(ctx, t.setting, tree{c.FS, t.dir, c.Exclude})
		if err != nil {
			return "", err
		}
		file.set(t.setting, at)
	}
	file.set("node_path", path.Join(s.path, "nodes"))
	file.set("file_cache_path", path.Join(s.path, "cache"))
	file.set("node_name", c.NodeName)
	file.set("environment", c.Environment)
	if !c.DataBagSecret.IsZero() {
		at, err := s.file(ctx, "data_bag_secret", c.DataBagSecret.Reveal())
		if err != nil {
			return "", err
		}
		file.set("encrypted_data_bag_secret", at)
	}
	return s.file(ctx, "client.rb", file.String())
}
