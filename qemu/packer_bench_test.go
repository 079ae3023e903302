//go:build linux

package qemu_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/guest"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/internal/testenv/usage"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/qemu"
	"github.com/bakestone-go/bakestone/qemu/internal/iso9660"
)

// benchDir is the directory in which a process of BenchmarkBesidePacker bakes.
const benchDir = "BAKESTONE_TEST_BENCH"

const benchCommand = "head -c 20000000 /dev/urandom >/var/data; sync"

// BenchmarkBesidePacker makes the same image of the tests' guest with Bakestone and with
// Packer's QEMU builder in turn, both with emulation, and reports the time, what the
// programs used besides QEMU, and the sizes of the images:
//
//	go test -run '^$' -bench BesidePacker -benchtime 3x ./qemu
func BenchmarkBesidePacker(b *testing.B) {
	if dir := os.Getenv(benchDir); dir != "" {
		benchBake(b, dir)
		return
	}
	disk := testenv.Need(b, "qemu")
	packer := testenv.Need(b, "packer")
	took := usage.Series{}
	for b.Loop() {
		dir := b.TempDir()
		own := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^$", "-test.bench=BesidePacker", "-test.benchtime=1x")
		own.Env = append(os.Environ(), benchDir+"="+dir)
		measure(b, took, "bakestone", own, filepath.Join(dir, "images", "bench", "*", "disk.qcow2"))

		dir = b.TempDir()
		other := exec.CommandContext(b.Context(), packer, "build", packerTemplate(b, dir, disk))
		other.Dir = dir
		other.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "PACKER_CACHE_DIR="+filepath.Join(dir, "cache"), "PACKER_CONFIG_DIR="+dir)
		measure(b, took, "packer", other, filepath.Join(dir, "out", "bench.qcow2"))
	}
	b.ReportMetric(usage.Median(took["packer-s"])/usage.Median(took["bakestone-s"]), "packer/own")
	took.Report(b)
}

// benchBake bakes the image in a process of its own.
func benchBake(b *testing.B, dir string) {
	b.Helper()
	_, err := bake.Bake(b.Context(), nil, &bake.Image{
		Name: "bench",
		Builder: qemu.Builder{
			Host: qemu.NewHost(dir, nil), Source: qemu.DiskFile(testenv.Need(b, "qemu")), CPUs: 1, Memory: 256 << 20, Accelerator: qemu.TCG,
			GuestCleanup: qemu.GuestCleanup{Off: true}, Capture: qemu.Capture{NoTrim: true}, // as Packer
		},
		Provisioners: []bake.Provisioner{provision.Shell(benchCommand)},
	})
	if err != nil {
		b.Fatal(err)
	}
}

// packerTemplate writes a template for the same image. The seed is that of Bakestone.
func packerTemplate(b *testing.B, dir, disk string) string {
	b.Helper()
	run := bake.NewRun("bench", "bench", nil, nil)
	var keys guest.Keys
	if err := keys.AddHostKeys(run); err != nil {
		b.Fatal(err)
	}
	if err := keys.AddClientKeys(run); err != nil {
		b.Fatal(err)
	}
	userData, err := guest.UserData{Keys: keys, RootLogin: true, Expires: run.Expires, Boundary: "bench"}.Document()
	if err != nil {
		b.Fatal(err)
	}
	seed, err := iso9660.Write("cidata", time.Now(), iso9660.File{Name: "user-data", Content: []byte(userData)}, iso9660.File{Name: "meta-data", Content: []byte("instance-id: bench\n")})
	if err != nil {
		b.Fatal(err)
	}
	template, err := json.Marshal(map[string]any{
		"builders": []any{map[string]any{
			"type": "qemu", "disk_image": true, "iso_url": disk, "iso_checksum": "none", "use_backing_file": false,
			"disk_size": "768M", "skip_compaction": false, "format": "qcow2", "accelerator": "tcg", "headless": true,
			"memory": 256, "cpus": 1, "machine_type": "q35", "net_device": "virtio-net", "boot_wait": "1ms",
			"output_directory": "out", "vm_name": "bench.qcow2", "communicator": "ssh", "ssh_username": "root",
			"ssh_private_key_file": filepath.Join(dir, "key"), "ssh_timeout": "5m", "shutdown_command": "poweroff",
			// One argument of a switch replaces all of Packer's own.
			"qemuargs": []any{
				[]string{"-cpu", "max"},
				[]string{"-drive", "file=out/bench.qcow2,if=virtio,cache=writeback,discard=ignore,format=qcow2"},
				[]string{"-drive", "file=" + filepath.Join(dir, "seed.iso") + ",if=virtio,format=raw,readonly=on"},
			},
		}},
		"provisioners": []any{map[string]any{"type": "shell", "inline": []string{benchCommand}}},
	})
	if err != nil {
		b.Fatal(err)
	}
	for name, data := range map[string][]byte{"seed.iso": seed, "key": []byte(keys.ClientPrivate), "template.json": template} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return filepath.Join(dir, "template.json")
}

// measure runs a program that makes an image, whose path matches a pattern.
func measure(b *testing.B, took usage.Series, name string, cmd *exec.Cmd, pattern string) {
	b.Helper()
	used, err := usage.Of(cmd, "qemu-") // not qemu.test
	if err != nil {
		b.Fatal(err)
	}
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		b.Fatalf("images %q, %v, want one", found, err)
	}
	info, err := os.Stat(found[0])
	if err != nil {
		b.Fatal(err)
	}
	took.Add(name+"-s", used.Clock.Seconds())
	took.Add(name+"-own-cpu-s", used.Own.Seconds())
	took.Add(name+"-all-cpu-s", used.Processor.Seconds())
	took.Add(name+"-MiB", float64(used.Memory)/(1<<20))
	took.Add(name+"-image-MiB", float64(info.Size())/(1<<20))
}
