package sandbox

import (
	"context"
	"path"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// block is a line of lsblk.
type block struct {
	name, kind, fsType, label, uuid, target string
	gib                                     int
	part                                    bool
}

// blocks returns the disks and partitions, the root disk first.
func (h *Host) blocks() []block {
	targets := map[string]string{}
	for _, m := range h.mountTable() {
		targets[m.source] = m.target
	}
	all := []block{
		{name: "nvme0n1", kind: "disk", gib: 8},
		{name: "nvme0n1p1", kind: "part", fsType: "ext4", label: "cloudimg-rootfs", target: "/", gib: 8, part: true},
	}
	h.disks.mu.Lock()
	defer h.disks.mu.Unlock()
	for _, d := range h.disks.all {
		d.Volume.mu.Lock()
		for i, f := range d.Volume.parts {
			if f == nil {
				continue
			}
			b := block{name: d.name, kind: "disk", fsType: f.kind, label: f.label, uuid: f.uuid, gib: d.SizeGiB}
			if i > 0 {
				b.name, b.kind, b.part = d.name+"p"+itoa(i), "part", true
			}
			b.target = targets["/dev/"+b.name]
			all = append(all, b)
		}
		d.Volume.mu.Unlock()
	}
	return all
}

// lsblk lists the disks and partitions.
func lsblk(_ context.Context, p *Process) int {
	o, names, bad := p.options("fndplbro:ia", "fs=f", "noheadings=n", "nodeps=d", "paths=p", "list=l", "bytes=b", "raw=r", "output=o:", "ascii=i", "all=a")
	if bad != 0 {
		return bad
	}
	columns := "NAME,MAJ:MIN,RM,SIZE,RO,TYPE,MOUNTPOINTS"
	if o.on("f") {
		columns = "NAME,FSTYPE,LABEL,UUID,MOUNTPOINTS"
	}
	if c, ok := o.value("o"); ok {
		columns = strings.ToUpper(c)
	}
	if !o.on("n") {
		p.print(strings.ReplaceAll(columns, ",", " "), "\n")
	}
	wanted := map[string]bool{}
	for _, name := range names {
		resolved, err := p.FS.EvalSymlinks(p.Path(name))
		if err != nil {
			return p.fail(32, "%s: not a block device", name)
		}
		wanted[path.Base(resolved)] = true
	}
	for _, b := range p.Host.blocks() {
		disk := b.name
		if b.part {
			disk = b.name[:strings.LastIndexByte(b.name, 'p')]
		}
		if len(names) > 0 && !wanted[b.name] && !wanted[disk] || o.on("d") && b.part && !wanted[b.name] {
			continue
		}
		name, size := b.name, itoa(b.gib)+"G"
		if o.on("p") {
			name = "/dev/" + name
		}
		if b.part && !o.on("l") && !o.on("r") && !o.on("d") {
			name = "└─" + name
		}
		if o.on("b") {
			size = itoa(b.gib << 30)
		}
		var out []string
		for column := range strings.SplitSeq(columns, ",") {
			value, ok := map[string]string{
				"NAME": name, "KNAME": b.name, "PATH": "/dev/" + b.name, "MAJ:MIN": "259:0", "RM": "0", "SIZE": size, "RO": "0", "TYPE": b.kind, "MOUNTPOINTS": b.target, "MOUNTPOINT": b.target,
				"FSTYPE": b.fsType, "LABEL": b.label, "UUID": b.uuid, "PKNAME": map[bool]string{true: disk}[b.part], "SERIAL": "", "MODEL": "Amazon Elastic Block Store",
			}[column]
			if !ok {
				return p.fail(1, "unknown column: %s", column)
			}
			out = append(out, value)
		}
		p.print(strings.TrimRight(strings.Join(out, " "), " "), "\n")
	}
	return 0
}

// blkid prints what devices are formatted with.
func blkid(_ context.Context, p *Process) int {
	o, names, bad := p.options("s:o:L:U:pc:", "match-tag=s:", "output=o:", "label=L:", "uuid=U:", "probe=p")
	if bad != 0 {
		return bad
	}
	found := false
	for _, b := range p.Host.blocks() {
		device := "/dev/" + b.name
		if b.fsType == "" {
			continue
		}
		switch label, byLabel := o.value("L"); {
		case byLabel && label == b.label:
			p.print(device, "\n")
			return 0
		case byLabel:
			continue
		}
		if id, ok := o.value("U"); ok {
			if id == b.uuid {
				p.print(device, "\n")
				return 0
			}
			continue
		}
		match := len(names) == 0
		for _, name := range names {
			resolved, err := p.FS.EvalSymlinks(p.Path(name))
			match = match || err == nil && resolved == device
		}
		if !match {
			continue
		}
		found = true
		tags := []struct{ key, value string }{{"LABEL", b.label}, {"UUID", b.uuid}, {"TYPE", b.fsType}}
		format, _ := o.value("o")
		line := device + ":"
		for _, tag := range tags {
			if only := o.values("s"); tag.value == "" || len(only) > 0 && !strings.Contains(strings.Join(only, " "), tag.key) {
				continue
			}
			switch format {
			case "value":
				p.print(tag.value, "\n")
			case "export":
				p.print(tag.key, "=", tag.value, "\n")
			default:
				line += " " + tag.key + "=\"" + tag.value + "\""
			}
		}
		switch format {
		case "value", "export":
		case "device":
			p.print(device, "\n")
		default:
			p.print(line, "\n")
		}
	}
	if !found {
		return 2
	}
	return 0
}

// mkfs formats a disk or partition.
func mkfs(_ context.Context, p *Process) int {
	o, names, bad := p.options("t:L:U:FfqVvm:i:O:E:b:n:jDcT:N:s:d:K", "type=t:", "label=L:", "force=f", "uuid=U:", "quiet=q")
	if bad != 0 {
		return bad
	}
	kind := strings.TrimPrefix(p.name(), "mkfs.")
	if kind == "mkfs" || kind == "mke2fs" {
		kind = "ext2"
	}
	if t, ok := o.value("t"); ok {
		kind = t
	}
	if len(names) == 0 {
		return p.fail(1, "no device specified")
	}
	if p.UID != 0 {
		return p.fail(1, "cannot open %s: Permission denied", names[0])
	}
	f, d, name := p.Host.lookup(p.Path(names[0]))
	if f == nil {
		return p.fail(1, "cannot open %s: No such file or directory", names[0])
	}
	for _, m := range p.Host.mountTable() {
		if m.source == name {
			return p.fail(1, "%s is mounted; will not make a filesystem here!", names[0])
		}
	}
	if f.kind != "" && !o.on("f") && !o.on("F") && (kind == "xfs" || kind == "btrfs") {
		return p.fail(1, "%s appears to contain an existing filesystem (%s).\n%s: Use the -f option to force overwrite.", names[0], f.kind, p.name())
	}
	id, ok := o.value("U")
	if !ok {
		id = uuid()
	}
	label, ok := o.value("L")
	if n, given := o.value("n"); !ok && given && kind == "vfat" {
		label = n
	}
	content := memfs.New(p.Host.o.Clock.Now)
	if strings.HasPrefix(kind, "ext") {
		if err := content.Mkdir("/lost+found", 0o700); err != nil {
			return p.fail(1, "%s", errText(err))
		}
	}
	d.Volume.mu.Lock()
	if f.home != nil && f.home.Same(p.Host.FS()) {
		_ = p.Host.FS().RemoveTree(f.tree) // it is not mounted
	}
	*f = filesystem{kind: kind, label: label, uuid: id, disk: content}
	if !strings.Contains(name[len("/dev/"):], d.name+"p") { // a file system on the whole disk replaces its partitions
		d.Volume.parts = d.Volume.parts[:1]
	}
	d.Volume.mu.Unlock()
	p.Host.writeDevices()
	if !o.on("q") {
		p.print("Creating filesystem on ", names[0], "\nFilesystem UUID: ", id, "\n")
	}
	return 0
}

// partition makes partitions with parted, sfdisk or sgdisk. It supports what image
// builds use: a new table, and partitions in their order, of any size.
func partition(_ context.Context, p *Process) int {
	if p.UID != 0 {
		return p.fail(1, "Permission denied")
	}
	var name string
	for _, arg := range p.Args[1:] {
		if strings.HasPrefix(arg, "/dev/") {
			name = arg
		}
	}
	f, d, _ := p.Host.lookup(name)
	if f == nil {
		return p.fail(1, "%s: no such device, or the root disk", quote(name))
	}
	added, fresh := 0, false
	switch p.name() {
	case "parted":
		for i, arg := range p.Args {
			fresh = fresh || arg == "mklabel" || strings.HasPrefix(arg, "mklabel ")
			if arg == "mkpart" || strings.HasPrefix(arg, "mkpart ") {
				added++
			}
			if arg == "print" || arg == "rm" || arg == "resizepart" {
				return p.fail(1, "%s is not supported by this machine: register a func for parted in Commands", strings.Join(p.Args[i:], " "))
			}
		}
	case "sgdisk":
		for _, arg := range p.Args[1:] {
			if strings.HasPrefix(arg, "-n") || strings.HasPrefix(arg, "--new") {
				added++
			}
			fresh = fresh || arg == "-Z" || arg == "-o" || arg == "--zap-all" || arg == "--clear"
		}
	default:
		text, err := p.readAll(p.Stdin)
		if err != nil {
			return p.fail(1, "%s", errText(err))
		}
		fresh = true
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' && !strings.Contains(line, ":") {
				added++
			}
		}
	}
	const most = 128
	d.Volume.mu.Lock()
	if fresh {
		d.Volume.parts = []*filesystem{{}}
	}
	for range min(added, most-len(d.Volume.parts)) {
		d.Volume.parts = append(d.Volume.parts, &filesystem{})
	}
	d.Volume.mu.Unlock()
	p.Host.writeDevices()
	return 0
}

// onDisk implements commands that tell the kernel about a disk, or change the size
// or settings of a file system. They have no effect, but the disk must exist.
func onDisk(ctx context.Context, p *Process) int {
	for _, arg := range p.Args[1:] {
		if !strings.HasPrefix(arg, "/dev/") {
			continue
		}
		if _, err := p.FS.Stat(p.Path(arg)); err != nil {
			return p.fail(1, "%s: %s", arg, errText(err))
		}
	}
	return rootOnly(ctx, p)
}
