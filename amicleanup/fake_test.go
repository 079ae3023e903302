package amicleanup_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/bakestone-go/bakestone/amicleanup"
)

// fake implements the part of EC2 that amicleanup uses, with its failures.
type fake struct {
	mu        sync.Mutex
	images    map[string]ec2types.Image
	snapshots map[string]int // how often deleting it still fails with InUse
	dead      map[string]bool
	shares    map[string][]ec2types.LaunchPermission // by image
	bin       map[string]ec2types.Image              // removed images that can be taken back
	binned    map[string]bool                        // removed snapshots that can be taken back
	binOn     bool
	facts     map[string]ec2types.Snapshot // of snapshots: differences to an old completed one
	locked    []string
	snapUsers map[string]string // account that may use a snapshot, by its id
	instances []ec2types.Instance
	templates []ec2types.LaunchTemplateVersion

	pageSize int  // images per page; zero means the requested number
	oldAPI   bool // does not know DeleteAssociatedSnapshots, nor that a snapshot may be shared

	// lingering are deregistered images, and for how many calls they are still
	// listed.
	lingering  map[string]ec2types.Image
	lingersFor map[string]int

	now func() time.Time // if nil, time.Now is used

	// fail returns the error of a call, by its action and the id that it is
	// about, if any.
	fail  func(action, id string) error
	calls []string
}

// target returns a target whose calls are answered by fakes: each by the first
// that has a method of its name.
func target(region string, fakes ...any) amicleanup.Target {
	return accountTarget("", region, fakes...)
}

func accountTarget(account, region string, fakes ...any) amicleanup.Target {
	return amicleanup.Target{Account: account, Config: fakeConfig(aws.Config{Region: region}, fakes...)}
}

// fakeConfig has fakes answer the calls that they have methods for. Without such a
// method a call goes on to the endpoint of cfg, if there is one.
func fakeConfig(cfg aws.Config, fakes ...any) aws.Config {
	answer := func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (out middleware.InitializeOutput, _ middleware.Metadata, err error) {
		call := middleware.GetOperationName(ctx)
		for _, f := range fakes {
			method := reflect.ValueOf(f).MethodByName(call)
			if !method.IsValid() || method.Type().NumIn() < 2 || method.Type().In(1) != reflect.TypeOf(in.Parameters) {
				continue
			}
			results := method.Call([]reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(in.Parameters)})
			out.Result = results[0].Interface()
			err, _ = reflect.TypeAssert[error](results[1])
			return out, middleware.Metadata{}, err
		}
		if cfg.Credentials == nil {
			return out, middleware.Metadata{}, fmt.Errorf("the fake does not know %s", call)
		}
		return next.HandleInitialize(ctx, in)
	}
	cfg = cfg.Copy()
	cfg.APIOptions = append(slices.Clip(cfg.APIOptions), func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("fake", answer), middleware.Before)
	})
	return cfg
}

func newFake() *fake {
	return &fake{
		images: map[string]ec2types.Image{}, snapshots: map[string]int{}, dead: map[string]bool{},
		lingering: map[string]ec2types.Image{}, lingersFor: map[string]int{},
		shares: map[string][]ec2types.LaunchPermission{}, bin: map[string]ec2types.Image{}, binned: map[string]bool{},
	}
}

// after returns a time so many hours after the first image of a series.
func after(hours int) time.Time {
	return time.Unix(1700000000, 0).UTC().Add(time.Duration(hours) * time.Hour)
}

// add makes an image with one snapshot; change may be nil.
func (f *fake) add(id, name string, change func(*ec2types.Image)) {
	img := ec2types.Image{
		ImageId: aws.String(id), Name: aws.String(name), OwnerId: aws.String("111122223333"),
		State: ec2types.ImageStateAvailable, Architecture: ec2types.ArchitectureValuesX8664,
		CreationDate: aws.String(after(0).Format("2006-01-02T15:04:05.000Z")),
		BlockDeviceMappings: []ec2types.BlockDeviceMapping{
			{DeviceName: aws.String("/dev/sda1"), Ebs: &ec2types.EbsBlockDevice{SnapshotId: aws.String("snap-" + strings.TrimPrefix(id, "ami-"))}},
			{DeviceName: aws.String("/dev/sdb"), VirtualName: aws.String("ephemeral0")},
		},
	}
	if change != nil {
		change(&img)
	}
	f.images[id] = img
	for _, s := range snapshotsOf(img) {
		f.snapshots[s] = 0
	}
}

