package sandbox

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// A Volume holds the contents of a disk, which at most one machine uses at a time.
type Volume struct {
	mu    sync.Mutex
	parts []*filesystem // index 0 is the whole disk, the others partitions; nil for a missing number
}

// filesystem is the content of a disk or partition.
type filesystem struct {
	kind, label, uuid string // kind is empty if it has not been formatted
	disk              *memfs.FS
	home              *memfs.FS // the machine's file system that contains tree; nil if disk has the content
	tree              memfs.Tree
}

// NewVolume returns a volume that contains a root file system, or nothing if root
// is nil.
func NewVolume(root *memfs.FS) *Volume {
	v := &Volume{parts: []*filesystem{{}}}
	if root != nil {
		v.parts[0] = &filesystem{kind: "ext4", label: "cloudimg-rootfs", uuid: uuid(), disk: root}
	}
	return v
}

// IsBlank reports whether the volume has neither partitions nor a file system.
func (v *Volume) IsBlank() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.parts) == 1 && v.parts[0].kind == ""
}

// Clone returns an independent copy. It may be called while a machine uses the
// volume.
func (v *Volume) Clone() *Volume {
	v.mu.Lock()
	defer v.mu.Unlock()
	made := &Volume{}
	for _, f := range v.parts {
		if f == nil {
			made.parts = append(made.parts, nil)
			continue
		}
		made.parts = append(made.parts, &filesystem{kind: f.kind, label: f.label, uuid: f.uuid, disk: f.copied()})
	}
	return made
}

// copied returns a copy of the content, or nil if there is none.
func (f *filesystem) copied() *memfs.FS {
	switch {
	case f.home != nil:
		return f.home.Extract(f.tree)
	case f.disk != nil:
		return f.disk.Clone()
	}
	return nil
}

// ErrNoSystem is returned for a volume without an operating system.
var ErrNoSystem = errors.New("the disk has no file system")

// Root returns the file system that a machine boots from: of the disk, or of the
// partition with /etc/passwd or else the first formatted one.
func (v *Volume) Root() (*memfs.FS, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var found *filesystem
	for _, f := range v.parts {
		if f == nil || f.kind == "" || f.kind == "vfat" {
			continue
		}
		if f.home != nil { // no longer part of the machine that wrote it
			f.disk, f.home = f.home.Extract(f.tree), nil
		}
		if f.disk == nil {
			continue
		}
		if found == nil {
			found = f
		}
		if _, err := f.disk.Stat("/etc/passwd"); err == nil {
			return f.disk, nil
		}
	}
	if found == nil {
		return nil, ErrNoSystem
	}
	return found.disk, nil
}

// Peek returns the file system that a machine would boot from, for reading. It
// shows the current contents even while a machine uses the volume.
func (v *Volume) Peek() (*memfs.FS, error) {
	v.mu.Lock()
	inUse := false
	for _, f := range v.parts {
		inUse = inUse || f != nil && f.home != nil
	}
	v.mu.Unlock()
	if inUse {
		return v.Clone().Root()
	}
	return v.Root()
}

// FactsOf returns the facts of the operating system on a disk, as far as its files
// tell.
func FactsOf(disk *memfs.FS, arch string) Facts {
	f := Facts{Arch: arch}
	data, _ := asRoot(disk).ReadFile("/etc/os-release") // another system, if missing
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch value = strings.Trim(value, `"'`); key {
		case "ID":
			f.Distro = value
		case "VERSION_ID":
			f.Version = value
		case "PRETTY_NAME":
			f.Name = value
		}
	}
	return f
}

// AttachedDisk is a disk of a machine.
type AttachedDisk struct {
	Device   string // as EC2 names it: "/dev/sdf"
	VolumeID string // "vol-0123456789abcdef0"; may be empty
	SizeGiB  int
	Volume   *Volume
}

// diskTable is what a machine knows of its disks.
type diskTable struct {
	mu     sync.Mutex
	all    []*device
	mounts []mounted
}

