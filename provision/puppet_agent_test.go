package provision_test

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
)

// agentOf returns an agent for the server.
func agentOf(s *testenv.PuppetServer, name string) provision.PuppetAgent {
	return provision.PuppetAgent{
		Server: testenv.HostOfGuests(), CertName: name, Environment: "production",
		Args: []string{"--serverport=" + strconv.Itoa(s.Port), "--certificate_revocation=false"},
	}
}

func TestPuppetAgent(t *testing.T) {
	testenv.Need(t, "puppet")
	m := guest(t, nil, nil)
	server := testenv.Puppet(t, testenv.HostOfGuests())
	server.Wait = 2
	agent := agentOf(server, "web-1.internal")
	agent.WaitForCert = time.Second
	agent.Secrets = bake.Secrets(map[string]string{"FACTER_token": "correct-horse"})
	if _, err := bakeReport(t.Context(), t, m, agent, nil, "correct-horse"); err != nil {
		t.Fatal(err)
	}
	if got := outputOnGuest(t, m, "cat /etc/configured-as"); got != "web-1.internal" {
		t.Errorf("/etc/configured-as = %q, want web-1.internal", got)
	}
	again, err := bakeReport(t.Context(), t, m, agent, nil)
	if err != nil || strings.Contains(again.output(), "content changed") {
		t.Errorf("second Provision() = %v, output:\n%s", err, again.output())
	}
	if got := strings.Join(server.Reports, " "); got != "changed unchanged" {
		t.Errorf("reports = %q, want changed unchanged", got)
	}
	nothingOnGuest(t, m)

	server.Command = "/bin/sh -c 'echo to the output; exit 7'"
	wantExitError(t, m, agent, 4, "resources failed: ", "'/bin/sh -c ", "returned 7")
	server.Command = "/bin/sleep 1000"
	cancelOnGuest(t, m, agent, "/bin/sleep 1000")

	server.Command = ""
	agent.RemoveKeys = true
	if _, err := bakeReport(t.Context(), t, m, agent, nil); err != nil {
		t.Error(err)
	}
	if got := outputOnGuest(t, m, "ls -d /var/lib/puppet/ssl /etc/puppet/ssl 2>/dev/null || true"); got != "" {
		t.Errorf("agent's keys were not removed from %s", got)
	}

	// The server does not sign, and the agent does not wait.
	server.Wait = 1000
	wantExitError(t, m, agentOf(server, "stranger.internal"), 1, "the run failed or could not start")
	nowhere := agentOf(server, "stranger.internal")
	nowhere.Args[0] = "--serverport=9"
	wantExitError(t, m, nowhere, 1, "the run failed or could not start: ", "9")
	if !bytes.Contains([]byte(strings.Join(server.Environments, ",")), []byte("production")) {
		t.Errorf("requested environments = %q, want production", server.Environments)
	}
}
