package sshmachine_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pkg/sftp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// TestGetThroughOwnLinks fetches to a destination where an earlier Get has left links.
func TestGetThroughOwnLinks(t *testing.T) {
	for name, m := range transferMachines(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeFiles(t, dir, map[string]string{"victim/": "", "guest/plain": "1", "guest/sub/file": "1"})
			victim, guest, to := dir+"/victim", dir+"/guest", dir+"/to"
			must(t, os.Symlink(victim, guest+"/x"))
			must(t, os.Symlink(victim, guest+"/sub/y"))
			must(t, os.Symlink(victim+"/new", guest+"/dangling"))
			must(t, m.Get(t.Context(), &bake.Download{Source: guest, Path: to}))
			before := listing(t, to)

			must(t, os.Remove(guest+"/x"))
			writeFiles(t, guest, map[string]string{"x/authorized_keys": "evil", "plain": "2"})
			for _, down := range []bake.Download{
				{Source: guest, Path: to},
				{Source: guest + "/x", Path: to + "/x"},
				{Source: guest + "/x", Path: to + "/x/deeper"},
				{Source: guest + "/x/authorized_keys", Path: to + "/x/authorized_keys"},
				{Source: guest + "/x/authorized_keys", Path: to + "/sub/y/more/authorized_keys"},
				{Source: guest + "/x", Path: to + "/dangling"},
				{Source: guest + "/plain", Path: to + "/sub"},
				{Source: guest + "/plain", Path: to + "/plain/"},
			} {
				if err := m.Get(t.Context(), &down); err == nil {
					t.Errorf("Get(%s to %s) = nil, want an error", down.Source, down.Path)
				}
			}
			if diff := cmp.Diff(before, listing(t, to)); diff != "" {
				t.Errorf("refused Gets changed the destination (-before +after):\n%s", diff)
			}
			if got := listing(t, victim); strings.Contains(got, "\n") {
				t.Errorf("Get wrote outside of its destination:\n%s", got)
			}
			// A link at the destination of a file is replaced.
			must(t, m.Get(t.Context(), &bake.Download{Source: guest + "/plain", Path: to + "/dangling"}))
			if got, err := os.ReadFile(to + "/dangling"); err != nil || string(got) != "2" {
				t.Errorf("file in place of a link = %q, %v, want 2", got, err)
			}
			if got := listing(t, victim); strings.Contains(got, "\n") {
				t.Errorf("Get wrote through a link:\n%s", got)
			}
			checkNoLeftovers(t, dir)
		})
	}
}

// TestGetSpecialFiles fetches what is neither a file nor a directory.
func TestGetSpecialFiles(t *testing.T) {
	m := sshdMachine(t)
	dir := t.TempDir()
	runOutput(t, m, bake.Sh("cd "+dir+" && mkdir tree && mkfifo fifo tree/fifo && echo x >tree/file"))
	for source, want := range map[string]string{"fifo": "not a regular file", "missing": "no such file"} {
		err := m.Get(t.Context(), &bake.Download{Source: dir + "/" + source, Path: dir + "/to"})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Get(%s) = %v, want an error with %q", source, err, want)
		}
	}
	must(t, m.Get(t.Context(), &bake.Download{Source: dir + "/tree", Path: dir + "/to"}))
	if _, err := os.Lstat(dir + "/to/fifo"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Lstat of a fetched fifo = %v, want that it is left out", err)
	}
}

// TestGetLimit fetches more than Config.MaxDownload allows.
func TestGetLimit(t *testing.T) {
	server := testenv.SSHD(t, nil)
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"tree/a": strings.Repeat("a", 600), "tree/b": strings.Repeat("b", 600)})
	cfg := sshdConfig(server)
	cfg.MaxDownload = 1000
	m := connect(t, cfg)
	must(t, m.Get(t.Context(), &bake.Download{Source: dir + "/tree/a", Path: dir + "/a"}))
	cfg.MaxDownload = 500
	small := connect(t, cfg)
	for _, err := range []error{
		m.Get(t.Context(), &bake.Download{Source: dir + "/tree", Path: dir + "/to"}),
		small.Get(t.Context(), &bake.Download{Source: dir + "/tree/a", Content: io.Discard}),
	} {
		if err == nil || !strings.Contains(err.Error(), "MaxDownload") {
			t.Errorf("Get = %v, want an error with MaxDownload", err)
		}
	}
	checkNoLeftovers(t, dir)
}

// A hostileEntry is an entry of a tree that a hostile machine sends.
type hostileEntry struct {
	name string
	mode fs.FileMode
	size int64  // as claimed
	data string // as sent
	link string
	hard bool
}