// series makes n images of a group, one an hour, the oldest first.
func (f *fake) series(group string, n int) {
	for i := range n {
		f.add(fmt.Sprintf("ami-%s%d", group, i), fmt.Sprintf("%s %d", group, after(i).Unix()), nil)
	}
}

func snapshotsOf(img ec2types.Image) []string {
	var ids []string
	for _, m := range img.BlockDeviceMappings {
		if m.Ebs != nil {
			ids = append(ids, aws.ToString(m.Ebs.SnapshotId))
		}
	}
	return ids
}

func apiError(code string) error { return &smithy.GenericAPIError{Code: code, Message: code} }

func (f *fake) begin(action, id string) error {
	f.calls = append(f.calls, strings.TrimSpace(action+" "+id))
	if f.fail == nil {
		return nil
	}
	return f.fail(action, id)
}

// changes returns the calls that changed something.
func (f *fake) changes() []string {
	return slices.DeleteFunc(slices.Clone(f.calls), func(c string) bool {
		return strings.HasPrefix(c, "Describe") || strings.HasPrefix(c, "List")
	})
}

func (f *fake) DescribeImages(ctx context.Context, in *awsec2.DescribeImagesInput, _ ...func(*awsec2.Options)) (*awsec2.DescribeImagesOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin("DescribeImages", aws.ToString(in.NextToken)); err != nil {
		return nil, err
	}
	any := aws.ToBool(in.IncludeDeprecated) && len(in.Filters) == 1 // of any owner, by id
	if !any && !slices.Equal(in.Owners, []string{"self"}) || aws.ToInt32(in.MaxResults) < 5 || !aws.ToBool(in.IncludeDisabled) {
		return nil, apiError("TestWantsOwnersMaxResultsIncludeDisabled")
	}
	listed := maps.Clone(f.images)
	for id, img := range f.lingering {
		if f.lingersFor[id]--; f.lingersFor[id] >= 0 {
			listed[id] = img
		}
	}
	var found []ec2types.Image
	for _, id := range slices.Sorted(maps.Keys(listed)) {
		if matches(listed[id], in.Filters) {
			found = append(found, listed[id])
		}
	}
	size := int(*in.MaxResults)
	if f.pageSize > 0 {
		size = f.pageSize
	}
	from := 0
	_, _ = fmt.Sscan(aws.ToString(in.NextToken), &from)
	out := &awsec2.DescribeImagesOutput{Images: found[min(from, len(found)):min(from+size, len(found))]}
	if from+size < len(found) {
		out.NextToken = aws.String(fmt.Sprint(from + size))
	}
	return out, ctx.Err()
}

