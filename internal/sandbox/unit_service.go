package sandbox

import (
	"context"
	"io/fs"
	"os"
	"path"
	"strings"
)

// serviceRun runs the programs of a service.
type serviceRun struct {
	h   *Host
	u   *unit
	out *journalWriter
}

// simulatedStart is a program that this machine cannot run, of which it says that
// it runs.
const simulatedStart = -1

// startable returns 0 if a command line's program can be run, the exit status that
// systemd reports if it cannot be executed, or simulatedStart.
func (s serviceRun) startable(ctx context.Context, line string) int {
	p := s.process()
	words := s.words(p, line)
	if len(words) == 0 {
		return statusExec
	}
	p.Args = words
	_, problem := p.find()
	switch {
	case problem == nil:
		return 0
	case s.u.vendor:
		return simulatedStart
	case systemDir(path.Dir(words[0])) || strings.HasPrefix(words[0], "/usr/lib"), strings.Contains(problem.reason, "binary"):
		s.h.note(ctx, s.u.name, s.u.name+" counts as running, although "+words[0]+" is not a program of this simulated machine; register a func for "+path.Base(words[0])+" in Commands")
		return simulatedStart
	}
	s.h.units.log(s.u.name, "Failed at step EXEC spawning "+words[0]+": "+problem.reason)
	return statusExec
}

const statusExec = 203 // EXIT_EXEC of systemd

// post runs ExecStartPost.
func (s serviceRun) post(ctx context.Context) bool {
	for _, line := range s.u.settings["Service.ExecStartPost"] {
		if s.line(ctx, line) != 0 {
			return false
		}
	}
	return true
}

// directories creates the directories that the service owns.
func (s serviceRun) directories() {
	p := s.process()
	disk := asRoot(s.h.FS())
	for setting, parent := range map[string]string{"RuntimeDirectory": "/run/", "StateDirectory": "/var/lib/", "LogsDirectory": "/var/log/", "CacheDirectory": "/var/cache/", "ConfigurationDirectory": "/etc/"} {
		for _, name := range s.u.words("Service." + setting) {
			if disk.MkdirAll(parent+name, 0o755) == nil && p.UID > 0 && setting != "ConfigurationDirectory" {
				_ = disk.Chown(parent+name, p.UID, p.GID) // the directory exists
			}
		}
	}
}

// process returns a process with the user and environment of the service.
func (s serviceRun) process() *Process {
	name := s.u.get("Service.User")
	if name == "" {
		name = "root"
	}
	who, ok := lookupUser(s.h.FS(), name)
	if !ok {
		who = user{name: name, home: "/", shell: "/bin/sh", uid: -1, gid: -1}
	}
	p := s.h.process(who)
	p.Env = map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "USER": who.name, "LOGNAME": who.name, "HOME": who.home, "SHELL": who.shell}
	p.Stdin, p.Stdout, p.Stderr, p.by = strings.NewReader(""), s.out, s.out, "systemd"
	p.Dir = "/"
	if dir := s.u.get("Service.WorkingDirectory"); path.IsAbs(dir) {
		p.Dir = dir
	}
	for _, line := range s.u.settings["Service.Environment"] {
		p.assign(shellWords(line))
	}
	for _, file := range s.u.settings["Service.EnvironmentFile"] {
		data, _ := asRoot(s.h.FS()).ReadFile(strings.TrimPrefix(file, "-")) // reported by line if required
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				key, value, _ := strings.Cut(line, "=")
				p.Env[strings.TrimSpace(key)] = strings.Trim(strings.TrimSpace(value), `"'`)
			}
		}
	}
	return p
}

// words returns the words of a command line, without prefixes and with the
// variables replaced.
func (s serviceRun) words(p *Process, line string) []string {
	words := shellWords(strings.TrimLeft(line, "-@:+!"))
	var all []string
	for _, w := range words {
		if name, ok := strings.CutPrefix(w, "$"); ok && name != "" && name[0] != '{' && name[0] != '$' { // a word of its own is split
			all = append(all, strings.Fields(p.Env[name])...)
			continue
		}
		all = append(all, os.Expand(strings.ReplaceAll(w, "$$", "\x00"), func(name string) string { return p.Env[name] }))
	}
	for i := range all {
		all[i] = strings.ReplaceAll(all[i], "\x00", "$")
	}
	return all
}

// line runs a command line and returns its status. A prefixed hyphen ignores a
// failure.
func (s serviceRun) line(ctx context.Context, line string) int {
	p := s.process()
	ignore := strings.HasPrefix(strings.TrimLeft(line, "@:+!"), "-")
	for _, file := range s.u.settings["Service.EnvironmentFile"] {
		if _, err := asRoot(s.h.FS()).Stat(file); err != nil && !strings.HasPrefix(file, "-") {
			s.h.units.log(s.u.name, "Failed to load environment files: No such file or directory")
			return statusExec
		}
	}
	if p.UID < 0 {
		s.h.units.log(s.u.name, "Failed to determine user credentials: No such process")
		return 217 // EXIT_USER
	}
	if info, err := p.FS.Stat(p.Dir); err != nil || !info.IsDir() {
		s.h.units.log(s.u.name, "Changing to the requested working directory failed: No such file or directory")
		return 200 // EXIT_CHDIR
	}
	if shut, err := s.redirect(p); err != nil {
		return 209 // EXIT_STDOUT
	} else if shut != nil {
		defer shut()
	}
	switch problem := s.startable(ctx, line); problem {
	case 0:
	case simulatedStart:
		return 0
	default:
		if ignore {
			return 0
		}
		return problem
	}
	p.Args = s.words(p, line)
	status := p.exec(ctx)
	if ignore {
		return 0
	}
	return status
}

// redirect opens the file that StandardOutput names.
func (s serviceRun) redirect(p *Process) (shut func(), err error) {
	kind, file, _ := strings.Cut(s.u.get("Service.StandardOutput"), ":")
	flags := os.O_WRONLY | os.O_CREATE
	switch kind {
	case "append":
		flags |= os.O_APPEND
	case "truncate":
		flags |= os.O_TRUNC
	case "file":
	default:
		return nil, nil //nolint:nilnil // there is no such file
	}
	f, err := asRoot(s.h.FS()).OpenFile(file, flags, fs.FileMode(0o644))
	if err != nil {
		return nil, err
	}
	p.Stdout = f
	if e := s.u.get("Service.StandardError"); e == "" || e == "inherit" || e == s.u.get("Service.StandardOutput") {
		p.Stderr = f
	}
	return func() { _ = f.Close() }, nil
}
