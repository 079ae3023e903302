package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// WaitCloudInit waits until cloud-init has finished its work at boot, and fails with
// cloud-init's errors. It does nothing if cloud-init is missing or disabled.
// The zero value works. It waits without a limit; wrap it in a [Timeout] to set one.
//
// For cloud-init before 17.2, which has no status command, it waits for the file
// boot-finished.
type WaitCloudInit struct {
	// AllowDegraded accepts a cloud-init that finished with warnings, its
	// "recoverable errors", and reports them as an event. Releases before 23.4 do
	// not list them.
	AllowDegraded bool
}

var (
	_ bake.Provisioner   = WaitCloudInit{}
	_ bake.Validator     = WaitCloudInit{}
	_ bake.InputDeclarer = WaitCloudInit{}
)

// String returns "wait for cloud-init".
func (w WaitCloudInit) String() string { return "wait for cloud-init" }

// Validate returns nil.
func (w WaitCloudInit) Validate() error { return nil }

// DeclareInputs declares AllowDegraded.
func (w WaitCloudInit) DeclareInputs(in *bake.Inputs) error {
	in.Value("allow degraded", w.AllowDegraded)
	return nil
}

// Provision waits for cloud-init, also if cloud-init restarts the machine.
func (w WaitCloudInit) Provision(ctx context.Context, m bake.Machine) error {
	const restarts = 3
	for restart := 1; ; restart++ {
		status, err := queryCloudInit(ctx, m)
		if errors.Is(err, bake.ErrDisconnected) && restart < restarts && ctx.Err() == nil {
			bake.RunFromContext(ctx).Say("connection lost while cloud-init was running; waiting for the machine")
			continue
		}
		if err != nil {
			return fmt.Errorf("query cloud-init: %w", err)
		}
		return w.result(ctx, status)
	}
}

// A cloudInitStatus is the output of "cloud-init status --format json".
type cloudInitStatus struct {
	Status      string              `json:"status"`          // "done", "error" or "disabled", or "absent" from queryCloudInit
	Extended    string              `json:"extended_status"` // since 23.4: "degraded done"
	Errors      []string            `json:"errors"`
	Recoverable map[string][]string `json:"recoverable_errors"` // by log level
}

// result returns the error that the status means for the build. The exit status
// does not tell: for a degraded cloud-init it is 2, but 0 on some distributions.
func (w WaitCloudInit) result(ctx context.Context, s cloudInitStatus) error {
	problems := slices.Clone(s.Errors)
	for _, level := range slices.Sorted(maps.Keys(s.Recoverable)) {
		for _, text := range s.Recoverable[level] {
			problems = append(problems, level+": "+text)
		}
	}
	var details strings.Builder
	for _, p := range problems {
		details.WriteString("\n\t" + strings.TrimSpace(p))
	}
	degraded := strings.Contains(s.Extended, "degraded")
	switch {
	case s.Status == "absent":
		bake.RunFromContext(ctx).Say("the machine has no cloud-init")
		return nil
	case s.Status == "disabled":
		bake.RunFromContext(ctx).Say("cloud-init is disabled on the machine")
		return nil
	case s.Status != "done" || len(s.Errors) > 0:
		return fmt.Errorf("cloud-init ended with status %q%s", s.Status, &details)
	case degraded && !w.AllowDegraded:
		return fmt.Errorf("cloud-init ended %s: set WaitCloudInit.AllowDegraded to accept this%s", s.Extended, &details)
	case degraded:
		bake.RunFromContext(ctx).Say("cloud-init ended %s%s", s.Extended, &details)
	}
	return nil
}

// usageError is cloud-init's exit status for an unknown option.
const usageError = 2

// queryCloudInit waits for cloud-init to finish, with the best command that the
// installed release supports.
func queryCloudInit(ctx context.Context, m bake.Machine) (cloudInitStatus, error) {
	const ask = `if ! command -v cloud-init >/dev/null 2>&1; then echo '{"status": "absent"}'; else cloud-init status --wait --format json; fi`
	out, _, err := outputAndStatus(ctx, m, ask)
	if err != nil {
		return cloudInitStatus{}, err
	}
	if at := strings.IndexByte(out, '{'); at >= 0 {
		var s cloudInitStatus
		if err := json.Unmarshal([]byte(out[at:]), &s); err != nil {
			return s, fmt.Errorf("parse status: %w", err)
		}
		return s, nil
	}
	out, status, err := outputAndStatus(ctx, m, "cloud-init status --wait --long")
	switch {
	case err != nil:
		return cloudInitStatus{}, err
	case status != usageError:
		return parseCloudInit(out, status), nil
	}
	return awaitBootFinished(ctx, m)
}

// parseCloudInit parses "status: error" and the details that follow. Without a
// status it falls back to the exit status.
func parseCloudInit(out string, exit int) cloudInitStatus {
	// Dots printed while waiting come first.
	_, out, _ = strings.Cut(out, "status:")
	word, rest, _ := strings.Cut(strings.TrimSpace(out), "\n")
	s := cloudInitStatus{Status: strings.TrimSpace(word)}
	if s.Status == "" {
		s.Status = "done"
		if exit != 0 {
			s.Status = "error"
		}
	}
	if s.Status == "error" {
		s.Errors = []string{strings.TrimSpace(rest)}
	}
	return s
}

const bootFinishedPause = 2 * time.Second

// awaitBootFinished waits for boot-finished, the last file that cloud-init writes,
// and reads the errors from result.json.
func awaitBootFinished(ctx context.Context, m bake.Machine) (cloudInitStatus, error) {
	const ask = "[ ! -e /var/lib/cloud/instance/boot-finished ] || cat /run/cloud-init/result.json"
	var result struct {
		V1 struct {
			Errors []string `json:"errors"`
		} `json:"v1"`
	}
	err := clock.WaitFor(ctx, bake.RunFromContext(ctx).Clock, bootFinishedPause, func(ctx context.Context) (bool, error) {
		out, err := bake.Output(ctx, m, &bake.Cmd{Line: ask, Quiet: true})
		if err != nil || out == "" {
			return false, err
		}
		return true, json.Unmarshal([]byte(out), &result)
	})
	s := cloudInitStatus{Status: "done", Errors: result.V1.Errors}
	if len(s.Errors) > 0 {
		s.Status = "error"
	}
	return s, err
}

// outputAndStatus returns a command's output and exit status.
func outputAndStatus(ctx context.Context, m bake.Machine, line string) (out string, status int, err error) {
	out, err = bake.Output(ctx, m, &bake.Cmd{Line: line, Quiet: true})
	if exit, ok := errors.AsType[*bake.ExitError](err); ok && exit.Signal == "" {
		return out, exit.Status, nil
	}
	return out, 0, err
}
