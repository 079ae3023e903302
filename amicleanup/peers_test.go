package amicleanup_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

const peersPage = "../docs/cleanup-peers.md"

// peerRuns returns the columns of the page: what cleans the account with all traps.
func peerRuns() []peerRun {
	return []peerRun{
		{"bakestone", false, cleanCarefully},
		{"amicleaner", true, cleanByAmicleaner},
		{"custodian", true, func(a *peerAccount) error { return a.cleanByCustodian("") }},
		{"custodian, guarded", false, func(a *peerAccount) error { return a.cleanByCustodian(custodianGuards) }},
	}
}

type peerRun struct {
	name  string
	ends  bool // at the first image that EC2 does not deregister
	clean func(a *peerAccount) error
}

// refusedTraps returns the traps in which EC2 does not deregister the image.
func refusedTraps() []string { return []string{"of AWS Backup", "protected from deregistration"} }

// TestBesidePeers cleans the account of TestCarefulTraps by this package and by
// two other cleaners, and compares what each removes with the page. With
// BAKESTONE_UPDATE it writes the page.
func TestBesidePeers(t *testing.T) {
	testenv.Need(t, "amicleaner")
	testenv.Need(t, "custodian")
	columns := map[string]map[string]bool{} // by run: the images that it removed
	for _, run := range peerRuns() {
		a := newPeerAccount(t)
		err := run.clean(a)
		if (err != nil) != run.ends || run.ends && !strings.Contains(err.Error(), "DeregisterImage") {
			t.Errorf("%s on all traps: ends %v, want %v: %v", run.name, err != nil, run.ends, err)
		}
		if run.ends {
			a = newPeerAccount(t, refusedTraps()...)
			if err := run.clean(a); err != nil {
				t.Errorf("%s without the refused images: %v", run.name, err)
			}
		}
		columns[run.name] = a.removed()
	}
	got := peerTable(columns)
	page, err := os.ReadFile(peersPage)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- table -->\n", "<!-- end of table -->\n"
	head, rest, found := strings.Cut(string(page), begin)
	want, tail, closed := strings.Cut(rest, end)
	switch {
	case !found || !closed:
		t.Fatalf("%s has no table", peersPage)
	case os.Getenv("BAKESTONE_UPDATE") != "":
		if err := os.WriteFile(peersPage, []byte(head+begin+got+end+tail), 0o600); err != nil {
			t.Error(err)
		}
	case got != want:
		t.Errorf("%s has\n%s\nwant\n%s\n(BAKESTONE_UPDATE=1 writes it)", peersPage, want, got)
	}
	if !strings.Contains(got, "| **wrong removals** | | 0 |") || !strings.Contains(got, "| **wrong keeps** | | 0 |") {
		t.Errorf("this package is wrong:\n%s", got)
	}
}

// newerImage is the suffix of the names of the newer images of traps.
const newerImage = " (newer)"

