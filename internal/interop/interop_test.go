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
	// untilLimit bounds the wait of one step.
	untilLimit = 2 * time.Minute

	// short is how long the embedded EC2 takes for a change.
	short = 100 * time.Millisecond
)

// A scenario is a story that the client plays on both servers.
type scenario struct {
	name  string
	steps []step
	known []difference
}

func scenarios() []scenario {
	return []scenario{
		{"life of an image", life(), lifeDifferences()},
		{"images", images(), imagesDifferences()},
		{"disks", disks(), disksDifferences()},
		{"launch templates", templates(), templatesDifferences()},
		{"requests", requests(), requestsDifferences()},
		{"services", services(), servicesDifferences()},
	}
}

// Driven by the AWS command-line client through the scenarios, the embedded EC2
// answers as moto does, but for what the tables of differences say.
func TestSameAnswersAsMoto(t *testing.T) {
	testenv.Need(t, "awscli")
	moto := testenv.Moto(t)
	// The one image that the scenarios start from is moto's. Changes take some
	// time, so that the answers show the states between.
	server := ec2test.New(&ec2test.Options{
		Images: []ec2test.Image{{
			Name: baseName, Owner: canonical, Description: baseText, SizeGiB: 15,
			Created: time.Date(2017, time.July, 21, 0, 0, 0, 0, time.UTC),
		}},
		Latency: ec2test.Latency{Running: short, Stopped: short, Terminated: short, Snapshot: short, Image: short},
	})
	t.Cleanup(server.Close)
	server.AddRole(ec2test.Role{ARN: someRole})
	theirs := testenv.AWSCLI(t, &testenv.AWSCLIOptions{Endpoint: moto})
	ours := testenv.AWSCLI(t, &testenv.AWSCLIOptions{Endpoint: newReferee(t, server.URL())})
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) { s.compare(t, theirs, ours) })
	}
}

// client is the AWS command-line client, with the endpoint of one server.
type client func(args ...string) (string, error)

// compare plays the scenario on both servers at once.
func (s scenario) compare(t *testing.T, moto, embedded client) {
	t.Helper()
	var theirs, ours map[string]answer
	var theirErr, ourErr error
	var both sync.WaitGroup
	both.Go(func() { theirs, theirErr = play(s.steps, moto) })
	both.Go(func() { ours, ourErr = play(s.steps, embedded) })
	both.Wait()
	if err := errors.Join(wrap("moto", theirErr), wrap("ec2test", ourErr)); err != nil {
		t.Fatal(err)
	}
	used := make([]bool, len(s.known))
	for _, step := range s.steps {
		for _, diff := range compare(step.name, theirs[step.name], ours[step.name]) {
			i := slices.IndexFunc(s.known, func(k difference) bool { return k.covers(diff) })
			if i < 0 {
				t.Errorf("a difference that is not known: %s", diff)
				continue
			}
			used[i] = true
		}
	}
	for i, k := range s.known {
		if !used[i] {
			t.Errorf("a known difference is gone: %s", k)
		}
	}
}

// play runs steps and returns the answer of each.
func play(steps []step, aws client) (map[string]answer, error) {
	answers := map[string]answer{}
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
		a, err := repeat(step, func() (answer, error) { return call(aws, args) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
		for name, path := range step.capture {
			if captured[name] = a[path]; a[path] == "" {
				return nil, fmt.Errorf("%s: there is no %s in %v", step.name, path, a)
			}
		}
		answers[step.name] = a.normal(captured)
	}
	return answers, nil
}

// repeat calls until the answer is what the step waits for.
func repeat(s step, call func() (answer, error)) (answer, error) {
	for end := time.Now().Add(untilLimit); ; time.Sleep(50 * time.Millisecond) {
		a, err := call()
		if err != nil {
			return nil, err
		}
		done := true
		for path, want := range s.until {
			done = done && a[path] == want
		}
		if done {
			return a, nil
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("it never became %v: %v", s.until, a)
		}
	}
}

// broken is the code of an answer that no client can read: moto has not got
// the call, or fell over it.
const broken = "(broken)"

// call runs the client once. An error of the service is an answer.
func call(aws client, args []string) (answer, error) {
	out, err := aws(args...)
	if refused, ok := errors.AsType[*testenv.AWSError](err); ok {
		code := regexp.MustCompile(`An error occurred \(([^)]+)\)`).FindStringSubmatch(refused.Stderr)
		switch {
		case code == nil && strings.Contains(refused.Stderr, "Unable to parse response"):
			return answer{"error": broken}, nil
		case code == nil:
			return nil, err
		}
		return answer{"error": code[1]}, nil
	}
	if err != nil {
		return nil, err
	}
	return flatten(out)
}

// compare lists what two answers do not share, in order.
func compare(name string, theirs, ours answer) []difference {
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

// at is a leaf, or absent.
func (a answer) at(path string) string {
	if value, ok := a[path]; ok {
		return value
	}
	return absent
}

func wrap(who string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %s", who, strings.TrimSpace(err.Error()))
}
