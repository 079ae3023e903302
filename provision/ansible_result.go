package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// ansibleCallback is a plugin of Ansible's that writes down which tasks failed
// and which hosts had a play, whatever the output is made to look like. Results
// of tasks with no_log reach a plugin censored.
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
        said = result._result
        items = [i for i in said.get('results') or [] if isinstance(i, dict) and i.get('failed')]
        if items:
            said = items[-1]
        keys = ('msg', 'censored', 'module_stderr', 'module_stdout', 'stderr', 'stdout')
        self._write(task=result._task.get_name(), reached=reached,
                    said=[str(said[k]) for k in keys if said.get(k)])

    def v2_runner_on_failed(self, result, ignore_errors=False):
        if not ignore_errors:
            self._failed(result, True)

    def v2_runner_on_unreachable(self, result):
        self._failed(result, False)

    def v2_playbook_on_stats(self, stats):
        self._write(hosts=sorted(stats.processed))
`

// ansibleResults is what the plugin has written.
type ansibleResults struct {
	failed *ansibleFailure // the last
	ended  bool            // it has told the hosts
	hosts  []string        // that had a play
}

type ansibleFailure struct {
	Task    string   `json:"task"`
	Reached bool     `json:"reached"`
	Said    []string `json:"said"`
	Hosts   []string `json:"hosts"`
}

// parseAnsibleResults reads what the plugin has written.
func parseAnsibleResults(text io.Reader) (ansibleResults, error) {
	var results ansibleResults
	for lines := json.NewDecoder(text); ; {
		var said ansibleFailure
		err := lines.Decode(&said)
		if errors.Is(err, io.EOF) {
			return results, nil
		}
		if err != nil {
			return results, fmt.Errorf("results of Ansible: %w", err)
		}
		if said.Task != "" {
			results.failed = &said
		}
		if said.Hosts != nil {
			results.ended, results.hosts = true, said.Hosts
		}
	}
}

// longestSaid is how much of what a task said goes into an error.
const longestSaid = 2000

// explain puts the meaning of the exit status and the message of the task
// before err, the end of ansible-playbook.
func (r ansibleResults) explain(err error, hidden []bake.Secret) error {
	var exit *bake.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	const wrongUsage = 2 // also of a task that failed
	if r.failed == nil && exit.Status == wrongUsage {
		return fmt.Errorf("its options are wrong: %w", err)
	}
	if r.failed == nil {
		return fmt.Errorf("%s: %w", ansibleMeaning(exit.Status), err)
	}
	said := cutSecrets(strings.TrimSpace(strings.Join(r.failed.Said, "\n")), hidden)
	if len(said) > longestSaid {
		said = strings.ToValidUTF8(said[:longestSaid], "") + " …"
	}
	meaning := "failed"
	if !r.failed.Reached {
		meaning = "could not reach the machine"
	}
	return fmt.Errorf("task %q %s: %s: %w", r.failed.Task, meaning, said, err)
}