// peerTable returns a row for each trap, and how often each cleaner was wrong.
func peerTable(columns map[string]map[string]bool) string {
	traps := carefulTraps()
	var b, wrongRemovals, wrongKeeps strings.Builder
	b.WriteString("| the older image of two | right |")
	for _, run := range peerRuns() {
		fmt.Fprintf(&b, " %s |", run.name)
		removals, keeps := 0, 0
		gone := columns[run.name]
		for _, trap := range traps {
			if gone[trap.name] && !trap.goes {
				removals++
			}
			if gone[trap.name+newerImage] {
				removals++
			}
			if !gone[trap.name] && trap.goes {
				keeps++
			}
		}
		fmt.Fprintf(&wrongRemovals, " %d |", removals)
		fmt.Fprintf(&wrongKeeps, " %d |", keeps)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(peerRuns())) + "\n")
	verdict := map[bool]string{true: "removes", false: "keeps"}
	for _, trap := range traps {
		fmt.Fprintf(&b, "| %s | %s |", trap.name, strings.TrimSuffix(verdict[trap.goes], "s"))
		for _, run := range peerRuns() {
			gone := columns[run.name]
			cell := verdict[gone[trap.name]]
			if gone[trap.name] != trap.goes {
				cell = "**" + cell + "**"
			}
			if gone[trap.name+newerImage] {
				cell += ", **and removes the newer**"
			}
			if run.ends && slices.Contains(refusedTraps(), trap.name) {
				cell = "ends there"
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	return fmt.Sprintf("%s| **wrong removals** | |%s\n| **wrong keeps** | |%s\n", b.String(), wrongRemovals.String(), wrongKeeps.String())
}

// peerAccount is an account with traps.
type peerAccount struct {
	*estate

	t      *testing.T
	tick   *clock.Virtual
	images []carefulImage
}

func newPeerAccount(t *testing.T, without ...string) *peerAccount {
	t.Helper()
	w, tick, images := newCarefulAccount(t, without...)
	return &peerAccount{w, t, tick, images}
}

// removed returns the traps whose older image is gone, and those, with newerImage,
// whose newer one is.
func (a *peerAccount) removed() map[string]bool {
	a.t.Helper()
	out, err := a.ec2.DescribeImages(a.t.Context(), &awsec2.DescribeImagesInput{
		Owners: []string{"self"}, IncludeDeprecated: aws.Bool(true), IncludeDisabled: aws.Bool(true),
	})
	left := map[string]bool{}
	for _, img := range do(a.estate, out, err).Images {
		left[*img.ImageId] = true
	}
	gone := map[string]bool{}
	for _, img := range a.images {
		name := img.trap
		if img.newer {
			name += newerImage
		}
		gone[name] = !left[img.id]
	}
	return gone
}

func cleanCarefully(a *peerAccount) error {
	cleaner := carefulCleaner(a.estate, a.tick)
	plan := mustPlan(a.t, cleaner)
	a.tick.Advance(time.Minute)
	_, err := cleaner.Apply(a.t.Context(), plan)
	return err
}

func cleanByAmicleaner(a *peerAccount) error {
	a.t.Helper()
	args := []string{"--mapping-key", "tags", "--mapping-values", "family", "--keep-previous", "1", "--ami-min-days", "90", "--force-delete"}
	// It ends at a group of no instances that has a launch template.
	if err := a.run("amicleaner", args...); err == nil || !strings.Contains(err.Error(), "LaunchConfigurationNames") {
		a.t.Fatalf("amicleaner beside a group with a launch template: %v", err)
	}
	groups, err := a.scaling.DescribeAutoScalingGroups(a.t.Context(), &autoscaling.DescribeAutoScalingGroupsInput{})
	for _, g := range do(a.estate, groups, err).AutoScalingGroups {
		if g.LaunchConfigurationName == nil {
			out, err := a.scaling.DeleteAutoScalingGroup(a.t.Context(), &autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: g.AutoScalingGroupName})
			do(a.estate, out, err)
		}
	}
	return a.run("amicleaner", args...)
}

// custodianGuards are the filters by which a policy of Custodian can guard images.
const custodianGuards = `
      - "tag:do-not-delete": absent
      - "tag:LegalHold": absent
      - "tag:dlm:managed": absent
      - "tag:aws:backup:source-resource": absent
      - DeregistrationProtection: disabled
      - Public: false
      - not:
          - type: cross-account
`

func (a *peerAccount) cleanByCustodian(guards string) error {
	a.t.Helper()
	dir := a.t.TempDir()
	policy := filepath.Join(dir, "policy.yml")
	text := `
policies:
  - name: keep-newest
    resource: ami
    filters:
      - "tag:family": present
      - type: reduce
        group-by: "tag:family"
        sort-by: CreationDate
        order: desc
        discard: 1
      - type: image-age
        days: 90
        op: ge
      - type: unused
        value: true
` + strings.TrimPrefix(guards, "\n") + `    actions:
      - type: deregister
        delete-snapshots: true
`
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return a.run("custodian", "run", "--output-dir", filepath.Join(dir, "out"), "--cache", "", "--region", where, policy)
}

// run runs another cleaner on the account. Its output is in the error.
func (a *peerAccount) run(program string, args ...string) error {
	a.t.Helper()
	cmd := exec.CommandContext(a.t.Context(), testenv.Need(a.t, program), args...)
	dir := a.t.TempDir()
	cmd.Env = append(os.Environ(),
		"HOME="+dir, "AWS_CONFIG_FILE="+filepath.Join(dir, "config"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(dir, "credentials"),
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_DEFAULT_REGION="+where, "AWS_ENDPOINT_URL="+a.URL(),
		"AWS_EC2_METADATA_DISABLED=true", "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1", "TERM=dumb")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return nil
}
