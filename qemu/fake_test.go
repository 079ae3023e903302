//go:build unix

package qemu_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/bakestone-go/bakestone/internal/memfs"
	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// The tests' QEMU is the test binary, under the names of QEMU's programs. Its
// machines are sandboxes, and its disks are JSON behind the magic bytes of a qcow2.

// TestMain runs the fake if the binary was started under the name of a program of
// QEMU's.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "qemu-system-x86_64":
		os.Exit(fakeSystem(os.Args[1:]))
	case "swtpm":
		os.Exit(fakeTPM(os.Args[1:]))
	case "qemu-img":
		os.Exit(fakeImg(os.Args[1:]))
	}
	// With -race a program otherwise sleeps for a second at its end, and a bake runs ten.
	if err := os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0")); err != nil {
		panic(err)
	}
	code := m.Run()
	if fakeDir != "" {
		if err := os.RemoveAll(fakeDir); err != nil {
			panic(err)
		}
	}
	os.Exit(code)
}

// fakeDir is the directory of the binary that fakeBinary has built; empty if there is none.
var fakeDir string //nolint:gochecknoglobals // of all tests

// fakeBinary returns the binary of the fakes: the test binary, or one without the race detector. The
// detector would take most of the time that bakes with the fake need.
var fakeBinary = sync.OnceValues(func() (string, error) { //nolint:gochecknoglobals // of all tests
	self, err := os.Executable()
	if err != nil || !raceDetector() {
		return self, err
	}
	compiler, err := exec.LookPath("go")
	if err != nil {
		return self, nil // slow, but right
	}
	if fakeDir, err = os.MkdirTemp("", "bakestone-fake"); err != nil {
		return "", err
	}
	path := filepath.Join(fakeDir, "qemu.test")
	if out, err := exec.Command(compiler, "test", "-c", "-race=false", "-vet=off", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the fake: %w\n%s", err, out)
	}
	return path, nil
})

// raceDetector reports whether this binary has the race detector.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// linkFakes makes a directory with the fake under the names of QEMU's programs.
func linkFakes(t *testing.T, dir string) {
	t.Helper()
	binary, err := fakeBinary()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, fakeRunning), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"qemu-system-x86_64", "qemu-img", "swtpm"} {
		if err := os.Symlink(binary, filepath.Join(dir, name)); err != nil {
			t.Skip(err)
		}
	}
}

const fakeMagic = "QFI\xfb"

// A fakeDisk is the content of a disk file.
type fakeDisk struct {
	Backing string              `json:"backing,omitempty"`
	Size    int64               `json:"size"`
	Files   map[string]fakeFile `json:"files,omitempty"` // nil in a layer that has not been written to
}

type fakeFile struct {
	Mode     fs.FileMode
	UID, GID int
	Content  []byte `json:",omitempty"`
	Target   string `json:",omitempty"`
}

func readFakeDisk(name string) (*fakeDisk, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	text, found := strings.CutPrefix(string(data), fakeMagic)
	if !found {
		return nil, fmt.Errorf("%s is not a fake disk", name)
	}
	d := &fakeDisk{}
	return d, json.Unmarshal([]byte(text), d)
}

func (d *fakeDisk) write(name string) error {
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", append([]byte(fakeMagic), data...), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// flat returns the disk with the files of its backing files.
func (d *fakeDisk) flat() (*fakeDisk, error) {
	if d.Files != nil || d.Backing == "" {
		return &fakeDisk{Size: d.Size, Files: d.Files}, nil
	}
	below, err := readFakeDisk(d.Backing)
	if err != nil {
		return nil, err
	}
	flat, err := below.flat()
	if err == nil {
		flat.Size = max(d.Size, flat.Size)
	}
	return flat, err
}

// save writes the layer of a machine with its files.
func (d *fakeDisk) save(disk *memfs.FS) error {
	d.Files = map[string]fakeFile{}
	return errors.Join(d.dump(disk, "/"), d.write("disk.qcow2"))
}

// skipped are directories whose files belong to a running system.
func skipped(name string) bool {
	return slices.Contains([]string{"/dev", "/proc", "/sys", "/run"}, name)
}

// dump reads the files below dir.
func (d *fakeDisk) dump(disk *memfs.FS, dir string) error {
	entries, err := disk.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		info, err := disk.Lstat(name)
		if err != nil {
			return err
		}
		f := fakeFile{Mode: info.Mode(), UID: info.UID(), GID: info.GID()}
		switch {
		case info.IsDir():
			if !skipped(name) {
				err = d.dump(disk, name)
			}
		case f.Mode&fs.ModeSymlink != 0:
			f.Target, err = disk.Readlink(name)
		default:
			f.Content, err = disk.ReadFile(name)
		}
		if err != nil {
			return err
		}
		d.Files[name] = f
	}
	return nil
}

