package provision

import (
	"bytes"
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

// A WaitCloudInit waits until cloud-init has finished what it does at boot, and
// fails with its errors. A machine without cloud-init, or where it is disabled,
// has nothing to wait for. The zero value works; put it into a Timeout to bound
// it.
//
// Machines whose cloud-init knows no "status", before 17.2, are asked for the
// file that it writes in the end.
type WaitCloudInit struct {
	// AllowDegraded takes a cloud-init that has finished with warnings, which
	// it calls recoverable errors, for a success. The build then says what they
	// were. Releases before 23.4 do not tell.
	AllowDegraded bool
}

// String is "wait for cloud-init".
func (w WaitCloudInit) String() string { return "wait for cloud-init" }

// Validate finds nothing wrong.
func (w WaitCloudInit) Validate() error { return nil }

// DeclareInputs declares what is taken for a success.
func (w WaitCloudInit) DeclareInputs(in *bake.Inputs) error {
	in.Value("allow degraded", w.AllowDegraded)
	return nil
}

// Provision waits. A machine that cloud-init restarts is waited for, too.
func (w WaitCloudInit) Provision(ctx context.Context, m bake.Machine) error {
	const restarts = 3
	for restart := 1; ; restart++ {
		status, err := askCloudInit(ctx, m)
		if errors.Is(err, bake.ErrDisconnected) && restart < restarts && ctx.Err() == nil {
			bake.RunFromContext(ctx).Say("the machine went away while cloud-init was at work; waiting for it to come back")
			continue
		}
		if err != nil {
			return fmt.Errorf("ask cloud-init: %w", err)
		}
		return w.judge(ctx, status)
	}
}

// A cloudInitStatus is what "cloud-init status --format json" says.
type cloudInitStatus struct {
	Status      string              `json:"status"`          // "done", "error", "disabled"; ours: "absent"
	Extended    string              `json:"extended_status"` // since 23.4: "degraded done"
	Errors      []string            `json:"errors"`
	Recoverable map[string][]string `json:"recoverable_errors"` // by their level
}

// judge says what the status means for the build. The exit status is no help:
// it is 2 for a degraded cloud-init, except where a distribution has made it 0
// again.
func (w WaitCloudInit) judge(ctx context.Context, s cloudInitStatus) error {
	problems := slices.Clone(s.Errors)
	for _, level := range slices.Sorted(maps.Keys(s.Recoverable)) {
		for _, text := range s.Recoverable[level] {
			problems = append(problems, level+": "+text)
		}
	}
	var told strings.Builder
	for _, p := range problems {
		told.WriteString("\n\t" + strings.TrimSpace(p))
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
		return fmt.Errorf("cloud-init ended with status %q%s", s.Status, &told)
	case degraded && !w.AllowDegraded:
		return fmt.Errorf("cloud-init ended %s: set WaitCloudInit.AllowDegraded to go on all the same%s", s.Extended, &told)
	case degraded:
		bake.RunFromContext(ctx).Say("cloud-init ended %s%s", s.Extended, &told)
	}
	return nil
}

// usageError is the exit status of a cloud-init that does not know an option.
const usageError = 2

// askCloudInit waits for the end, by the best way that the machine's release
// knows.
func askCloudInit(ctx context.Context, m bake.Machine) (cloudInitStatus, error) {
	const ask = `if ! command -v cloud-init >/dev/null 2>&1; then echo '{"status": "absent"}'; else cloud-init status --wait --format json; fi`
	out, _, err := outputAndStatus(ctx, m, ask)
	if err != nil {
		return cloudInitStatus{}, err
	}
	if at := strings.IndexByte(out, '{'); at >= 0 {
		var s cloudInitStatus
		if err := json.Unmarshal([]byte(out[at:]), &s); err != nil {
			return s, fmt.Errorf("its answer: %w", err)
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

// parseCloudInit reads "status: error" and, behind "detail:", what went wrong.
// What says nothing is known by its exit status.
func parseCloudInit(out string, exit int) cloudInitStatus {
	// While it waits it prints dots.
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

// awaitBootFinished waits for the last file that cloud-init writes, and reads
// its errors from the one before.
func awaitBootFinished(ctx context.Context, m bake.Machine) (cloudInitStatus, error) {
	const ask = "[ ! -e /var/lib/cloud/instance/boot-finished ] || cat /run/cloud-init/result.json"
	var result struct {
		V1 struct {
			Errors []string `json:"errors"`
		} `json:"v1"`
	}
	err := clock.WaitFor(ctx, bake.RunFromContext(ctx).Clock, bootFinishedPause, func(ctx context.Context) (bool, error) {
		out, err := bake.Output(ctx, m, bake.Sh(ask))
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

// outputAndStatus is what a command wrote and how it exited.
func outputAndStatus(ctx context.Context, m bake.Machine, line string) (out string, status int, err error) {
	var stdout bytes.Buffer
	err = m.Run(ctx, &bake.Cmd{Line: line, Stdout: &stdout})
	if exit, ok := errors.AsType[*bake.ExitError](err); ok && exit.Signal == "" {
		return stdout.String(), exit.Status, nil
	}
	return stdout.String(), 0, err
}
