package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

const (
	cloudDir     = "/var/lib/cloud"
	instanceLink = cloudDir + "/instance"
	resultFile   = "/run/cloud-init/result.json"
)

// initRun is cloud-init at one boot.
type initRun struct {
	h           *Host
	disk        *memfs.FS
	newInstance bool // the instance has not booted before
	dir         string
	parts       []part
	conf        cloudConfig
}

// cloudInit does at boot what cloud-init and the kernel do. What fails is told
// on the console, and by "cloud-init status".
func (h *Host) cloudInit(ctx context.Context) {
	c := &initRun{h: h, disk: h.FS(), dir: cloudDir + "/instances/" + h.o.InstanceID}
	h.log("[    0.000000] Linux version %s (%s)", h.o.Facts.Kernel, h.o.Facts.Arch)
	c.makeVolatileFiles()
	c.identifyInstance()
	c.check("user data", c.readUserData())
	c.check("host name", c.hostname())
	c.boothooks(ctx)
	if ctx.Err() == nil {
		c.check("config", c.apply(ctx))
	}
	c.announceHostKeys()
	if ctx.Err() == nil && c.newInstance {
		c.scripts(ctx)
	}
	c.finish()
}

func (c *initRun) check(what string, err error) {
	if err != nil {
		c.problem("%s: %v", what, err)
	}
}

func (c *initRun) problem(format string, args ...any) {
	c.h.log("cloud-init[]: ERROR "+format, args...)
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.h.initErrors = append(c.h.initErrors, sprintf(format, args...))
}

func (c *initRun) write(name, text string, mode fs.FileMode) {
	c.check(name, errors.Join(c.disk.MkdirAll(path.Dir(name), 0o755), c.disk.WriteFile(name, []byte(text), mode)))
}

// kernel makes what is new at every boot: /run, /tmp and the boot id.
func (c *initRun) makeVolatileFiles() {
	for _, dir := range []string{"/run", "/dev/fd"} {
		entries, _ := c.disk.ReadDir(dir) // a disk without it is given one
		for _, e := range entries {
			_ = c.disk.RemoveAll(dir + "/" + e.Name()) // root can
		}
		c.check(dir, c.disk.MkdirAll(dir, 0o755))
	}
	c.check("/run/lock", c.disk.MkdirAll("/run/lock", 0o755))
	id := "/proc/sys/kernel/random/boot_id"
	c.write(id, uuid()+"\n", 0o444)
	if data, err := c.disk.ReadFile("/etc/machine-id"); err != nil || strings.TrimSpace(string(data)) == "" || string(data) == "uninitialized\n" {
		c.write("/etc/machine-id", strings.ReplaceAll(uuid(), "-", "")+"\n", 0o444)
	}
}

// instance finds out whether this disk knows the instance already.
func (c *initRun) identifyInstance() {
	id := c.h.o.InstanceID
	before, _ := c.disk.ReadFile(cloudDir + "/data/instance-id") // none at first
	_, err := c.disk.Stat(c.dir)
	c.newInstance = strings.TrimSpace(string(before)) != id || err != nil
	c.write(cloudDir+"/data/previous-instance-id", string(before), 0o644)
	c.write(cloudDir+"/data/instance-id", id+"\n", 0o644)
	c.write("/run/cloud-init/.instance-id", id+"\n", 0o644)
	_ = c.disk.Remove(instanceLink) // perhaps there is none
	c.check("instance", errors.Join(c.disk.MkdirAll(c.dir+"/scripts", 0o755), c.disk.Symlink(c.dir, instanceLink)))
}

// read parses the user data and keeps it where cloud-init does.
func (c *initRun) readUserData() error {
	raw := c.h.o.UserData
	c.write(c.dir+"/user-data.txt", string(raw), 0o600)
	if len(raw) == 0 {
		return nil
	}
	parts, err := parseUserData(raw)
	if err != nil {
		return err
	}
	c.parts = parts
	for _, p := range parts {
		if p.kind != cloudConfigPart {
			continue
		}
		unknown, err := c.conf.merge(p.content)
		if err != nil {
			c.problem("cloud-config: %v", err)
		}
		for _, key := range unknown {
			c.h.log("cloud-init[]: WARNING: cloud-config key %q is not known to this machine and has no effect", key)
		}
		c.write(c.dir+"/cloud-config.txt", string(p.content), 0o600)
	}
	return nil
}

func (c *initRun) hostname() error {
	name := c.conf.Hostname
	if name == "" {
		name = c.conf.FQDN
	}
	switch {
	case name != "":
	case c.newInstance:
		name = c.h.o.Hostname
	default:
		data, _ := c.disk.ReadFile("/etc/hostname")
		if name = strings.TrimSpace(string(data)); name == "" {
			name = c.h.o.Hostname
		}
	}
	c.h.setHostname(name)
	return c.disk.WriteFile("/etc/hostname", []byte(name+"\n"), 0o644)
}

