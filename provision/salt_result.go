package provision

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// saltResults are the results of a run of salt-call: those of every state, or
// errors that prevented the run.
type saltResults struct {
	states []saltState
	errors []string
}

type saltState struct {
	id       string
	Result   *bool  `json:"result"` // nil in a test run
	Comment  string `json:"comment"`
	Changes  json.RawMessage
	SLS      string `json:"__sls__"`
	Order    int    `json:"__run_num__"`
	function string // module and function: "file.managed"
}

// parseSaltResults parses the JSON output of salt-call. A run that could not apply
// states has a list of errors instead.
func parseSaltResults(text []byte) (saltResults, error) {
	var results saltResults
	var all struct {
		Local json.RawMessage `json:"local"`
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return results, errors.New("salt-call wrote no results")
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return results, fmt.Errorf("parse results of salt-call: %w", err)
	}
	var states map[string]saltState
	if json.Unmarshal(all.Local, &states) != nil {
		var one string
		if json.Unmarshal(all.Local, &results.errors) != nil && json.Unmarshal(all.Local, &one) == nil {
			results.errors = []string{one}
		}
		if len(results.errors) == 0 {
			return results, fmt.Errorf("unexpected results of salt-call: %.200s", all.Local)
		}
		return results, nil
	}
	for key, state := range states {
		// Keys look like "file_|-motd_|-/etc/motd_|-managed".
		parts := strings.Split(key, "_|-")
		state.id, state.function = key, ""
		if len(parts) >= 4 {
			state.id, state.function = parts[1], parts[0]+"."+parts[len(parts)-1]
		}
		results.states = append(results.states, state)
	}
	slices.SortFunc(results.states, func(a, b saltState) int { return a.Order - b.Order })
	return results, nil
}

func (s saltState) failed() bool { return s.Result != nil && !*s.Result }

func (s saltState) changed() bool {
	text := strings.TrimSpace(string(s.Changes))
	return text != "" && text != "{}" && text != "null"
}

func saltMeaning(status int) string {
	switch status {
	case 1:
		return "the states could not be rendered"
	case 2:
		return "states failed"
	}
	return fmt.Sprintf("salt-call exited with status %d", status)
}

// runError returns the error of a run with these results. The command ended with err,
// and reading the results with readErr. A failed state is an error even if the exit
// status is 0.
func (r saltResults) runError(ctx context.Context, err, readErr error, messages []string, secrets []bake.Secret) error {
	failed, changed := r.errors, 0
	for _, s := range r.states {
		if s.failed() {
			failed = append(failed, fmt.Sprintf("%s (%s in %s): %s", s.id, s.function, s.SLS, strings.TrimSpace(s.Comment)))
		}
		if s.changed() {
			changed++
		}
	}
	meaning := saltMeaning
	switch {
	case len(r.states) > 0:
		summary := fmt.Sprintf("%d of %d states failed, %d made changes", len(failed), len(r.states), changed)
		bake.RunFromContext(ctx).Say("salt: %s", summary)
		meaning = func(int) string { return summary }
	case err == nil && len(r.errors) == 0 && readErr == nil:
		return errors.New("salt-call succeeded but applied no states")
	}
	if len(failed) > 0 {
		messages = failed[:min(len(failed), maxMessages)]
		if err == nil {
			err = &bake.ExitError{Command: saltCall, Output: messages}
		}
	}
	if err == nil {
		return readErr
	}
	return toolError(err, meaning, messages, secrets)
}