// restore returns a new file system with the files.
func (d *fakeDisk) restore() (*memfs.FS, error) {
	disk := sandbox.NewRoot(nil)
	var names []string
	for name := range d.Files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f := d.Files[name]
		var err error
		switch {
		case f.Mode.IsDir():
			err = disk.MkdirAll(name, f.Mode.Perm())
		case f.Mode&fs.ModeSymlink != 0:
			_ = disk.Remove(name)
			err = disk.Symlink(f.Target, name)
		default:
			err = disk.WriteFile(name, f.Content, f.Mode.Perm())
		}
		if err == nil {
			err = disk.Lchown(name, f.UID, f.GID)
		}
		if err == nil && f.Mode&fs.ModeSymlink == 0 {
			err = disk.Chmod(name, f.Mode)
		}
		if err != nil {
			return nil, err
		}
	}
	return disk, nil
}

// fakeImg is qemu-img.
func fakeImg(args []string) int {
	err := func() error {
		names := args[1:]
		last := names[len(names)-1]
		switch args[0] {
		case "create":
			size, err := strconv.ParseInt(last, 10, 64)
			if err != nil {
				return err
			}
			return (&fakeDisk{Backing: argument(args, "-b"), Size: size}).write(names[len(names)-2])
		case "convert":
			d, err := readFakeDisk(names[len(names)-2])
			if err == nil {
				d, err = d.flat()
			}
			if err != nil {
				return err
			}
			return d.write(last)
		case "info":
			d, err := readFakeDisk(last)
			if err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(map[string]any{"virtual-size": d.Size, "format": "qcow2", "backing-filename": d.Backing})
		case "dd":
			return fakeBootSector(args)
		case "check":
			_, err := readFakeDisk(last)
			return err
		}
		return fmt.Errorf("unknown command %q", args[0])
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fake:", err)
		return 1
	}
	return 0
}

// A fakeMachine is a running fake of qemu-system.
type fakeMachine struct {
	host *sandbox.Host
	uuid string
	port string
	exit chan int
	once sync.Once

	mu      sync.Mutex
	watcher net.Conn // of events
	watched func()   // is called when there is one; may be nil
	pressed func()   // is called for each key
}

// fakeSystem is qemu-system-x86_64.
func fakeSystem(args []string) int {
	code, err := runFakeSystem(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fake:", err)
		return 1
	}
	return code
}

func argument(args []string, flag string) string {
	if at := slices.Index(args, flag); at >= 0 {
		return args[at+1]
	}
	return ""
}

// fakeAccel is the only accelerator that the fake runs with, if set.
const fakeAccel = "BAKESTONE_FAKE_ACCEL"

// fakeRunning is a directory beside the fake programs with a file for each one that runs, which has
// it locked.
const fakeRunning = "running"

// setLock locks a file for this process, as QEMU its pid file.
func setLock(f *os.File) error {
	return syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart})
}

// fakeProcess makes this process and its arguments visible in the directory fakeRunning
// until release.
func fakeProcess(args []string) (release func(), err error) {
	name := filepath.Join(filepath.Dir(os.Args[0]), fakeRunning, strconv.Itoa(os.Getpid()))
	running, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	release = func() { _ = errors.Join(os.Remove(name), running.Close()) }
	if err := setLock(running); err != nil {
		return release, err
	}
	_, err = running.WriteString(strings.Join(args, " "))
	return release, err
}

