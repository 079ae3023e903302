//go:build unix

package qemu_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/qemu"
)

// The tests of this file run real machines, emulated. Each boot takes a CPU about four
// seconds.

// diskBuilder returns a Builder for the tests' guest, which its boot loader boots.
func diskBuilder(t *testing.T) qemu.Builder {
	t.Helper()
	disk := testenv.Need(t, "qemu")
	return qemu.Builder{
		Host:   qemu.NewHost(t.TempDir(), nil),
		Source: qemu.DiskFile(disk), CPUs: 1, Memory: 256 << 20, Accelerator: qemu.TCG,
	}
}

// realBuilder returns a Builder for the tests' guest, which QEMU boots.
func realBuilder(t *testing.T) qemu.Builder {
	t.Helper()
	b := diskBuilder(t)
	b.Args = directBoot(testenv.Need(t, "qemu"))
	return b
}

// directBoot returns the arguments with which QEMU boots the kernel of the tests' guests. Emulated,
// their boot loader and the decompression of the kernel take as long as all the rest of a boot.
func directBoot(disk string) []string {
	dir := filepath.Dir(disk)
	return []string{
		"-kernel", filepath.Join(dir, "vmlinux"), "-initrd", filepath.Join(dir, "initrd"),
		"-append", "console=ttyS0 quiet panic=0 net.ifnames=0 no_timer_check cryptomgr.notests lsm=capability audit=0",
	}
}

// TestBakeInQEMU bakes an image whose machine reboots and deletes data, checks it, and
// compares it with its source.
func TestBakeInQEMU(t *testing.T) {
	t.Parallel()
	b := realBuilder(t)
	b.Disks = []qemu.DataDisk{{Name: "db", Size: 64 << 20}}
	b.Ignition, b.SSH.User = []byte(ignitionConfig), "root" // which the guest shows, and does not use
	keys := map[string]bool{}
	hostKeys := bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
		key, err := bake.Output(ctx, m, bake.Sh("cat /etc/ssh/ssh_host_ed25519_key.pub /etc/machine-id"))
		keys[key] = true
		return err
	}}
	img := &bake.Image{
		Name: "real", Builder: b, Tags: map[string]string{"purpose": "test"},
		Provisioners: []bake.Provisioner{
			hostKeys,
			bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
				want, err := machineFile(ctx, b.Host, "config.ign")
				if err != nil {
					return err
				}
				got, err := bake.Output(ctx, m, bake.Sh("cat /sys/firmware/qemu_fw_cfg/by_name/opt/com.coreos/config/raw"))
				if got != want {
					t.Errorf("the guest reads the configuration %q, want %q", got, want)
				}
				return err
			}},
			provision.File{Content: "kept\n", Dest: "/etc/kept", Mode: 0o640},
			provision.Shell("test $(cat /sys/block/vdb/serial) = db", "mke2fs -q -t ext4 /dev/vdb", "mount /dev/vdb /mnt", "echo rows >/mnt/table", "umount /mnt"),
			provision.Shell("head -c 60000000 /dev/urandom >/var/deleted", "sync"),
			provision.Reboot{},
			provision.Shell("test -s /var/deleted", "rm /var/deleted"),
			// Blocks of deleted files between those of others.
			provision.Shell("mkdir /var/many", `for i in $(seq 200); do echo deleted"-from-"block >/var/many/d$i; echo kept"-in-"block >/var/many/k$i; done`, "sync", "rm /var/many/d*"),
		},
		Checks: []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, m bake.Machine) error {
			if err := hostKeys.Do(ctx, m); err != nil {
				return err
			}
			return m.Run(ctx, bake.Sh(`test "$(cat /etc/kept)" = kept && test "$(stat -c %a /etc/kept)" = 640 && ! test -e /var/deleted && mount /dev/vdb /mnt && test $(cat /mnt/table) = rows`))
		}}},
	}
	results, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
		if strings.Contains(e.Text, "deleted files") {
			t.Errorf("the bake says %q, want no such thing", e.Text)
		}
	}}, img)
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 2 {
		t.Errorf("builds and checks had %d sets of host keys and machine ids, want 2: the image keeps them", len(keys))
	}
	d, err := qemu.DiskOf(results[0].Artifact)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.Stat(testenv.Need(t, "qemu"))
	if err != nil {
		t.Fatal(err)
	}
	const changes = 20 << 20
	if d.FileSize > source.Size()+changes {
		t.Errorf("image has %d bytes, its source %d: it keeps the 60 MB that were deleted", d.FileSize, source.Size())
	}
	raw := filepath.Join(t.TempDir(), "raw")
	if out, err := exec.CommandContext(t.Context(), "qemu-img", "convert", "-O", "raw", d.Path, raw).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img convert: %v\n%s", err, out)
	}
	for text, want := range map[string]string{"kept-in-block": "200", "deleted-from-block": "0"} {
		if out, _ := exec.CommandContext(t.Context(), "sh", "-c", `tr -d '\000' <"$0" | grep -ac "$1"`, raw, text).Output(); strings.TrimSpace(string(out)) != want {
			t.Errorf("%q is in the image %s times, want %s", text, out, want)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "qemu-img", "check", "--output=json", d.Path).CombinedOutput(); err != nil {
		t.Errorf("qemu-img check: %v\n%s", err, out)
	}
	if len(d.Data) != 1 || d.Data[0].Name != "db" || d.Data[0].Size != 64<<20 {
		t.Errorf("image has the further disks %+v, want db", d.Data)
	}
	if got := existing(t, b.Host); len(got) != 1 {
		t.Errorf("left after the bake: %v, want the image alone", got)
	}
}

