package provision

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strconv"

	"github.com/bakestone-go/bakestone/bake"
)

// A ChefZero runs Chef on the machine as root, without a server: chef-client in
// local mode, or chef-solo. It copies cookbooks, attributes and the other files to a
// directory that only root can enter, and removes the directory afterwards.
//
//	provision.ChefZero{Cookbooks: []string{"cookbooks"}, RunList: []string{"recipe[web]"}, AcceptLicense: true}
//
// A run that fails is a [*bake.ExitError], wrapped with the meaning of its status
// and Chef's messages.
//
// The tests of this package replace Chef with a fake, since they cannot install
// Chef.
type ChefZero struct {
	// FS contains the directories of the other fields. If nil, they are on the
	// baking host.
	FS fs.FS

	// Cookbooks are directories of cookbooks, searched in this order. At least one
	// is required.
	Cookbooks []string

	// RunList lists the recipes and roles to run: "recipe[web::default]",
	// "role[base]".
	RunList []string

	// Attributes are the node's attributes: a struct or map that encoding/json
	// marshals to an object. They are optional.
	Attributes any

	// DataBags, Roles and Environments are directories. They are optional.
	DataBags     string
	Roles        string
	Environments string

	// DataBagSecret decrypts encrypted data bags.
	DataBagSecret bake.Secret

	// Environment is the name of one of Environments. If empty, it is "_default".
	Environment string

	// NodeName is the node's name. If empty, it is the fully qualified host name.
	NodeName string

	// Solo runs chef-solo instead of chef-client.
	Solo bool

	// AcceptLicense accepts Chef's license for this run. Chef does not run without
	// it.
	AcceptLicense bool

	// ExitCodes are the exit statuses that count as success. Chef exits with 35 or
	// 37 to request a restart. If empty, only 0 is success.
	ExitCodes []int

	// Args are additional arguments: "--log_level", "debug".
	Args []string

	// Env and Secrets are added to Chef's environment. The values of Secrets are
	// masked in everything the build reports.
	Env     map[string]string
	Secrets map[string]bake.Secret

	// Exclude lists patterns of files not to copy, as in [bake.Upload].
	Exclude []string

	// Install installs Chef if it is missing. Remove removes it after a
	// successful run. Both are optional; usually they are a [Shell].
	Install bake.Provisioner
	Remove  bake.Provisioner

	// Program is the path of chef-client or chef-solo on the machine. If empty,
	// root's PATH, /opt/chef/bin and /opt/cinc/bin are searched.
	Program string
}

var (
	_ bake.Provisioner   = ChefZero{}
	_ bake.Validator     = ChefZero{}
	_ bake.InputDeclarer = ChefZero{}
)

const chefSolo = "chef-solo"

// String returns the program and the run list.
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

// A chefTree is a directory to copy and the setting for its path.
type chefTree struct{ field, setting, dir string }

func (c ChefZero) trees() []chefTree {
	return []chefTree{
		{"DataBags", "data_bag_path", c.DataBags},
		{"Roles", "role_path", c.Roles},
		{"Environments", "environment_path", c.Environments},
	}
}

// Validate reports invalid fields and files that do not exist.
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
		errs = append(errs, bake.Invalid("ChefZero.Environment", "requires Environments, its directory"))
	}
	return errors.Join(append(errs, checkRedacted("ChefZero", c))...)
}

// checkCookbook reports a cookbook of the run list that is in no directory of
// Cookbooks.
func (c ChefZero) checkCookbook(name string) error {
	for _, dir := range c.Cookbooks {
		if info, err := stat(c.FS, tree{fsys: c.FS, dir: dir}.join(name)); err == nil && info.IsDir() {
			return nil
		}
	}
	return bake.Invalid("ChefZero.RunList", "cookbook %q not found in %q", name, c.Cookbooks)
}

// DeclareInputs declares the files and parameters.
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
	return c.tool().use(ctx, m, func(dir *stagingDir, program string) error {
		config, err := c.stage(ctx, dir)
		if err != nil {
			return err
		}
		attributes, err := chefAttributes(ctx, dir, c.Attributes, c.RunList)
		if err != nil {
			return err
		}
		args := chefArguments(program, config, attributes, c.AcceptLicense, c.Args)
		if !c.Solo {
			args = append(args, "--local-mode")
		}
		messages, err := runTool(ctx, m, &bake.Cmd{Args: args, Env: c.Env, Secrets: c.Secrets}, chefMarks()...)
		return toolError(accept(err, c.ExitCodes), chefMeaning, messages, secretsAnd(c.Secrets, c.DataBagSecret))
	})
}

// stage uploads the files and the configuration and returns the configuration's
// path.
func (c ChefZero) stage(ctx context.Context, staging *stagingDir) (config string, err error) {
	var file rubyFile
	cookbooks := make([]string, 0, len(c.Cookbooks))
	for i, dir := range c.Cookbooks {
		at, err := staging.tree(ctx, "cookbooks-"+strconv.Itoa(i+1), tree{c.FS, dir, c.Exclude})
		if err != nil {
			return "", err
		}
		cookbooks = append(cookbooks, at)
	}
	file.set("chef_repo_path", staging.path)
	file.set("cookbook_path", cookbooks...)
	for _, t := range c.trees() {
		if t.dir == "" {
			continue
		}
		at, err := staging.tree(ctx, t.setting, tree{c.FS, t.dir, c.Exclude})
		if err != nil {
			return "", err
		}
		file.set(t.setting, at)
	}
	file.set("node_path", path.Join(staging.path, "nodes"))
	file.set("file_cache_path", path.Join(staging.path, "cache"))
	file.set("node_name", c.NodeName)
	file.set("environment", c.Environment)
	if !c.DataBagSecret.IsZero() {
		at, err := staging.file(ctx, "data_bag_secret", c.DataBagSecret.Reveal())
		if err != nil {
			return "", err
		}
		file.set("encrypted_data_bag_secret", at)
	}
	return staging.file(ctx, "client.rb", file.String())
}