func matches(img ec2types.Image, filters []ec2types.Filter) bool {
	for _, filter := range filters {
		ok := false
		for _, v := range filter.Values {
			switch aws.ToString(filter.Name) {
			case "image-id":
				ok = ok || v == *img.ImageId
			case "block-device-mapping.snapshot-id":
				ok = ok || slices.Contains(snapshotsOf(img), v)
			case "name":
				prefix, _, open := strings.Cut(v, "*")
				ok = ok || *img.Name == v || open && strings.HasPrefix(*img.Name, prefix)
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

func (f *fake) DeregisterImage(_ context.Context, in *awsec2.DeregisterImageInput, _ ...func(*awsec2.Options)) (*awsec2.DeregisterImageOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := *in.ImageId
	if err := f.begin("DeregisterImage", id); err != nil {
		return nil, err
	}
	img, ok := f.images[id]
	switch {
	case !ok && f.dead[id]:
		return nil, apiError("InvalidAMIID.Unavailable")
	case !ok:
		return nil, apiError("InvalidAMIID.NotFound")
	}
	delete(f.images, id)
	f.dead[id] = true
	if f.binOn {
		f.bin[id] = img
	}
	out := &awsec2.DeregisterImageOutput{Return: aws.Bool(true)}
	if f.oldAPI || !aws.ToBool(in.DeleteAssociatedSnapshots) {
		return out, nil
	}
	for _, s := range snapshotsOf(img) {
		code := ec2types.SnapshotReturnCodesSuccess
		if f.shared(s) {
			code = ec2types.SnapshotReturnCodesWarnSkipped
		} else if api := smithy.APIError(nil); f.fail != nil && errors.As(f.fail("snapshot of", s), &api) {
			code = ec2types.SnapshotReturnCodes(api.ErrorCode())
		} else {
			delete(f.snapshots, s)
			f.binned[s] = f.binOn
		}
		out.DeleteSnapshotResults = append(out.DeleteSnapshotResults, ec2types.DeleteSnapshotReturnCode{SnapshotId: aws.String(s), ReturnCode: code})
	}
	return out, nil
}

func (f *fake) shared(snapshot string) bool {
	for _, img := range f.images {
		if slices.Contains(snapshotsOf(img), snapshot) {
			return true
		}
	}
	return false
}

func (f *fake) DeleteSnapshot(_ context.Context, in *awsec2.DeleteSnapshotInput, _ ...func(*awsec2.Options)) (*awsec2.DeleteSnapshotOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := *in.SnapshotId
	if err := f.begin("DeleteSnapshot", id); err != nil {
		return nil, err
	}
	left, ok := f.snapshots[id]
	switch {
	case !ok:
		return nil, apiError("InvalidSnapshot.NotFound")
	case left > 0 || f.shared(id) && !f.oldAPI:
		f.snapshots[id]--
		return nil, apiError("InvalidSnapshot.InUse")
	}
	delete(f.snapshots, id)
	f.binned[id] = f.binOn
	return &awsec2.DeleteSnapshotOutput{}, nil
}

func (f *fake) DescribeInstances(context.Context, *awsec2.DescribeInstancesInput, ...func(*awsec2.Options)) (*awsec2.DescribeInstancesOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin("DescribeInstances", ""); err != nil {
		return nil, err
	}
	return &awsec2.DescribeInstancesOutput{Reservations: []ec2types.Reservation{{Instances: f.instances}}}, nil
}

func (f *fake) DescribeLaunchTemplateVersions(context.Context, *awsec2.DescribeLaunchTemplateVersionsInput, ...func(*awsec2.Options)) (*awsec2.DescribeLaunchTemplateVersionsOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin("DescribeLaunchTemplateVersions", ""); err != nil {
		return nil, err
	}
	return &awsec2.DescribeLaunchTemplateVersionsOutput{LaunchTemplateVersions: f.templates}, nil
}

// cleaner returns a cleaner with rules for the images of f whose names end in a
// timestamp.
// atOnce is the settle time of an EC2 that is consistent.
const atOnce = time.Nanosecond

func cleaner(f *fake, keep ...amicleanup.Rule) *amicleanup.Cleaner {
	return &amicleanup.Cleaner{
		SettleTime: atOnce,
		Targets:    []amicleanup.Target{target("eu-west-1", f)},
		Policy:     amicleanup.Policy{Select: amicleanup.Select{Name: "{group} {unix}"}, Keep: keep},
	}
}

func mustPlan(t *testing.T, c *amicleanup.Cleaner) *amicleanup.Plan {
	t.Helper()
	plan, err := c.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// set changes an image, as someone else does it.
func (f *fake) set(id string, how func(*ec2types.Image)) {
	img := f.images[id]
	how(&img)
	f.images[id] = img
}

// removals returns the sorted ids of the images that plan removes.
func removals(plan *amicleanup.Plan) []string {
	var ids []string
	for _, target := range plan.Targets {
		for _, item := range target.Items {
			if item.Action == amicleanup.Remove {
				ids = append(ids, item.Image.ID)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// why returns the reasons to keep an image, joined.
func why(plan *amicleanup.Plan, id string) string {
	var texts []string
	for _, target := range plan.Targets {
		for _, item := range target.Items {
			if item.Image.ID == id {
				for _, r := range item.Reasons {
					texts = append(texts, r.Text)
				}
			}
		}
	}
	return strings.Join(texts, "; ")
}

// outcomes returns "ID OUTCOME" of a result's images and snapshots.
func outcomes(r *amicleanup.Result) []string {
	var all []string
	for _, img := range r.Images {
		all = append(all, img.ID+" "+string(img.Outcome))
		for _, s := range img.Snapshots {
			all = append(all, s.ID+" "+string(s.Outcome))
		}
	}
	return all
}
