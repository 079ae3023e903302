package amicleanup

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// ReadSizes reads how much the snapshots of the images that a plan removes
// hold, and puts it into Image.Bytes, for its report. What EC2 does not know
// stays zero. The error joins a *TargetError for each target that could not be
// read; the sizes of the others are there.
func ReadSizes(ctx context.Context, targets []Target, plan *Plan) error {
	errs := make([]error, len(plan.Targets))
	var wg sync.WaitGroup
	for i := range plan.Targets {
		t := &plan.Targets[i]
		at := slices.IndexFunc(targets, func(c Target) bool { return c.Account == t.Account && c.Region == t.Region })
		if at < 0 {
			continue
		}
		wg.Go(func() {
			if err := t.readSizes(ctx, targets[at].Client); err != nil {
				errs[i] = &TargetError{t.Account, t.Region, err}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (t *TargetPlan) readSizes(ctx context.Context, client ImageReader) error {
	var ids []string
	for i := range t.Items {
		if t.Items[i].Action == Deregister {
			ids = append(ids, t.Items[i].Image.Snapshots...)
		}
	}
	sizes := map[string]int64{}
	for some := range slices.Chunk(ids, mostFilterValues) {
		found, _, err := readSnapshots(ctx, client, ec2types.Filter{Name: aws.String("snapshot-id"), Values: some})
		if err != nil {
			return err
		}
		for i := range found {
			sizes[found[i].ID] = found[i].Bytes
		}
	}
	for i := range t.Items {
		img := &t.Items[i].Image
		all := int64(0)
		for _, id := range img.Snapshots {
			if sizes[id] == 0 {
				all = 0
				break
			}
			all += sizes[id]
		}
		img.Bytes = all
	}
	return nil
}
