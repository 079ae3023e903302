package ec2

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// A refreshState is the state of an instance refresh.
type refreshState struct {
	id      string
	status  scalingtypes.InstanceRefreshStatus
	reason  string
	percent int
	left    int
	image   string // of its desired configuration; empty if it has none, or an unknown one
}

// isEnded reports whether nothing more happens.
func (s *refreshState) isEnded() bool {
	switch s.status {
	case scalingtypes.InstanceRefreshStatusSuccessful, scalingtypes.InstanceRefreshStatusFailed, scalingtypes.InstanceRefreshStatusCancelled,
		scalingtypes.InstanceRefreshStatusRollbackSuccessful, scalingtypes.InstanceRefreshStatusRollbackFailed:
		return true
	}
	return false // also for statuses yet unknown
}

// isRollback reports whether the refresh no longer replaces instances by its desired
// configuration.
func (s *refreshState) isRollback() bool {
	return s.status == scalingtypes.InstanceRefreshStatusRollbackInProgress || s.status == scalingtypes.InstanceRefreshStatusCancelling
}

// refreshHistory has the refreshes of a group, the newest first.
type refreshHistory struct {
	active *refreshState
	ended  []*refreshState
}

// to returns the newest ended refresh to an image, or nil.
func (h refreshHistory) to(image string) *refreshState {
	for _, s := range h.ended {
		if s.image == image {
			return s
		}
	}
	return nil
}

// refreshesSeen limits how many refreshes of a group are read: enough for the attempts
// of one build.
const refreshesSeen = 20

// refreshes reads the latest refreshes of the group.
func (t *refreshTarget) refreshes(ctx context.Context) (h refreshHistory, err error) {
	out, err := t.scaling.DescribeInstanceRefreshes(ctx, &autoscaling.DescribeInstanceRefreshesInput{
		AutoScalingGroupName: aws.String(t.group), MaxRecords: aws.Int32(refreshesSeen),
	})
	if err != nil {
		return h, err
	}
	images := map[string]string{} // by template and version
	for i := range out.InstanceRefreshes {
		s, err := t.refreshState(ctx, &out.InstanceRefreshes[i], images)
		if err != nil {
			return h, err
		}
		if s.isEnded() {
			h.ended = append(h.ended, s)
		} else if h.active == nil {
			h.active = s
		}
	}
	return h, nil
}

func (t *refreshTarget) refreshState(ctx context.Context, r *scalingtypes.InstanceRefresh, images map[string]string) (*refreshState, error) {
	s := newRefreshState(r)
	d := r.DesiredConfiguration
	if d == nil {
		return s, nil
	}
	ref := d.LaunchTemplate
	if m := d.MixedInstancesPolicy; m != nil && m.LaunchTemplate != nil {
		ref = m.LaunchTemplate.LaunchTemplateSpecification
	}
	if ref == nil || aws.ToString(ref.Version) == "" {
		return s, nil
	}
	key := aws.ToString(ref.LaunchTemplateId) + aws.ToString(ref.LaunchTemplateName) + " " + *ref.Version
	image, known := images[key]
	if !known {
		v, err := t.templateVersion(ctx, ref, *ref.Version)
		if err != nil && !isTemplateGone(err) {
			return nil, err
		}
		image = v.image
		images[key] = image
	}
	s.image = image
	return s, nil
}

// isTemplateGone reports whether a launch template or its version does not exist.
func isTemplateGone(err error) bool {
	code := awsapi.Code(err)
	return strings.HasPrefix(code, "InvalidLaunchTemplate") || isNotFound(err)
}

func newRefreshState(r *scalingtypes.InstanceRefresh) *refreshState {
	s := &refreshState{
		id: aws.ToString(r.InstanceRefreshId), status: r.Status, reason: aws.ToString(r.StatusReason),
		percent: int(aws.ToInt32(r.PercentageComplete)), left: int(aws.ToInt32(r.InstancesToUpdate)),
	}
	if s.reason == "" && r.RollbackDetails != nil {
		s.reason = aws.ToString(r.RollbackDetails.RollbackReason)
	}
	return s
}

// pollsPerRefresh is how many poll intervals lie between two looks at a refresh, which
// takes many minutes.
const pollsPerRefresh = 5

