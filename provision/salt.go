package provision

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A Salt applies Salt states on the machine as root, without a master.
//
//	provision.Salt{States: "salt/states", Pillar: "salt/pillar", ID: "rails-base", Apply: []string{"rails"}}
//
// It copies states, pillar and the minion's configuration to a directory that only
// root can enter, and removes the directory afterwards. Salt uses only that
// configuration and also has its cache there, so /etc/salt stays unchanged even if
// the connection is lost. To configure the machine's own minion, use a state or a
// [File].
//
// If a state fails or cannot be rendered, the error is a [*bake.ExitError], wrapped
// with the names and comments of the failed states.
type Salt struct {
	// FS contains States, Pillar and MinionConfig. If nil, they are on the baking
	// host.
	FS fs.FS

	// States is the directory of the states, file_roots. It is required.
	States string

	// Pillar is the directory of the pillar, pillar_roots. It is optional.
	Pillar string

	// PillarData overrides values of Pillar. It is a struct or map that
	// encoding/json marshals to an object. PillarSecrets does the same, and its
	// values are masked in everything the build reports. Both are optional.
	PillarData    any
	PillarSecrets map[string]bake.Secret

	// Grains are the minion's static grains, a struct or map like PillarData.
	Grains any

	// ID is the minion's ID, which top files match. If empty, it is "bakestone".
	ID string

	// Apply lists the states to apply: "nginx", "app.users". If empty, it is the
	// highstate, which top.sls in States defines.
	Apply []string

	// SaltEnv is the environment of the states. If empty, it is "base".
	SaltEnv string

	// MinionConfig is an additional configuration file, for example to set
	// file_ignore_regex. Settings of this type take precedence. It is optional.
	MinionConfig string

	// Args are additional arguments of salt-call: "--log-level=debug".
	Args []string

	// Env is added to Salt's environment.
	Env map[string]string

	// Exclude lists patterns of files not to copy, as in [bake.Upload].
	Exclude []string

	// Install installs Salt if it is missing. Remove removes it after a
	// successful run. Both are optional; usually they are [Packages] or a
	// [Shell].
	Install bake.Provisioner
	Remove  bake.Provisioner

	// Program is the path of salt-call on the machine. If empty, root's PATH
	// and /opt/saltstack/salt are searched.
	Program string
}

var (
	_ bake.Provisioner   = Salt{}
	_ bake.Validator     = Salt{}
	_ bake.InputDeclarer = Salt{}
)

const (
	saltCall        = "salt-call"
	saltMinion      = "bakestone"
	saltEnv         = "base"
	saltResultsFile = "results.json"
)

// String returns "salt: " and the states to apply.
func (s Salt) String() string {
	if len(s.Apply) == 0 {
		return "salt: highstate"
	}
	return "salt: " + strings.Join(s.Apply, " ")
}

func (s Salt) tool() guestTool {
	program := s.Program
	if program == "" {
		program = saltCall
	}
	return guestTool{owner: "Salt", program: program, dirs: []string{"/opt/saltstack/salt"}, install: s.Install, remove: s.Remove}
}

func (s Salt) states() tree { return tree{s.FS, s.States, s.Exclude} }

// Validate reports invalid fields and files that do not exist.
func (s Salt) Validate() error {
	states := s.states()
	errs := []error{
		states.check("Salt.States"), s.tool().check(), checkEnv("Salt", s.Env, nil),
		checkObject("Salt.PillarData", s.PillarData), checkObject("Salt.Grains", s.Grains),
	}
	switch {
	case s.States == "" && s.FS != nil:
		errs = append(errs, bake.Invalid("Salt.States", "is required"))
	case len(s.Apply) == 0:
		if err := states.checkFile("Salt.States", "top.sls"); err != nil {
			errs = append(errs, bake.Invalid("Salt.Apply", "is empty, but the highstate requires top.sls: %w", err))
		}
	}
	for _, name := range s.Apply {
		file := strings.ReplaceAll(name, ".", "/")
		_, err := stat(s.FS, states.join(file+".sls"))
		_, initErr := stat(s.FS, states.join(file+"/init.sls"))
		if err != nil && initErr != nil {
			errs = append(errs, bake.Invalid("Salt.Apply", "state %q not found in %s: %w", name, s.States, err))
		}
	}
	if s.Pillar != "" {
		errs = append(errs, tree{s.FS, s.Pillar, s.Exclude}.checkFile("Salt.Pillar", "top.sls"))
	}
	if s.MinionConfig != "" {
		errs = append(errs, checkFile("Salt.MinionConfig", s.FS, s.MinionConfig))
	}
	for _, f := range []struct{ field, value string }{{"Salt.ID", s.ID}, {"Salt.SaltEnv", s.SaltEnv}} {
		if strings.ContainsAny(f.value, " \t\r\n/\\\x00") {
			errs = append(errs, bake.Invalid(f.field, "invalid name %q", f.value))
		}
	}
	if slices.ContainsFunc(s.Args, hasNUL) {
		errs = append(errs, bake.Invalid("Salt.Args", "contains a NUL byte"))
	}
	return errors.Join(append(errs, checkRedacted("Salt", s))...)
}