// device is an attached disk.
type device struct {
	AttachedDisk
	name string // "nvme1n1"
}

// mounted is an entry of /proc/mounts.
type mounted struct{ source, target, kind, options string }

// blockNode is the device file of a disk. Raw access is not simulated.
type blockNode struct{}

func (blockNode) OpenNode(int) (io.ReadWriteCloser, error) { return nil, syscall.EIO }

// Attach attaches a disk, which appears as /dev/nvme1n1 and so on.
func (h *Host) Attach(d AttachedDisk) {
	h.disks.mu.Lock()
	n := 1
	for slices.ContainsFunc(h.disks.all, func(have *device) bool { return have.name == "nvme"+itoa(n)+"n1" }) {
		n++
	}
	h.disks.all = append(h.disks.all, &device{d, "nvme" + itoa(n) + "n1"})
	h.disks.mu.Unlock()
	h.writeDevices()
}

// Detach detaches a disk, as if it were pulled out: it is unmounted.
func (h *Host) Detach(deviceName string) {
	h.disks.mu.Lock()
	i := slices.IndexFunc(h.disks.all, func(d *device) bool { return d.Device == deviceName })
	if i < 0 {
		h.disks.mu.Unlock()
		return
	}
	gone := h.disks.all[i]
	h.disks.all = slices.Delete(h.disks.all, i, i+1)
	h.disks.mounts = slices.DeleteFunc(h.disks.mounts, func(m mounted) bool {
		ours := strings.HasPrefix(m.source, "/dev/"+gone.name)
		if ours {
			_ = asRoot(h.FS()).Unmount(m.target) // it is mounted
		}
		return ours
	})
	h.disks.mu.Unlock()
	h.writeDevices()
}

// writeDevices writes the device files and their links.
func (h *Host) writeDevices() {
	h.disks.mu.Lock()
	defer h.disks.mu.Unlock()
	disk := asRoot(h.FS())
	entries, _ := disk.ReadDir("/dev") // it exists
	for _, e := range entries {
		if name := e.Name(); strings.HasPrefix(name, "nvme") || strings.HasPrefix(name, "sd") || strings.HasPrefix(name, "xvd") || name == "disk" {
			_ = disk.RemoveAll("/dev/" + name) // as root
		}
	}
	node := func(name string) { _ = disk.Mknode("/dev/"+name, fs.ModeDevice|0o660, blockNode{}) } // it was removed
	node("nvme0n1")
	node("nvme0n1p1")
	for _, d := range h.disks.all {
		node(d.name)
		d.Volume.mu.Lock()
		for i, f := range d.Volume.parts {
			if i > 0 && f != nil {
				node(d.name + "p" + itoa(i))
			}
		}
		d.Volume.mu.Unlock()
		short := strings.TrimPrefix(strings.TrimPrefix(d.Device, "/dev/"), "xv")
		short = strings.TrimPrefix(strings.TrimPrefix(short, "s"), "d")
		for _, link := range []string{"sd" + short, "xvd" + short} {
			_ = disk.Symlink(d.name, "/dev/"+link) // it was removed
		}
		if d.VolumeID != "" {
			_ = disk.MkdirAll("/dev/disk/by-id", 0o755)
			_ = disk.Symlink("../../"+d.name, "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_"+strings.ReplaceAll(d.VolumeID, "-", ""))
		}
	}
}

// lookup returns the content of the device with a path, a UUID=… or a LABEL=….
func (h *Host) lookup(spec string) (f *filesystem, d *device, name string) {
	h.disks.mu.Lock()
	defer h.disks.mu.Unlock()
	if resolved, err := asRoot(h.FS()).EvalSymlinks(spec); err == nil {
		spec = resolved
	}
	for _, d := range h.disks.all {
		d.Volume.mu.Lock()
		for i, f := range d.Volume.parts {
			name := "/dev/" + d.name
			if i > 0 {
				name += "p" + itoa(i)
			}
			if f != nil && (spec == name || f.kind != "" && (spec == "UUID="+f.uuid || f.label != "" && spec == "LABEL="+f.label)) {
				d.Volume.mu.Unlock()
				return f, d, name
			}
		}
		d.Volume.mu.Unlock()
	}
	return nil, nil, ""
}

