package bake

import (
	"log/slog"
	"slices"
	"time"
)

// An EventKind is the kind of an Event.
type EventKind string

// The kinds of events, with the fields they set besides Time, Image and Build.
const (
	BuildStarted    EventKind = "build started"     // Delay (how long the image waited for its source image and its turn)
	BuildQueued     EventKind = "build queued"      // Text (the limit that is reached), Queue: it waits for Options.Limits
	BuildResumed    EventKind = "build resumed"     // Step: the step it continues with, or empty if only the clean-up is left
	BuildBegunAgain EventKind = "build begun again" // Text: how the definition changed; the earlier attempt is undone first
	BuildTaken      EventKind = "build taken over"  // Text: the process whose lease ended
	BuildFinished   EventKind = "build finished"    // Status, Elapsed, Err, Text (the artifact), Artifact (its id)
	StepStarted     EventKind = "step started"      // Step, Attempt
	StepFinished    EventKind = "step finished"     // Step, Elapsed, Err
	StepRetried     EventKind = "step retried"      // Step, Attempt (the failed one), Delay, Err
	BuildRestarted  EventKind = "build restarted"   // Step: the first step to run again, Err
	UndoFinished    EventKind = "undo finished"     // Step, Elapsed, Err
	UndoSkipped     EventKind = "undo skipped"      // Step: the definition does not have it; Err
	RecordRemoved   EventKind = "record removed"    // Status: of the ended build whose record was removed
	CommandStarted  EventKind = "command started"   // Step, Text (the command)
	CommandFinished EventKind = "command finished"  // Step, Text (the command), Elapsed, Err
	APICalled       EventKind = "API call"          // Step, Text (service and action), Attempt, Elapsed, Err
	OutputLine      EventKind = "output"            // Step, Stream, Text (one line)
	BytesMoved      EventKind = "bytes moved"       // Step, Text (the path), Done, Total
	Progressed      EventKind = "progress"          // Step, Resource, Done and Total (percent)
	ResourceCreated EventKind = "resource created"  // Step, Resource
	ResourceRemoved EventKind = "resource removed"  // Step, Resource
	Message         EventKind = "message"           // Step, Text, Err (if it is a warning)
	BuildPaused     EventKind = "build paused"      // Step, Text (how to reach the machine)
	MachineKept     EventKind = "machine kept"      // Text (how to reach it)
)

// An Event reports something that happened in a build. Secrets are masked in its
// texts. Characters that a terminal acts on or does not show are replaced by visible
// ones, "\x1b" by "␛" and "\u202e" by its six ASCII characters, except in the output
// lines of a build with Options.RawOutput.
type Event struct {
	// Number rises with each event of a build, also when another process resumes it,
	// but may skip values. It is less than 1<<53. Zero if the event is not of a build.
	Number int64 `json:"number,omitempty"`

	Time     time.Time     `json:"time"`
	Kind     EventKind     `json:"kind"`
	Image    string        `json:"image"`
	Build    string        `json:"build,omitempty"`
	Step     string        `json:"step,omitempty"`
	Text     string        `json:"text,omitempty"`
	Stream   Stream        `json:"stream,omitempty"`
	Resource Resource      `json:"resource,omitzero"`
	Done     int64         `json:"done,omitempty"`  // bytes, or percent
	Total    int64         `json:"total,omitempty"` // zero if unknown
	Attempt  int           `json:"attempt,omitempty"`
	Delay    time.Duration `json:"delay,omitempty"`
	Elapsed  time.Duration `json:"elapsed,omitempty"`
	Queue    int           `json:"queue,omitempty"` // the build's place among those that wait, from 1
	Status   Status        `json:"status,omitempty"`
	Artifact string        `json:"artifact,omitempty"`
	Err      string        `json:"error,omitempty"`
}

// A Stream identifies one of a command's two outputs.
type Stream string

// The two outputs of a command.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// A Resource identifies something that a build creates on the platform.
type Resource struct {
	Kind string `json:"kind"` // the platform's term: "instance", "security group"
	ID   string `json:"id"`
}

// logTo writes e as one structured log record, whose message is the kind of e.
func (e Event) logTo(log *slog.Logger) {
	write := log.Info
	switch {
	case slices.Contains([]EventKind{OutputLine, BytesMoved, Progressed, CommandStarted, CommandFinished, APICalled}, e.Kind):
		write = log.Debug
	case e.Status == StatusFailed:
		write = log.Error
	case e.Err != "":
		write = log.Warn
	}
	attrs := make([]any, 0, 8)
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	add("image", e.Image)
	add("build", e.Build)
	add("step", e.Step)
	add("text", e.Text)
	add("stream", string(e.Stream))
	add("resource_kind", e.Resource.Kind)
	add("resource", e.Resource.ID)
	add("status", string(e.Status))
	add("artifact", e.Artifact)
	add("error", e.Err)
	if e.Attempt > 0 {
		attrs = append(attrs, slog.Int("attempt", e.Attempt))
	}
	if e.Total > 0 || e.Done > 0 {
		attrs = append(attrs, slog.Int64("done", e.Done), slog.Int64("total", e.Total))
	}
	if e.Queue > 0 {
		attrs = append(attrs, slog.Int("queue", e.Queue))
	}
	add("delay", logged(e.Delay))
	add("elapsed", logged(e.Elapsed))
	write(string(e.Kind), attrs...)
}

// logged formats d, which a slog.Duration leaves to the handler: in JSON it is a number
// of nanoseconds.
func logged(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.Round(time.Millisecond).String()
}
