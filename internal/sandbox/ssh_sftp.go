package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/pkg/sftp"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// sftp serves the SFTP subsystem with the permissions of the session's user.
func (s *session) sftp(ctx context.Context) int {
	f := sftpFiles{disk: s.p.FS, home: s.p.Dir}
	server := sftp.NewRequestServer(sftpStream{s.p.Stdin, s.channel},
		sftp.Handlers{FileGet: f, FilePut: f, FileCmd: f, FileList: f}, sftp.WithStartDirectory(s.p.Dir))
	stop := context.AfterFunc(ctx, func() { _ = s.channel.Close() })
	defer stop()
	if err := server.Serve(); err != nil && !errors.Is(err, io.EOF) {
		return 1
	}
	return 0
}

// sftpStream reads the session's input and writes its output.
type sftpStream struct {
	io.Reader
	io.WriteCloser
}

// sftpFiles implements the handlers for SFTP requests.
type sftpFiles struct {
	disk *memfs.FS
	home string // the base of relative paths
}

var (
	_ sftp.FileReader           = sftpFiles{}
	_ sftp.OpenFileWriter       = sftpFiles{}
	_ sftp.PosixRenameFileCmder = sftpFiles{}
	_ sftp.LstatFileLister      = sftpFiles{}
	_ sftp.RealPathFileLister   = sftpFiles{}
	_ sftp.ReadlinkFileLister   = sftpFiles{}
	_ sftp.NameLookupFileLister = sftpFiles{}
)

// sftpError converts an error to one with a status code in the protocol.
func sftpError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return sftp.ErrSSHFxNoSuchFile
	case errors.Is(err, fs.ErrPermission):
		return sftp.ErrSSHFxPermissionDenied
	}
	return errors.New(errText(err))
}

func (f sftpFiles) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	h, err := f.disk.Open(r.Filepath)
	if err != nil {
		return nil, sftpError(err)
	}
	if info, err := h.Stat(); err == nil && info.IsDir() {
		_ = h.Close()
		return nil, syscall.EISDIR
	}
	return h, nil
}

func (f sftpFiles) Filewrite(r *sftp.Request) (io.WriterAt, error) { return f.open(r) }

func (f sftpFiles) OpenFile(r *sftp.Request) (sftp.WriterAtReaderAt, error) { return f.open(r) }

func (f sftpFiles) open(r *sftp.Request) (*memfs.File, error) {
	flags := r.Pflags()
	flag := os.O_WRONLY
	if flags.Read {
		flag = os.O_RDWR
	}
	for _, set := range []struct {
		on   bool
		flag int
	}{{flags.Creat, os.O_CREATE}, {flags.Trunc, os.O_TRUNC}, {flags.Excl, os.O_EXCL}} {
		if set.on {
			flag |= set.flag
		}
	}
	h, err := f.disk.OpenFile(r.Filepath, flag, openMode(r.Attrs))
	if err != nil {
		return nil, sftpError(err)
	}
	return h, nil
}

// openMode returns the mode that an open request asks for. The library drops the
// flags that say which attributes follow. Clients send the permissions alone, or
// with the two times.
func openMode(attrs []byte) fs.FileMode {
	if len(attrs) != 4 && len(attrs) != 12 {
		return 0o666
	}
	return modeOf(binary.BigEndian.Uint32(attrs) & 0o7777)
}

func (f sftpFiles) Filecmd(r *sftp.Request) error {
	switch r.Method {
	case "Setstat":
		return sftpError(f.setstat(r))
	case "Rename": // unlike posix-rename, it does not replace a file
		if _, err := f.disk.Lstat(r.Target); err == nil {
			return sftp.ErrSSHFxFailure
		}
		return sftpError(f.disk.Rename(r.Filepath, r.Target))
	case "Rmdir":
		info, err := f.disk.Lstat(r.Filepath)
		if err == nil && !info.IsDir() {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return sftpError(err)
		}
		return sftpError(f.disk.Remove(r.Filepath))
	case "Remove":
		info, err := f.disk.Lstat(r.Filepath)
		if err == nil && info.IsDir() {
			err = syscall.EISDIR
		}
		if err != nil {
			return sftpError(err)
		}
		return sftpError(f.disk.Remove(r.Filepath))
	case "Mkdir":
		mode := fs.FileMode(0o777)
		if r.AttrFlags().Permissions {
			mode = r.Attributes().FileMode().Perm()
		}
		return sftpError(f.disk.Mkdir(r.Filepath, mode))
	case "Link":
		return sftpError(f.disk.Link(r.Filepath, r.Target))
	case "Symlink": // Filepath is the link's target
		return sftpError(f.disk.Symlink(r.Filepath, r.Target))
	}
	return sftp.ErrSSHFxOpUnsupported
}

