package main

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// commands returns the programs that the machines of the embedded EC2 lack.
func commands() map[string]ec2test.Command {
	return map[string]ec2test.Command{"ansible-playbook": ansiblePlaybook}
}

// ansiblePlaybook writes the files that the playbooks among its arguments would.
func ansiblePlaybook(ctx context.Context, p *ec2test.Process) int {
	const failed = 2
	write := func(name, content string, mode fs.FileMode) {
		_ = p.MkdirAll(path.Dir(name), 0o755)
		if err := p.WriteFile(name, []byte(content), mode); err != nil {
			fmt.Fprintln(p.Stderr, err)
		}
	}
	for _, arg := range p.Args[1:] {
		switch arg {
		case "./base.yml":
			write("/etc/motd", "This machine comes from the bakery.\n", 0o644)
		case "./hardening.yml":
			write("/etc/ssh/sshd_config.d/hardening.conf", "PasswordAuthentication no\n", 0o600)
			write("/etc/sysctl.d/90-hardening.conf", "kernel.dmesg_restrict = 1\n", 0o644)
		case "./application.yml":
			if status := p.Run(ctx, "useradd", "--system", "application"); status != 0 {
				return failed
			}
			write("/srv/application/VERSION", version(p)+"\n", 0o644)
		}
	}
	fmt.Fprintln(p.Stdout, "PLAY RECAP")
	return 0
}

// version returns the variable version of the file of extra variables.
func version(p *ec2test.Process) string {
	for _, arg := range p.Args {
		if file, found := strings.CutPrefix(arg, "@"); found {
			text, _ := p.ReadFile(file)
			_, after, _ := strings.Cut(string(text), `"version": "`)
			value, _, _ := strings.Cut(after, `"`)
			return value
		}
	}
	return ""
}
