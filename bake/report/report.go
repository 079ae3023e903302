package report

import (
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// Version is the version of a Report's JSON. Later versions of a report with the same
// number may only add fields.
const Version = 1

// A Report describes one run of [bake.Bake].
type Report struct {
	Version  int       `json:"version"`
	Started  time.Time `json:"started"`  // of the first event
	Finished time.Time `json:"finished"` // of the last event
	Images   []Image   `json:"images"`   // in the order of the results, or else of their first event
}

// An Image describes the build of one image.
type Image struct {
	Name     string            `json:"name"`
	From     string            `json:"from,omitempty"` // the image that it is made from
	Build    string            `json:"build,omitempty"`
	Status   bake.Status       `json:"status,omitempty"` // empty while the build runs
	Artifact string            `json:"artifact,omitempty"`
	IDs      map[string]string `json:"ids,omitempty"` // of the artifact, by location
	Err      string            `json:"error,omitempty"`

	// Started and Finished are the times of the first and last event. An image that is
	// made from another one starts when that has finished.
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`

	// Critical is set if the image belongs to the chain of images that ended last, each
	// made from the one before: to make the run shorter, make one of them shorter.
	Critical bool `json:"critical,omitempty"`

	// Reuse tells why an artifact was used again, or why not. It is empty if the build
	// did not come so far.
	Reuse string `json:"reuse,omitempty"`

	// Calls counts the calls to the platform's API that the build made, by action. A
	// request that several builds wait for counts for the one that made it.
	Calls []Calls `json:"calls,omitempty"`

	Kept  string `json:"kept,omitempty"` // how to reach the machine that a failed build keeps
	Steps []Step `json:"steps,omitempty"`

	// Resources are those that were created and not removed: the parts of the artifact,
	// and what a failed clean-up left.
	Resources []bake.Resource `json:"resources,omitempty"`
}

// Calls counts the calls of one action of a platform's API.
type Calls struct {
	Action  string        `json:"action"` // with the service: "EC2 RunInstances"
	Count   int           `json:"count"`  // with those that failed
	Failed  int           `json:"failed,omitempty"`
	Elapsed time.Duration `json:"elapsed_ns"` // of all
}

// TotalCalls returns the number of API calls and how many of them failed.
func (i *Image) TotalCalls() (total Calls) {
	for _, c := range i.Calls {
		total.Count += c.Count
		total.Failed += c.Failed
		total.Elapsed += c.Elapsed
	}
	return total
}

// Elapsed returns the time from the image's first event to its last.
func (i *Image) Elapsed() time.Duration { return i.Finished.Sub(i.Started) }

// Failed reports whether the image is neither there nor still being baked.
func (i *Image) Failed() bool {
	return slices.Contains([]bake.Status{bake.StatusFailed, bake.StatusSkipped, bake.StatusCanceled}, i.Status)
}

// FailedStep returns the first step that failed, or nil.
func (i *Image) FailedStep() *Step {
	for n := range i.Steps {
		if s := &i.Steps[n]; s.Err != "" && !s.Undo {
			return s
		}
	}
	return nil
}

// A Step describes one step of a build, with all of its attempts.
type Step struct {
	Name     string        `json:"name"`
	Undo     bool          `json:"undo,omitempty"` // the clean-up of a step, whose name follows "undo"
	Started  time.Time     `json:"started"`
	Elapsed  time.Duration `json:"elapsed_ns"`         // zero while the step runs
	Attempts int           `json:"attempts,omitempty"` // 1 unless attempts failed
	Bytes    int64         `json:"bytes,omitempty"`    // sent to the machine and read from it, large files only
	Err      string        `json:"error,omitempty"`    // of the last attempt
	Lines    []Line        `json:"lines,omitempty"`

	// Omitted is the number of lines that are missing in the middle of Lines; see
	// [Recorder.Lines].
	Omitted int `json:"omitted,omitempty"`
}

// A Line is something that a step reported.
type Line struct {
	Time time.Time      `json:"time"`
	Kind bake.EventKind `json:"kind"` // of the event: output, a message, a command, a failed attempt
	Text string         `json:"text"`
	Err  bool           `json:"stderr,omitempty"` // the output was written to standard error
}
