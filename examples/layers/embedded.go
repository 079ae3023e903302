package main

import (
	"context"
	"fmt"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// commands returns the programs that the machines of the embedded EC2 lack.
func commands() map[string]ec2test.Command {
	return map[string]ec2test.Command{"npm": func(_ context.Context, p *ec2test.Process) int {
		fmt.Fprintln(p.Stdout, "added 1 package")
		return 0
	}}
}