// hostileTree returns random entries, many of which try to leave their directory.
func hostileTree(r *rand.Rand, victim string) []hostileEntry {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	name := func() string {
		n := pick("a", "b", "A", "a/b", "a/b/c", "b/c", "é", "e\u0301", "..", "../evil", "a/../../evil", "/evil", victim+"/evil",
			"x", "x/authorized_keys", "x/y", "a//b", "./a", "a/.", ".", "C:\\evil", "..\\evil", "con", "a\nb", strings.Repeat("n", 300), ".bakestone.x")
		if r.IntN(4) == 0 {
			n += "/" + pick("evil", "..", "x", "b")
		}
		return n
	}
	all := make([]hostileEntry, 1+r.IntN(8))
	for i := range all {
		data := strings.Repeat("evil", r.IntN(3))
		e := hostileEntry{name: name(), mode: fs.FileMode(r.Uint32N(0o1000)), data: data, size: int64(len(data))}
		switch r.IntN(8) {
		case 0, 1, 2:
			e.mode |= fs.ModeDir
			e.size, e.data = 0, ""
		case 3, 4:
			e.mode |= fs.ModeSymlink
			e.size, e.data = 0, ""
			e.link = pick(victim, victim+"/evil", "..", "../..", ".", "a", "/", "b/c", "../victim")
		case 5:
			e.hard, e.size, e.data = true, 0, ""
			e.link = pick("a", "x", "../victim/keep", victim+"/keep", "a/b")
		case 6:
			e.mode |= []fs.FileMode{fs.ModeNamedPipe, fs.ModeDevice, fs.ModeSocket, fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky}[r.IntN(6)]
		}
		if r.IntN(20) == 0 {
			e.size = []int64{1 << 50, 7, 0}[r.IntN(3)]
		}
		all[i] = e
	}
	return all
}

// A treeSender makes a host send hostile entries as its answer to a Get of a tree.
type treeSender func(t *testing.T, h *host, stream string) (set func([]hostileEntry))

func sendTar(t *testing.T, h *host, stream string) func([]hostileEntry) {
	t.Helper()
	h.run = func(line string) string {
		return strings.ReplaceAll(line, "exec tar -cf -", "exec cat "+stream+"; :")
	}
	return func(all []hostileEntry) {
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		for _, e := range all {
			header := tar.Header{Name: e.name, Mode: int64(e.mode.Perm()), Size: e.size, Linkname: e.link, Typeflag: tar.TypeReg}
			switch {
			case e.hard:
				header.Typeflag = tar.TypeLink
			case e.mode.IsDir():
				header.Typeflag = tar.TypeDir
			case e.mode&fs.ModeSymlink != 0:
				header.Typeflag = tar.TypeSymlink
			case e.mode&fs.ModeNamedPipe != 0:
				header.Typeflag, header.Size = tar.TypeFifo, 0
			case e.mode&fs.ModeDevice != 0:
				header.Typeflag, header.Size = tar.TypeBlock, 0
			}
			if e.mode&fs.ModeSetuid != 0 {
				header.Mode |= 0o6000
			}
			if w.WriteHeader(&header) == nil {
				_, _ = io.WriteString(w, e.data)
			}
		}
		_ = w.Close()
		must(t, os.WriteFile(stream, archive.Bytes(), 0o600))
	}
}

func sendFind(t *testing.T, h *host, stream string) func([]hostileEntry) {
	t.Helper()
	h.run = func(line string) string {
		return strings.ReplaceAll(withoutTar(line), "exec find", "exec cat "+stream+"; :")
	}
	return func(all []hostileEntry) {
		var out bytes.Buffer
		for _, e := range all {
			kind, data, size := "f", e.data, e.size
			switch {
			case e.mode.IsDir():
				kind = "d"
			case e.mode&fs.ModeSymlink != 0:
				kind, data, size = "l", e.link, int64(len(e.link))
			}
			fmt.Fprintf(&out, "%s %o 0 %d %s\x00%s\x00", kind, e.mode.Perm()|0o4000, size, e.name, data)
		}
		must(t, os.WriteFile(stream, out.Bytes(), 0o600))
	}
}

func sendSFTP(t *testing.T, h *host, _ string) func([]hostileEntry) {
	t.Helper()
	h.run = withoutTar
	tree := &sftpTree{}
	h.sftp = func(channel io.ReadWriteCloser) {
		server := sftp.NewRequestServer(channel, sftp.Handlers{FileGet: tree, FilePut: tree, FileCmd: tree, FileList: tree})
		_ = server.Serve()
	}
	return func(all []hostileEntry) {
		tree.mu.Lock()
		defer tree.mu.Unlock()
		tree.all = all
	}
}