// DeclareInputs declares the files and parameters.
func (s Salt) DeclareInputs(in *bake.Inputs) error {
	errs := []error{
		in.Tree("states", s.FS, s.States, s.Exclude), s.tool().declare(in),
		declareObject(in, "data", s.PillarData), declareObject(in, "grains", s.Grains),
	}
	if s.Pillar != "" {
		errs = append(errs, in.Tree("pillar", s.FS, s.Pillar, s.Exclude))
	}
	if s.MinionConfig != "" {
		errs = append(errs, in.File("minion config", s.FS, s.MinionConfig))
	}
	in.Value("id", s.id())
	in.Value("apply", s.Apply)
	in.Value("salt env", s.SaltEnv)
	in.Value("args", s.Args)
	declareEnv(in, s.Env, nil)
	declareSecrets(in, "secret", s.PillarSecrets)
	return errors.Join(errs...)
}

func (s Salt) id() string {
	if s.ID == "" {
		return saltMinion
	}
	return s.ID
}

// Provision applies the states.
func (s Salt) Provision(ctx context.Context, m bake.Machine) error {
	if err := s.Validate(); err != nil {
		return err
	}
	secrets := slices.Collect(maps.Values(s.PillarSecrets))
	bake.RunFromContext(ctx).Mask(secrets...)
	return s.tool().use(ctx, m, func(dir *stagingDir, program string) error {
		if err := s.stage(ctx, dir); err != nil {
			return err
		}
		args := []string{
			program, "--local", "--config-dir=" + dir.path, "--out=json", "--out-file=" + path.Join(dir.path, saltResultsFile),
			"--retcode-passthrough", "--no-color",
		}
		args = append(args, s.Args...)
		args = append(args, "state.apply")
		if len(s.Apply) > 0 {
			args = append(args, strings.Join(s.Apply, ","))
		}
		if s.SaltEnv != "" {
			args = append(args, "saltenv="+s.SaltEnv)
		}
		messages, err := runTool(ctx, m, &bake.Cmd{Args: args, Env: s.Env}, "[ERROR   ] ", "[CRITICAL] ")
		if err != nil && ctx.Err() != nil {
			return err
		}
		text, readErr := dir.read(ctx, saltResultsFile)
		results, parseErr := parseSaltResults(text)
		return results.runError(ctx, err, errors.Join(readErr, parseErr), messages, secrets)
	})
}

// stage uploads the trees and the minion's configuration as JSON, which is valid
// YAML.
func (s Salt) stage(ctx context.Context, dir *stagingDir) error {
	states, err := dir.tree(ctx, "states", s.states())
	if err != nil {
		return err
	}
	env := s.SaltEnv
	if env == "" {
		env = saltEnv
	}
	config := map[string]any{
		"id": s.id(), "file_client": "local", "master_type": "disable",
		"file_roots": map[string][]string{env: {states}},
		// Files that Salt would otherwise leave on the machine.
		"root_dir": "/", "pki_dir": path.Join(dir.path, "pki"), "cachedir": path.Join(dir.path, "cache"),
		"sock_dir": path.Join(dir.path, "sock"), "log_file": path.Join(dir.path, "log"),
		"extension_modules": path.Join(dir.path, "modules"), "pidfile": path.Join(dir.path, "pid"),
	}
	if s.Pillar != "" {
		pillar, err := dir.tree(ctx, "pillar", tree{s.FS, s.Pillar, s.Exclude})
		if err != nil {
			return err
		}
		config["pillar_roots"] = map[string][]string{env: {pillar}}
	}
	if err := s.stageData(ctx, dir, config); err != nil {
		return err
	}
	var base []byte
	if s.MinionConfig != "" {
		if base, err = readFile(s.FS, s.MinionConfig); err != nil {
			return err
		}
	}
	if _, err := dir.file(ctx, "minion", string(base)); err != nil {
		return err
	}
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	// The last file in minion.d takes precedence over the others and over minion.
	_, err = dir.file(ctx, "minion.d/99-bakestone.conf", string(text))
	return err
}

// stageData adds grains to config and uploads pillar data to a file that config
// refers to.
func (s Salt) stageData(ctx context.Context, dir *stagingDir, config map[string]any) error {
	grains, err := object(s.Grains)
	if err != nil {
		return err
	}
	config["grains"] = json.RawMessage(grains)
	text, err := object(s.PillarData)
	if err != nil {
		return err
	}
	data := map[string]any{}
	if err := json.Unmarshal(text, &data); err != nil {
		return err
	}
	for name, secret := range s.PillarSecrets {
		data[name] = secret.Reveal()
	}
	if len(data) == 0 {
		return nil
	}
	if text, err = json.Marshal(data); err != nil {
		return err
	}
	at, err := dir.file(ctx, "data.json", string(text))
	config["ext_pillar"] = []map[string]string{{"cmd_json": "cat " + posixsh.Quote(at)}}
	return err
}
