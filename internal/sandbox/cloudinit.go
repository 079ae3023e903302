package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// initRun is the run of cloud-init at one boot.
type initRun struct {
	h           *Host
	disk        *memfs.FS
	newInstance bool // the disk has not booted as this instance before
	dir         string
	parts       []part
	conf        cloudConfig
}

// cloudInit performs the work of the kernel and cloud-init at boot. Errors appear
// on the console and in "cloud-init status".
func (h *Host) cloudInit(ctx context.Context) {
	c := &initRun{h: h, disk: h.FS(), dir: cloudDir + "/instances/" + h.o.InstanceID}
	h.log("[    0.000000] Linux version %s (%s)", h.o.Facts.Kernel, h.o.Facts.Arch)
	c.makeVolatileFiles()
	c.identifyInstance()
	c.check("user data", c.readUserData())
	c.check("host name", c.hostname())
	if c.h.systemd() {
		c.check("/run/systemd", c.disk.MkdirAll("/run/systemd/system", 0o755))
	}
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
	c.h.initErrors = append(c.h.initErrors, fmt.Sprintf(format, args...))
}

func (c *initRun) write(name, text string, mode fs.FileMode) {
	c.check(name, errors.Join(c.disk.MkdirAll(path.Dir(name), 0o755), c.disk.WriteFile(name, []byte(text), mode)))
}

// makeVolatileFiles resets /run and /dev/fd and generates the boot id and, if
// there is none, the machine id.
func (c *initRun) makeVolatileFiles() {
	for _, dir := range []string{"/run", "/dev/fd"} {
		entries, _ := c.disk.ReadDir(dir) // created below if missing
		for _, e := range entries {
			_ = c.disk.RemoveAll(dir + "/" + e.Name()) // does not fail for root
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

// identifyInstance determines whether the disk boots as a new instance, and
// records the instance id.
func (c *initRun) identifyInstance() {
	id := c.h.o.InstanceID
	before, _ := c.disk.ReadFile(cloudDir + "/data/instance-id") // none at first
	_, err := c.disk.Stat(c.dir)
	c.newInstance = strings.TrimSpace(string(before)) != id || err != nil
	c.write(cloudDir+"/data/previous-instance-id", string(before), 0o644)
	c.write(cloudDir+"/data/instance-id", id+"\n", 0o644)
	c.write("/run/cloud-init/.instance-id", id+"\n", 0o644)
	_ = c.disk.Remove(instanceLink) // it may not exist
	c.check("instance", errors.Join(c.disk.MkdirAll(c.dir+"/scripts", 0o755), c.disk.Symlink(c.dir, instanceLink)))
}

// readUserData parses the user data and saves it where cloud-init does.
func (c *initRun) readUserData() error {
	raw := c.h.o.UserData
	c.write(c.dir+"/user-data.txt", string(raw), 0o600)
	if len(raw) == 0 {
		return nil
	}
	parts, failed := parseUserData(raw)
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
			c.h.log("cloud-init[]: WARNING: cloud-config key %q is not supported by this machine and has no effect", key)
		}
		c.write(c.dir+"/cloud-config.txt", string(p.content), 0o600)
	}
	return failed
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

// boothooks runs the boothook parts, early in every boot.
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

// scripts runs runcmd and the script parts, at the end of an instance's first
// boot.
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

// run runs a command as root with its output on the console.
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