// TestSilentGuestInQEMU expects an explanation for a disk that does not boot.
func TestSilentGuestInQEMU(t *testing.T) {
	t.Parallel()
	b := diskBuilder(t)
	raw := filepath.Join(t.TempDir(), "empty.qcow2") // the extension is wrong
	sector := append(bytes.Repeat([]byte{0xf4}, 510), 0x55, 0xaa)
	if err := os.WriteFile(raw, append(sector, make([]byte, 1<<20)...), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Source, b.SSH.ConnectTimeout = qemu.DiskFile(raw), 3*time.Second
	_, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "silent", Builder: b})
	if err == nil || !strings.Contains(err.Error(), "connect: machine is running but not reachable over SSH") || !strings.Contains(err.Error(), "serial console is empty") {
		t.Errorf("Bake of a disk that does not boot = %v", err)
	}
	if got := existing(t, b.Host); len(got) > 0 {
		t.Errorf("left after the bake: %v", got)
	}
}

// killedHost is the directory in which a process bakes that is killed.
const killedHost = "BAKESTONE_TEST_HOST"

// interrupted returns an image whose second provisioner calls long.
func interrupted(b qemu.Builder, long func()) *bake.Image {
	return &bake.Image{
		Name: "long", Builder: b,
		Provisioners: []bake.Provisioner{
			provision.Shell("echo first >>/etc/done", "sync"),
			bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
				long()
				return m.Run(ctx, bake.Sh(`test "$(cat /etc/done)" = first`))
			}},
		},
	}
}

