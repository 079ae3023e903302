package sandbox_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// TestDisks formats, mounts and fills a second disk as a surrogate build does, and
// boots from it.
func TestDisks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ script, device string }{
		"whole disk": {"mkfs.ext4 -L root /dev/xvdf >/dev/null", "/dev/nvme1n1"},
		"partition":  {"parted -s /dev/sdf mklabel gpt mkpart efi 1MiB 100MiB mkpart root 100MiB 100%; mkfs.vfat /dev/nvme1n1p1 >/dev/null; mkfs.xfs -L root /dev/nvme1n1p2 >/dev/null", "/dev/nvme1n1p2"},
	} {
		volume := sandbox.NewVolume(nil)
		h := boot(t, sandbox.Options{Disks: []sandbox.AttachedDisk{{Device: "/dev/sdf", VolumeID: "vol-0123", SizeGiB: 10, Volume: volume}}})
		if _, err := volume.Root(); !errors.Is(err, sandbox.ErrNoSystem) {
			t.Errorf("%s: Root of a blank volume = %v, want ErrNoSystem", name, err)
		}
		got := run(t, h, sandbox.Exec{Line: "set -e; [ -b /dev/nvme1n1 ]; lsblk -dno SIZE /dev/sdf; readlink -f /dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123; blkid /dev/nvme1n1 || echo blank\n" + c.script + `
mount ` + c.device + ` /mnt; findmnt -no SOURCE /mnt; mountpoint -q /mnt
cp -a /etc /usr /bin /sbin /lib /home /root /mnt/; mkdir -p /mnt/proc /mnt/dev /mnt/sys /mnt/tmp /mnt/run /mnt/var/lib
mount --bind /dev /mnt/dev; mount -t proc proc /mnt/proc
echo built >/mnt/etc/built; chroot /mnt sh -c 'cat /etc/built; useradd app; ls -d /dev/null; cd ..; pwd'
grep -c app /mnt/etc/passwd; grep -c ^app: /etc/passwd || :
umount /mnt 2>&1 || echo busy; umount -R /mnt; ls /mnt; echo "UUID=$(blkid -s UUID -o value ` + c.device + `) /data auto defaults,nofail 0 2" >>/etc/fstab; mkdir /data; mount -a; cat /data/etc/built; df -h /data | tail -n 1 | cut -d' ' -f1`})
		want := "10G\n/dev/nvme1n1\nblank\n" + c.device + "\nbuilt\n/dev/null\n/\n1\n0\numount: /mnt: target is busy.\nbusy\nbuilt\n" + c.device + "\n"
		if got.out != want || got.status != 0 {
			t.Errorf("%s: got %+v, want output %q", name, got, want)
			continue
		}
		snapshot, image := volume.Clone(), h.FS().Clone()
		run(t, h, sandbox.Exec{Line: "echo later >/data/etc/built"})
		if _, err := image.Stat("/data/etc/built"); err == nil {
			t.Errorf("%s: the image of the root disk has the files of the other disk", name)
		}
		root, err := snapshot.Root()
		if err != nil {
			t.Fatal(err)
		}
		other := boot(t, sandbox.Options{FS: root, InstanceID: "i-other"})
		if got := run(t, other, sandbox.Exec{Line: "cat /etc/built; id -un app"}); got.out != "built\napp\n" {
			t.Errorf("%s: a machine of the second disk: %+v, want what was written there", name, got)
		}
		if err := h.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := run(t, h, sandbox.Exec{Line: "cat /data/etc/built"}); got.out != "later\n" {
			t.Errorf("%s: after a reboot: %+v, want the disk of /etc/fstab", name, got)
		}
		h.Detach("/dev/sdf")
		if got := run(t, h, sandbox.Exec{Line: "ls /dev/nvme1n1 /dev/sdf /data/etc 2>&1; mount | grep -c data"}); strings.Contains(got.out, "built") || !strings.HasSuffix(got.out, "0\n") {
			t.Errorf("%s: after Detach: %+v, want no disk", name, got)
		}
	}
}

// TestDiskErrors: what a kernel refuses is refused.
func TestDiskErrors(t *testing.T) {
	t.Parallel()
	h := boot(t, sandbox.Options{Disks: []sandbox.AttachedDisk{{Device: "/dev/xvdb", SizeGiB: 1, Volume: sandbox.NewVolume(nil)}}})
	for _, c := range []struct {
		script, err string
		status      int
	}{
		{"mount /dev/nvme1n1 /mnt", "wrong fs type", 32},
		{"mount /dev/nvme9n1 /mnt", "special device /dev/nvme9n1 does not exist", 32},
		{"mkfs.ext4 /dev/nvme7n1", "No such file", 1},
		{"mkfs.xfs /dev/xvdb >/dev/null; mkfs.xfs /dev/xvdb", "Use the -f option", 1},
		{"mount /dev/xvdb /nope", "mount point does not exist", 32},
		{"mount /dev/xvdb /mnt; mkfs.xfs -f /dev/xvdb", "is mounted", 1},
		{"umount /mnt; umount /mnt", "not mounted", 32},
		{"mount -t nfs a:/b /mnt", "cannot mount this", 32},
		{"dd if=/dev/zero of=/dev/nvme1n1 count=1", "Input/output error", 1},
		{"su ubuntu -c 'mount /dev/xvdb /mnt'", "only root", 1},
		{"su ubuntu -c 'chroot / true'", "Operation not permitted", 125},
	} {
		if got := run(t, h, sandbox.Exec{Line: c.script}); got.status != c.status || !strings.Contains(got.err, c.err) {
			t.Errorf("%s: got %+v, want status %d, errors with %q", c.script, got, c.status, c.err)
		}
	}
}
