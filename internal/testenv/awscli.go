package testenv

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// AWSCLIOptions configures the client of AWSCLI.
type AWSCLIOptions struct {
	// Endpoint is the URL of the service. It is required, since tests must not
	// call AWS.
	Endpoint string

	// Region is the default region. Empty means us-east-1.
	Region string

	// Env is added to the client's environment.
	Env map[string]string
}

// An AWSError reports a failed command of the AWS client.
type AWSError struct {
	Args   []string // the client's arguments
	Status int      // its exit status
	Stderr string   // its standard error, with the code of the service's error
}

// Error returns the command, its status and its standard error.
func (e *AWSError) Error() string {
	return fmt.Sprintf("aws %s: exit status %d: %s", strings.Join(e.Args, " "), e.Status, strings.TrimSpace(e.Stderr))
}

// AWSCLI returns a func that runs the AWS command-line client, as in
// run("ec2", "describe-images"), and returns its standard output, which is JSON
// unless the arguments change that. If the client fails, the error is an
// [*AWSError]. The func is safe for concurrent use. Without the client, AWSCLI
// skips t, as Need does.
//
// The client does not use the user's configuration: its home is a temporary
// directory and its credentials are made up. It does not retry, and it is killed
// when t ends. If the interpreter named by BAKESTONE_PYTHON, or else python3, has
// the client as a package, one process runs all commands of the func in
// sequence; otherwise each command is a process.
func AWSCLI(t testing.TB, opts *AWSCLIOptions) func(args ...string) (stdout string, err error) {
	t.Helper()
	path := Need(t, "awscli")
	if opts == nil || opts.Endpoint == "" {
		t.Fatal("testenv: AWSCLI needs an Endpoint")
	}
	home := t.TempDir()
	ours := map[string]string{
		"HOME":                        home,
		"USERPROFILE":                 home,
		"AWS_CONFIG_FILE":             filepath.Join(home, "config"),
		"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(home, "credentials"),
		"AWS_ACCESS_KEY_ID":           "AKIDBAKESTONETEST",
		"AWS_SECRET_ACCESS_KEY":       "not a secret",
		"AWS_EC2_METADATA_DISABLED":   "true",
		"AWS_MAX_ATTEMPTS":            "1",
		"AWS_PAGER":                   "",
		"AWS_CLI_AUTO_PROMPT":         "off",
		"AWS_DEFAULT_OUTPUT":          "json",
		"AWS_DEFAULT_REGION":          "us-east-1",
		"AWS_ENDPOINT_URL":            opts.Endpoint,
		"NO_PROXY":                    "127.0.0.1,localhost",
		"no_proxy":                    "127.0.0.1,localhost",
	}
	if opts.Region != "" {
		ours["AWS_DEFAULT_REGION"] = opts.Region
	}
	maps.Copy(ours, opts.Env)

	// Of several entries for a variable, the last one counts.
	env := environ()
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		env = append(env, name+"="+ours[name])
	}
	if python := awsPython(t.Context()); python != "" {
		worker := newAWSWorker(t, python, env)
		return func(args ...string) (string, error) { return worker.run(args) }
	}
	return func(args ...string) (string, error) { return runAWS(t.Context(), path, env, args) }
}
