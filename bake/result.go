package bake

import "time"

// A Status tells how the build of an image ended. With StatusFailed, StatusSkipped,
// StatusCanceled, StatusSuspended and StatusLost, Result.Err is set.
type Status string

// The statuses of a build.
const (
	StatusBaked       Status = "baked"       // a new artifact was created
	StatusReused      Status = "reused"      // an artifact with the same fingerprint was found
	StatusProvisioned Status = "provisioned" // Image.ProvisionOnly succeeded
	StatusFailed      Status = "failed"      // a step failed; Result.Err names it
	StatusSkipped     Status = "skipped"     // the source image failed or Bake stopped
	StatusCanceled    Status = "canceled"    // the context ended, or Cancel was called
	StatusSuspended   Status = "suspended"   // the context ended with ErrSuspended; the record is free
	StatusLost        Status = "lost"        // the lease was lost; another process may have the build
)

// Statuses returns all statuses, those of success first.
func Statuses() []Status {
	return []Status{StatusBaked, StatusReused, StatusProvisioned, StatusFailed, StatusSkipped, StatusCanceled}
}

// A Result describes the build of one image.
type Result struct {
	Image    *Image
	Build    string // the build id; empty if the build never started and has no record
	Status   Status
	Artifact Artifact     // set if baked or reused, also if only a publisher failed
	Err      error        // an *Error, possibly joined with clean-up errors
	Kept     *KeptMachine // the machine kept by Options.OnFailure, if any
	Steps    []StepResult

	// BegunAgain tells how the definition differed from that of the record to resume, if
	// the build was therefore undone and begun again; see Options.OnChange.
	BegunAgain string

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
