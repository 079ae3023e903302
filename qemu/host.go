package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/bakestone-go/bakestone/bake"
)

// A Host is the computer that bakes: a directory for images and the limits of the
// machines that run at once. Create one with [NewHost] and share it among Builders.
type Host struct {
	dir      string
	err      error // why dir is unusable
	options  HostOptions
	machines *semaphore.Weighted
	memory   *semaphore.Weighted
	catalogs sync.Mutex // held while a catalog of boxes is changed

	mu        sync.Mutex
	downloads map[string]chan struct{} // by checksum; closed when the download ends
}

// HostOptions configures a Host. The zero value is ready to use.
type HostOptions struct {
	// Programs is the directory of QEMU's programs, qemu-img and qemu-system-x86_64.
	// Empty means that they are in PATH.
	Programs string

	// Machines is the number of machines that run at once; others wait. Zero means the
	// number of CPUs.
	Machines int

	// Memory is the memory, in bytes, of all machines that run at once; others wait.
	// Zero means three quarters of the computer's memory, or no limit where that is
	// unknown.
	Memory int64

	// HTTPClient downloads sources. If nil, http.DefaultClient is used.
	HTTPClient *http.Client
}

// NewHost returns a Host that keeps images in dir. It does no I/O; dir is created when
// needed. A nil o is the same as the zero value.
func NewHost(dir string, o *HostOptions) *Host {
	h := &Host{downloads: map[string]chan struct{}{}}
	if o != nil {
		h.options = *o
	}
	if h.options.Machines == 0 {
		h.options.Machines = runtime.NumCPU()
	}
	if h.options.HTTPClient == nil {
		h.options.HTTPClient = http.DefaultClient
	}
	h.dir, h.err = filepath.Abs(dir)
	if dir == "" {
		h.err = errors.New("directory is required")
	}
	h.machines = semaphore.NewWeighted(int64(max(1, h.options.Machines)))
	if h.options.Memory > 0 {
		h.memory = semaphore.NewWeighted(h.options.Memory)
	} else if total := totalMemory(); total > 0 {
		h.options.Memory = total / 4 * 3 //nolint:mnd // three quarters
		h.memory = semaphore.NewWeighted(h.options.Memory)
	}
	return h
}

func (h *Host) validate(invalid func(field, format string, args ...any)) {
	switch {
	case h == nil:
		invalid("Host", "is required")
		return
	case h.err != nil:
		invalid("Host", "%w", h.err)
	case h.options.Machines < 0:
		invalid("Host", "HostOptions.Machines must not be negative")
	case h.options.Memory < 0:
		invalid("Host", "HostOptions.Memory must not be negative")
	}
}

// Dir returns the directory of the images.
func (h *Host) Dir() string { return h.dir }

func (h *Host) imagesDir() string   { return filepath.Join(h.dir, "images") }
func (h *Host) buildingDir() string { return filepath.Join(h.dir, "building") }
func (h *Host) cacheDir() string    { return filepath.Join(h.dir, "cache") }

const (
	privateDir  = 0o700
	privateFile = 0o600
)

// reserve waits until a machine with this much memory may run. It returns a func that
// ends the reservation.
func (h *Host) reserve(ctx context.Context, run *bake.Run, memory int64) (release func(), err error) {
	if !h.machines.TryAcquire(1) {
		run.Say("waiting for one of the %d machines that may run at once", h.options.Machines)
		if err := h.machines.Acquire(ctx, 1); err != nil {
			return nil, context.Cause(ctx)
		}
	}
	if h.memory == nil {
		return func() { h.machines.Release(1) }, nil
	}
	memory = min(memory, h.options.Memory) // a machine that needs more runs alone
	if !h.memory.TryAcquire(memory) {
		run.Say("waiting for memory: machines may use %d MiB at once", h.options.Memory>>20)
		if err := h.memory.Acquire(ctx, memory); err != nil {
			h.machines.Release(1)
			return nil, context.Cause(ctx)
		}
	}
	return func() {
		h.memory.Release(memory)
		h.machines.Release(1)
	}, nil
}

// A MissingProgramError reports that a program of QEMU's is not installed.
type MissingProgramError struct {
	Program string // "qemu-img"
	Package string // the Debian package with it: "qemu-utils"
	Err     error  // the cause
}

// Error names the program and how to install it.
func (e *MissingProgramError) Error() string {
	return fmt.Sprintf("%s is not installed: %v; on Debian and Ubuntu: apt-get install %s; on macOS: brew install qemu", e.Program, e.Err, e.Package)
}

// Unwrap returns the cause.
func (e *MissingProgramError) Unwrap() error { return e.Err }

// program returns the path of a program of QEMU's.
func (h *Host) program(name string) (string, error) {
	file := name
	if h.options.Programs != "" {
		file = filepath.Join(h.options.Programs, name)
	}
	path, err := exec.LookPath(file)
	if err == nil {
		return path, nil
	}
	missing := &MissingProgramError{Program: name, Package: "qemu-utils", Err: err}
	if name == "swtpm" {
		missing.Package = name
	}
	if strings.HasPrefix(name, "qemu-system-") {
		missing.Package = "qemu-system-x86"
		if !strings.HasSuffix(name, "-x86_64") {
			missing.Package = "qemu-system-arm"
		}
	}
	return "", missing
}

// killDelay is how long a canceled program's output is awaited.
const killDelay = 5 * time.Second

// img runs qemu-img and returns what it prints.
func (h *Host) img(ctx context.Context, run *bake.Run, args ...string) ([]byte, error) {
	path, err := h.program("qemu-img")
	if err != nil {
		return nil, err
	}
	if err := bake.CheckLease(ctx); err != nil {
		return nil, err
	}
	finished := run.Command("qemu-img " + strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // the program is the caller's choice
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, &stderr, killDelay
	err = cmd.Run()
	if err != nil {
		err = fmt.Errorf("qemu-img %s: %w: %s", args[0], err, run.Redact(strings.TrimSpace(stderr.String())))
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}
	finished(err)
	return stdout.Bytes(), err
}

// totalMemory returns the computer's memory in bytes, or zero if it is unknown.
func totalMemory() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	var kib int64
	if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kib); err != nil {
		return 0
	}
	return kib << 10
}
