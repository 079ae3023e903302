package sandbox

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// A File describes a file on a disk.
type File struct {
	Path         string
	Mode         fs.FileMode
	UID, GID     int
	Owner, Group string // names, or decimal numbers
	Size         int64  // of a regular file
	Target       string // of a symbolic link
}

// Files returns all files of a disk, sorted by path, without those of virtual file
// systems.
func Files(disk *memfs.FS) ([]File, error) {
	disk = asRoot(disk)
	names := map[int]string{}
	for _, u := range users(disk) {
		if _, ok := names[u.uid]; !ok {
			names[u.uid] = u.name
		}
	}
	groupNames := map[int]string{}
	for _, g := range groups(disk) {
		groupNames[g.gid] = g.name
	}
	named := func(all map[int]string, id int) string {
		if name, ok := all[id]; ok {
			return name
		}
		return itoa(id)
	}
	var files []File
	var walk func(dir string) error
	walk = func(dir string) error {
		entries, err := disk.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			switch name {
			case "/proc", "/dev", "/sys", "/run":
				continue
			}
			info, err := disk.Lstat(name)
			if err != nil {
				return err
			}
			f := File{Path: name, Mode: info.Mode(), UID: info.UID(), GID: info.GID(), Owner: named(names, info.UID()), Group: named(groupNames, info.GID())}
			if info.Mode().IsRegular() {
				f.Size = info.Size()
			}
			f.Target, _ = disk.Readlink(name) // empty unless it is a link
			files = append(files, f)
			if info.IsDir() {
				if err := walk(name); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err := walk("/")
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, err
}
