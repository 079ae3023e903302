package qemu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// A BakePlan describes what baking images would do. It marshals to JSON.
type BakePlan struct {
	Images []ImagePlan `json:"images"`
}

// An ImagePlan describes what baking one image would do.
type ImagePlan struct {
	Image string `json:"image"`

	// Source is the disk to start from. It is zero if the image is baked from another
	// image of the plan, which From names, or if the disk would be downloaded from
	// Download first.
	Source   SourceDisk `json:"source,omitzero"`
	From     string     `json:"from,omitempty"`
	Download string     `json:"download,omitempty"`

	// CPUs and Memory, in bytes, are those of the machine.
	CPUs   int   `json:"cpus"`
	Memory int64 `json:"memory"`

	// Accelerators are those that would be tried, in order, with the reason where a
	// better one would not be.
	Accelerators []string `json:"accelerators,omitempty"`

	// Creates lists what the bake would create, in order.
	Creates []PlannedResource `json:"creates"`
}

// A PlannedResource is a file or a machine that a bake would create.
type PlannedResource struct {
	Kind  string `json:"kind"`  // as in bake.Resource: "disk", "machine", "image"; "output" for a publisher's file
	Name  string `json:"name"`  // a path, where BUILD stands for the id of the build
	Stays bool   `json:"stays"` // after a successful bake
}

// plannedBuild stands for the id of the build.
const plannedBuild = "BUILD"

// A planner plans one image.
type planner struct {
	session
	disks []machineDisk
	plan  ImagePlan
}

// Plan returns what [bake.Bake] would do with the images: from which disks, in which
// machines, writing which files. It creates and downloads nothing. It plans images with
// a Fingerprint as if nothing could be reused, and leaves out steps of Image.Steps and
// publishers of other packages.
//
// The error joins everything that is invalid, missing on the host or was not found, with
// the names of the images. The plan contains the rest; it is nil if the images are
// invalid.
func Plan(ctx context.Context, images ...*bake.Image) (*BakePlan, error) {
	if err := bake.Validate(nil, images...); err != nil {
		return nil, err
	}
	plan := &BakePlan{}
	var errs []error
	planned := map[*bake.Image]*planner{}
	for _, img := range inOrder(images) {
		b, ok := bake.As[interface{ builder() Builder }](img.Builder)
		if !ok {
			errs = append(errs, &bake.Error{Image: img.Name, Err: errors.New("builder is not a qemu.Builder")})
			continue
		}
		p := &planner{session: session{builder: b.builder(), image: img, run: bake.NewRun(plannedBuild, img.Name, nil, nil)}}
		planned[img] = p
		if err := p.planImage(ctx, planned[img.From]); err != nil {
			errs = append(errs, &bake.Error{Image: img.Name, Err: err})
		}
	}
	for _, img := range images {
		if p := planned[img]; p != nil {
			plan.Images = append(plan.Images, p.plan)
		}
	}
	return plan, errors.Join(errs...)
}

// inOrder returns the images so that none precedes the one that it is made from.
func inOrder(images []*bake.Image) []*bake.Image {
	var ordered []*bake.Image
	done := map[*bake.Image]bool{}
	var add func(img *bake.Image)
	add = func(img *bake.Image) {
		if img == nil || done[img] {
			return
		}
		done[img] = true
		add(img.From)
		ordered = append(ordered, img)
	}
	for _, img := range images {
		add(img)
	}
	return ordered
}

// builder returns the Builder, also of a struct that embeds it.
func (b Builder) builder() Builder { return b }

// A downloader is a Source that may have to download its disk.
type downloader interface {
	// download returns the URL that would be downloaded; empty if it was.
	download(h *Host) (url string, err error)
}

// planImage plans the image, which is made from the one of parent, unless that is nil.
func (p *planner) planImage(ctx context.Context, parent *planner) error {
	err := p.builder.ValidateHost()
	if err == nil {
		err = p.planSource(ctx, parent)
	}
	b := p.builder
	p.plan.Image, p.plan.CPUs, p.plan.Memory = p.image.Name, cmp.Or(b.CPUs, defaultCPUs), b.memory()
	for _, c := range b.Accelerator.choices(cmp.Or(b.Arch, p.Source.Arch, x86)) {
		text := string(c.accelerator)
		if c.reason != "" {
			text += ": " + c.reason
		}
		p.plan.Accelerators = append(p.plan.Accelerators, text)
	}
	p.planMachine("")
	if p.image.ProvisionOnly {
		return err
	}
	for _, d := range p.disks {
		p.creates("image", filepath.Join(p.imageDir(), d.file()), true)
	}
	if len(p.image.Checks) > 0 {
		p.planMachine("-check")
	}
	for _, publisher := range p.image.Publishers {
		if o, ok := bake.As[plannedOutput](publisher); ok {
			for _, path := range o.paths(p.disk(), p.disks) {
				p.creates("output", path, true)
			}
		}
	}
	return err
}

