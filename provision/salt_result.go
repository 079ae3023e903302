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

// saltResultsOf is what salt-call says of a run: of every state, or why there
// are none.
type saltResultsOf struct {
	states []saltState
	errors []string
}

type saltState struct {
	id       string // with its module and function
	Result   *bool  `json:"result"` // nil is of a test run
	Comment  string `json:"comment"`
	Changes  json.RawMessage
	SLS      string `json:"__sls__"`
	Order    int    `json:"__run_num__"`
	function string
}

// parseSaltResults reads the output of salt-call in JSON. A run that did not
// come to its states says why in a list.
func parseSaltResults(text []byte) (saltResultsOf, error) {
	var results saltResultsOf
	var all struct {
		Local json.RawMessage `json:"local"`
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return results, errors.New("salt-call has written no results")
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return results, fmt.Errorf("results of salt-call: %w", err)
	}
	var states map[string]saltState
	if json.Unmarshal(all.Local, &states) != nil {
		var one string
		if json.Unmarshal(all.Local, &results.errors) != nil && json.Unmarshal(all.Local, &one) == nil {
			results.errors = []string{one}
		}
		if len(results.errors) == 0 {
			return results, fmt.Errorf("results of salt-call: %.200s", all.Local)
		}
		return results, nil
	}
	for key, state := range states {
		// "file_|-motd_|-/etc/motd_|-managed"
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
	return fmt.Sprintf("salt-call ended with status %d", status)
}

// ended is the error of a run that ended with err, of which these are the
// results. A state that failed is one whatever the exit status.
func (r saltResultsOf) ended(ctx context.Context, err, readErr error, said []string, hidden []bake.Secret) error {
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
		summary := fmt.Sprintf("%d of %d states failed, %d changed something", len(failed), len(r.states), changed)
		bake.RunFromContext(ctx).Say("salt: %s", summary)
		meaning = func(int) string { return summary }
	case err == nil && len(r.errors) == 0 && readErr == nil:
		return errors.New("salt-call succeeded without a single state")
	}
	if len(failed) > 0 {
		said = failed[:min(len(failed), mostMessages)]
		if err == nil {
			err = &bake.ExitError{Command: saltCall, Output: said}
		}
	}
	if err == nil {
		return readErr
	}
	return toolError(err, meaning, said, hidden)
}
