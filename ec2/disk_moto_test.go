package ec2_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// TestDiskOnMoto uploads a disk to an independent EBS, and downloads it again.
func TestDiskOnMoto(t *testing.T) {
	endpoint := testenv.Moto(t)
	cloud := ec2.NewCloud(aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint), Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}, &ec2.CloudOptions{PollInterval: 10 * time.Millisecond, SettleTime: 10 * time.Millisecond})
	disk := randomDisk(16 * mib)
	snapshot := ""
	observe := func(e bake.Event) {
		if e.Kind == bake.ResourceCreated && e.Resource.Kind == "snapshot" {
			snapshot = e.Resource.ID
		}
	}
	_, err := bake.Bake(t.Context(), &bake.Options{Observe: observe}, diskImage(cloud, ec2.Disk{File: writeDisk(t, disk)}))
	if err != nil {
		t.Fatalf("Bake: %v", err)
	}
	// moto's RegisterImage ignores the block devices of the request, and it lists the
	// indexes of blocks as texts, which the SDK refuses. So they are read as they are.
	get := func(path string) []byte {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, endpoint+"/snapshots/"+snapshot+"/blocks"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20261130/us-east-1/ebs/aws4_request, SignedHeaders=host, Signature=test")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("GET %s = %s, %v: %.200s", path, resp.Status, err, data)
		}
		return data
	}
	var list struct {
		Blocks []struct {
			BlockIndex json.RawMessage
			BlockToken string
		}
	}
	if err := json.Unmarshal(get(""), &list); err != nil || len(list.Blocks) == 0 {
		t.Fatalf("%d blocks, %v", len(list.Blocks), err)
	}
	for _, b := range list.Blocks {
		index := strings.Trim(string(b.BlockIndex), `"`)
		n, err := strconv.Atoi(index)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 || (n+1)*blockSize >= len(disk) { // with the GPT or its copy
			continue
		}
		if got := get("/" + index + "?blockToken=" + url.QueryEscape(b.BlockToken)); !bytes.Equal(got, disk[n*blockSize:(n+1)*blockSize]) {
			t.Errorf("block %s has %d bytes, and other contents", index, len(got))
		}
	}
}
