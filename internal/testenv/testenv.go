// Package testenv finds and runs the external programs that tests use, and
// ensures that no test is skipped unnoticed.
//
// A test that needs a program calls [Need] first:
//
//	testenv.Need(t, "sshd")
//
// If the program is missing, the test is skipped, so that go test passes on a
// machine that has only Go. If the environment variable BAKESTONE_REQUIRE lists
// the program (as in "sshd,moto,awscli,sudo"), the test fails instead.
// Continuous integration sets the variable to everything it installs.
//
// Need looks names up in PATH and in the usual sbin directories. Some names have
// a special meaning:
//
//   - "sshd" is OpenSSH's server, on a Unix system.
//   - "moto" is the Python package moto with its server, an independent EC2, and
//     the botocore that comes with it. The interpreter is the one named by
//     BAKESTONE_PYTHON, by default python3 in PATH.
//   - "awscli" is the AWS command-line client: the aws beside the interpreter
//     named by BAKESTONE_PYTHON, as in a virtual environment, or else the one in
//     PATH.
//   - "ansible" is ansible-playbook, in the directory named by BAKESTONE_ANSIBLE
//     if set.
//   - "amicleaner" and "custodian" are the image cleaners aws-amicleaner and
//     Cloud Custodian, in the directory named by BAKESTONE_CLEANERS if set.
//   - "dissect" is the Python interpreter with dissect.hypervisor, a reader of virtual
//     disks, in the directory named by BAKESTONE_READERS.
//   - "ksvalidator" is pykickstart's, in the directory named by BAKESTONE_READERS.
//   - "cot" is Cisco's Common OVF Tool, in the directory named by BAKESTONE_READERS.
//   - "grub-mkrescue" is GRUB's maker of CD images, with GRUB for BIOS.
//   - "guestroot" is the root file system of the machines that [Guest] starts,
//     and the permission to start them: root, on Linux.
//   - "guestshells" are BusyBox, fish, tcsh and zsh in that file system, and
//     "puppet" and "salt" those tools.
//   - "chromium" is the browser, on a Unix system.
//   - "qemu" is QEMU for x86 with qemu-img, and the disk disk.qcow2 of a guest in the
//     directory named by BAKESTONE_QEMUGUEST. [Need] returns the path of the disk.
//     "qemudebian" is the same with debian.qcow2, which has systemd and cloud-init.
//   - "ignition" is what [Ignition] is built with: Go, gcc, and the headers of libblkid.
//   - "ovmf" is UEFI for QEMU with Microsoft's keys, where Debian has it.
//   - "postgres" is the server of PostgreSQL, on a Unix system, also where Debian keeps it.
//
// [SSHD], [Guest], [Ignition], [Moto], [AWSCLI], [Postgres] and [Chromium] call Need themselves. The servers
// listen on loopback, belong to the test that started them, and are stopped when it
// ends.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const (
	// requireVar lists the tools without which tests fail.
	requireVar = "BAKESTONE_REQUIRE"

	// pythonVar names the Python interpreter with moto and the AWS client.
	pythonVar = "BAKESTONE_PYTHON"

	// ansibleVar names the directory of Ansible's programs.
	ansibleVar = "BAKESTONE_ANSIBLE"

	// qemuGuestVar names the directory of the guest that QEMU boots.
	qemuGuestVar = "BAKESTONE_QEMUGUEST"

	// readersVar names the directory of the interpreter with dissect.hypervisor, of cot and ksvalidator.
	readersVar = "BAKESTONE_READERS"

	// cleanersVar names the directory of other image cleaners.
	cleanersVar = "BAKESTONE_CLEANERS"
)

// Thorough reports whether a test of many cases of one kind is to try most of them, as in
// continuous integration, instead of some, so that go test is quick for those who change
// something else. The long form has all.
func Thorough() bool { return os.Getenv(requireVar) != "" || os.Getenv("BAKESTONE_LONG") != "" }