// TestResumeAfterKillInQEMU kills a process that bakes. QEMU must end with it, and
// another process goes on from the machine's disk. TestResumeAfterKillsInQEMU also checks the
// images of builds that were resumed.
func TestResumeAfterKillInQEMU(t *testing.T) {
	b := realBuilder(t)
	if dir := os.Getenv(killedHost); dir != "" {
		b.Host = qemu.NewHost(dir, nil)
		img := interrupted(b, func() {
			fmt.Println("\nnow")
			select {}
		})
		_, _ = bake.Bake(t.Context(), &bake.Options{Store: bake.DirStore(filepath.Join(dir, "store"))}, img)
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("QEMU ends with its parent on Linux only")
	}
	t.Parallel()
	dir := b.Host.Dir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestResumeAfterKillInQEMU$")
	cmd.Env = append(os.Environ(), killedHost+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text []byte
	for buf := make([]byte, 1<<10); !bytes.Contains(text, []byte("\nnow\n")); {
		n, err := out.Read(buf)
		if text = append(text, buf[:n]...); err != nil {
			t.Fatalf("the process ended: %v\n%s", err, text)
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()

	store := bake.DirStore(filepath.Join(dir, "store"))
	rec := testenv.DeadRecord(t.Context(), t, store)
	var said []string
	results, err := bake.Bake(t.Context(), &bake.Options{
		Store: store, Resume: []*bake.Record{rec},
		Observe: func(e bake.Event) {
			if e.Kind == bake.Message {
				said = append(said, e.Text)
			}
		},
	}, interrupted(b, func() {}))
	if err != nil {
		t.Fatal(err)
	}
	if results[0].Build != rec.Build {
		t.Errorf("build %s, want %s continued", results[0].Build, rec.Build)
	}
	if !strings.Contains(strings.Join(said, "\n"), "the machine has ended with the process that started it") {
		t.Errorf("the resumed build says %q: QEMU outlived the killed process", said)
	}
}

// TestKeptMachineOutlivesProgramInQEMU keeps the machine of a bake in a process that ends,
// and uses it from another one.
func TestKeptMachineOutlivesProgramInQEMU(t *testing.T) {
	b := realBuilder(t)
	if dir := os.Getenv(killedHost); dir != "" {
		b.Host = qemu.NewHost(dir, nil)
		results, err := bake.Bake(t.Context(), &bake.Options{OnFailure: bake.KeepMachine}, &bake.Image{
			Name: "kept", Builder: b, Provisioners: []bake.Provisioner{provision.Shell("echo trace >trace", "exit 3")},
		})
		if len(results) != 1 || results[0].Kept == nil {
			t.Fatalf("Bake = %v, want a kept machine", err)
		}
		kept := results[0].Kept
		fmt.Printf("\n%s\n", base64.StdEncoding.EncodeToString([]byte(strings.Join([]string{kept.Machine, kept.Address, kept.User, kept.HostKey, kept.Key.Reveal()}, "\x00"))))
		return
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKeptMachineOutlivesProgramInQEMU$")
	cmd.Env = append(os.Environ(), killedHost+"="+b.Host.Dir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the process that keeps a machine: %v\n%s", err, out)
	}
	text, err := base64.StdEncoding.DecodeString(strings.Split(string(out), "\n")[1])
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	kept := strings.Split(string(text), "\x00")

	machines, err := b.Host.Machines(t.Context())
	if err != nil || len(machines) != 1 {
		t.Fatalf("Machines() = %+v, %v, want one", machines, err)
	}
	m := machines[0]
	if !m.Running || m.ID != kept[0] || m.Address != kept[1] || m.Login != kept[2] || m.Image != "kept" {
		t.Errorf("Machines() = %+v, want the running machine %q", m, kept[:3])
	}
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(kept[3]))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := sshmachine.Connect(t.Context(), &sshmachine.Config{
		Addr: m.Address, User: m.Login, HostKey: sshmachine.FixedHostKey(hostKey),
		Auth: []sshmachine.Auth{sshmachine.PrivateKey([]byte(kept[4]), bake.Secret{})},
	})
	if err != nil {
		t.Fatal(err)
	}
	if trace, err := bake.Output(t.Context(), conn, bake.Sh("cat trace")); err != nil || trace != "trace" {
		t.Errorf("Output(cat trace) = %q, %v, want %q", trace, err, "trace")
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	screen, err := new(net.Dialer).DialContext(t.Context(), "unix", filepath.Join(m.Dir, "vnc.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer screen.Close()
	greeting := make([]byte, len("RFB 003."))
	if _, err := io.ReadFull(screen, greeting); err != nil || string(greeting) != "RFB 003." {
		t.Errorf("VNC greets with %q, %v", greeting, err)
	}
	if err := b.Host.EndMachine(t.Context(), "../"+m.ID); err == nil {
		t.Error("EndMachine accepts a path")
	}
	for range 2 {
		if err := b.Host.EndMachine(t.Context(), m.ID); err != nil {
			t.Errorf("EndMachine = %v", err)
		}
	}
	if got := existing(t, b.Host); len(got) > 0 {
		t.Errorf("left after EndMachine: %v", got)
	}
	if machines, err := b.Host.Machines(t.Context()); err != nil || len(machines) > 0 {
		t.Errorf("Machines() = %+v, %v, want none", machines, err)
	}
}
