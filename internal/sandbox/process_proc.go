package sandbox

import (
	"fmt"
	"io/fs"
	"strings"
)

// publish writes the files of a process below /proc that scripts look for
// processes with. A full disk has none.
func (p *Process) publish() {
	disk := p.Host.FS()
	dir := "/proc/" + itoa(p.PID)
	if disk.Mkdir(dir, 0o555) != nil {
		return
	}
	var environ strings.Builder
	for name, value := range p.Env {
		environ.WriteString(name + "=" + value + "\x00")
	}
	stat := fmt.Sprintf("%d (%s) S %d %d %d 0 -1 4194560"+strings.Repeat(" 0", 43)+"\n", p.PID, p.name(), p.parent, p.sid, p.sid)
	for _, file := range []struct {
		name, text string
		private    bool
	}{
		{"environ", environ.String(), true}, {"stat", stat, false},
		{"cmdline", strings.Join(p.Args, "\x00") + "\x00", false}, {"comm", p.name() + "\n", false},
	} {
		mode := fs.FileMode(0o444)
		if file.private {
			mode = 0o400
		}
		name := dir + "/" + file.name
		if disk.WriteFile(name, []byte(file.text), mode) == nil && file.private {
			_ = disk.Chown(name, p.UID, p.GID) // root may
		}
	}
}

func (p *Process) unpublish() {
	_ = p.Host.FS().RemoveAll("/proc/" + itoa(p.PID)) // it may not exist
}

// clearProcesses removes what an earlier boot left below /proc.
func (h *Host) clearProcesses() {
	entries, err := h.o.FS.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, e := range entries {
		if isNumber(e.Name()) {
			_ = h.o.FS.RemoveAll("/proc/" + e.Name())
		}
	}
}
