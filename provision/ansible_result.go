package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// ansibleCallback is an Ansible plugin that records failed tasks and the hosts that
// had a play, independent of the output format. Ansible censors the results of tasks
// with no_log.
const ansibleCallback = `import json
import os

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = 'aggregate'
    CALLBACK_NAME = 'bakestone'
    CALLBACK_NEEDS_ENABLED = False

    def _write(self, **line):
        with open(os.environ['BAKESTONE_ANSIBLE_RESULTS'], 'a') as out:
            out.write(json.dumps(line, default=str) + '\n')

    def _failed(self, result, reached):
        details = result._result
        items = [i for i in details.get('results') or [] if isinstance(i, dict) and i.get('failed')]
        if items:
            details = items[-1]
        keys = ('msg', 'censored', 'module_stderr', 'module_stdout', 'stderr', 'stdout')
        self._write(task=result._task.get_name(), reached=reached,
                    messages=[str(details[k]) for k in keys if details.get(k)])

    def v2_runner_on_failed(self, result, ignore_errors=False):
        if not ignore_errors:
            self._failed(result, True)

    def v2_runner_on_unreachable(self, result):
        self._failed(result, False)

    def v2_playbook_on_stats(self, stats):
        self._write(hosts=sorted(stats.processed))
`

// ansibleResults are the plugin's records of a run.
type ansibleResults struct {
	failed *ansibleRecord // last failed task
	ended  bool           // the run reached its end, so hosts is known
	hosts  []string       // hosts that had a play
}

// An ansibleRecord is a failed task or, at the end of a run, the hosts.
type ansibleRecord struct {
	Task     string   `json:"task"`
	Reached  bool     `json:"reached"`
	Messages []string `json:"messages"`
	Hosts    []string `json:"hosts"`
}

// parseAnsibleResults parses the plugin's records.
func parseAnsibleResults(text io.Reader) (ansibleResults, error) {
	var results ansibleResults
	for lines := json.NewDecoder(text); ; {
		var record ansibleRecord
		err := lines.Decode(&record)
		if errors.Is(err, io.EOF) {
			return results, nil
		}
		if err != nil {
			return results, fmt.Errorf("parse Ansible results: %w", err)
		}
		if record.Task != "" {
			results.failed = &record
		}
		if record.Hosts != nil {
			results.ended, results.hosts = true, record.Hosts
		}
	}
}

// explain wraps err, the result of ansible-playbook, with the failed task's
// messages or the meaning of the exit status.
func (r ansibleResults) explain(err error, secrets []bake.Secret) error {
	var exit *bake.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	const usageStatus = 2 // also the status of a failed task
	if r.failed == nil && exit.Status == usageStatus {
		return fmt.Errorf("invalid options: %w", err)
	}
	if r.failed == nil {
		return fmt.Errorf("%s: %w", ansibleMeaning(exit.Status), err)
	}
	messages := shorten(maskSecretsIn(strings.TrimSpace(strings.Join(r.failed.Messages, "\n")), secrets))
	meaning := "failed"
	if !r.failed.Reached {
		meaning = "could not reach the machine"
	}
	return fmt.Errorf("task %q %s: %s: %w", r.failed.Task, meaning, messages, err)
}
