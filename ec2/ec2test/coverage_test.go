package ec2test_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

const coveragePath = "../../docs/ec2test-coverage.md"

// The page is generated from the code. To update it, run this test with
// EC2TEST_WRITE_COVERAGE=1.
func TestCoveragePage(t *testing.T) {
	want := coveragePage()
	if os.Getenv("EC2TEST_WRITE_COVERAGE") != "" {
		if err := os.WriteFile(coveragePath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(coveragePath)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, strings.ReplaceAll(string(got), "\r\n", "\n")); diff != "" {
		t.Errorf("%s does not match the code (-code +page):\n%s", coveragePath, diff)
	}
}

func coveragePage() string {
	var b strings.Builder
	b.WriteString(`# API coverage of ec2test

This page is generated from the code, and a test compares the two. Anything not listed is rejected, never ignored: an
unknown call with InvalidAction, an unknown parameter with UnknownParameter and its name, an unknown filter with
InvalidParameterValue. Every EC2 call also accepts DryRun.

These parameters are accepted but have no effect: AllRegions, AllAvailabilityZones, CpuCredits, Force,
IncludeManagedResources, Monitoring, PresignedUrl, SkipOsShutdown, SnapshotCopyCompletionDurationMinutes,
VolumeInitializationRate. Dedicated Hosts, placement groups, capacity reservations and license configurations of any
name are accepted and described.

Auto Scaling groups launch and replace instances and have instance refreshes; load balancers and alarms are data.

In parameter names, N stands for the index of a list element.
`)
	service := ""
	for _, a := range ec2test.Coverage() {
		if a.Service != service {
			service = a.Service
			fmt.Fprintf(&b, "\n## %s\n", strings.ToUpper(service))
		}
		fmt.Fprintf(&b, "\n### %s\n", a.Name)
		writeList(&b, "Parameters", a.Params)
		writeList(&b, "Filters", a.Filters)
	}
	return b.String()
}

func writeList(b *strings.Builder, title string, names []string) {
	if len(names) > 0 {
		fmt.Fprintf(b, "\n%s: `%s`\n", title, strings.Join(names, "`, `"))
	}
}
