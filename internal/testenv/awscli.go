package testenv

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// AWSCLIOptions say where AWSCLI's client goes.
type AWSCLIOptions struct {
	// Endpoint is the URL of the service. Required: no test talks to AWS.
	Endpoint string

	// Region is the region asked for. Empty is us-east-1.
	Region string

	// Env is added to the environment of the client.
	Env map[string]string
}

// An AWSError is a command that the AWS client could not run, or that the
// service refused.
type AWSError struct {
	Args   []string // of the client
	Status int      // with which it ended
	Stderr string   // what it wrote there: the error of the service and its code
}

// Error has all of it.
func (e *AWSError) Error() string {
	return fmt.Sprintf("aws %s: exit status %d: %s", strings.Join(e.Args, " "), e.Status, strings.TrimSpace(e.Stderr))
}

// AWSCLI returns a func that runs the AWS command-line client with arguments,
// as in run("ec2", "describe-images"), and returns what it wrote to its
// standard output, as JSON unless the arguments say otherwise. A client that
// fails is an *AWSError. Without the client it skips t, as Need does. The func
// may be called from several goroutines.
//
// The client sees nothing of the user's: its home is a temporary directory, its
// credentials are made up, it does not retry, and a command is killed when t
// ends. Where the interpreter of BAKESTONE_PYTHON, or else python3, has the
// client as a package, one process runs the commands of one func, one after the
// other; elsewhere each has its own.
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

	// Of two entries of one name the last one counts.
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
