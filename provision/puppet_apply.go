package provision

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// A PuppetApply applies a Puppet manifest on the machine as root, without a
// server. It copies manifest, modules and Hiera data to a directory that only root
// can enter, and removes the directory afterwards.
//
//	provision.PuppetApply{Manifest: "site.pp", Modules: []string{"modules"}, Hiera: "hiera"}
//
// It runs puppet apply --detailed-exitcodes, whose exit statuses 0 and 2 mean
// success. Any other is a [*bake.ExitError], wrapped with its meaning and Puppet's
// messages.
type PuppetApply struct {
	// FS contains Manifest, Modules and Hiera. If nil, they are on the baking host.
	FS fs.FS

	// Manifest is a file, or a directory whose manifests are all applied. It is
	// required.
	Manifest string

	// Modules are module directories, searched in this order. If empty, the
	// machine's own modules are used.
	Modules []string

	// Hiera is a directory that contains hiera.yaml and its data. It is optional.
	Hiera string

	// Facts are external facts. To pass a secret fact, set the variable FACTER_NAME
	// in Secrets.
	Facts map[string]string

	// Args are additional arguments of puppet apply: "--noop", "--debug".
	Args []string

	// Env and Secrets are added to Puppet's environment. The values of Secrets are
	// masked in everything the build reports.
	Env     map[string]string
	Secrets map[string]bake.Secret

	// Install installs Puppet if it is missing. Remove removes it after a
	// successful run. Both are optional:
	//
	//	Install: provision.Packages{Install: []string{"puppet-agent"}},
	//	Remove:  provision.Packages{Remove: []string{"puppet-agent"}, Purge: true},
	Install bake.Provisioner
	Remove  bake.Provisioner

	// Program is the path of puppet on the machine. If empty, root's PATH and
	// /opt/puppetlabs/bin are searched.
	Program string
}

var (
	_ bake.Provisioner   = PuppetApply{}
	_ bake.Validator     = PuppetApply{}
	_ bake.InputDeclarer = PuppetApply{}
)

// String returns "puppet apply " and the manifest.
func (p PuppetApply) String() string { return "puppet apply " + p.Manifest }

func (p PuppetApply) tool() guestTool {
	return puppetTool("PuppetApply", p.Program, p.Install, p.Remove)
}

// Validate reports invalid fields and files that do not exist.
func (p PuppetApply) Validate() error {
	errs := append(checkFacts("PuppetApply.Facts", p.Facts),
		checkEnv("PuppetApply", p.Env, p.Secrets), p.tool().check())
	if p.Manifest == "" {
		errs = append(errs, bake.Invalid("PuppetApply.Manifest", "is required"))
	} else if _, err := stat(p.FS, p.Manifest); err != nil {
		errs = append(errs, bake.Invalid("PuppetApply.Manifest", "%w", err))
	}
	for _, dir := range p.Modules {
		errs = append(errs, checkDir("PuppetApply.Modules", p.FS, dir))
	}
	if p.Hiera != "" {
		errs = append(errs, tree{fsys: p.FS, dir: p.Hiera}.checkFile("PuppetApply.Hiera", "hiera.yaml"))
	}
	if slices.ContainsFunc(p.Args, hasNUL) {
		errs = append(errs, bake.Invalid("PuppetApply.Args", "contains a NUL byte"))
	}
	return errors.Join(append(errs, checkRedacted("PuppetApply", p))...)
}

// DeclareInputs declares the files and parameters.
func (p PuppetApply) DeclareInputs(in *bake.Inputs) error {
	errs := []error{declarePath(in, "manifest", p.FS, p.Manifest), p.tool().declare(in)}
	for i, dir := range p.Modules {
		errs = append(errs, in.Tree("modules "+strconv.Itoa(i+1), p.FS, dir, nil))
	}
	if p.Hiera != "" {
		errs = append(errs, in.Tree("hiera", p.FS, p.Hiera, nil))
	}
	in.Value("facts", p.Facts)
	in.Value("args", p.Args)
	declareEnv(in, p.Env, p.Secrets)
	return errors.Join(errs...)
}

// Provision applies the manifest.
func (p PuppetApply) Provision(ctx context.Context, m bake.Machine) error {
	if err := p.Validate(); err != nil {
		return err
	}
	return p.tool().use(ctx, m, func(dir *stagingDir, program string) error {
		args, err := p.stage(ctx, dir)
		if err != nil {
			return err
		}
		messages, err := runTool(ctx, m, &bake.Cmd{
			Args: slices.Concat([]string{program, "apply", "--detailed-exitcodes", "--color=false"}, args),
			Env:  withFacts(p.Env, p.Facts), Secrets: p.Secrets,
		}, puppetMarks()...)
		return toolError(accept(err, puppetSucceeded()), puppetMeaning, messages, slices.Collect(maps.Values(p.Secrets)))
	})
}

// stage uploads the files and returns the arguments that refer to them.
func (p PuppetApply) stage(ctx context.Context, staging *stagingDir) ([]string, error) {
	var args, modules []string
	for i, dir := range p.Modules {
		at, err := staging.tree(ctx, "modules-"+strconv.Itoa(i+1), tree{fsys: p.FS, dir: dir})
		if err != nil {
			return nil, err
		}
		modules = append(modules, at)
	}
	if len(modules) > 0 {
		args = append(args, "--modulepath="+strings.Join(modules, ":"))
	}
	if p.Hiera != "" {
		at, err := staging.tree(ctx, "hiera", tree{fsys: p.FS, dir: p.Hiera})
		if err != nil {
			return nil, err
		}
		args = append(args, "--hiera_config="+path.Join(at, "hiera.yaml"))
	}
	manifest, err := staging.either(ctx, "manifest", p.FS, p.Manifest)
	return append(slices.Concat(args, p.Args), manifest), err
}
