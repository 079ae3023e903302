package ec2test

import (
	"context"
	"fmt"
	"io/fs"
)

// A File describes a file, directory or symbolic link on a disk.
type File struct {
	Path         string      // absolute
	Mode         fs.FileMode // with the type bits: fs.ModeDir, fs.ModeSymlink
	UID, GID     int
	Owner, Group string // names on that disk, or the ids as decimal numbers
	Size         int64  // of a regular file, in bytes
	Target       string // of a symbolic link
}

// String returns the file like a line of ls: "-rw-r--r-- root:root /etc/motd".
func (f File) String() string {
	text := fmt.Sprintf("%s %s:%s %s", f.Mode, f.Owner, f.Group, f.Path)
	if f.Target != "" {
		text += " -> " + f.Target
	}
	return text
}

// Files returns all files on the root volume of an image, instance, snapshot or
// volume, sorted by path, without /proc, /dev, /sys and /run.
func (s *Server) Files(id string) ([]File, error) {
	disk, err := s.rootDisk(id)
	if err != nil {
		return nil, err
	}
	return disk.Files()
}

// ReadFile returns the contents of a file on the root volume of an image,
// instance, snapshot or volume, in any region and account. It reads the current
// contents even while the instance runs.
func (s *Server) ReadFile(id, path string) ([]byte, error) {
	disk, err := s.rootDisk(id)
	if err != nil {
		return nil, err
	}
	return disk.ReadFile(path)
}

func (s *Server) rootDisk(id string) (Disk, error) {
	for _, r := range s.existing() {
		if d := r.rootDisk(id); d != nil {
			select {
			case <-d.ready:
			case <-s.closing:
				return nil, fmt.Errorf("disk of %s: server closed", id)
			}
			disk, err := d.get(context.Background()) //nolint:forbidigo // it is made already
			if err != nil {
				return nil, fmt.Errorf("disk of %s: %w", id, err)
			}
			return disk, nil
		}
	}
	return nil, fmt.Errorf("image, instance, snapshot or volume %q not found", id)
}