func (p *planner) creates(kind, name string, stays bool) {
	p.plan.Creates = append(p.plan.Creates, PlannedResource{kind, name, stays})
}

// planSource finds the source and the disks of the machine, as far as they are known.
func (p *planner) planSource(ctx context.Context, parent *planner) (err error) {
	b := p.builder
	p.disks = append([]machineDisk{{Size: b.DiskSize}}, dataDisks(b.Disks)...)
	if p.image.From != nil {
		p.plan.From = p.image.From.Name
		if parent != nil && len(parent.disks) > 0 {
			p.disks = slices.Concat(parent.disks, dataDisks(b.Disks))
		}
		return nil
	}
	if d, ok := bake.As[downloader](b.Source); ok {
		if p.plan.Download, err = d.download(b.Host); err != nil || p.plan.Download != "" {
			return err
		}
	}
	if err := p.findSource(ctx); err != nil {
		return err
	}
	p.plan.Source, p.disks = p.Source, p.Machine.Disks
	return nil
}

func dataDisks(disks []DataDisk) []machineDisk {
	all := make([]machineDisk, len(disks))
	for i, d := range disks {
		all[i] = machineDisk{Name: d.Name, Size: d.Size}
	}
	return all
}

// planMachine adds a machine and its disks: the one to bake, or the one that checks.
func (p *planner) planMachine(suffix string) {
	for _, d := range p.disks {
		p.creates("disk", filepath.Join(p.dir()+suffix, d.file()), false)
	}
	p.creates("machine", p.run.ID+suffix, false)
}

// A plannedOutput is a publisher that tells which files it would write.
type plannedOutput interface {
	paths(d *Disk, disks []machineDisk) []string
}

// outputPaths returns the files of an output: one, or one for each of the disks.
func outputPaths(d *Disk, path, ext string, disks []machineDisk) []string {
	if path == "" {
		path = filepath.Join(filepath.Dir(d.Path), d.Image+ext)
	}
	paths := []string{path}
	for _, disk := range disks {
		if disk.Name != "" {
			paths = append(paths, DataFile{Name: disk.Name}.beside(path))
		}
	}
	return paths
}

func (q QCOW2) paths(d *Disk, disks []machineDisk) []string {
	return outputPaths(d, q.Path, ".qcow2", disks)
}
func (r Raw) paths(d *Disk, disks []machineDisk) []string {
	return outputPaths(d, r.Path, ".raw", disks)
}
func (v VMDK) paths(d *Disk, disks []machineDisk) []string {
	return outputPaths(d, v.Path, ".vmdk", disks)
}
func (v VHD) paths(d *Disk, disks []machineDisk) []string {
	return outputPaths(d, v.Path, ".vhd", disks)
}
func (o OVA) paths(d *Disk, _ []machineDisk) []string { return outputPaths(d, o.Path, ".ova", nil) }

func (b Box) paths(d *Disk, _ []machineDisk) []string {
	paths := outputPaths(d, b.Path, "-"+string(b.Provider)+".box", nil)
	if b.Catalog != nil {
		paths = append(paths, b.Catalog.Path)
	}
	return paths
}

// WriteText writes the plan in human-readable form.
func (p *BakePlan) WriteText(w io.Writer) error {
	var text strings.Builder
	for _, i := range p.Images {
		fmt.Fprintf(&text, "%s\n", i.Image)
		switch {
		case i.From != "":
			fmt.Fprintf(&text, "  source   image %s\n", i.From)
		case i.Download != "":
			fmt.Fprintf(&text, "  source   download of %s\n", i.Download)
		case i.Source.Path != "":
			fmt.Fprintf(&text, "  source   %s (%s, %d MiB)\n", i.Source.Path, i.Source.Format, i.Source.Size>>20)
		}
		fmt.Fprintf(&text, "  machine  %d CPUs, %d MiB, %s\n", i.CPUs, i.Memory>>20, strings.Join(i.Accelerators, ", or "))
		for _, r := range i.Creates {
			stays := ""
			if r.Stays {
				stays = ", which stays"
			}
			fmt.Fprintf(&text, "  creates  %s %s%s\n", r.Kind, r.Name, stays)
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}
