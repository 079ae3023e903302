//go:build unix

package qemu_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/qemu"
)

// argumentsOf bakes an image with a check and returns the arguments of the two machines.
func argumentsOf(t *testing.T, img *bake.Image, host *qemu.Host) (built, checked string, result *bake.Result) {
	t.Helper()
	var all []string
	read := func(context.Context, bake.Machine) error {
		found, err := filepath.Glob(filepath.Join(host.Dir(), "building", "*", "arguments"))
		if err != nil || len(found) == 0 {
			return errors.Join(errors.New("no machine"), err)
		}
		data, err := os.ReadFile(found[len(found)-1])
		all = append(all, string(data))
		return err
	}
	img.Provisioners = []bake.Provisioner{bake.ProvisionFunc{Do: read}}
	img.Checks = []bake.Check{bake.CheckFunc{Do: read}}
	results, err := bake.Bake(t.Context(), nil, img)
	if err != nil {
		t.Fatal(err)
	}
	return all[0], all[1], results[0]
}

// firmwareFiles writes files of UEFI.
func firmwareFiles(t *testing.T) (code, vars string) {
	t.Helper()
	dir := t.TempDir()
	code, vars = filepath.Join(dir, "code.fd"), filepath.Join(dir, "vars.fd")
	for name, text := range map[string]string{code: "code", vars: "empty store"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return code, vars
}

func TestVariableStore(t *testing.T) {
	t.Parallel()
	code, vars := firmwareFiles(t)
	for _, keep := range []bool{false, true} {
		img, b := simple(t)
		b.Firmware = qemu.Firmware{Code: code, Vars: vars, KeepVars: keep}
		img.Builder = b
		built, checked, result := argumentsOf(t, img, b.Host)
		for _, arguments := range []string{built, checked} {
			for _, want := range []string{"pflash0=code,pflash1=vars", `"filename":"` + code + `"`, `"filename":"vars.fd"`} {
				if !strings.Contains(arguments, want) {
					t.Errorf("QEMU's arguments lack %q:\n%s", want, arguments)
				}
			}
			if strings.Contains(arguments, "smm=on") {
				t.Errorf("QEMU is told of Secure Boot:\n%s", arguments)
			}
		}
		d := diskOf(t, result)
		if d.Firmware != qemu.UEFI || (d.Vars != "") != keep {
			t.Errorf("image with the firmware %q and variables %q, want UEFI and KeepVars %t", d.Firmware, d.Vars, keep)
		}
		if keep {
			if data, err := os.ReadFile(d.Vars); err != nil || string(data) != "empty store" {
				t.Errorf("%s: %q, %v, want the machine's variables", d.Vars, data, err)
			}
			if err := os.WriteFile(d.Vars, []byte("boot entries"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		// An image From it has its firmware and, if they are kept, its variables.
		want := map[bool]string{false: "empty store", true: "boot entries"}[keep]
		top := &bake.Image{Name: "top", Builder: qemu.Builder{
			Host: b.Host, Source: qemu.NewestImage("web"), Accelerator: qemu.TCG,
			Firmware: qemu.Firmware{Code: code, Vars: vars, KeepVars: true},
		}}
		_, _, result = argumentsOf(t, top, b.Host)
		if data, err := os.ReadFile(diskOf(t, result).Vars); err != nil || string(data) != want {
			t.Errorf("variables of the image made from it: %q, %v, want %q", data, err, want)
		}
	}
}

// TestFirmwareDescriptors finds firmware by descriptors of the user's, which replace those
// of the system.
func TestFirmwareDescriptors(t *testing.T) {
	code, vars := firmwareFiles(t)
	config := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", config)
	dir := filepath.Join(config, "qemu", "firmware")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	descriptor := func(name, code, machines, features string) {
		text := `{"interface-types": ["uefi"], "mapping": {"device": "flash", "executable": {"filename": "` + code + `", "format": "raw"},
			"nvram-template": {"filename": "` + vars + `", "format": "raw"}}, "targets": [{"architecture": "x86_64", "machines": ["` + machines + `"]}], "features": [` + features + `]}`
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	descriptor("00-gone.json", "/gone.fd", "pc-q35-*", ``)
	descriptor("01-secure.json", code+".secure", "pc-q35-*", `"secure-boot", "enrolled-keys", "requires-smm"`)
	descriptor("02-no-keys.json", code+".no-keys", "pc-q35-*", `"secure-boot", "requires-smm"`)
	descriptor("03-pc.json", code+".pc", "pc-i440fx-*", ``)
	descriptor("04-q35.json", code, "pc-q35-*", `"acpi-s3"`)
	for _, name := range []string{code + ".secure", code + ".no-keys", code + ".pc"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for want, firmware := range map[string]struct {
		kind    qemu.FirmwareType
		machine string
	}{
		code: {qemu.UEFI, ""}, code + ".secure": {qemu.SecureBoot, "q35"}, code + ".pc": {qemu.UEFI, "pc"},
	} {
		img, b := simple(t)
		b.Firmware.Type, b.Machine = firmware.kind, firmware.machine
		img.Builder = b
		built, _, result := argumentsOf(t, img, b.Host)
		if !strings.Contains(built, `"filename":"`+want+`"`) || diskOf(t, result).Firmware != firmware.kind {
			t.Errorf("%+v runs with another firmware than %s:\n%s", firmware, want, built)
		}
		if secure := strings.Contains(built, "property=secure,value=on") && strings.Contains(built, ",smm=on"); secure != (firmware.kind == qemu.SecureBoot) {
			t.Errorf("%+v has Secure Boot: %t:\n%s", firmware, secure, built)
		}
	}
	img, b := simple(t)
	b.Firmware.Type, b.Machine = qemu.SecureBoot, "pc"
	img.Builder = b
	_, err := bake.Bake(t.Context(), nil, img)
	missing, ok := errors.AsType[*qemu.MissingProgramError](err)
	if !ok || missing.Package != "ovmf" {
		t.Errorf("Bake with Secure Boot on a PC of 1996 = %v, want the package that lacks", err)
	}
	wantError(t, err, "find source disk: ")
}

func TestFirmwareValidate(t *testing.T) {
	for want, change := range map[string]func(*qemu.Builder){
		`Builder.Firmware: Type: unknown type "efi"`: func(b *qemu.Builder) { b.Firmware.Type = "efi" },
		`Type: "bios" does not exist for aarch64`:    func(b *qemu.Builder) { b.Firmware.Type, b.Arch = qemu.BIOS, "aarch64" },
		`Type: "bios" has no files and variables`:    func(b *qemu.Builder) { b.Firmware = qemu.Firmware{Type: qemu.BIOS, KeepVars: true} },
		"Code: and Vars belong together":             func(b *qemu.Builder) { b.Firmware.Code = "x" },
	} {
		_, b := simple(t)
		change(&b)
		wantError(t, b.Validate(&bake.Image{Name: "web"}), want)
	}
}

// TestTPM expects a TPM for each machine, which ends with it.
func TestTPM(t *testing.T) {
	t.Parallel()
	img, b := simple(t)
	b.TPM = true
	img.Builder = b
	built, checked, _ := argumentsOf(t, img, b.Host)
	for _, arguments := range []string{built, checked} {
		if !strings.Contains(arguments, "emulator,id=tpm,chardev=tpm") || !strings.Contains(arguments, "tpm-crb,tpmdev=tpm") {
			t.Errorf("QEMU is not told of the TPM:\n%s", arguments)
		}
	}
	if left := existing(t, b.Host); len(left) != 1 {
		t.Errorf("left after the bake: %v, want the image alone", left)
	}
}
