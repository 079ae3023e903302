// Package testenv finds the programs that tests drive, and forbids the silent
// skip.
//
// A test that needs a program says so first:
//
//	testenv.Need(t, "sshd")
//
// Where the program is absent the test is skipped, so that go test passes on a
// machine that has only Go. Where the environment variable BAKESTONE_REQUIRE
// names it (a list with commas, as in "sshd,moto,awscli,sudo") the test fails
// instead: continuous integration sets the variable to everything it has
// installed, and no test can go missing unseen.
//
// Any name is looked up in PATH and in the usual sbin directories. Some names
// mean more than that:
//
//   - "sshd" is OpenSSH's server, on a Unix system.
//   - "moto" is the Python package moto with its server, an independent EC2.
//     The interpreter is the one named by BAKESTONE_PYTHON, and python3 in PATH
//     when that is empty.
//     Botocore, which comes with it, has the models of AWS's services.
//   - "awscli" is the AWS command-line client: the aws that stands beside the
//     interpreter named by BAKESTONE_PYTHON, as in a virtual environment, and
//     otherwise the one in PATH.
//   - "ansible" is ansible-playbook, the one in the directory named by
//     BAKESTONE_ANSIBLE if that is set.
//   - "amicleaner" and "custodian" are other cleaners of images, aws-amicleaner
//     and Cloud Custodian, in the directory named by BAKESTONE_CLEANERS if that
//     is set.
//   - "guestroot" is the root file system that Guest runs its machines from, and
//     the right to do so: that of root, on Linux.
//   - "puppet" and "salt" are those tools in that file system.
//
// SSHD, Guest, Moto and AWSCLI call Need themselves. What they start listens on
// loopback, belongs to the test that asked for it, and is killed and awaited
// when that test ends.
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
	// requireVar lists the tools whose absence is a failure.
	requireVar = "BAKESTONE_REQUIRE"

	// pythonVar names the interpreter that has moto and the AWS client.
	pythonVar = "BAKESTONE_PYTHON"

	// ansibleVar names the directory of Ansible's programs.
	ansibleVar = "BAKESTONE_ANSIBLE"

	// cleanersVar names the directory of the other cleaners' programs.
	cleanersVar = "BAKESTONE_CLEANERS"
)

// Need returns the path of tool. Without the tool it skips the test, or ends it
// as failed when BAKESTONE_REQUIRE names the tool. For "moto" the path is that
// of the Python interpreter.
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
			return "", errors.New("no sshd can be run for a test on " + runtime.GOOS)
		}
		return lookPath("sshd")
	case "moto":
		return findMoto(ctx)
	case "ansible":
		return findIn(os.Getenv(ansibleVar), "ansible-playbook")
	case "amicleaner", "custodian":
		return findIn(os.Getenv(cleanersVar), tool)
	case "guestroot", "puppet", "salt":
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

// lookPath is exec.LookPath that also knows the directories of the super-user,
// which are seldom in the PATH of anyone else.
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

// findIn looks for a program in a directory, or in PATH when that is empty.
func findIn(dir, program string) (string, error) {
	if dir != "" {
		return exec.LookPath(filepath.Join(dir, program))
	}
	return lookPath(program)
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
		return "", fmt.Errorf("%s has no moto[server]: %w", python, err)
	}
	return python, nil
}
