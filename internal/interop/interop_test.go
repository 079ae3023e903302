package interop_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

const (
	// stepTimeout bounds the wait for the values of one step.
	stepTimeout = 2 * time.Minute

	// latency is how long state changes take in ec2test. It is long enough for
	// responses to show the intermediate states.
	latency = 100 * time.Millisecond
)

// A scenario is a sequence of steps that the client runs on both servers.
type scenario struct {
	name  string
	steps []step
	known []difference
}

func scenarios() []scenario {
	return []scenario{
		{"image lifecycle", life(), lifeDifferences()},
		{"images", images(), imagesDifferences()},
		{"disks", disks(), disksDifferences()},
		{"launch templates", templates(), templatesDifferences()},
		{"requests", requests(), requestsDifferences()},
		{"services", services(), servicesDifferences()},
	}
}

// Except for the known differences, ec2test responds like moto in all scenarios.
func TestScenariosMatchMoto(t *testing.T) {
	testenv.Need(t, "awscli")
	moto := testenv.Moto(t)
	// The scenarios start from the one image that both servers have.
	server := ec2test.New(&ec2test.Options{
		Images: []ec2test.Image{{
			Name: baseName, Owner: canonical, OwnerAlias: "amazon", Description: baseText, SizeGiB: 15,
			Created: time.Date(2017, time.July, 21, 0, 0, 0, 0, time.UTC),
		}},
		Latency: ec2test.Latency{Running: latency, Stopped: latency, Terminated: latency, Snapshot: latency, Image: latency},
	})
	t.Cleanup(server.Close)
	server.AddRole(ec2test.Role{ARN: someRole})
	theirs := testenv.AWSCLI(t, &testenv.AWSCLIOptions{Endpoint: moto})
	ours := testenv.AWSCLI(t, &testenv.AWSCLIOptions{Endpoint: newCheckingProxy(t, server.URL())})
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) { s.compare(t, theirs, ours) })
	}
}

// client runs the AWS command-line client with the endpoint of one server.
type client func(args ...string) (string, error)

// compare runs the scenario on both servers concurrently and compares their
// responses.
func (s scenario) compare(t *testing.T, moto, embedded client) {
	t.Helper()
	var theirs, ours map[string]response
	var theirErr, ourErr error
	var both sync.WaitGroup
	both.Go(func() { theirs, theirErr = runSteps(s.steps, moto) })
	both.Go(func() { ours, ourErr = runSteps(s.steps, embedded) })
	both.Wait()
	if err := errors.Join(wrap("moto", theirErr), wrap("ec2test", ourErr)); err != nil {
		t.Fatal(err)
	}
	used := make([]bool, len(s.known))
	for _, step := range s.steps {
		for _, diff := range compare(step.name, theirs[step.name], ours[step.name]) {
			i := slices.IndexFunc(s.known, func(k difference) bool { return k.covers(diff) })
			if i < 0 {
				t.Errorf("unknown difference: %s", diff)
				continue
			}
			used[i] = true
		}
	}
	for i, k := range s.known {
		if !used[i] {
			t.Errorf("known difference did not occur: %s", k)
		}
	}
}

// runSteps runs steps in order and returns their normalized responses by step
// name.
func runSteps(steps []step, aws client) (map[string]response, error) {
	responses := map[string]response{}
	captured := map[string]string{}
	for _, step := range steps {
		var args []string
		for _, arg := range step.args {
			args = append(args, os.Expand(arg, func(name string) string {
				if name == "$" { // of $$
					return name
				}
				return captured[name]
			}))
		}
		r, err := repeat(step, func() (response, error) { return call(aws, args) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
		for name, path := range step.capture {
			if captured[name] = r[path]; r[path] == "" {
				return nil, fmt.Errorf("%s: no %s in %v", step.name, path, r)
			}
		}
		responses[step.name] = r.normalize(captured)
	}
	return responses, nil
}

// repeat repeats a call until the response has the values that s waits for.
func repeat(s step, call func() (response, error)) (response, error) {
	for end := time.Now().Add(stepTimeout); ; time.Sleep(50 * time.Millisecond) {
		r, err := call()
		if err != nil {
			return nil, err
		}
		done := true
		for path, want := range s.until {
			done = done && r[path] == want
		}
		if done {
			return r, nil
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("timeout waiting for %v: %v", s.until, r)
		}
	}
}

// broken is the error code of a response that the client cannot parse. Moto
// sends one for a call that it does not implement or fails to handle.
const broken = "(broken)"

// call runs the client once. An error of the service is a response, not an
// error.
func call(aws client, args []string) (response, error) {
	out, err := aws(args...)
	if failed, ok := errors.AsType[*testenv.AWSError](err); ok {
		code := regexp.MustCompile(`An error occurred \(([^)]+)\)`).FindStringSubmatch(failed.Stderr)
		switch {
		case code == nil && strings.Contains(failed.Stderr, "Unable to parse response"):
			return response{"error": broken}, nil
		case code == nil:
			return nil, err
		}
		return response{"error": code[1]}, nil
	}
	if err != nil {
		return nil, err
	}
	return flatten(out)
}

// compare lists the differences between two responses in the order of their
// paths.
func compare(name string, theirs, ours response) []difference {
	paths := map[string]bool{}
	for path := range theirs {
		paths[path] = true
	}
	for path := range ours {
		paths[path] = true
	}
	var out []difference
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if diff := (difference{step: name, path: path, moto: theirs.at(path), ours: ours.at(path)}); diff.moto != diff.ours {
			out = append(out, diff)
		}
	}
	return out
}

// at returns the value of a leaf, or absent.
func (r response) at(path string) string {
	if value, ok := r[path]; ok {
		return value
	}
	return absent
}

func wrap(server string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %s", server, strings.TrimSpace(err.Error()))
}
