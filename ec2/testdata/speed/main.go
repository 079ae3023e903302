// Speed uploads a disk to an endpoint, or does a part of that, so that its process can be
// measured from outside.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	ebstypes "github.com/aws/aws-sdk-go-v2/service/ebs/types"
	"golang.org/x/sync/errgroup"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
)

const (
	region    = "eu-west-1"
	blockSize = 512 << 10
	parallel  = 64
)

func main() {
	var o options
	what := flag.String("what", "disk", `"disk" uploads by ec2.Disk, "plain" by net/http alone, "sha" only hashes the blocks`)
	flag.StringVar(&o.endpoint, "endpoint", "", "URL of the endpoint")
	flag.StringVar(&o.disk, "disk", "", "file of the disk")
	flag.StringVar(&o.sums, "sums", "", "directory of the block sums, or empty")
	flag.StringVar(&o.key, "key", "", "access key")
	flag.BoolVar(&o.limits, "limits", false, "keep to the documented rates")
	profile := flag.String("cpuprofile", "", "file for a profile, or empty")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			log.Fatal(err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			log.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	upload, ok := map[string]func(context.Context, options) (string, error){"disk": uploadDisk, "plain": uploadPlain, "sha": hashOnly}[*what]
	if !ok {
		log.Fatalf("unknown value %q of -what", *what)
	}
	said, err := upload(context.Background(), o)
	if err != nil {
		log.Print(err)
		os.Exit(1) //nolint:gocritic // the profile of a failed upload is not needed
	}
	fmt.Println(said)
}

type options struct {
	endpoint, disk, sums, key string
	limits                    bool
}

func (o options) config() aws.Config {
	return aws.Config{Region: region, BaseEndpoint: aws.String(o.endpoint), Credentials: credentials.NewStaticCredentialsProvider(o.key, "secret", "")}
}

// uploadDisk makes an AMI of the disk.
func uploadDisk(ctx context.Context, o options) (said string, err error) {
	cloud := ec2.NewCloud(o.config(), &ec2.CloudOptions{PollInterval: 50 * time.Millisecond, SettleTime: time.Second, NoCallLimits: !o.limits})
	observe := func(e bake.Event) {
		if e.Kind == bake.Message && strings.Contains(e.Text, "blocks sent") {
			_, said, _ = strings.Cut(e.Text, ": ")
		}
	}
	img := &bake.Image{Name: "speed", Builder: ec2.Builder{Cloud: cloud, Source: ec2.Disk{File: o.disk, BlockSums: o.sums, Login: "root"}}}
	_, err = bake.Bake(ctx, &bake.Options{Observe: observe}, img)
	return said, err
}

// eachBlock reads the disk, and calls do with its blocks, several at once.
func eachBlock(ctx context.Context, path string, do func(index int, data []byte) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	free := make(chan []byte, parallel)
	for range cap(free) {
		free <- make([]byte, blockSize)
	}
	group, ctx := errgroup.WithContext(ctx)
	for index := 0; ctx.Err() == nil; index++ {
		data := <-free
		if _, err := io.ReadFull(file, data); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return errors.Join(err, group.Wait())
		}
		group.Go(func() error {
			defer func() { free <- data }()
			return do(index, data)
		})
	}
	return group.Wait()
}

// hashOnly is the least that an upload does.
func hashOnly(ctx context.Context, o options) (string, error) {
	return "nothing sent", eachBlock(ctx, o.disk, func(_ int, data []byte) error {
		sha256.Sum256(data)
		return nil
	})
}

// uploadPlain puts all blocks by requests that are neither signed nor repeated.
func uploadPlain(ctx context.Context, o options) (string, error) {
	api := ebs.NewFromConfig(o.config())
	info, err := os.Stat(o.disk)
	if err != nil {
		return "", err
	}
	snapshot, err := api.StartSnapshot(ctx, &ebs.StartSnapshotInput{VolumeSize: aws.Int64(info.Size() >> 30)})
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: parallel}}
	header := http.Header{
		"Authorization":            {"AWS4-HMAC-SHA256 Credential=" + o.key + "/20260101/" + region + "/ebs/aws4_request, SignedHeaders=host, Signature=none"},
		"X-Amz-Checksum-Algorithm": {string(ebstypes.ChecksumAlgorithmChecksumAlgorithmSha256)},
		"X-Amz-Data-Length":        {fmt.Sprint(blockSize)},
	}
	sums := make([][sha256.Size]byte, info.Size()/blockSize)
	err = eachBlock(ctx, o.disk, func(index int, data []byte) error {
		sums[index] = sha256.Sum256(data)
		url := fmt.Sprintf("%s/snapshots/%s/blocks/%d", o.endpoint, *snapshot.SnapshotId, index)
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(data))
		if err != nil {
			return err
		}
		req.Header = header.Clone()
		req.Header.Set("x-amz-Checksum", base64.StdEncoding.EncodeToString(sums[index][:]))
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		answer, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusCreated {
			return fmt.Errorf("block %d: %s: %s", index, resp.Status, answer)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	linear := sha256.New()
	for _, sum := range sums {
		_, _ = linear.Write(sum[:]) // a hash never fails
	}
	_, err = api.CompleteSnapshot(ctx, &ebs.CompleteSnapshotInput{
		SnapshotId: snapshot.SnapshotId, ChangedBlocksCount: aws.Int32(int32(len(sums))), Checksum: aws.String(base64.StdEncoding.EncodeToString(linear.Sum(nil))), //nolint:gosec // some thousands
		ChecksumAlgorithm: ebstypes.ChecksumAlgorithmChecksumAlgorithmSha256, ChecksumAggregationMethod: ebstypes.ChecksumAggregationMethodChecksumAggregationLinear,
	})
	return fmt.Sprintf("%d blocks sent", len(sums)), err
}
