package qemu

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/atomicfile"
)

// A FirmwareType is what starts the guest's boot loader.
type FirmwareType string

// The types of firmware.
const (
	BIOS       FirmwareType = "bios"        // QEMU's own, SeaBIOS; only for x86_64
	UEFI       FirmwareType = "uefi"        // without Secure Boot
	SecureBoot FirmwareType = "secure-boot" // UEFI that boots only what is signed by its keys, such as Microsoft's
)

// uefi reports whether the type has a variable store.
func (t FirmwareType) uefi() bool { return t == UEFI || t == SecureBoot }

// A Firmware configures what starts the guest's boot loader. UEFI needs firmware files: on
// Debian and Ubuntu the package ovmf, or qemu-efi-aarch64.
type Firmware struct {
	// Type is the type. Empty means that of the source if it was baked, else BIOS, or
	// UEFI for aarch64.
	Type FirmwareType

	// Code and Vars are the files of UEFI and of its empty variable store, in raw
	// format. Empty finds those that QEMU's packages describe.
	Code string
	Vars string

	// KeepVars keeps the variable store with the image, in Disk.Vars, and starts
	// images From it with it. Otherwise they start with an empty one, as do the
	// checks, and the image must boot by the path that UEFI looks for without one:
	// \EFI\BOOT\BOOTX64.EFI.
	KeepVars bool
}

func (f Firmware) validate(arch string) error {
	switch {
	case f.Type != "" && !slices.Contains([]FirmwareType{BIOS, UEFI, SecureBoot}, f.Type):
		return bake.Invalid("Type", "unknown type %q, want %q, %q or %q", string(f.Type), BIOS, UEFI, SecureBoot)
	case f.Type == BIOS && arch == arm64:
		return bake.Invalid("Type", "%q does not exist for %s", BIOS, arch)
	case f.Type == BIOS && (f.Code != "" || f.Vars != "" || f.KeepVars):
		return bake.Invalid("Type", "%q has no files and variables", BIOS)
	case (f.Code == "") != (f.Vars == ""):
		return bake.Invalid("Code", "and Vars belong together: set both or none")
	}
	return nil
}

// A firmwareRecord is the firmware of one machine.
type firmwareRecord struct {
	Type FirmwareType `json:"type,omitempty"`
	Code string       `json:"code,omitempty"`
	Vars string       `json:"vars,omitempty"` // of which the machine has a copy
}

// findFirmware chooses the firmware of the machine, for the source that was found.
func (s *session) findFirmware() error {
	f := s.builder.Firmware
	r := firmwareRecord{Type: cmp.Or(f.Type, s.Source.Firmware), Code: f.Code, Vars: f.Vars}
	switch {
	case r.Type == "" && (s.Machine.Arch == arm64 || r.Code != ""):
		r.Type = UEFI
	case r.Type == "":
		r.Type = BIOS
	}
	if r.Type.uefi() && r.Code == "" {
		var err error
		if r.Code, r.Vars, err = s.builder.Host.describedFirmware(s.Machine.Arch, s.machineType(), r.Type); err != nil {
			return err
		}
	}
	if r.Type.uefi() && s.Source.Vars != "" {
		r.Vars = s.Source.Vars
	}
	s.Machine.Firmware = r
	return nil
}

// writeVars gives the machine its own variable store.
func (s *session) writeVars() error {
	if !s.Machine.Firmware.Type.uefi() {
		return nil
	}
	data, err := os.ReadFile(s.Machine.Firmware.Vars)
	if err != nil {
		return err
	}
	return atomicfile.Write(s.path(varsName), data, privateFile)
}

// keepVars copies the variable store of the machine to the image's directory.
func (s *session) keepVars(ctx context.Context) error {
	if !s.keepsVars() {
		return nil
	}
	data, err := os.ReadFile(s.path(varsName))
	if err == nil {
		err = bake.CheckLease(ctx)
	}
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(s.imageDir(), varsName), data, privateFile)
}

func (s *session) keepsVars() bool {
	return s.builder.Firmware.KeepVars && s.Machine.Firmware.Type.uefi()
}

