package ec2

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// reportSnapshots reports the progress of the build's snapshots until stop is
// called. It begins late, so that small images need no extra request. Its errors
// are only logged, since the caller waits for the image itself.
func (r *region) reportSnapshots(ctx context.Context, run *bake.Run) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var reporting sync.WaitGroup
	reporting.Go(func() {
		if r.clock.Sleep(ctx, r.pollIntervals(progressFrom)) != nil {
			return
		}
		known := map[string]int64{}
		err := r.progress.Wait(ctx, run.ID, func(snapshots []ec2types.Snapshot, _ bool) (bool, error) {
			for _, snapshot := range snapshots {
				id, done := aws.ToString(snapshot.SnapshotId), percent(snapshot)
				if last, seen := known[id]; !seen || done > last {
					known[id] = done
					run.Emit(bake.Event{
						Kind: bake.Progressed, Resource: bake.Resource{Kind: "snapshot", ID: id}, Done: done, Total: complete,
					})
				}
			}
			return false, nil // until ctx ends
		})
		run.Log.Debug("stopped reporting the progress of snapshots", slog.String("build", run.ID), slog.Any("reason", err))
	})
	return func() {
		cancel()
		reporting.Wait()
	}
}

const complete = 100

// percent returns the progress of a snapshot. EC2 reports it as "42%", and as an
// empty string at first.
func percent(s ec2types.Snapshot) int64 {
	if s.State == ec2types.SnapshotStateCompleted {
		return complete
	}
	done, err := strconv.ParseInt(strings.TrimSuffix(aws.ToString(s.Progress), "%"), 10, 64)
	if err != nil {
		return 0
	}
	return done
}

// fetchSnapshots returns the snapshots of builds, by build id.
func (r *region) fetchSnapshots(ctx context.Context, builds []string) (map[string][]ec2types.Snapshot, error) {
	return fetch(ctx, builds, "tag:"+TagBuild, func(ctx context.Context, by ec2types.Filter, found map[string][]ec2types.Snapshot) error {
		return r.eachSnapshot(ctx, by, func(snapshot ec2types.Snapshot) {
			build := tagMap(snapshot.Tags)[TagBuild]
			found[build] = append(found[build], snapshot)
		})
	})
}

// eachSnapshot calls do for each snapshot of the account that the filter selects.
func (r *region) eachSnapshot(ctx context.Context, by ec2types.Filter, do func(ec2types.Snapshot)) error {
	pages := awsec2.NewDescribeSnapshotsPaginator(r.client, &awsec2.DescribeSnapshotsInput{
		OwnerIds: []string{Self}, Filters: []ec2types.Filter{by}, MaxResults: aws.Int32(pageSize),
	})
	return eachPage(ctx, pages, func(page *awsec2.DescribeSnapshotsOutput) {
		for _, snapshot := range page.Snapshots {
			do(snapshot)
		}
	})
}
