package bake

import "time"

// A Status tells how the build of an image ended. With StatusFailed, StatusSkipped
// and StatusCanceled, Result.Err is set.
type Status string

// The statuses of a build.
const (
	StatusBaked       Status = "baked"       // a new artifact was created
	StatusReused      Status = "reused"      // an artifact with the same fingerprint was found
	StatusProvisioned Status = "provisioned" // Image.ProvisionOnly succeeded
	StatusFailed      Status = "failed"      // a step failed; Result.Err names it
	StatusSkipped     Status = "skipped"     // the source image failed or Bake stopped
	StatusCanceled    Status = "canceled"    // the context ended
)

// Statuses returns all statuses, those of success first.
func Statuses() []Status {
	return []Status{StatusBaked, StatusReused, StatusProvisioned, StatusFailed, StatusSkipped, StatusCanceled}
}

// A Result describes the build of one image.
type Result struct {
	Image    *Image
	Build    string // the build id; empty if the build never started
	Status   Status
	Artifact Artifact     // set if baked or reused, also if only a publisher failed
	Err      error        // an *Error, possibly joined with clean-up errors
	Kept     *KeptMachine // the machine kept by Options.OnFailure, if any
	Steps    []StepResult
	Started  time.Time
	Finished time.Time
}

// String returns the image's name, the status and, if there is one, the artifact:
// "web: failed".
func (r *Result) String() string {
	text := r.Image.Name + ": " + string(r.Status)
	if r.Artifact != nil {
		text += " " + r.Artifact.String()
	}
	return text
}

// A StepResult describes one step of a build.
type StepResult struct {
	Name     string
	Attempts int
	Elapsed  time.Duration
	Err      error
}