// Need returns the path of tool. If the tool is missing, Need skips the test, or
// fails it if BAKESTONE_REQUIRE lists the tool. For "moto" it returns the path of
// the Python interpreter.
func Need(t testing.TB, tool string) string {
	t.Helper()
	path, err := find(t.Context(), tool)
	switch {
	case err == nil:
		return path
	case required(tool):
		t.Fatalf("testenv: %s is required by %s: %v", tool, requireVar, err)
	default:
		t.Skipf("testenv: this test needs %s: %v", tool, err)
	}
	return ""
}

func required(tool string) bool {
	names := strings.FieldsFunc(os.Getenv(requireVar), func(r rune) bool { return r == ',' || r == ' ' })
	return slices.Contains(names, tool)
}

func find(ctx context.Context, tool string) (string, error) {
	switch tool {
	case "sshd":
		if runtime.GOOS == "windows" || runtime.GOOS == "plan9" {
			return "", errors.New("tests cannot run sshd on " + runtime.GOOS)
		}
		return lookPath("sshd")
	case "chromium":
		if runtime.GOOS == "windows" || runtime.GOOS == "plan9" {
			return "", errors.New("tests cannot run Chromium on " + runtime.GOOS)
		}
		return lookPath("chromium")
	case "postgres":
		return findPostgres()
	case "moto":
		return findMoto(ctx)
	case "dissect":
		if dir := os.Getenv(readersVar); dir != "" {
			return exec.LookPath(filepath.Join(dir, "python"))
		}
		return "", errors.New(readersVar + " is not set")
	case "cot", "ksvalidator":
		return findIn(os.Getenv(readersVar), tool)
	case "ignition":
		return findIgnition()
	case "ovmf":
		const firmware = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"
		_, err := os.Stat(firmware)
		return firmware, err
	case "grub-mkrescue":
		if _, err := os.Stat("/usr/lib/grub/i386-pc"); err != nil {
			return "", err
		}
		return lookPath(tool)
	case "qemu":
		return findQEMU("disk.qcow2")
	case "qemudebian":
		return findQEMU("debian.qcow2")
	case "ansible":
		return findIn(os.Getenv(ansibleVar), "ansible-playbook")
	case "amicleaner", "custodian":
		return findIn(os.Getenv(cleanersVar), tool)
	case "guestroot", "guestshells", "puppet", "salt":
		return findGuestRoot(tool)
	case "awscli":
		if python := os.Getenv(pythonVar); python != "" {
			if path, err := exec.LookPath(filepath.Join(filepath.Dir(python), "aws")); err == nil {
				return path, nil
			}
		}
		return lookPath("aws")
	}
	return lookPath(tool)
}

// lookPath is exec.LookPath that also searches the sbin directories, which are
// seldom in the PATH of ordinary users.
func lookPath(tool string) (string, error) {
	path, err := exec.LookPath(tool)
	if err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path, sbinErr := exec.LookPath(filepath.Join(dir, tool)); sbinErr == nil {
			return path, nil
		}
	}
	return "", err
}

// findIn looks up a program in dir, or in PATH if dir is empty.
func findIn(dir, program string) (string, error) {
	if dir != "" {
		return exec.LookPath(filepath.Join(dir, program))
	}
	return lookPath(program)
}

func findQEMU(name string) (disk string, err error) {
	for _, program := range []string{"qemu-system-x86_64", "qemu-img"} {
		if _, err := lookPath(program); err != nil {
			return "", err
		}
	}
	dir := os.Getenv(qemuGuestVar)
	if dir == "" {
		return "", errors.New(qemuGuestVar + " is not set")
	}
	disk = filepath.Join(dir, name)
	_, err = os.Stat(disk)
	return disk, err
}

func findMoto(ctx context.Context) (string, error) {
	name := os.Getenv(pythonVar)
	if name == "" {
		name = "python3"
	}
	python, err := lookPath(name)
	if err != nil {
		return "", err
	}
	const probe = "import importlib.util, sys; sys.exit(0 if importlib.util.find_spec('moto') and importlib.util.find_spec('flask') else 3)"
	if err := exec.CommandContext(ctx, python, "-c", probe).Run(); err != nil {
		return "", fmt.Errorf("%s lacks moto[server]: %w", python, err)
	}
	return python, nil
}
