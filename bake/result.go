package bake

import "time"

// A Status is how the baking of one image ended: StatusBaked, StatusReused and
// StatusProvisioned are good ends; StatusFailed, StatusSkipped and
// StatusCanceled come with a Result.Err.
type Status string

// The ends of a build.
const (
	StatusBaked       Status = "baked"       // there is an artifact
	StatusReused      Status = "reused"      // an artifact with the same fingerprint was there
	StatusProvisioned Status = "provisioned" // there would be one, but for Image.ProvisionOnly
	StatusFailed      Status = "failed"      // Result.Err says in which step
	StatusSkipped     Status = "skipped"     // its source failed, or Bake stopped before it began
	StatusCanceled    Status = "canceled"    // the context ended
)

// A Result is how the baking of one image ended.
type Result struct {
	Image    *Image
	Build    string // the build id; empty when it did not begin
	Status   Status
	Artifact Artifact     // nil unless it is baked or reused; also set when only a publisher failed
	Err      error        // an *Error, possibly joined with errors of the clean-up
	Kept     *KeptMachine // the machine that Options.OnFailure kept
	Steps    []StepResult
	Started  time.Time
	Finished time.Time
}

// A StepResult is how one step went.
type StepResult struct {
	Name     string
	Attempts int
	Elapsed  time.Duration
	Err      error
}
