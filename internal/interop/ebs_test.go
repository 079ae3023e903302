package interop_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// The AWS command-line client writes a snapshot with EBS direct, and reads it back.
func TestEBSDirectByCommandLine(t *testing.T) {
	testenv.Need(t, "awscli")
	server := ec2test.New(nil)
	t.Cleanup(server.Close)
	aws := testenv.AWSCLI(t, &testenv.AWSCLIOptions{Endpoint: server.URL()})
	call := func(line string, more ...string) map[string]any {
		t.Helper()
		text, err := aws(append(append([]string{"ebs"}, strings.Fields(line)...), more...)...)
		if err != nil {
			t.Fatalf("ebs %s: %v", line, err)
		}
		var out map[string]any
		if text = strings.TrimSpace(text); text != "" {
			if err := json.Unmarshal([]byte(text), &out); err != nil {
				t.Fatalf("ebs %s printed %q: %v", line, text, err)
			}
		}
		return out
	}
	dir := t.TempDir()
	const size = "524288"
	data := bytes.Repeat([]byte("bake it\n"), 65536)
	file := filepath.Join(dir, "block")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	checksum := base64.StdEncoding.EncodeToString(sum[:])
	write := func(snapshot string, index string) map[string]any {
		t.Helper()
		return call("put-snapshot-block --data-length "+size+" --checksum-algorithm SHA256 --checksum "+checksum+" --block-index "+index,
			"--snapshot-id", snapshot, "--block-data", file)
	}
	complete := func(snapshot string, sums ...[]byte) {
		t.Helper()
		all := sha256.Sum256(bytes.Join(sums, nil))
		out := call("complete-snapshot --changed-blocks-count 1 --checksum-algorithm SHA256 --checksum-aggregation-method LINEAR",
			"--snapshot-id", snapshot, "--checksum", base64.StdEncoding.EncodeToString(all[:]))
		if out["Status"] != "pending" {
			t.Errorf("complete-snapshot = %v, want pending", out)
		}
	}
	one, _ := call("start-snapshot --volume-size 1 --description disk --tags Key=Name,Value=disk --timeout 60")["SnapshotId"].(string)
	if out := write(one, "3"); out["Checksum"] != checksum {
		t.Errorf("put-snapshot-block = %v, want the checksum", out)
	}
	complete(one, sum[:])
	two, _ := call("start-snapshot --volume-size 1", "--parent-snapshot-id", one)["SnapshotId"].(string)
	write(two, "9")
	complete(two, sum[:])

	listed, _ := json.Marshal(call("list-snapshot-blocks --max-results 100", "--snapshot-id", two)["Blocks"])
	var blocks []struct {
		BlockIndex int
		BlockToken string
	}
	if err := json.Unmarshal(listed, &blocks); err != nil || len(blocks) != 2 || blocks[0].BlockIndex != 3 || blocks[1].BlockIndex != 9 {
		t.Fatalf("list-snapshot-blocks = %s, %v, want blocks 3 and 9", listed, err)
	}
	changed, _ := json.Marshal(call("list-changed-blocks", "--first-snapshot-id", one, "--second-snapshot-id", two)["ChangedBlocks"])
	if !strings.HasPrefix(string(changed), `[{"BlockIndex":9,"SecondBlockToken":`) {
		t.Errorf("list-changed-blocks = %s, want block 9 of the second snapshot", changed)
	}
	got := filepath.Join(dir, "read")
	out := call("get-snapshot-block --block-index 9", "--snapshot-id", two, "--block-token", blocks[1].BlockToken, got)
	if read, err := os.ReadFile(got); err != nil || !bytes.Equal(read, data) || out["Checksum"] != checksum {
		t.Errorf("get-snapshot-block = %v, %d bytes, %v", out, len(read), err)
	}
	for line, want := range map[string]string{
		"get-snapshot-block --block-index 3 --snapshot-id " + two + " --block-token " + blocks[1].BlockToken + " " + got: "(ValidationException)",
		"list-snapshot-blocks --snapshot-id snap-0123456789abcdef0":                                                      "(ResourceNotFoundException)",
		"complete-snapshot --changed-blocks-count 2 --snapshot-id " + two:                                                "(ValidationException)",
	} {
		if _, err := aws(append([]string{"ebs"}, strings.Fields(line)...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ebs %s: %v, want %s", line, err, want)
		}
	}
}
