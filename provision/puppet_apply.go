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

// A PuppetApply runs a Puppet manifest on the machine, without a server, as
// root. Manifest, modules and Hiera's data are copied to a directory that only
// root can enter and that is removed afterwards.
//
//	provision.PuppetApply{Manifest: "site.pp", Modules: []string{"modules"}, Hiera: "hiera"}
//
// It runs puppet apply --detailed-exitcodes: 0 and 2 are success. Any other
// status is a *bake.ExitError behind its meaning and Puppet's own messages.
type PuppetApply struct {
	// FS is where the paths below are. Nil is the baking host.
	FS fs.FS

	// Manifest is a file, or a directory of which all manifests are used.
	Manifest string

	// Modules are directories with modules in them, looked through in this
	// order. The machine's own modules do not count if there are any.
	Modules []string

	// Hiera is a directory with a hiera.yaml and the data that it names.
	Hiera string

	// Facts are external facts. A fact that is secret is a variable of Secrets,
	// its name behind "FACTER_".
	Facts map[string]string

	// Args are further arguments of puppet apply: "--noop", "--debug".
	Args []string

	// Env and Secrets are added to Puppet's environment; the values of Secrets
	// are masked in what the build reports.
	Env     map[string]string
	Secrets map[string]bake.Secret

	// Install installs Puppet if the machine has none, and Remove, which runs
	// after a success, removes it again:
	//
	//	Install: provision.Packages{Install: []string{"puppet-agent"}},
	//	Remove:  provision.Packages{Remove: []string{"puppet-agent"}, Purge: true},
	Install bake.Provisioner
	Remove  bake.Provisioner

	// Program is the puppet to run. Empty is the one in root's PATH or in
	// /opt/puppetlabs/bin.
	Program string
}

// String is "puppet apply " and the manifest.
func (p PuppetApply) String() string { return "puppet apply " + p.Manifest }

func (p PuppetApply) tool() guestTool {
	return puppetTool("PuppetApply", p.Program, p.Install, p.Remove)
}

// Validate reports all that keeps the manifest from being applied.
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
		errs = append(errs, bake.Invalid("PuppetApply.Args", "contain a NUL byte"))
	}
	return errors.Join(errs...)
}

// DeclareInputs declares all files and parameters.
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
	return p.tool().use(ctx, m, func(s *staging, program string) error {
		args, err := p.stage(ctx, s)
		if err != nil {
			return err
		}
		said, err := runTool(ctx, m, &bake.Cmd{
			Args: slices.Concat([]string{program, "apply", "--detailed-exitcodes", "--color=false"}, args),
			Env:  withFacts(p.Env, p.Facts), Secrets: p.Secrets,
		}, puppetMarks()...)
		return toolError(accept(err, puppetSucceeded()), puppetMeaning, said, slices.Collect(maps.Values(p.Secrets)))
	})
}

// stage uploads everything and returns the arguments that name it.
func (p PuppetApply) stage(ctx context.Context, s *staging) ([]string, error) {
	var args, modules []string
	for i, dir := range p.Modules {
		at, err := s.tree(ctx, "modules-"+strconv.Itoa(i+1), tree{fsys: p.FS, dir: dir})
		if err != nil {
			return nil, err
		}
		modules = append(modules, at)
	}
	if len(modules) > 0 {
		args = append(args, "--modulepath="+strings.Join(modules, ":"))
	}
	if p.Hiera != "" {
		at, err := s.tree(ctx, "hiera", tree{fsys: p.FS, dir: p.Hiera})
		if err != nil {
			return nil, err
		}
		args = append(args, "--hiera_config="+path.Join(at, "hiera.yaml"))
	}
	manifest, err := s.either(ctx, "manifest", p.FS, p.Manifest)
	return append(slices.Concat(args, p.Args), manifest), err
}
