package interop_test

import (
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// python runs a program of testdata with boto3, and decodes its output.
func python(t *testing.T, into any, program string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testenv.Need(t, "moto"), append([]string{filepath.Join("testdata", program)}, args...)...)
	out, err := cmd.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("%s: %v\n%s", program, err, failed.Stderr)
	}
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("%s printed %q: %v", program, out, err)
	}
}

// Ec2test answers boto3 as moto does, except for the known differences.
func TestBoto3ScenariosMatchMoto(t *testing.T) {
	server := ec2test.New(nil)
	t.Cleanup(server.Close)
	var rows []struct {
		Name    string
		Answers [2]any
	}
	python(t, &rows, "scenarios.py", testenv.Moto(t), server.URL())
	known, same := boto3Differences(), 0
	for _, row := range rows {
		reason, differs := known[row.Name]
		switch equal := reflect.DeepEqual(row.Answers[0], row.Answers[1]); {
		case equal && differs:
			t.Errorf("known difference did not occur: %s: %s", row.Name, reason)
		case equal:
			same++
		case !differs:
			t.Errorf("%s = %v in ec2test, want %v as in moto", row.Name, row.Answers[1], row.Answers[0])
		}
		delete(known, row.Name)
	}
	for name := range known {
		t.Errorf("there is no scenario %q of a known difference", name)
	}
	const least = 128
	if same < least {
		t.Errorf("%d of %d scenarios match, want at least %d", same, len(rows), least)
	}
	t.Logf("%d of %d scenarios match", same, len(rows))
}

// boto3Differences returns the reasons why ec2test and moto answer differently, by
// scenario. Except where it says otherwise, ec2test answers as AWS does.
func boto3Differences() map[string]string {
	const unchecked = "moto does not check this"
	return map[string]string{
		"vpc_created":            "moto's VPCs are available at once",
		"vpc_without_host_bits":  "moto keeps the host bits",
		"vpc_with_gateway_stays": unchecked,
		"subnet_conflicts":       "moto accepts a /29, and an address without a length",
		"subnet_addresses":       "moto does not return the address of a terminated instance",
		"volume_created":         "moto's volumes are available at once",
		"volume_attached":        "moto attaches a volume twice, and omits DeleteOnTermination",
		"volume_in_another_zone": unchecked,
		"group_in_use":           unchecked,
		"fleet_instant":          "moto lists spot instances one by one",
		"volume_modifications":   "moto omits OriginalVolumeType",
		"volume_shrunk":          unchecked,

		"address_in_use_elsewhere":       unchecked,
		"address_moves":                  "moto does not move addresses unless asked to, as was so in EC2 Classic",
		"address_of_terminated_instance": "moto leaves the address with the instance",
		"nat_gateway_keeps_its_address":  "moto releases the address of a gateway, and deletes it with the gateway",
		"nat_gateway_without_address":    unchecked,

		"disk_block_size":          "moto's blocks have 512 bytes",
		"disk_pending":             "moto completes snapshots at once",
		"disk_completed":           "moto completes snapshots at once",
		"disk_of_parent":           "moto ignores the parent",
		"disk_wrong_checksum":      unchecked,
		"disk_short_block":         unchecked,
		"disk_written_late":        unchecked,
		"disk_of_unknown_snapshot": "moto fails",
		"disk_token_reused":        unchecked,

		`describe_launch_templates {"LaunchTemplateIds": ["lt-0123456789abcdef0"]}`: unchecked,
		`create_vpc {"CidrBlock": "10.0.0.0/16", "DryRun": true}`:                   "moto has no dry run of this call",
		`describe_fleet_instances {"FleetId": "fleet-0123456789abcdef0"}`:           "moto fails",

		`delete_nat_gateway {"NatGatewayId": "nat-0123456789abcdef0"}`: "moto fails",

		`put_parameter {"Name": "a", "Value": "` + strings.Repeat("x", 36) + `...`:   "moto has no limit of a standard parameter's size",
		`list_tags_for_resource {"ResourceType": "Parameter", "ResourceId": "none"}`: "moto fails",
	}
}

// All paginators and waiters of boto3 whose operations ec2test has work on it.
func TestBoto3PagesAndWaits(t *testing.T) {
	server := ec2test.New(nil)
	t.Cleanup(server.Close)
	args := []string{server.URL()}
	for _, a := range ec2test.Coverage() {
		args = append(args, a.Service+":"+a.Name)
	}
	var out struct{ Pages, Waits [][2]string }
	python(t, &out, "pages.py", args...)
	for _, row := range append(out.Pages, out.Waits...) {
		if row[1] != "" {
			t.Errorf("%s: %s", row[0], row[1])
		}
	}
	const leastPages, leastWaits = 32, 22
	if len(out.Pages) < leastPages || len(out.Waits) < leastWaits {
		t.Errorf("%d paginators and %d waiters ran, want at least %d and %d", len(out.Pages), len(out.Waits), leastPages, leastWaits)
	}
	t.Logf("%d paginators and %d waiters ran", len(out.Pages), len(out.Waits))
}
