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

// A Salt applies Salt states on the machine without a master, as root.
//
//	provision.Salt{States: "salt/states", Pillar: "salt/pillar", ID: "rails-base", Apply: []string{"rails"}}
//
// States, pillar and the minion's configuration are copied to a directory that
// only root can enter; Salt runs with that configuration alone, with its cache
// in there, too, and all of it is removed afterwards. So nothing in /etc/salt is
// edited and has to be put back, even when the connection is lost for good: what
// the machine's own minion shall be configured to is for a state, or a File.
//
// A state that fails, or cannot be rendered, is a *bake.ExitError behind the
// names and comments of the states that failed.
type Salt struct {
	// FS is where the paths below are. Nil is the baking host.
	FS fs.FS

	// States is the directory of the states, file_roots.
	States string

	// Pillar is the directory of the pillar, pillar_roots. Empty is none.
	Pillar string

	// Data is pillar data, over that of Pillar: a struct or a map that
	// encoding/json marshals to an object. Secrets is data, too, whose values
	// are masked in what the build reports.
	Data    any
	Secrets map[string]bake.Secret

	// Grains are the minion's static grains, a struct or a map as Data is.
	Grains any

	// ID is the minion's id, by which top files choose. Empty is "bakestone".
	ID string

	// Apply are the states to apply, as in "nginx" or "app.users". Empty is the
	// highstate, which top.sls in States describes.
	Apply []string

	// SaltEnv is the environment of the states. Empty is "base".
	SaltEnv string

	// MinionConfig is a file of configuration to use besides, such as
	// file_ignore_regex; what this type sets itself wins over it.
	MinionConfig string

	// Args are further arguments of salt-call: "--log-level=debug".
	Args []string

	// Env is added to Salt's environment.
	Env map[string]string

	// Exclude are patterns, as in bake.Upload, of what is not copied.
	Exclude []string

	// Install installs Salt if the machine has none, and Remove, which runs
	// after a success, removes it again: Packages, or a Shell with a command of
	// your own.
	Install bake.Provisioner
	Remove  bake.Provisioner

	// Program is the salt-call to run. Empty is the one in root's PATH or in
	// /opt/saltstack/salt.
	Program string
}

const (
	saltCall    = "salt-call"
	saltMinion  = "bakestone"
	saltEnv     = "base"
	saltResults = "results.json"
)

// String is "salt: " and what is applied.
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
	return guestTool{owner: "Salt", program: program, places: []string{"/opt/saltstack/salt"}, install: s.Install, remove: s.Remove}
}

func (s Salt) states() tree { return tree{s.FS, s.States, s.Exclude} }

// Validate reports all that keeps the states from being applied.
func (s Salt) Validate() error {
	states := s.states()
	errs := []error{
		states.check("Salt.States"), s.tool().check(), checkEnv("Salt", s.Env, nil),
		checkObject("Salt.Data", s.Data), checkObject("Salt.Grains", s.Grains),
	}
	switch {
	case s.States == "" && s.FS != nil:
		errs = append(errs, bake.Invalid("Salt.States", "is required"))
	case len(s.Apply) == 0:
		if err := states.checkFile("Salt.States", "top.sls"); err != nil {
			errs = append(errs, bake.Invalid("Salt.Apply", "is empty, and for the highstate: %w", err))
		}
	}
	for _, name := range s.Apply {
		file := strings.ReplaceAll(name, ".", "/")
		_, err := stat(s.FS, states.join(file+".sls"))
		_, initErr := stat(s.FS, states.join(file+"/init.sls"))
		if err != nil && initErr != nil {
			errs = append(errs, bake.Invalid("Salt.Apply", "%q is no state below %s: %w", name, s.States, err))
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
			errs = append(errs, bake.Invalid(f.field, "%q is no name", f.value))
		}
	}
	if slices.ContainsFunc(s.Args, hasNUL) {
		errs = append(errs, bake.Invalid("Salt.Args", "contain a NUL byte"))
	}
	return errors.Join(errs...)
}

// DeclareInputs declares all files and parameters.
func (s Salt) DeclareInputs(in *bake.Inputs) error {
	errs := []error{
		in.Tree("states", s.FS, s.States, s.Exclude), s.tool().declare(in),
		declareObject(in, "data", s.Data), declareObject(in, "grains", s.Grains),
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
	declareSecrets(in, "secret", s.Secrets)
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
	hidden := slices.Collect(maps.Values(s.Secrets))
	bake.RunFromContext(ctx).Mask(hidden...)
	return s.tool().use(ctx, m, func(dir *staging, program string) error {
		if err := s.stage(ctx, dir); err != nil {
			return err
		}
		args := []string{
			program, "--local", "--config-dir=" + dir.path, "--out=json", "--out-file=" + path.Join(dir.path, saltResults),
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
		said, err := runTool(ctx, m, &bake.Cmd{Args: args, Env: s.Env}, "[ERROR   ] ", "[CRITICAL] ")
		if err != nil && ctx.Err() != nil {
			return err
		}
		text, readErr := dir.read(ctx, saltResults)
		results, parseErr := parseSaltResults(text)
		return results.ended(ctx, err, errors.Join(readErr, parseErr), said, hidden)
	})
}

// stage uploads the trees and writes the minion's configuration, in JSON, which
// is YAML, too.
func (s Salt) stage(ctx context.Context, dir *staging) error {
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
		// Whatever Salt would leave on the machine by itself.
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
	var own []byte
	if s.MinionConfig != "" {
		if own, err = readFile(s.FS, s.MinionConfig); err != nil {
			return err
		}
	}
	if _, err := dir.file(ctx, "minion", string(own)); err != nil {
		return err
	}
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	// Of what is in minion.d the last one counts, and all of it over minion.
	_, err = dir.file(ctx, "minion.d/99-bakestone.conf", string(text))
	return err
}

// stageData writes grains, and pillar data to a file from which Salt gets it.
func (s Salt) stageData(ctx context.Context, dir *staging, config map[string]any) error {
	grains, err := object(s.Grains)
	if err != nil {
		return err
	}
	config["grains"] = json.RawMessage(grains)
	text, err := object(s.Data)
	if err != nil {
		return err
	}
	data := map[string]any{}
	if err := json.Unmarshal(text, &data); err != nil {
		return err
	}
	for name, secret := range s.Secrets {
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
