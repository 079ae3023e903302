package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
)

// A machine is where the figures were measured, and with what.
type machine struct {
	System    string
	Processor string
	Cores     int
	Memory    string
	Programs  []string // with their versions
}

// look describes this machine.
func look(ctx context.Context) machine {
	m := machine{System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), Programs: []string{runtime.Version()}}
	field := func(file, pattern string) string {
		text, _ := os.ReadFile(file) // on Linux
		if found := regexp.MustCompile(pattern).FindSubmatch(text); found != nil {
			return string(found[1])
		}
		return ""
	}
	m.Processor = field("/proc/cpuinfo", `model name\s*: (.*)`)
	m.Memory = field("/proc/meminfo", `MemTotal:\s*(.*)`)
	version := func(pattern string, command ...string) {
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
		if found := regexp.MustCompile(pattern).FindSubmatch(out); err == nil && found != nil {
			m.Programs = append(m.Programs, command[0]+" "+string(found[1]))
		}
	}
	version(`OpenSSH_(\S+?),? `, "ssh", "-V")
	version(`version (\S+)`, "rsync", "--version")
	version(`tar\) (\S+)`, "tar", "--version")
	version(`v(\S+)`, "packer", "version")
	version(`version (\S+)`, "qemu-system-x86_64", "--version")
	if python := os.Getenv("BAKESTONE_PYTHON"); python != "" {
		out, err := exec.CommandContext(ctx, python, "-c", "import moto; print(moto.__version__)").Output()
		if err == nil {
			m.Programs = append(m.Programs, "moto "+strings.TrimSpace(string(out)))
		}
	}
	return m
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %s, %d cores, %s; %s", m.System, m.Processor, m.Cores, m.Memory, strings.Join(m.Programs, ", "))
}