// await waits for the end of a refresh.
func (t *refreshTarget) await(ctx context.Context, id string, seen func(*refreshState)) (*refreshState, error) {
	var last *refreshState
	err := clock.WaitFor(ctx, t.clock, pollsPerRefresh*t.interval, func(ctx context.Context) (bool, error) {
		out, err := t.scaling.DescribeInstanceRefreshes(ctx, &autoscaling.DescribeInstanceRefreshesInput{
			AutoScalingGroupName: aws.String(t.group), InstanceRefreshIds: []string{id},
		})
		if err != nil {
			return false, err
		}
		if len(out.InstanceRefreshes) == 0 {
			return false, nil // not yet shown; ctx ends the wait
		}
		if got := aws.ToString(out.InstanceRefreshes[0].InstanceRefreshId); got != id {
			return false, fmt.Errorf("%w: response about instance refresh %q, want %s", errNotOurs, got, id)
		}
		last = newRefreshState(&out.InstanceRefreshes[0])
		if seen != nil {
			seen(last)
		}
		return last.isEnded(), nil
	})
	return last, err
}

// startRefresh starts a refresh to a version of the group's launch template.
func (t *refreshTarget) startRefresh(ctx context.Context, g *groupState, version string, prefs *scalingtypes.RefreshPreferences) (id string, err error) {
	out, err := t.scaling.StartInstanceRefresh(ctx, &autoscaling.StartInstanceRefreshInput{
		AutoScalingGroupName: aws.String(t.group), DesiredConfiguration: g.desired(version), Preferences: prefs, Strategy: scalingtypes.RefreshStrategyRolling,
	})
	if err != nil {
		return "", err
	}
	if id = aws.ToString(out.InstanceRefreshId); id == "" {
		return "", fmt.Errorf("%w: response without the id of the instance refresh, which may have begun", errUnknownID)
	}
	return id, nil
}

func isInProgress(err error) bool { return awsapi.Code(err) == "InstanceRefreshInProgress" }

// refresh returns the preferences as Auto Scaling takes them.
func (p RefreshPreferences) refresh() *scalingtypes.RefreshPreferences {
	out := p.back()
	for _, percent := range p.Checkpoints {
		out.CheckpointPercentages = append(out.CheckpointPercentages, int32(percent)) //nolint:gosec // at most 100
	}
	if p.CheckpointDelay > 0 {
		out.CheckpointDelay = seconds(p.CheckpointDelay)
	}
	if p.BakeTime > 0 {
		out.BakeTime = seconds(p.BakeTime)
	}
	if len(p.Alarms) > 0 {
		out.AlarmSpecification = &scalingtypes.AlarmSpecification{Alarms: slices.Clone(p.Alarms)}
	}
	return out
}

// back returns the preferences for rolling back: at once, and whatever the alarms say.
func (p RefreshPreferences) back() *scalingtypes.RefreshPreferences {
	lowest, highest := p.healthy()
	out := &scalingtypes.RefreshPreferences{
		MinHealthyPercentage: aws.Int32(int32(lowest)), MaxHealthyPercentage: aws.Int32(int32(highest)), //nolint:gosec // at most 200
		SkipMatching:              aws.Bool(true),
		ScaleInProtectedInstances: scalingtypes.ScaleInProtectedInstances(p.Protected), StandbyInstances: scalingtypes.StandbyInstances(p.Standby),
	}
	if p.Warmup > 0 {
		out.InstanceWarmup = seconds(p.Warmup)
	}
	return out
}

func seconds(d time.Duration) *int32 { return aws.Int32(int32(d / time.Second)) } //nolint:gosec // at most 48 hours

// failedActivities returns the latest failed scaling activities: why instances did not
// launch. It is best effort.
func (t *refreshTarget) failedActivities(ctx context.Context) []string {
	const most = 3
	out, err := t.scaling.DescribeScalingActivities(ctx, &autoscaling.DescribeScalingActivitiesInput{AutoScalingGroupName: aws.String(t.group)})
	if err != nil {
		return nil
	}
	var texts []string
	for _, a := range out.Activities {
		if text := aws.ToString(a.StatusMessage); a.StatusCode == scalingtypes.ScalingActivityStatusCodeFailed && text != "" && len(texts) < most && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}
