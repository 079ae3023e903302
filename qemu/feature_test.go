//go:build unix

package qemu_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/qemu"
)

func provisioned(ctx context.Context, m bake.Machine) error { return m.Run(ctx, bake.Sh("true")) }

func TestProvisionOnly(t *testing.T) {
	img, b := simple(t)
	img.ProvisionOnly = true
	results, err := bake.Bake(t.Context(), nil, img)
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; r.Status != bake.StatusProvisioned || r.Artifact != nil {
		t.Errorf("Bake: result %+v, want StatusProvisioned without an artifact", r)
	}
	if got := existing(t, b.Host); len(got) > 0 {
		t.Errorf("left after the bake: %v", got)
	}
}

// TestStepsAndPublishers expects steps at each point and publishers that get the image.
func TestStepsAndPublishers(t *testing.T) {
	img, _ := simple(t)
	var log []string
	step := func(name string, at bake.Point) bake.Step {
		return bake.Step{Name: name, At: at, Do: func(context.Context) error {
			log = append(log, name)
			return nil
		}}
	}
	img.Steps = []bake.Step{
		step("before launch", bake.BeforeLaunch), step("before capture", bake.BeforeCapture),
		step("after capture", bake.AfterCapture), step("after promote", bake.AfterPromote),
	}
	img.Publishers = []bake.Publisher{bake.PublisherFunc{Do: func(_ context.Context, a bake.Artifact) error {
		d, err := qemu.DiskOf(a)
		if err == nil {
			log = append(log, filepath.Base(d.Path))
		}
		return err
	}}}
	if _, err := bake.Bake(t.Context(), nil, img); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"before launch", "before capture", "after capture", "after promote", "disk.qcow2"}, log); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

// TestReachSSH expects what Ansible needs to reach the machine.
func TestReachSSH(t *testing.T) {
	img, _ := simple(t)
	img.Provisioners = []bake.Provisioner{bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
		return bake.ReachSSH(ctx, m, func(_ context.Context, ssh bake.SSHAccess) error {
			if ssh.Host != "127.0.0.1" || ssh.Port == 0 || ssh.User != "root" {
				return errors.New("reached as " + ssh.User + " at " + ssh.Host)
			}
			return nil
		})
	}}}
	if _, err := bake.Bake(t.Context(), nil, img); err != nil {
		t.Error(err)
	}
}

// TestFingerprintCoversDataDisks expects that an image is reused until a further disk of
// its source has changed.
func TestFingerprintCoversDataDisks(t *testing.T) {
	t.Parallel()
	base, b := simple(t)
	b.Disks = []qemu.DataDisk{{Name: "db", Size: 1 << 20}}
	base.Builder = b
	b.Source, b.Disks = qemu.NewestImage(base.Name), nil
	top := &bake.Image{Name: "top", Builder: b, Fingerprint: "known", Provisioners: []bake.Provisioner{provision.Shell("true")}}
	bakeTop := func(want bake.Status) {
		t.Helper()
		results, err := bake.Bake(t.Context(), nil, top)
		if err != nil {
			t.Fatal(err)
		}
		if results[0].Status != want {
			t.Errorf("Bake of top = %v, want %v", results[0].Status, want)
		}
		if d := diskOf(t, results[0]); len(d.Data) != 1 || d.Data[0].Name != "db" {
			t.Errorf("image has the further disks %+v, want db", d.Data)
		}
	}
	results, err := bake.Bake(t.Context(), nil, base)
	if err != nil {
		t.Fatal(err)
	}
	bakeTop(bake.StatusBaked)
	bakeTop(bake.StatusReused)
	d := diskOf(t, results[0])
	name := filepath.Join(filepath.Dir(d.Path), "artifact.json")
	changed := strings.Replace(read(t, name), d.Data[0].SHA256, strings.Repeat("0", 64), 1)
	if d.SHA256 == d.Data[0].SHA256 || changed == read(t, name) {
		t.Fatalf("%s has the digests %s and %s, want two", name, d.SHA256, d.Data[0].SHA256)
	}
	if err := os.WriteFile(name, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	bakeTop(bake.StatusBaked)
}

// TestInvalidHardware expects an error before anything is created.
func TestInvalidHardware(t *testing.T) {
	img, b := simple(t)
	many := []qemu.DataDisk{{Name: "a", Size: 512}, {Name: "b", Size: 512}, {Name: "c", Size: 512}}
	for want, change := range map[string]func(*qemu.Builder){
		`Builder.Disks[0].Name: invalid name "a b"`:                      func(b *qemu.Builder) { b.Disks = []qemu.DataDisk{{Name: "a b", Size: 512}} },
		`Builder.Disks[1].Name: "a" is taken`:                            func(b *qemu.Builder) { b.Disks = []qemu.DataDisk{{Name: "a", Size: 512}, {Name: "a", Size: 512}} },
		`Builder.Disks[0].Name: "seed" is taken`:                         func(b *qemu.Builder) { b.Disks = []qemu.DataDisk{{Name: "seed", Size: 512}} },
		"Builder.Disks[0].Size: is 0 bytes":                              func(b *qemu.Builder) { b.Disks = []qemu.DataDisk{{Name: "a"}} },
		"Builder.Disks: are 3, but CheckHardware has places for 1":       func(b *qemu.Builder) { b.Disks, b.CheckHardware = many, qemu.IDEHardware },
		"Builder.Hardware: unknown value 9":                              func(b *qemu.Builder) { b.Hardware = 9 },
		"Builder.Networks[0]: exactly one of Bridge and Tap must be set": func(b *qemu.Builder) { b.Networks = []qemu.Network{{}} },
		`Builder.Networks[0]: invalid device name "br0,x"`:               func(b *qemu.Builder) { b.Networks = []qemu.Network{{Bridge: "br0,x"}} },
		`Builder.Networks[0].MAC: invalid address "01:00:00:00:00:00"`:   func(b *qemu.Builder) { b.Networks = []qemu.Network{{Tap: "tap0", MAC: "01:00:00:00:00:00"}} },
	} {
		changed := b
		change(&changed)
		wantError(t, changed.Validate(img), want)
	}
	b.Disks = many[:1]
	img.Builder = b
	_, err := bake.Bake(t.Context(), nil, img, &bake.Image{Name: "top", From: img, Builder: b})
	wantError(t, err, `image top: Builder.Source`)
}

// arguments returns those of the running fake.
func arguments(t *testing.T, host *qemu.Host) string {
	t.Helper()
	return read(t, runningOf(host), strconv.Itoa(pidOf(t, host)))
}

// TestNetworks reads the command line of a machine with further networks.
func TestNetworks(t *testing.T) {
	img, b := simple(t)
	b.Networks = []qemu.Network{{Bridge: "br0"}, {Tap: "tap7", MAC: "52:54:00:12:34:56"}}
	img.Builder = b
	var args string
	img.Provisioners = []bake.Provisioner{bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error {
		args = arguments(t, b.Host)
		return nil
	}}}
	if _, err := bake.Bake(t.Context(), nil, img); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"-netdev user,id=net,hostfwd=tcp:127.0.0.1:0-:22 ",
		"-netdev bridge,br=br0,id=net1 -device virtio-net-pci,romfile=,netdev=net1 ",
		"-netdev tap,script=no,downscript=no,ifname=tap7,id=net2 -device virtio-net-pci,romfile=,netdev=net2,mac=52:54:00:12:34:56 ",
	} {
		if !strings.Contains(args+" ", want) {
			t.Errorf("QEMU's arguments lack %q:\n%s", want, args)
		}
	}
}
