package provision_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
)

// BenchmarkAnsible runs a playbook of a dozen tasks with plain ansible-playbook and
// with Ansible, alternately against the same machine. It reports the seconds of each
// and the difference in percent:
//
//	go test ./provision -run '^$' -bench BenchmarkAnsible -benchtime 10x
func BenchmarkAnsible(b *testing.B) {
	program := testenv.Need(b, "ansible")
	server := testenv.Guest(b, nil)
	m := server.Machine(b, nil)

	dir := b.TempDir()
	put := func(name, content string) string {
		at := filepath.Join(dir, name)
		if err := os.WriteFile(at, []byte(content), 0o600); err != nil {
			b.Fatal(err)
		}
		return at
	}
	play := "- hosts: all\n  gather_facts: true\n  tasks:\n"
	for i := range 12 {
		play += fmt.Sprintf("    - copy: {dest: /etc/file-%d, content: '{{ inventory_hostname }}'}\n", i)
	}
	put("play.yml", play)
	host, port, _ := net.SplitHostPort(server.Addr)
	inventory := put("inventory", fmt.Sprintf("default ansible_host=%s ansible_port=%s ansible_user=%s ansible_become=true ansible_ssh_private_key_file=%s ansible_ssh_common_args='-F none -o UserKnownHostsFile=%s'\n",
		host, port, server.User, put("key", string(server.ClientKeyPEM)),
		put("known_hosts", knownhosts.Line([]string{server.Addr}, server.HostKey)+"\n")))

	byHand := func() {
		// Each run opens a new connection, as Ansible does.
		sockets := b.TempDir()
		cmd := exec.CommandContext(b.Context(), program, "--inventory", inventory, "play.yml")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "ANSIBLE_PIPELINING=True", "ANSIBLE_SSH_CONTROL_PATH_DIR="+sockets)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		masters, _ := filepath.Glob(sockets + "/*")
		for _, master := range masters {
			_ = exec.CommandContext(context.WithoutCancel(b.Context()), "ssh", "-F", "none", "-O", "exit", "-o", "ControlPath="+master, "x").Run()
		}
	}
	a := provision.Ansible{Program: program, Dir: dir, Playbooks: []string{"play.yml"}, Become: true}
	ours := func() {
		if err := a.Provision(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
	byHand() // warm the machine's disk cache
	var hand, us time.Duration
	timed := func(run func()) time.Duration {
		start := time.Now()
		run()
		return time.Since(start)
	}
	pairs := 0
	for b.Loop() {
		// Alternate the order.
		if pairs%2 == 0 {
			hand += timed(byHand)
			us += timed(ours)
		} else {
			us += timed(ours)
			hand += timed(byHand)
		}
		pairs++
	}
	b.ReportMetric(hand.Seconds()/float64(pairs), "s/by-hand")
	b.ReportMetric(us.Seconds()/float64(pairs), "s/ours")
	b.ReportMetric(100*(us.Seconds()/hand.Seconds()-1), "%longer")
}
