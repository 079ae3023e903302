package ec2test_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// COVERAGE.md says what the code knows. To write it anew, run this test with
// EC2TEST_WRITE_COVERAGE=1.
func TestCoveragePage(t *testing.T) {
	want := coveragePage()
	if os.Getenv("EC2TEST_WRITE_COVERAGE") != "" {
		if err := os.WriteFile("COVERAGE.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("COVERAGE.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, strings.ReplaceAll(string(got), "\r\n", "\n")); diff != "" {
		t.Errorf("COVERAGE.md is not what the code knows (-code +page):\n%s", diff)
	}
}

func coveragePage() string {
	var b strings.Builder
	b.WriteString(`# What ec2test knows

This page is written from the code, and a test compares the two. What is not on it is refused, and never ignored: an
unknown call with InvalidAction, an unknown parameter with UnknownParameter and its name, an unknown filter with
InvalidParameterValue. Every call of EC2 also takes DryRun.

Accepted without an effect, because there is nothing here that they could change: AllRegions, AllAvailabilityZones,
CpuCredits, Force, IncludeManagedResources, Monitoring, PresignedUrl,
SkipOsShutdown, SnapshotCopyCompletionDurationMinutes, VolumeInitializationRate. Dedicated Hosts, placement groups,
capacity reservations and license configurations are shown as they were named.

Spot requests, spot fleets, EC2 fleets and Auto Scaling groups are kept, checked and listed; they run no instances.

In the names of parameters, N is the number of an element of a list.
`)
	service := ""
	for _, a := range ec2test.Coverage() {
		if a.Service != service {
			service = a.Service
			fmt.Fprintf(&b, "\n## %s\n", strings.ToUpper(service))
		}
		fmt.Fprintf(&b, "\n### %s\n", a.Name)
		list(&b, "Parameters", a.Params)
		list(&b, "Filters", a.Filters)
	}
	return b.String()
}

func list(b *strings.Builder, title string, names []string) {
	if len(names) > 0 {
		fmt.Fprintf(b, "\n%s: `%s`\n", title, strings.Join(names, "`, `"))
	}
}
