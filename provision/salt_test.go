package provision_test

import (
	"context"
	"encoding/json"
	"errors"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/provision"
)

// The error combines the results and the exit status of salt-call.
func TestSaltResults(t *testing.T) {
	const good = `"file_|-a_|-/etc/a_|-managed": {"result": true, "comment": "", "changes": {"diff": "x"}, "__sls__": "web", "__run_num__": 1}`
	const bad = `"cmd_|-b_|-b_|-run": {"result": false, "comment": "returned 7\n", "changes": {}, "__sls__": "web", "__run_num__": 0}`
	for name, test := range map[string]struct {
		results string
		status  int
		stderr  string
		want    []string // nil means success
		exit    bool
	}{
		"success":            {results: `{"local": {` + good + `}}`},
		"a failed state":     {results: `{"local": {` + good + `, ` + bad + `}}`, status: 2, exit: true, want: []string{"1 of 2 states failed, 1 made changes: b (cmd.run in web): returned 7: exit status 2"}},
		"without its status": {results: `{"local": {` + bad + `}}`, exit: true, want: []string{"1 of 1 states failed, 0 made changes: b (cmd.run in web): returned 7: exit status 0"}},
		"not rendered":       {results: `{"local": ["Rendering SLS failed"]}`, status: 1, exit: true, want: []string{"the states could not be rendered: Rendering SLS failed: exit status 1"}},
		"rendered by none":   {results: `{"local": ["No states found"]}`, exit: true, want: []string{"No states found"}},
		"one text":           {results: `{"local": "Pillar failed to render"}`, status: 1, exit: true, want: []string{"Pillar failed to render"}},
		"no states":          {results: `{"local": {}}`, want: []string{"succeeded but applied no states"}},
		"no results":         {status: 3, stderr: "[CRITICAL] Could not import\n", exit: true, want: []string{"salt-call exited with status 3: Could not import"}},
		"nothing at all":     {want: []string{"salt-call wrote no results"}},
		"not JSON":           {results: "Traceback", status: 1, exit: true, want: []string{"exit status 1"}},
		"a number":           {results: `{"local": 7}`, want: []string{"unexpected results of salt-call: 7"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := baketest.NewMachine(nil)
			m.OnPrefix("command -v", baketest.Reply{Stdout: "/usr/bin/salt-call"})
			config := map[string]any{}
			m.OnPrefix("/usr/bin/salt-call --local", baketest.Reply{Status: test.status, Stderr: test.stderr, Do: func(_ context.Context, cmd *bake.Cmd) error {
				dir := strings.TrimPrefix(cmd.Args[2], "--config-dir=")
				text, err := m.ReadFile(path.Join(dir, "minion.d/99-bakestone.conf"))
				if err == nil {
					err = json.Unmarshal(text, &config)
				}
				if test.results != "" {
					err = errors.Join(err, m.WriteFile(strings.TrimPrefix(cmd.Args[4], "--out-file="), []byte(test.results), 0o600))
				}
				return err
			}})
			err := provision.Salt{
				FS: fstest.MapFS{"states/web.sls": {}}, States: "states", Apply: []string{"web"}, ID: "oven", SaltEnv: "dev",
			}.Provision(t.Context(), m)
			if (err == nil) != (test.want == nil) {
				t.Fatalf("Provision() = %v, want %q", err, test.want)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Provision() = %v, want it to contain %q", err, want)
				}
			}
			var exit *bake.ExitError
			if errors.As(err, &exit) != test.exit {
				t.Errorf("Provision() = %v, want an *ExitError: %v", err, test.exit)
			}
			roots, _ := config["file_roots"].(map[string]any)
			if config["id"] != "oven" || roots["dev"] == nil || config["file_client"] != "local" {
				t.Errorf("minion configuration = %v", config)
			}
			nothingLeft(t, m)
		})
	}
}
