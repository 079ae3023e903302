package sandbox

import (
	"context"
	"encoding/json"
	"strings"
)

// cloudInit implements "cloud-init status" and "cloud-init clean".
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
			text, _ := json.Marshal(map[string]any{ // strings always marshal
				"status": status, "extended_status": status, "errors": append([]string{}, problems...), "recoverable_errors": map[string]any{},
			})
			p.print(string(text), "\n")
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

// cleanCloud removes the state of cloud-init, so that the next boot of the disk
// is treated as a new instance.
func (p *Process) cleanCloud(o opts) int {
	if p.UID != 0 {
		return p.fail(1, "must be run as root")
	}
	paths := []string{cloudDir + "/instances", instanceLink, cloudDir + "/data"}
	if o.on("l") {
		paths = append(paths, "/var/log/cloud-init.log", outputLog)
	}
	for _, name := range paths {
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