// boothooks run early, and at every boot.
func (c *initRun) boothooks(ctx context.Context) {
	for i, p := range c.parts {
		if p.kind != boothookPart || ctx.Err() != nil {
			continue
		}
		file := c.dir + "/boothooks/" + p.fileName(i)
		c.write(file, string(p.content), 0o700)
		c.run(ctx, "boothook "+p.fileName(i), file)
	}
}

// scripts run last, and once per instance.
func (c *initRun) scripts(ctx context.Context) {
	if file := c.dir + "/scripts/runcmd"; c.conf.runcmd != "" {
		c.write(file, c.conf.runcmd, 0o700)
		c.run(ctx, "runcmd", file)
	}
	for i, p := range c.parts {
		if p.kind != scriptPart || ctx.Err() != nil {
			continue
		}
		file := c.dir + "/scripts/" + p.fileName(i)
		c.write(file, string(p.content), 0o700)
		c.run(ctx, "script "+p.fileName(i), file)
	}
}

// run runs a file as root, with its output on the console.
func (c *initRun) run(ctx context.Context, what string, args ...string) {
	u, ok := lookupUser(c.disk, "root")
	if !ok {
		u = user{name: "root", home: "/root", shell: "/bin/sh"}
	}
	p := c.h.process(u)
	out := &consoleWriter{h: c.h, disk: c.disk}
	p.Dir, p.Stdin, p.Stdout, p.Stderr = "/", strings.NewReader(""), out, out
	p.Env["INSTANCE_ID"] = c.h.o.InstanceID
	p.Args, p.by = args, "cloud-init"
	if status := p.exec(ctx); status != 0 {
		c.problem("%s failed with exit status %d", what, status)
	}
}

func (c *initRun) finish() {
	c.h.mu.Lock()
	problems := append([]string{}, c.h.initErrors...)
	c.h.mu.Unlock()
	result, err := json.MarshalIndent(map[string]any{"v1": map[string]any{"datasource": "DataSourceEc2Local", "errors": problems}}, "", " ")
	c.check("result", err)
	c.write(resultFile, string(result)+"\n", 0o644)
	c.write(c.dir+"/boot-finished", c.h.o.Clock.Now().UTC().Format("Mon Jan _2 15:04:05 2006")+"\n", 0o644)
	c.h.log("cloud-init[]: finished at %s", c.h.o.Clock.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 +0000"))
}

// cloudInit is the command: "cloud-init status [--wait] [--long]" and
// "cloud-init clean".
func cloudInit(_ context.Context, p *Process) int {
	verb := ""
	if len(p.Args) > 1 {
		verb = p.Args[1]
		p.Args = append([]string{p.Args[0]}, p.Args[2:]...)
	}
	switch verb {
	case "status":
		o, _, bad := p.options("wl", "wait=w", "long=l", "format=f:")
		if bad != 0 {
			return bad
		}
		p.Host.mu.Lock()
		problems := p.Host.initErrors
		p.Host.mu.Unlock()
		status, code := "done", 0
		if len(problems) > 0 {
			status, code = "error", 1
		}
		if format, _ := o.value("f"); format == "json" {
			said, _ := json.Marshal(map[string]any{ // strings always marshal
				"status": status, "extended_status": status, "errors": append([]string{}, problems...), "recoverable_errors": map[string]any{},
			})
			p.print(string(said), "\n")
			return code
		}
		p.print("status: ", status, "\n")
		if o.on("l") {
			p.print("errors: ", strings.Join(problems, "; "), "\n")
		}
		return code
	case "clean":
		o, _, bad := p.options("ls", "logs=l", "seed=s", "machine-id=m", "configs=c:", "reboot=r")
		if bad != 0 {
			return bad
		}
		if o.on("r") || o.on("c") {
			return p.fail(2, "options --reboot and --configs are not supported by this machine")
		}
		return p.cleanCloud(o)
	}
	return p.fail(2, "only status and clean are supported by this machine")
}

// cleanCloud removes what cloud-init remembers, so that the next boot of the
// disk is a first one.
func (p *Process) cleanCloud(o opts) int {
	if p.UID != 0 {
		return p.fail(1, "must be run as root")
	}
	gone := []string{cloudDir + "/instances", instanceLink, cloudDir + "/data"}
	if o.on("l") {
		gone = append(gone, "/var/log/cloud-init.log", "/var/log/cloud-init-output.log")
	}
	for _, name := range gone {
		if err := p.FS.RemoveAll(name); err != nil {
			return p.fail(1, "%s", errText(err))
		}
	}
	if o.on("m") {
		if err := p.FS.WriteFile("/etc/machine-id", []byte("uninitialized\n"), 0o444); err != nil {
			return p.fail(1, "%s", errText(err))
		}
	}
	return 0
}
