package amicleanup

import "time"

// An Outcome is the result of changing an image or a snapshot.
type Outcome string

// The outcomes.
const (
	Removed     Outcome = "removed"
	Deprecated  Outcome = "deprecated"
	Disabled    Outcome = "disabled"
	Unprotected Outcome = "unprotected"
	Restored    Outcome = "restored"
	AlreadyDone Outcome = "already done" // by an earlier run
	Gone        Outcome = "gone"         // it did not exist any more
	Skipped     Outcome = "skipped"      // left alone on purpose; Detail tells why
	Failed      Outcome = "failed"       // Detail tells why
	NotTried    Outcome = "not tried"    // the work ended earlier
)

// outcomes returns all outcomes in the order of reports.
func outcomes() []Outcome {
	return []Outcome{Removed, Unprotected, Disabled, Deprecated, Restored, AlreadyDone, Gone, Skipped, Failed, NotTried}
}

// A Result tells what became of everything that a plan was to change, in the
// order of the plan, target by target. It is plain data; [Cleaner.Undo] takes one
// back.
type Result struct {
	Started   time.Time        `json:"started"`
	Finished  time.Time        `json:"finished"`
	Images    []ImageResult    `json:"images"`
	Snapshots []SnapshotResult `json:"snapshots,omitempty"` // those that belonged to no image
}

// An ImageResult tells what became of one image.
type ImageResult struct {
	Account   string           `json:"account,omitempty"`
	Region    string           `json:"region"`
	ID        string           `json:"id"`
	Name      string           `json:"name"`
	Action    Action           `json:"action"` // what was to be done
	Outcome   Outcome          `json:"outcome"`
	Detail    string           `json:"detail,omitempty"`
	Snapshots []SnapshotResult `json:"snapshots,omitempty"`

	// Before is the image just before it was changed, or nil.
	Before *Image `json:"before,omitempty"`
}

// A SnapshotResult tells what became of one snapshot. Account and Region are
// empty for a snapshot of an image.
type SnapshotResult struct {
	Account string  `json:"account,omitempty"`
	Region  string  `json:"region,omitempty"`
	ID      string  `json:"id"`
	Outcome Outcome `json:"outcome"`
	Detail  string  `json:"detail,omitempty"`
}

// Count returns the number of images with this outcome.
func (r *Result) Count(o Outcome) int {
	n := 0
	for i := range r.Images {
		if r.Images[i].Outcome == o {
			n++
		}
	}
	return n
}

// CountSnapshots returns the number of snapshots that belonged to no image and
// have this outcome.
func (r *Result) CountSnapshots(o Outcome) int {
	n := 0
	for i := range r.Snapshots {
		if r.Snapshots[i].Outcome == o {
			n++
		}
	}
	return n
}

// has reports whether anything has this outcome.
func (r *Result) has(o Outcome) bool { return r.Count(o)+r.CountSnapshots(o) > 0 }

// SnapshotsLeft returns the snapshots of removed images that still exist: in use,
// part of another image, or not removed because of an error.
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