func (f sftpFiles) PosixRename(r *sftp.Request) error {
	return sftpError(f.disk.Rename(r.Filepath, r.Target))
}

func (f sftpFiles) setstat(r *sftp.Request) error {
	flags, attrs := r.AttrFlags(), r.Attributes()
	if flags.Size {
		if err := f.disk.Truncate(r.Filepath, int64(attrs.Size)); err != nil { //nolint:gosec // memfs rejects negative sizes
			return err
		}
	}
	if flags.UidGid {
		if err := f.disk.Chown(r.Filepath, int(attrs.UID), int(attrs.GID)); err != nil {
			return err
		}
	}
	if flags.Permissions {
		if err := f.disk.Chmod(r.Filepath, modeOf(attrs.Mode&0o7777)); err != nil {
			return err
		}
	}
	if flags.Acmodtime {
		return f.disk.Chtimes(r.Filepath, time.Unix(int64(attrs.Atime), 0), time.Unix(int64(attrs.Mtime), 0))
	}
	return nil
}

func (f sftpFiles) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	switch r.Method {
	case "List":
		entries, err := f.disk.ReadDir(r.Filepath)
		if err != nil {
			return nil, sftpError(err)
		}
		list := make(sftpList, 0, len(entries))
		for _, e := range entries {
			if info, err := f.disk.Lstat(entryPath(r.Filepath, e.Name())); err == nil {
				list = append(list, sftpInfo{info})
			}
		}
		return list, nil
	case "Stat":
		info, err := f.disk.Stat(r.Filepath)
		if err != nil {
			return nil, sftpError(err)
		}
		return sftpList{sftpInfo{info}}, nil
	}
	return nil, sftp.ErrSSHFxOpUnsupported
}

func (f sftpFiles) Lstat(r *sftp.Request) (sftp.ListerAt, error) {
	info, err := f.disk.Lstat(r.Filepath)
	if err != nil {
		return nil, sftpError(err)
	}
	return sftpList{sftpInfo{info}}, nil
}

func (f sftpFiles) RealPath(name string) (string, error) {
	if !path.IsAbs(name) {
		name = path.Join(f.home, name)
	}
	if resolved, err := f.disk.EvalSymlinks(name); err == nil {
		return resolved, nil
	}
	return path.Clean(name), nil
}

func (f sftpFiles) Readlink(name string) (string, error) {
	target, err := f.disk.Readlink(name)
	return target, sftpError(err)
}

func (f sftpFiles) LookupUserName(uid string) string {
	if n, ok := number(uid); ok {
		return userName(f.disk, n)
	}
	return uid
}

func (f sftpFiles) LookupGroupName(gid string) string {
	if n, ok := number(gid); ok {
		return groupName(f.disk, n)
	}
	return gid
}

// sftpInfo provides the owner through the methods the library looks for.
type sftpInfo struct{ *memfs.Info }

var _ sftp.FileInfoUidGid = sftpInfo{}

// Uid returns the owner.
func (i sftpInfo) Uid() uint32 { return uint32(i.UID()) } //nolint:staticcheck,gosec // the library's spelling

// Gid returns the group.
func (i sftpInfo) Gid() uint32 { return uint32(i.GID()) } //nolint:staticcheck,gosec // the library's spelling

type sftpList []fs.FileInfo

func (l sftpList) ListAt(to []fs.FileInfo, offset int64) (int, error) {
	if offset >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(to, l[offset:])
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}
