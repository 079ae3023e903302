//go:build unix

package qemu_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/qemu"
)

// grubISO returns a CD image with a kernel and an initramfs, whose GRUB waits at its menu. The
// only entry boots nothing.
func grubISO(t *testing.T, kernel, initrd qemu.InstallFile) string {
	t.Helper()
	mkrescue := testenv.Need(t, "grub-mkrescue")
	root := t.TempDir()
	for name, file := range map[string]qemu.InstallFile{"vmlinuz": kernel, "initrd": initrd} {
		content, err := os.ReadFile(file.String())
		if err == nil {
			err = os.WriteFile(filepath.Join(root, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const menu = `serial --unit=0 --speed=115200
terminal_input console
terminal_output serial console
set timeout=-1
menuentry "Ask everything" { echo asking; sleep 100 }
`
	if err := os.MkdirAll(filepath.Join(root, "boot/grub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "boot/grub/grub.cfg"), []byte(menu), 0o600); err != nil {
		t.Fatal(err)
	}
	iso := filepath.Join(t.TempDir(), "installer.iso")
	cmd := exec.CommandContext(t.Context(), mkrescue, "-o", iso, "--install-modules=linux serial echo sleep normal iso9660 biosdisk", "--locales=", "--fonts=", "--themes=", root)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("grub-mkrescue: %v\n%s", err, out)
	}
	return iso
}

// TestInstallByKeysInQEMU installs from a CD image whose boot loader, a real GRUB, is told
// by typed keys what to boot, with every character that a kernel's command line has.
func TestInstallByKeysInQEMU(t *testing.T) {
	longOnly(t)
	t.Parallel()
	const odd = "~!@%^*()_+=-[]:,./?ABCxyz0189"
	b, i := tinyInstaller(t, `grep -qF ' odd=`+odd+`' /proc/cmdline && dd if=/dev/vdb of=/dev/vda bs=1M && sync && poweroff -f`)
	i.ISO = qemu.DiskFile(grubISO(t, qemu.DiskFile(filepath.Join(filepath.Dir(testenv.Need(t, "qemu")), "vmlinuz")), i.Initrd))
	i.Keys = []qemu.Keys{
		{WaitFor: "Ask everything", After: time.Second, Text: "c"},
		{WaitFor: "grub>", Text: "linux /vmlinuz " + i.Append + " 'odd=" + odd + "'\n"},
		{WaitFor: "grub>", Text: "initrd /initrd\n"},
		{WaitFor: "grub>", Text: "boot", Press: []string{"ret"}},
	}
	i.Kernel, i.Initrd, i.Append, i.Timeout = nil, nil, "", 0
	b.Source = i
	var said []string
	_, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) { said = append(said, e.Text) }}, &bake.Image{
		Name: "typed", Builder: b, Provisioners: []bake.Provisioner{provision.Shell("test -d /etc/ssh")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(said, "\n"); !strings.Contains(text, "has fetched answers.sh") {
		t.Errorf("the installer has not fetched the answers by the typed URL:\n%s", text)
	}
}