func runFakeSystem(args []string) (int, error) {
	if want := os.Getenv(fakeAccel); want != "" && !strings.HasSuffix(argument(args, "-machine"), ",accel="+want) {
		return 0, errors.New("no such accelerator")
	}
	pidFile, err := os.OpenFile(argument(args, "-pidfile"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return 0, err
	}
	if err := setLock(pidFile); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintln(pidFile, os.Getpid()); err != nil {
		return 0, err
	}
	release, err := fakeProcess(args)
	if err != nil {
		return 0, err
	}
	defer release()
	if err := os.WriteFile("arguments", []byte(strings.Join(args, "\n")), 0o600); err != nil {
		return 0, err
	}
	overlay, err := readFakeDisk("disk.qcow2")
	if err != nil {
		return 0, err
	}
	if slices.Contains(args, "-no-reboot") {
		return 0, errors.Join(fakeInstall(args, overlay), os.Remove(pidFile.Name()))
	}
	flat, err := overlay.flat()
	if err != nil {
		return 0, err
	}
	disk, err := flat.restore()
	if err != nil {
		return 0, err
	}
	userData, instance, err := readSeed("seed.iso")
	if err != nil {
		return 0, err
	}
	m := &fakeMachine{uuid: argument(args, "-uuid"), exit: make(chan int, 1), pressed: func() {}}
	ctx := context.Background()
	m.host, err = sandbox.Boot(ctx, sandbox.Options{
		FS: disk, UserData: userData, InstanceID: instance,
		Commands: map[string]sandbox.Command{"sync": func(context.Context, *sandbox.Process) int {
			if err := overlay.save(disk); err != nil {
				return 1
			}
			return 0
		}},
		OnPower: func(p sandbox.Power) {
			if p == sandbox.Reboot {
				m.tell("RESET", "guest-reset")
				_ = m.host.Reboot(ctx)
				return
			}
			m.end()
		},
	})
	if err != nil {
		return 0, err
	}
	stuck, err := fakeIgnition(args, disk, func() error { return overlay.save(disk) })
	if err != nil {
		return 0, err
	}
	stuck += argument(args, fakeConsole)
	if err := os.WriteFile("console.log", []byte(m.host.Console()+stuck), 0o600); err != nil {
		return 0, err
	}
	ssh, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	_, port, err := net.SplitHostPort(ssh.Addr().String())
	if err != nil {
		return 0, err
	}
	m.port = port
	go func() {
		for {
			c, err := ssh.Accept()
			if err != nil {
				return
			}
			if stuck == "" {
				go m.host.ServeConn(ctx, c)
			}
		}
	}()
	if err := m.serve(ctx); err != nil {
		return 0, err
	}
	code := <-m.exit
	m.tell("SHUTDOWN", "guest-shutdown")
	_ = m.host.Close()
	if err := overlay.save(disk); err != nil {
		return 0, err
	}
	return code, os.Remove(pidFile.Name())
}

func (m *fakeMachine) end() { m.once.Do(func() { m.exit <- 0 }) }

// readSeed returns the user data and the instance id of a seed, which it finds by the
// sectors that the directory records tell.
func readSeed(name string) (userData []byte, instance string, err error) {
	image, err := os.ReadFile(name)
	if err != nil {
		return nil, "", err
	}
	const sector, rootAt = 2048, 23
	for at := rootAt * sector; image[at] != 0; at += int(image[at]) {
		record := image[at : at+int(image[at])]
		number := func(at int) int {
			return int(record[at]) | int(record[at+1])<<8 | int(record[at+2])<<16 | int(record[at+3])<<24
		}
		content := image[number(2)*sector:][:number(10)]
		switch {
		case strings.Contains(string(record), "user-data"):
			userData = content
		case strings.Contains(string(record), "meta-data"):
			instance = strings.TrimSpace(strings.TrimPrefix(string(content), "instance-id: "))
		}
	}
	return userData, instance, nil
}
