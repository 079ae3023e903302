package amicleanup

import "time"

// An Outcome is what became of an image or a snapshot that was to be changed:
// Removed, Failed, Skipped and the others of the constants.
type Outcome string

// The outcomes.
const (
	Removed     Outcome = "removed"
	Deprecated  Outcome = "deprecated"
	Disabled    Outcome = "disabled"
	Restored    Outcome = "restored"
	AlreadyDone Outcome = "already done" // an earlier run did it
	Gone        Outcome = "gone"         // it was not there any more
	Skipped     Outcome = "skipped"      // left on purpose; Detail says why
	Failed      Outcome = "failed"       // it was tried and did not succeed; Detail says why
	NotTried    Outcome = "not tried"    // the work ended before
)

// A Result is what became of a plan. It has every image that was to be
// changed, in the order in which they were begun, target by target. It is
// plain data; Cleaner.Undo takes one back.
type Result struct {
	Started  time.Time     `json:"started"`
	Finished time.Time     `json:"finished"`
	Images   []ImageResult `json:"images"`
}

// An ImageResult is what became of one image.
type ImageResult struct {
	Account   string           `json:"account,omitempty"`
	Region    string           `json:"region"`
	ID        string           `json:"id"`
	Name      string           `json:"name"`
	Action    Action           `json:"action"` // what was to be done
	Outcome   Outcome          `json:"outcome"`
	Detail    string           `json:"detail,omitempty"`
	Snapshots []SnapshotResult `json:"snapshots,omitempty"`

	// Before is the image as it was just before it was changed; nil if it was
	// not.
	Before *Image `json:"before,omitempty"`
}

// A SnapshotResult is what became of one snapshot of an image.
type SnapshotResult struct {
	ID      string  `json:"id"`
	Outcome Outcome `json:"outcome"`
	Detail  string  `json:"detail,omitempty"`
}

// Count counts the images with this outcome.
func (r *Result) Count(o Outcome) int {
	n := 0
	for i := range r.Images {
		if r.Images[i].Outcome == o {
			n++
		}
	}
	return n
}

// SnapshotsLeft are the snapshots that are still there though their image is
// not: in use, shared with another image, or not removed because of an error.
func (r *Result) SnapshotsLeft() []string {
	var left []string
	for i := range r.Images {
		for _, s := range r.Images[i].Snapshots {
			if s.Outcome == Failed || s.Outcome == Skipped {
				left = append(left, s.ID)
			}
		}
	}
	return left
}
