package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// commands returns the programs that the scripts call and the machines of the
// embedded EC2 lack.
func commands() map[string]ec2test.Command {
	return map[string]ec2test.Command{
		"apt-get":   aptGet,
		"npm":       npm,
		"systemctl": systemctl,
	}
}

// aptGet installs a package by creating its directory in /etc.
func aptGet(_ context.Context, p *ec2test.Process) int {
	installing := false
	for _, arg := range p.Args[1:] {
		switch {
		case arg == "install":
			installing = true
		case installing && !strings.HasPrefix(arg, "-"):
			name, _, _ := strings.Cut(arg, "=")
			if err := p.MkdirAll("/etc/"+name+"/sites-enabled", 0o755); err != nil {
				return 100
			}
			fmt.Fprintln(p.Stdout, "Setting up "+name)
		}
	}
	return 0
}

func npm(_ context.Context, p *ec2test.Process) int {
	fmt.Fprintln(p.Stdout, "added 1 package")
	return 0
}

// systemctl records enabled units in /etc, as systemd does. They are also active.
func systemctl(_ context.Context, p *ec2test.Process) int {
	const wanted = "/etc/systemd/system/multi-user.target.wants/"
	if len(p.Args) < 3 {
		return 1
	}
	for _, unit := range p.Args[2:] {
		switch p.Args[1] {
		case "enable":
			if p.MkdirAll(wanted, 0o755) != nil || p.WriteFile(wanted+unit+".service", nil, 0o644) != nil {
				return 1
			}
		case "is-enabled":
			if _, err := p.Stat(wanted + unit + ".service"); err != nil {
				fmt.Fprintln(p.Stdout, "disabled")
				return 1
			}
			fmt.Fprintln(p.Stdout, "enabled")
		case "is-active":
			if _, err := p.Stat(wanted + unit + ".service"); err != nil {
				fmt.Fprintln(p.Stdout, "inactive")
				return 3
			}
			fmt.Fprintln(p.Stdout, "active")
		}
	}
	return 0
}
