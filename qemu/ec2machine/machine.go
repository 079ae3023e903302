package ec2machine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// Options configure virtual machines. Nil options mean the zero value.
type Options struct {
	// Disks are the root disks of the vendors' images, as files in qcow2 or raw
	// format, by the image's name. The name "*" stands for all other images.
	// Machines do not change the files. An image without a disk does not boot.
	Disks map[string]string

	// Dir is where disks and machines are kept while the server runs. Its path
	// must be short, since the directories contain sockets. Empty means the
	// default directory for temporary files.
	Dir string

	// Memory is the memory of a machine in bytes. Zero means 1 GiB.
	Memory int64

	// CPUs is the number of processors of a machine. Zero means 1.
	CPUs int

	// Accelerators are what may run the guests' code, in QEMU's notation: "kvm",
	// "hvf", "tcg". QEMU takes the first that works. Empty means KVM on Linux and
	// HVF on macOS, and then TCG.
	Accelerators []string

	// BootTimeout limits the time until the SSH server greets. Zero means 5
	// minutes.
	BootTimeout time.Duration

	// PowerDown is how long a guest may take to power down. Zero means 30
	// seconds.
	PowerDown time.Duration

	// Args are additional arguments of QEMU.
	Args []string
}

const (
	defaultMemory    = 1 << 30
	defaultBoot      = 5 * time.Minute
	defaultPowerDown = 30 * time.Second
)

// Machines is an [ec2test.MachineKind] whose machines are virtual. A value serves
// one server.
type Machines struct {
	opts Options

	mu   sync.Mutex
	root string // the directory of everything; empty until it is needed
	seq  int
}

var _ ec2test.MachineKind = (*Machines)(nil)

// New returns virtual machines. It does no I/O.
func New(o *Options) *Machines {
	m := &Machines{}
	if o != nil {
		m.opts = *o
	}
	m.opts.Memory = cmp.Or(m.opts.Memory, defaultMemory)
	m.opts.CPUs = cmp.Or(m.opts.CPUs, 1)
	m.opts.BootTimeout = cmp.Or(m.opts.BootTimeout, defaultBoot)
	m.opts.PowerDown = cmp.Or(m.opts.PowerDown, defaultPowerDown)
	return m
}

// newDir creates an empty directory.
func (m *Machines) newDir() (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.root == "" {
		root, err := os.MkdirTemp(m.opts.Dir, "ec2-")
		if err != nil {
			return "", err
		}
		if m.root, err = filepath.Abs(root); err != nil {
			return "", err
		}
	}
	m.seq++
	dir := filepath.Join(m.root, fmt.Sprint(m.seq))
	return dir, os.Mkdir(dir, 0o700)
}

// removeDir removes a directory of newDir, and the one of everything after the last.
func (m *Machines) removeDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := os.RemoveAll(dir)
	if os.Remove(m.root) == nil { // fails unless it is empty
		m.root = ""
	}
	return err
}

// Blank creates an empty disk.
func (m *Machines) Blank(ctx context.Context, sizeGiB int) (ec2test.Disk, error) {
	return m.newDisk(func(file string) error { return image(ctx, "create", "-f", "qcow2", file, gib(sizeGiB)) })
}

func gib(size int) string { return fmt.Sprintf("%dG", size) }

// Disk creates a layer over the disk file of a vendor's image.
func (m *Machines) Disk(ctx context.Context, img ec2test.Image) (ec2test.Disk, error) {
	file := cmp.Or(m.opts.Disks[img.Name], m.opts.Disks["*"])
	if file == "" {
		return nil, fmt.Errorf("no disk for image %q: add it to Options.Disks", img.Name)
	}
	file, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	text, err := output(ctx, "info", "--output=json", file)
	if err != nil {
		return nil, err
	}
	var info struct {
		Format  string `json:"format"`
		Size    int64  `json:"virtual-size"`
		Backing string `json:"backing-filename"`
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return nil, fmt.Errorf("information about %s: %w", file, err)
	}
	switch {
	case info.Backing != "":
		return nil, fmt.Errorf("disk %s depends on %s: convert it to a standalone file", file, info.Backing)
	case info.Format != "qcow2" && info.Format != "raw":
		return nil, fmt.Errorf("disk %s has the format %s, want qcow2 or raw", file, info.Format)
	}
	size := max(info.Size, int64(img.SizeGiB)<<30)
	return m.newDisk(func(layer string) error {
		return image(ctx, "create", "-f", "qcow2", "-b", file, "-F", info.Format, layer, fmt.Sprint(size))
	})
}

// Load creates a disk with given contents.
func (m *Machines) Load(ctx context.Context, sizeGiB int, contents ec2test.Blocks) (ec2test.Disk, error) {
	return m.newDisk(func(file string) error {
		raw := file + ".raw"
		defer os.Remove(raw) //nolint:errcheck // it is in a directory that is removed
		if err := writeRaw(raw, sizeGiB, contents); err != nil {
			return err
		}
		return image(ctx, "convert", "-f", "raw", "-O", "qcow2", raw, file)
	})
}

func writeRaw(name string, sizeGiB int, contents ec2test.Blocks) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600) //nolint:gosec // in our directory
	if err != nil {
		return err
	}
	err = f.Truncate(int64(sizeGiB) << 30)
	if err == nil {
		err = contents(func(offset int64, data []byte) error {
			_, err := f.WriteAt(data, offset)
			return err
		})
	}
	return errors.Join(err, f.Close())
}

// image runs qemu-img.
func image(ctx context.Context, args ...string) error {
	_, err := output(ctx, args...)
	return err
}

// output runs qemu-img and returns its output.
func output(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "qemu-img", args...) //nolint:gosec // our arguments
	out, err := cmd.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("qemu-img %s: %w: %s", args[0], err, strings.TrimSpace(string(failed.Stderr)))
	}
	if err != nil {
		return nil, fmt.Errorf("qemu-img %s: %w", args[0], err)
	}
	return out, nil
}
