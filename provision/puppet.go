package provision

import (
	"fmt"
	"maps"
	"slices"

	"github.com/bakestone-go/bakestone/bake"
)

const puppet = "puppet"

// puppetTool returns the tool puppet. Puppet's own packages install it outside of
// PATH.
func puppetTool(owner, program string, install, remove bake.Provisioner) guestTool {
	if program == "" {
		program = puppet
	}
	return guestTool{owner: owner, program: program, dirs: []string{"/opt/puppetlabs/bin"}, install: install, remove: remove}
}

// puppetSucceeded returns the exit statuses of a successful run with
// --detailed-exitcodes: unchanged and changed.
func puppetSucceeded() []int { return []int{0, 2} }

func puppetMeaning(status int) string {
	switch status {
	case 1:
		return "the run failed or could not start"
	case 4:
		return "resources failed"
	case 6:
		return "some resources failed, others changed"
	}
	return fmt.Sprintf("puppet exited with status %d", status)
}

// puppetMarks returns the prefix of Puppet's error messages.
func puppetMarks() []string { return []string{"Error: "} }

// facterPrefix begins the names of environment variables that set facts.
const facterPrefix = "FACTER_"

// checkFacts reports facts that cannot be environment variables.
func checkFacts(field string, facts map[string]string) []error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(facts)) {
		if !bake.ValidEnvName(name) {
			errs = append(errs, bake.Invalid(field, "invalid fact name %q", name))
		}
		if hasNUL(facts[name]) {
			errs = append(errs, bake.Invalid(field, "the value of %s contains a NUL byte", name))
		}
	}
	return errs
}

// withFacts returns env extended by the facts.
func withFacts(env, facts map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, env)
	for name, value := range facts {
		all[facterPrefix+name] = value
	}
	return all
}