// use makes the content of a file system part of the machine's and returns its
// tree.
func (h *Host) use(d *device, f *filesystem) memfs.Tree {
	d.Volume.mu.Lock()
	defer d.Volume.mu.Unlock()
	switch {
	case f.home != nil && f.home.Same(h.FS()):
	case f.home != nil:
		f.tree = h.FS().Import(f.home.Extract(f.tree))
	default:
		f.tree = h.FS().Import(f.disk)
	}
	f.home, f.disk = h.FS(), nil
	return f.tree
}

// mountDisks mounts what /etc/fstab names, as at boot.
func (h *Host) mountDisks() {
	h.FS().UnmountAll()
	h.disks.mu.Lock()
	h.disks.mounts = nil
	h.disks.mu.Unlock()
	h.writeDevices()
	_ = h.mountAll() // a boot goes on without
}

// mountAll mounts what /etc/fstab names and is not mounted yet.
func (h *Host) mountAll() error {
	data, _ := asRoot(h.FS()).ReadFile("/etc/fstab")
	var errs []error
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || strings.HasPrefix(fields[0], "#") || fields[1] == "/" || fields[2] == "swap" {
			continue
		}
		options := ""
		if len(fields) > 3 {
			options = fields[3]
		}
		if strings.Contains(options, "noauto") || h.isMounted(fields[1]) {
			continue
		}
		if err := h.mount(fields[0], fields[1], fields[2], options); err != nil && !strings.Contains(options, "nofail") {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (h *Host) isMounted(target string) bool {
	h.disks.mu.Lock()
	defer h.disks.mu.Unlock()
	return slices.ContainsFunc(h.disks.mounts, func(m mounted) bool { return m.target == target })
}

// mount mounts a device, a directory or an empty virtual file system.
func (h *Host) mount(source, target, kind, options string) error {
	disk := asRoot(h.FS())
	if info, err := disk.Stat(target); err != nil || !info.IsDir() {
		return errors.New(target + ": mount point does not exist.")
	}
	var err error
	switch kind {
	case "bind":
		kind, err = "none", disk.Bind(source, target)
	case "tmpfs":
		err = disk.Mount(disk.NewTree(), target)
	case "proc", "sysfs", "devtmpfs", "devpts":
		err = disk.Bind(map[string]string{"proc": "/proc", "sysfs": "/sys", "devtmpfs": "/dev", "devpts": "/dev"}[kind], target)
	default:
		f, d, name := h.lookup(source)
		if f == nil {
			return errors.New(target + ": special device " + source + " does not exist.")
		}
		if f.kind == "" || kind != "" && kind != "auto" && kind != f.kind {
			return errors.New(target + ": wrong fs type, bad option, bad superblock on " + source + ", missing codepage or helper program, or other error.")
		}
		source, kind = name, f.kind
		err = disk.Mount(h.use(d, f), target)
	}
	if err != nil {
		return err
	}
	if resolved, resolveErr := disk.EvalSymlinks(target); resolveErr == nil {
		target = resolved
	}
	if options == "" {
		options = "rw,relatime"
	}
	h.disks.mu.Lock()
	h.disks.mounts = append(h.disks.mounts, mounted{source, target, kind, options})
	h.disks.mu.Unlock()
	h.writeMounts()
	return nil
}

// writeMounts writes /proc/mounts.
func (h *Host) writeMounts() {
	h.disks.mu.Lock()
	defer h.disks.mu.Unlock()
	var text strings.Builder
	text.WriteString("/dev/root / ext4 rw,relatime 0 0\n")
	for _, m := range h.disks.mounts {
		text.WriteString(m.source + " " + m.target + " " + m.kind + " " + m.options + " 0 0\n")
	}
	_ = asRoot(h.FS()).WriteFile("/proc/mounts", []byte(text.String()), 0o444) // a full disk
}
