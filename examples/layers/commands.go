package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// commands are the programs that the scripts call and that the machines of the
// embedded EC2 do not have by themselves.
func commands() map[string]ec2test.Command {
	return map[string]ec2test.Command{
		"apt-get":   aptGet,
		"npm":       func(_ context.Context, p *ec2test.Process) int { return say(p, "added 1 package") },
		"systemctl": systemctl,
	}
}

func say(p *ec2test.Process, text string) int {
	if _, err := fmt.Fprintln(p.Stdout, text); err != nil {
		return 1
	}
	return 0
}

// aptGet knows a package by the directory it makes in /etc.
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
			say(p, "Setting up "+name)
		}
	}
	return 0
}

// systemctl remembers enabled units as systemd does, by files in /etc.
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
				say(p, "disabled")
				return 1
			}
			say(p, "enabled")
		}
	}
	return 0
}
