package amicleanup_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// planImages is the variable that makes this process plan beside the peers, over
// the images that the EC2 at this address has.
const planImages = "AMICLEANUP_PLAN_IMAGES"

// planBesidePeers plans as the peers do: keep the newest 99 of each family, and what
// instances, templates and groups use.
func planBesidePeers(url string) (status int) {
	cfg := aws.Config{Region: where, BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider("AKIATEST"+home, "secret", "")}
	c := &amicleanup.Cleaner{
		Targets: []amicleanup.Target{amicleanup.Connect(cfg, nil)},
		Policy: amicleanup.Policy{
			Group: amicleanup.ByTag("family"),
			Keep: []amicleanup.Rule{
				amicleanup.Newest(99), amicleanup.InUse(inuse.Instances(), inuse.LaunchTemplates(), inuse.AutoScalingGroups()),
			},
		},
	}
	plan, err := c.Plan(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(plan.Removals(), "removals")
	return 0
}

// BenchmarkBesidePeers plans the same removals with three cleaners, each in a
// process of its own, over images that an EC2 in another process has. Nothing is
// removed. Cpu-ms is the CPU time of the cleaner's process, and peak-MiB its largest
// resident set.
func BenchmarkBesidePeers(b *testing.B) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	policy := filepath.Join(b.TempDir(), "policy.yml")
	if err := os.WriteFile(policy, []byte(`
policies:
  - name: keep-newest
    resource: ami
    filters:
      - "tag:family": present
      - type: reduce
        group-by: "tag:family"
        sort-by: CreationDate
        order: desc
        discard: 99
      - type: unused
        value: true
    actions: [deregister]
`), 0o600); err != nil {
		b.Fatal(err)
	}
	for _, images := range []int{1_000, 10_000, 100_000} {
		for _, cleaner := range []struct{ name, program string }{{"bakestone", self}, {"amicleaner", "amicleaner"}, {"custodian", "custodian"}} {
			b.Run(fmt.Sprintf("images=%d/%s", images, cleaner.name), func(b *testing.B) {
				var args []string
				found := fmt.Sprint(images/100, " removals")
				switch cleaner.name {
				case "amicleaner":
					args = []string{"--mapping-key", "tags", "--mapping-values", "family", "--keep-previous", "99", "--full-report"}
					found = ""
				case "custodian":
					args = []string{"run", "--dryrun", "--output-dir", filepath.Join(b.TempDir(), "out"), "--cache", "", "--region", where, policy}
					found = fmt.Sprint("count:", images/100)
				}
				program := cleaner.program
				if program != self {
					program = testenv.Need(b, program)
				}
				url := serveElsewhere(b, images)
				b.ResetTimer()
				for b.Loop() {
					cmd := exec.CommandContext(b.Context(), program, args...)
					home := b.TempDir()
					cmd.Stdin = strings.NewReader("n\n") // do not remove
					cmd.Env = append(os.Environ(), planImages+"="+url,
						"HOME="+home, "AWS_CONFIG_FILE="+filepath.Join(home, "config"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(home, "credentials"),
						"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_DEFAULT_REGION="+where, "AWS_ENDPOINT_URL="+url,
						"AWS_EC2_METADATA_DISABLED=true", "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1", "TERM=dumb")
					out, err := cmd.CombinedOutput()
					if err != nil || !strings.Contains(string(out), found) {
						b.Fatalf("%s: %v, want %q\n%.3000s", cleaner.name, err, found, out)
					}
					reportUsage(b, cmd.ProcessState)
				}
			})
		}
	}
}
