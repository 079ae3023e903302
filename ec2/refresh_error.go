package ec2

import (
	"fmt"
	"strings"
)

// A GroupStatus tells how far an Auto Scaling group got in a roll-out.
type GroupStatus string

// The statuses of a group.
const (
	GroupNotBegun    GroupStatus = "not begun"    // its wave was not reached
	GroupUnchanged   GroupStatus = "unchanged"    // all its instances ran the AMI already
	GroupRolled      GroupStatus = "rolled"       // all its instances run the AMI
	GroupFailed      GroupStatus = "failed"       // nothing was changed
	GroupRolledBack  GroupStatus = "rolled back"  // all its instances run what they ran before
	GroupRollingBack GroupStatus = "rolling back" // the roll back goes on without this process
	GroupHalfway     GroupStatus = "half-way"     // its instances run both AMIs
)

// A GroupOutcome tells what happened to an Auto Scaling group.
type GroupOutcome struct {
	Group  string      `json:"group"`
	Where  string      `json:"where"` // the region, with the account if it is not the Builder's
	Wave   int         `json:"wave"`  // from 1
	Status GroupStatus `json:"status"`

	// Image is the AMI that the group was to run, and Before the one that it ran.
	Image  string `json:"image"`
	Before string `json:"before,omitempty"`

	// Refresh is the id of the latest instance refresh, and Reason what AWS said
	// about it, or why the group was rolled back.
	Refresh string `json:"refresh,omitempty"`
	Reason  string `json:"reason,omitempty"`

	// Activities are the latest failed scaling activities: why instances did not
	// launch.
	Activities []string `json:"activities,omitempty"`
}

// String returns one line about the group: "web in eu-west-1: rolled back: …".
func (o GroupOutcome) String() string {
	text := fmt.Sprintf("%s in %s: %s", o.Group, o.Where, o.Status)
	if o.Reason != "" {
		text += ": " + o.Reason
	}
	if len(o.Activities) > 0 {
		text += " (" + strings.Join(o.Activities, "; ") + ")"
	}
	return text
}

// A RolloutError reports a roll-out that failed, with what happened to each group.
type RolloutError struct {
	Groups []GroupOutcome
	Err    error // what failed first, joined with what could not be rolled back
}

// Error returns the cause and a line for each group.
func (e *RolloutError) Error() string {
	var text strings.Builder
	text.WriteString(e.Err.Error())
	for _, g := range e.Groups {
		text.WriteString("\n\t" + g.String())
	}
	return text.String()
}

// Unwrap returns Err.
func (e *RolloutError) Unwrap() error { return e.Err }

// A RefreshInProgressError reports another instance refresh of a group, with
// InstanceRefresh.RefuseOthers.
type RefreshInProgressError struct {
	Group   string
	Refresh string // its id
	Image   string // the AMI that it gives the group, if known
}

// Error says which refresh is in progress.
func (e *RefreshInProgressError) Error() string {
	text := fmt.Sprintf("auto scaling group %s: instance refresh %s is in progress", e.Group, e.Refresh)
	if e.Image != "" {
		text += ", to " + e.Image
	}
	return text
}