// firmwareArgs returns QEMU's arguments for the firmware, and the properties of the
// machine type for it.
func (s *session) firmwareArgs() (args []string, properties string) {
	f := s.Machine.Firmware
	if !f.Type.uefi() {
		return nil, ""
	}
	args = disk("code", f.Code, "raw", options{"read-only": true})
	args = append(args, disk("vars", varsName, "raw", nil)...)
	properties = ",pflash0=code,pflash1=vars"
	if f.Type == SecureBoot && s.Machine.Arch == x86 {
		// Only the firmware, in system management mode, may write variables.
		args = append(args, "-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1")
		properties += ",smm=on"
	}
	return args, properties
}

// A descriptor is one of QEMU's firmware descriptions, as docs/interop/firmware.json of
// QEMU's defines them.
type descriptor struct {
	Interfaces []string `json:"interface-types"`
	Mapping    struct {
		Device     string       `json:"device"`
		Mode       string       `json:"mode"`
		Executable firmwareFile `json:"executable"`
		Vars       firmwareFile `json:"nvram-template"`
	} `json:"mapping"`
	Targets []struct {
		Arch     string   `json:"architecture"`
		Machines []string `json:"machines"`
	} `json:"targets"`
	Features []string `json:"features"`
}

type firmwareFile struct {
	Name   string `json:"filename"`
	Format string `json:"format"`
}

// describedFirmware returns the files of the first firmware that QEMU's descriptors have
// for a machine. A descriptor in /etc replaces one of the same name in /usr/share.
func (h *Host) describedFirmware(arch, machine string, wanted FirmwareType) (code, vars string, err error) {
	byName := map[string]string{}
	dirs := h.firmwareDirs()
	for _, dir := range slices.Backward(dirs) {
		paths, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*.json"))
		if err != nil {
			return "", "", err
		}
		for _, p := range paths {
			byName[filepath.Base(p)] = p
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		data, err := os.ReadFile(byName[name])
		if err != nil {
			return "", "", err
		}
		var d descriptor
		if len(data) == 0 || json.Unmarshal(data, &d) != nil || !d.matches(arch, machine, wanted) {
			continue // an empty file hides one of the same name
		}
		_, err = os.Stat(d.Mapping.Executable.Name)
		if err := errors.Join(err, statFile(d.Mapping.Vars.Name)); err != nil {
			continue // of a package that was removed
		}
		return d.Mapping.Executable.Name, d.Mapping.Vars.Name, nil
	}
	pkg := "ovmf"
	if arch == arm64 {
		pkg = "qemu-efi-aarch64"
	}
	return "", "", &MissingProgramError{
		Program: fmt.Sprintf("firmware of the type %q for the machine %s of %s", wanted, machine, arch), Package: pkg,
		Err: fmt.Errorf("no descriptor in %q has it: set Builder.Firmware.Code and Vars", dirs),
	}
}

func statFile(name string) error {
	_, err := os.Stat(name)
	return err
}

// firmwareDirs returns the directories of descriptors, the most important first.
func (h *Host) firmwareDirs() []string {
	dirs := []string{"/etc/qemu/firmware", "/usr/share/qemu/firmware"}
	if config, err := os.UserConfigDir(); err == nil {
		dirs = append([]string{filepath.Join(config, "qemu", "firmware")}, dirs...)
	}
	// That of a QEMU elsewhere, such as Homebrew's.
	if program, err := h.program("qemu-img"); err == nil {
		dirs = append(dirs, filepath.Join(filepath.Dir(program), "..", "share", "qemu", "firmware"))
	}
	return dirs
}

// matches reports whether the firmware starts a machine in the wanted way.
func (d descriptor) matches(arch, machine string, wanted FirmwareType) bool {
	m := d.Mapping
	if !slices.Contains(d.Interfaces, "uefi") || m.Device != "flash" || m.Mode != "" && m.Mode != "split" || m.Executable.Format != "raw" || m.Vars.Format != "raw" {
		return false
	}
	secure := slices.Contains(d.Features, "secure-boot") && slices.Contains(d.Features, "enrolled-keys")
	if wanted == SecureBoot && !secure || wanted == UEFI && (secure || slices.Contains(d.Features, "requires-smm")) {
		return false
	}
	// Descriptors name versions of types: "pc-q35-*".
	names := []string{machine, machine + "-0", "pc-" + machine + "-0"}
	if machine == "pc" {
		names = append(names, "pc-i440fx-0")
	}
	for _, t := range d.Targets {
		if t.Arch != arch {
			continue
		}
		for _, pattern := range t.Machines {
			if slices.ContainsFunc(names, func(name string) bool { ok, err := path.Match(pattern, name); return ok && err == nil }) {
				return true
			}
		}
	}
	return false
}
