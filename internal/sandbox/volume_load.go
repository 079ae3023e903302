package sandbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bakestone-go/bakestone/internal/ext4"
	"github.com/bakestone-go/bakestone/internal/memfs"
	diskparts "github.com/bakestone-go/bakestone/internal/partition"
)

// LoadVolume returns a volume with the files of a disk: of its ext4 file systems. The one
// with /etc/passwd becomes one that a machine can boot from, with the sandbox's programs
// instead of those of the disk. Login is its default user, or empty. A disk
// without an ext4 file system is an error that wraps ErrNoSystem.
func LoadVolume(disk io.ReaderAt, size int64, limits memfs.Limits) (v *Volume, login string, err error) {
	read, err := diskparts.Read(disk, size)
	if err != nil {
		return nil, "", err
	}
	v = &Volume{parts: []*filesystem{{}}}
	parts := read.Partitions
	if len(parts) == 0 {
		parts = []diskparts.Partition{{Size: size}}
	}
	loaded := false
	for _, p := range parts {
		at := io.NewSectionReader(disk, p.Start, p.Size)
		for len(v.parts) <= p.Number {
			v.parts = append(v.parts, nil)
		}
		v.parts[p.Number] = &filesystem{}
		if !ext4.IsExt4(at) {
			continue
		}
		read, err := ext4.Open(at, p.Size)
		if err != nil {
			return nil, "", fmt.Errorf("partition %d: %w", p.Number, err)
		}
		files := memfs.New(nil)
		files.SetLimits(limits)
		if err := copyFiles(files, read); err != nil {
			return nil, "", fmt.Errorf("partition %d: %w", p.Number, err)
		}
		if _, err := files.Stat("/etc/passwd"); err == nil {
			login = cloudLogin(files)
			if err := makeBootable(files, login); err != nil {
				return nil, "", fmt.Errorf("partition %d: %w", p.Number, err)
			}
		}
		v.parts[p.Number] = &filesystem{kind: "ext4", label: read.Label, uuid: uuid(), disk: files}
		loaded = true
	}
	if !loaded {
		return nil, "", fmt.Errorf("%w that sandboxes can read, which is ext4", ErrNoSystem)
	}
	return v, login, nil
}

// copyFiles copies the files of a file system, without those of devices.
func copyFiles(to *memfs.FS, from *ext4.FS) error {
	const most = 1 << 30 // of one file, before the limits of the machine
	return from.Walk(func(name string, i *ext4.Inode, err error) error {
		if err != nil {
			return err
		}
		switch {
		case i.Mode.IsDir():
			err = to.MkdirAll(name, 0o755)
		case i.Mode.IsRegular():
			var data []byte
			if data, err = from.Read(i, most); err == nil {
				err = to.WriteFile(name, data, i.Mode.Perm())
			}
		case i.Mode&fs.ModeSymlink != 0:
			var target []byte
			if target, err = from.Read(i, most); err == nil {
				err = to.Symlink(string(target), name)
			}
		default:
			return nil
		}
		if err == nil {
			err = to.Lchown(name, int(i.UID), int(i.GID))
		}
		if err == nil && i.Mode&fs.ModeSymlink == 0 {
			err = errors.Join(to.Chmod(name, i.Mode&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)), to.Chtimes(name, i.Time, i.Time))
		}
		return err
	})
}

// cloudLogin returns the user that cloud-init creates on a system: that of its
// configuration, or else the first ordinary one.
func cloudLogin(files *memfs.FS) string {
	var config struct {
		System struct {
			User struct {
				Name string `yaml:"name"`
			} `yaml:"default_user"`
		} `yaml:"system_info"`
	}
	data, err := files.ReadFile("/etc/cloud/cloud.cfg")
	if err == nil && yaml.Unmarshal(data, &config) == nil && config.System.User.Name != "" {
		return config.System.User.Name
	}
	const ordinary = 1000
	found, _ := first(users(asRoot(files)), func(u user) bool { return u.uid == ordinary }) // or none
	return found.name
}

// makeBootable adds what the sandbox needs and a disk does not have: devices, the files of
// the kernel, and programs that are commands of the sandbox.
func makeBootable(files *memfs.FS, login string) error {
	facts := FactsOf(files, "")
	system := NewRoot(&RootOptions{Login: login, Facts: facts})
	var add func(dir string) error
	add = func(dir string) error {
		entries, err := system.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			name := strings.TrimSuffix(dir, "/") + "/" + e.Name()
			info, err := system.Lstat(name)
			if err != nil {
				return err
			}
			switch {
			case info.IsDir():
				if err := files.MkdirAll(name, info.Mode().Perm()); err != nil {
					return err
				}
				if err := add(name); err != nil {
					return err
				}
			case info.Mode()&fs.ModeSymlink != 0:
				if _, err := files.Lstat(name); err == nil {
					continue
				}
				target, err := system.Readlink(name)
				if err := errors.Join(err, files.Symlink(target, name)); err != nil {
					return err
				}
			case info.Mode().IsRegular():
				data, err := system.ReadFile(name)
				if err != nil {
					return err
				}
				_, program := programNamed(data)
				if !program && !strings.HasPrefix(name, "/proc/") {
					continue
				}
				if err := errors.Join(removeOld(files, name), files.WriteFile(name, data, info.Mode().Perm())); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, dir := range []string{"/proc", "/usr/bin", "/usr/sbin", "/run", "/tmp", "/var/tmp"} {
		if err := files.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := add(dir); err != nil {
			return err
		}
	}
	if err := files.MkdirAll("/dev/shm", 0o777); err != nil {
		return err
	}
	for name, device := range map[string]memfs.Device{
		"null": memfs.Null, "zero": memfs.Zero, "full": memfs.Full, "random": memfs.Random, "urandom": memfs.Random, "tty": memfs.Null,
	} {
		if err := errors.Join(removeOld(files, "/dev/"+name), files.Mknod("/dev/"+name, 0o666, device)); err != nil {
			return err
		}
	}
	if _, exists := lookupUser(files, login); login != "" && !exists { // as cloud-init does at the first boot
		if err := addUser(files, user{name: login, uid: -1, gid: -1, home: "/home/" + login, shell: "/bin/bash"}, true, false, nil); err != nil {
			return err
		}
	}
	return errors.Join(files.Chmod("/tmp", 0o777|fs.ModeSticky), files.Chmod("/var/tmp", 0o777|fs.ModeSticky))
}

// removeOld removes a file, if it exists.
func removeOld(files *memfs.FS, name string) error {
	if err := files.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