// An sftpTree lists its entries in every directory, down to a depth.
type sftpTree struct {
	mu  sync.Mutex
	all []hostileEntry
}

func (s *sftpTree) entry(name string) hostileEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.all {
		if path.Base(e.name) == path.Base(name) {
			return e
		}
	}
	return hostileEntry{name: path.Base(name), mode: fs.ModeDir | 0o755}
}

func (s *sftpTree) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	return strings.NewReader(s.entry(r.Filepath).data), nil
}
func (s *sftpTree) Filewrite(*sftp.Request) (io.WriterAt, error) {
	return nil, sftp.ErrSSHFxPermissionDenied
}
func (s *sftpTree) Filecmd(*sftp.Request) error { return sftp.ErrSSHFxPermissionDenied }

func (s *sftpTree) Lstat(r *sftp.Request) (sftp.ListerAt, error) {
	return infos{hostileInfo{s.entry(r.Filepath)}}, nil
}

func (s *sftpTree) Readlink(name string) (string, error) { return s.entry(name).link, nil }

func (s *sftpTree) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	if r.Method != "List" {
		return s.Lstat(r)
	}
	var all infos
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Count(r.Filepath, "/") < strings.Count(os.TempDir(), "/")+6 {
		for _, e := range s.all {
			all = append(all, hostileInfo{e})
		}
	}
	return all, nil
}

type infos []fs.FileInfo

func (l infos) ListAt(to []fs.FileInfo, offset int64) (int, error) {
	if offset >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(to, l[offset:])
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}

type hostileInfo struct{ e hostileEntry }

func (i hostileInfo) Name() string       { return i.e.name }
func (i hostileInfo) Size() int64        { return i.e.size }
func (i hostileInfo) Mode() fs.FileMode  { return i.e.mode }
func (i hostileInfo) ModTime() time.Time { return time.Unix(0, 0) }
func (i hostileInfo) IsDir() bool        { return i.e.mode.IsDir() }
func (i hostileInfo) Sys() any           { return nil }

// TestGetHostileTrees fetches random hostile trees, several to one destination, and
// single files below it, and checks that nothing outside changes.
func TestGetHostileTrees(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("requires a shell")
	}
	rounds := 4
	if testing.Short() {
		rounds = 1
	}
	for name, sender := range map[string]treeSender{"tar": sendTar, "find": sendFind, "sftp": sendSFTP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			h := newHost(t)
			set := sender(t, h, dir+"/stream")
			cfg := h.configFor(h.listen(t))
			cfg.MaxDownload = 1 << 20
			m := connect(t, cfg)
			fetched := 0
			for seed := range rounds {
				r := rand.New(rand.NewPCG(uint64(seed), 1)) //nolint:gosec // repeatable
				fetched += getHostileTrees(t, m, set, r)
			}
			if fetched == 0 {
				t.Error("no tree was fetched")
			}
		})
	}
}

func getHostileTrees(t *testing.T, m *sshmachine.Machine, set func([]hostileEntry), r *rand.Rand) (fetched int) {
	t.Helper()
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"victim/keep": "keep", "source/file": "file", "source/tree/": "", "work/": ""})
	must(t, os.Mkdir(dir+"/work/in", 0o755))
	before := listing(t, dir)
	to := dir + "/work/in/to"
	var trees [][]hostileEntry
	for range 3 {
		all := hostileTree(r, dir+"/victim")
		trees = append(trees, all)
		set(all)
		if m.Get(t.Context(), &bake.Download{Source: dir + "/source/tree", Path: to}) == nil {
			fetched++
		}
		e := all[r.IntN(len(all))]
		_ = m.Get(t.Context(), &bake.Download{Source: dir + "/source/file", Path: filepath.Join(to, path.Clean("/"+e.name), "file")})
	}
	_ = filepath.WalkDir(to, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // the tree may be missing
		}
		info, err := d.Info()
		if err == nil && info.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeDevice|fs.ModeNamedPipe|fs.ModeSocket) != 0 {
			t.Errorf("Get created %s with mode %v", name, info.Mode())
		}
		return nil
	})
	must(t, os.RemoveAll(to))
	if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
		t.Errorf("Get of %v changed files outside of its destination (-before +after):\n%s", trees, diff)
	}
	if _, err := os.Lstat("/evil"); err == nil {
		t.Errorf("Get of %v created /evil", trees)
	}
	return fetched
}
