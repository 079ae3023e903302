package provision

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strconv"

	"github.com/bakestone-go/bakestone/bake"
)

// DeclareInputs declares the text of the script as it runs, and every
// parameter.
func (s Script) DeclareInputs(in *bake.Inputs) error {
	text, name, err := s.read()
	if err != nil {
		return err
	}
	in.Value("name", name)
	in.Content("text", text)
	in.Value("args", s.Args)
	in.Value("interpreter", s.Interpreter)
	declareEnv(in, s.Env, s.Secrets)
	in.Value("dir", s.Dir)
	in.Value("sudo", s.Sudo)
	in.Value("exit codes", s.ExitCodes)
	in.Value("expect disconnect", s.ExpectDisconnect)
	in.Value("remote dir", s.RemoteDir)
	return nil
}

// DeclareInputs declares the content of the file and where it goes.
func (f File) DeclareInputs(in *bake.Inputs) error {
	if f.Source == "" {
		in.Content("content", []byte(f.Content))
	} else if err := in.File("content", f.FS, f.Source); err != nil {
		return err
	}
	in.Value("dest", f.Dest)
	declareOwner(in, f.Mode, f.Owner, f.Group)
	in.Value("sudo", f.Sudo)
	return nil
}

// DeclareInputs declares everything that is copied and where it goes.
func (d Dir) DeclareInputs(in *bake.Inputs) error {
	if err := in.Tree("content", d.FS, d.Source, d.Exclude); err != nil {
		return err
	}
	in.Value("dest", d.Dest)
	declareOwner(in, 0, d.Owner, d.Group)
	in.Value("sudo", d.Sudo)
	return nil
}

// DeclareInputs declares what is copied from the machine. Where it goes on the
// baking host changes no image.
func (d Download) DeclareInputs(in *bake.Inputs) error {
	in.Value("source", d.Source)
	in.Value("exclude", d.Exclude)
	in.Value("sudo", d.Sudo)
	return nil
}

// DeclareInputs declares the command and what is in Reads. What else it depends
// on nobody can tell.
func (l Local) DeclareInputs(in *bake.Inputs) error {
	in.Value("command", l.Command)
	in.Value("args", l.Args)
	in.Value("dir", l.Dir)
	declareEnv(in, l.Env, l.Secrets)
	in.Value("exit codes", l.ExitCodes)
	errs := make([]error, 0, len(l.Reads))
	for _, name := range l.Reads {
		errs = append(errs, declarePath(in, "reads "+name, nil, name))
	}
	return errors.Join(errs...)
}

// DeclareInputs declares the way to restart.
func (r Reboot) DeclareInputs(in *bake.Inputs) error {
	in.Value("command", r.Command)
	in.Value("sudo", r.Sudo)
	return nil
}

// DeclareInputs declares how long it is.
func (p Pause) DeclareInputs(in *bake.Inputs) error {
	in.Value("for", p.For)
	return nil
}

// DeclareInputs declares those of every provisioner, in their order.
func (s Sequence) DeclareInputs(in *bake.Inputs) error {
	errs := make([]error, 0, len(s))
	for i, p := range s {
		errs = append(errs, in.Of(strconv.Itoa(i+1), p))
	}
	return errors.Join(errs...)
}

func declareEnv(in *bake.Inputs, env map[string]string, secrets map[string]bake.Secret) {
	in.Value("env", env)
	declareSecrets(in, "secret", secrets)
}

func declareSecrets(in *bake.Inputs, name string, secrets map[string]bake.Secret) {
	for _, key := range slices.Sorted(maps.Keys(secrets)) {
		in.Secret(name+" "+key, secrets[key])
	}
}

func declareOwner(in *bake.Inputs, mode fs.FileMode, owner, group string) {
	in.Value("mode", uint32(mode))
	in.Value("owner", owner)
	in.Value("group", group)
}

// declarePath declares a file or a directory with all that is in it, of fsys or
// of the baking host.
func declarePath(in *bake.Inputs, name string, fsys fs.FS, file string) error {
	info, err := stat(fsys, file)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return in.Tree(name, fsys, file, nil)
	}
	return in.File(name, fsys, file)
}
