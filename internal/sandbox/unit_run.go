package sandbox

import (
	"context"
	"errors"
	"path"
	"strings"
	"sync"
)

// unitTable is what systemd remembers from boot to shutdown.
type unitTable struct {
	mu      sync.Mutex
	all     map[string]*unitState
	journal []journalLine
}

// unitState is the state of a unit that was started.
type unitState struct {
	active string // "active", "activating", "inactive" or "failed"
	result string // of a failed one: "exit-code"
	status int
	kill   func(error) // nil if no process runs
	done   chan struct{}
}

// journalLine is a line of output of a unit.
type journalLine struct{ unit, text string }

const maxJournal = 2000

func newUnitTable() *unitTable { return &unitTable{all: map[string]*unitState{}} }

// state returns a copy of the state of a unit.
func (t *unitTable) state(name string) unitState {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.all[name]; s != nil {
		return *s
	}
	return unitState{active: "inactive"}
}

func (t *unitTable) set(name string, s *unitState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all[name] = s
}

// ended records the end of a unit's process, unless it was replaced meanwhile.
func (t *unitTable) ended(s *unitState, status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.kill, s.status = nil, status
	switch {
	case s.active != "active" && s.active != "activating": // stopped
	case status == 0:
		s.active = "inactive"
	default:
		s.active, s.result = "failed", "exit-code"
	}
	close(s.done)
}

// activeUnits returns the names of the active units.
func (t *unitTable) activeUnits() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for name, s := range t.all {
		if s.active == "active" {
			names = append(names, name)
		}
	}
	return names
}

// journalWriter adds the output of a unit to the journal, a line at a time.
type journalWriter struct {
	t    *unitTable
	unit string
	mu   sync.Mutex
	part string
}

func (w *journalWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	const longest = 4096
	w.part += string(p[:min(len(p), longest)])
	for {
		line, rest, ok := strings.Cut(w.part, "\n")
		if !ok && len(w.part) < longest {
			return len(p), nil
		}
		w.part = rest
		w.t.log(w.unit, line[:min(len(line), longest)])
	}
}

func (t *unitTable) log(unit, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.journal) >= maxJournal {
		t.journal = t.journal[1:]
	}
	t.journal = append(t.journal, journalLine{unit, text})
}

// startUnits starts what is enabled, as systemd does at boot. Services run in the
// background.
func (h *Host) startUnits(ctx context.Context) {
	if !h.systemd() {
		return
	}
	var later []*unit
	for _, name := range h.enabledUnits() {
		u, err := h.unit(name)
		if err != nil || u.masked {
			continue
		}
		if len(u.settings["Service.ExecStart"]) == 0 || u.vendor {
			h.units.set(u.name, &unitState{active: "active"})
			continue
		}
		h.units.set(u.name, &unitState{active: "activating"})
		later = append(later, u)
	}
	h.writePorts()
	if len(later) > 0 {
		h.outlive(ctx, func() {
			for _, u := range later {
				h.startUnit(ctx, u)
			}
		})
	}
}

// startUnit starts a unit and reports whether that succeeded. Starting an active
// unit does nothing.
func (h *Host) startUnit(ctx context.Context, u *unit) bool {
	if h.units.state(u.name).active == "active" {
		return true
	}
	defer h.writePorts()
	if path.Ext(u.name) != ".service" || len(u.settings["Service.ExecStart"]) == 0 {
		h.units.set(u.name, &unitState{active: "active"})
		return true
	}
	s := &unitState{active: "activating", done: make(chan struct{})}
	h.units.set(u.name, s)
	kind := u.get("Service.Type")
	waits := kind == "oneshot" || kind == "forking"
	run := serviceRun{h: h, u: u, out: &journalWriter{t: h.units, unit: u.name}}
	run.directories()
	for _, line := range u.settings["Service.ExecStartPre"] {
		if status := run.line(ctx, line); status != 0 {
			h.units.ended(s, status)
			return false
		}
	}
	running, stop := h.detach(ctx)
	if waits {
		status := 0
		for _, line := range u.settings["Service.ExecStart"] {
			if status = run.line(running, line); status != 0 {
				break
			}
		}
		stop(nil)
		h.units.ended(s, status)
		if status == 0 && (kind == "forking" || u.on("Service.RemainAfterExit")) {
			h.units.set(u.name, &unitState{active: "active"})
		}
		return status == 0 && run.post(ctx)
	}
	if problem := run.startable(ctx, u.settings["Service.ExecStart"][0]); problem != 0 {
		stop(nil)
		if problem == simulatedStart {
			h.units.set(u.name, &unitState{active: "active"})
			return run.post(ctx)
		}
		h.units.ended(s, problem)
		return kind == "" || kind == "simple" // which does not wait for the program
	}
	h.units.mu.Lock()
	s.active, s.kill = "active", stop
	h.units.mu.Unlock()
	h.outlive(ctx, func() {
		status := run.line(running, u.settings["Service.ExecStart"][0])
		stop(nil)
		h.units.ended(s, status)
		h.writePorts()
	})
	return run.post(ctx)
}

// stopUnit stops a unit and waits for its process.
func (h *Host) stopUnit(ctx context.Context, u *unit) {
	h.units.mu.Lock()
	s := h.units.all[u.name]
	if s == nil {
		h.units.mu.Unlock()
		return
	}
	was := s.active
	s.active = "inactive"
	kill, done := s.kill, s.done
	h.units.mu.Unlock()
	run := serviceRun{h: h, u: u, out: &journalWriter{t: h.units, unit: u.name}}
	if was == "active" {
		for _, line := range u.settings["Service.ExecStop"] {
			run.line(ctx, line)
		}
	}
	if kill != nil {
		kill(signal("TERM"))
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
	h.writePorts()
}

// writePorts lists the ports of the active services in /proc/net/tcp.
func (h *Host) writePorts() {
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	var b strings.Builder
	b.WriteString(head)
	for n, port := range h.ports() {
		fprintf(&b, "%4d: 00000000:%04X 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 %d 1\n", n, port, 20000+n)
	}
	disk := asRoot(h.FS())
	_ = errors.Join(disk.MkdirAll("/proc/net", 0o555), disk.WriteFile("/proc/net/tcp", []byte(b.String()), 0o444)) // a full disk
}
