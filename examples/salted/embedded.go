package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// commands returns the programs that the machines of the embedded EC2 lack.
func commands() map[string]ec2test.Command {
	return map[string]ec2test.Command{"salt-call": saltCall}
}

// saltCall stands in for salt-call: it writes /etc/baked-as, as the states do, and the
// results in Salt's format.
func saltCall(_ context.Context, p *ec2test.Process) int {
	option := func(name string) string {
		for _, arg := range p.Args {
			if value, found := strings.CutPrefix(arg, "--"+name+"="); found {
				return value
			}
		}
		return ""
	}
	const failed = 2
	text, err := p.ReadFile(path.Join(option("config-dir"), "minion.d/99-bakestone.conf"))
	if err != nil {
		fmt.Fprintln(p.Stderr, "[ERROR   ]", err)
		return failed
	}
	var minion struct {
		ID     string
		Grains struct{ Commit string }
		Roots  map[string][]string `json:"file_roots"`
	}
	if err := json.Unmarshal(text, &minion); err != nil {
		fmt.Fprintln(p.Stderr, "[ERROR   ]", err)
		return failed
	}
	result := true
	if _, err := p.Stat(path.Join(minion.Roots["base"][0], "top.sls")); err != nil {
		result = false
	}
	comment := "File /etc/baked-as updated"
	if err := p.WriteFile("/etc/baked-as", []byte(minion.ID+" "+minion.Grains.Commit+"\n"), 0o644); err != nil {
		result, comment = false, err.Error()
	}
	state := map[string]any{"result": result, "comment": comment, "changes": map[string]string{"diff": "New file"}, "__sls__": "common"}
	results, err := json.Marshal(map[string]any{"local": map[string]any{"file_|-baked_|-/etc/baked-as_|-managed": state}})
	if err != nil || p.WriteFile(option("out-file"), results, 0o600) != nil || !result {
		return failed
	}
	return 0
}
