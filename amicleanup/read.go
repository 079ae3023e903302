package amicleanup

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// An inventory describes all targets at one time.
type inventory struct {
	time    time.Time
	targets []targetInventory
}

// A targetInventory describes one target.
type targetInventory struct {
	target Target
	owner  string // the id of the account

	images     []*Image
	references []inuse.Reference
	coverage   []inuse.Coverage   // of the sources that list, then of those that failed when asked
	answers    map[string]*answer // by source

	rules     []binRule // retention rules of the Recycle Bin
	rulesErr  error
	snapshots []Snapshot
	there     map[string]string // where the own images are, by id: "exists", "is in the Recycle Bin"
	binned    map[string]string // the images in the Recycle Bin, by name

	err         error // why the images could not be read
	sharesErr   error // why launch permissions could not be read
	snapshotErr error // why the snapshots could not be read

	errs []error // everything that could not be read: *TargetError
}

// An answer is the result of asking a source about images of one target.
type answer struct {
	asked map[string]bool // image ids
	err   error
}

// read reads all targets concurrently. The inventory has every target, also those
// that failed, with their errors. If approved is not nil, facts are read only for
// what it approves.
func (c *Cleaner) read(ctx context.Context, approved *approval) *inventory {
	inv := &inventory{time: c.clock().Now().UTC(), targets: make([]targetInventory, len(c.Targets))}
	needs := c.Policy.needs()
	each(len(c.Targets), func(i int) {
		inv.targets[i].target = c.Targets[i]
		inv.targets[i].read(ctx, c, &needs, inv.time)
	})
	c.readLate(ctx, &needs, inv, approved)
	return inv
}

// each calls do with 0 to n-1 concurrently.
func each(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

func (t *targetInventory) read(ctx context.Context, c *Cleaner, needs *Needs, now time.Time) {
	client := t.target.ec2()
	t.answers = map[string]*answer{}
	filters := c.Policy.nameFilter()
	if c.Policy.Snapshots != nil {
		// Snapshots come first: an image that is made in the meantime is then seen.
		t.snapshots, t.owner, t.snapshotErr = readSnapshots(ctx, client)
		filters = nil // any image may contain a snapshot
	}
	t.images, t.err = readImages(ctx, client, filters...)
	if t.err == nil && len(t.images) == 0 && len(filters) > 0 {
		t.images, t.err = readImages(ctx, client) // to name images that the pattern does not match
	}
	if t.err != nil {
		t.fail("", t.err)
	}
	if len(t.images) > 0 {
		t.owner = t.images[0].Owner
	}
	if c.Policy.Snapshots != nil {
		t.snapshotErr = cmp.Or(t.snapshotErr, t.err)
		if t.snapshotErr == nil {
			t.snapshotErr = t.readSnapshotUse(ctx, client, c.Policy.Snapshots, now)
		}
		if t.snapshotErr != nil {
			t.snapshots = nil
			t.fail("snapshots", t.snapshotErr)
		}
	}
	if needs.Locks && t.err == nil {
		if t.err = t.readImageLocks(ctx, client); t.err != nil {
			t.fail("locked snapshots", t.err)
		}
	}
	listed, _ := split(needs.Sources)
	// Also if the images failed: the target may use images of another account.
	t.references, t.coverage = readReferences(ctx, t.target, c.Clock, listed)
	for _, cov := range t.coverage {
		if cov.Error != "" {
			t.unknown(cov)
		}
	}
	if c.Policy.Limits.Recoverable > 0 {
		if t.rules, t.rulesErr = readRules(ctx, t.target); t.rulesErr != nil {
			t.fail("rules of the Recycle Bin", t.rulesErr)
		}
	}
}

// fail records that something of the target could not be read.
func (t *targetInventory) fail(what string, err error) {
	if what != "" {
		err = fmt.Errorf("read %s: %w", what, err)
	}
	t.errs = append(t.errs, &TargetError{Account: t.target.Account, Region: t.target.region(), Err: err})
}

// unknown records that a source could not be read. If the images could not be read
// either, that error is enough.
func (t *targetInventory) unknown(c inuse.Coverage) {
	if t.err == nil {
		t.errs = append(t.errs, &TargetError{Account: t.target.Account, Region: t.target.region(), Err: fmt.Errorf("%w: %s: %s", ErrUsageUnknown, c.Source, c.Error)})
	}
}

// readReferences reads all sources concurrently; the call limits apply.
func readReferences(ctx context.Context, t Target, c clock.Clock, sources []inuse.Source) ([]inuse.Reference, []inuse.Coverage) {
	found := make([][]inuse.Reference, len(sources))
	coverage := make([]inuse.Coverage, len(sources))
	each(len(sources), func(i int) {
		refs, err := sources[i].List(ctx, t.place(c))
		coverage[i] = inuse.Coverage{Source: sources[i].Name, References: len(refs)}
		if err != nil {
			coverage[i].Error = err.Error()
		}
		for j := range refs {
			refs[j].Source = sources[i].Name
		}
		found[i] = refs
	})
	return slices.Concat(found...), coverage
}

// nameFilter avoids reading images that the policy does not select, unless they
// count as layers or copies of others.
func (p *Policy) nameFilter() []ec2types.Filter {
	name, err := compile(p.Select.Name)
	if err != nil || name.glob == "" || p.needs().Parents > 0 || !p.Release.IsZero() {
		return nil
	}
	return []ec2types.Filter{{Name: aws.String("name"), Values: []string{name.glob}}}
}

// readImage reads one own image, or returns nil if it does not exist.
func readImage(ctx context.Context, client *awsec2.Client, id string) (*Image, error) {
	images, err := readImages(ctx, client, ec2types.Filter{Name: aws.String("image-id"), Values: []string{id}})
	if err != nil || len(images) == 0 {
		return nil, err
	}
	return images[0], nil
}

// filterValues is the most values that EC2 accepts in one filter.
const filterValues = 200

// readByID reads own images by id.
func readByID(ctx context.Context, client *awsec2.Client, ids []string) (map[string]*Image, error) {
	slices.Sort(ids)
	all := map[string]*Image{}
	for some := range slices.Chunk(slices.Compact(ids), filterValues) {
		images, err := readImages(ctx, client, ec2types.Filter{Name: aws.String("image-id"), Values: some})
		if err != nil {
			return nil, err
		}
		for _, img := range images {
			all[img.ID] = img
		}
	}
	return all, nil
}
