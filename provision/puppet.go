package provision

import (
	"fmt"
	"maps"
	"slices"

	"github.com/bakestone-go/bakestone/bake"
)

const puppet = "puppet"

// puppetTool is the program puppet: the distribution's, or that of Puppet's own
// packages, which is not in PATH. Program is what the caller said.
func puppetTool(owner, program string, install, remove bake.Provisioner) guestTool {
	if program == "" {
		program = puppet
	}
	return guestTool{owner: owner, program: program, places: []string{"/opt/puppetlabs/bin"}, install: install, remove: remove}
}

// puppetSucceeded is the exit statuses of a good run with --detailed-exitcodes:
// nothing to change, and changed.
func puppetSucceeded() []int { return []int{0, 2} }

func puppetMeaning(status int) string {
	switch status {
	case 1:
		return "the run failed, or did not begin"
	case 4:
		return "resources failed"
	case 6:
		return "resources failed, others were changed"
	}
	return fmt.Sprintf("puppet ended with status %d", status)
}

// puppetMarks begin the lines in which Puppet says what is wrong.
func puppetMarks() []string { return []string{"Error: "} }

// facterPrefix begins the environment variables that are facts.
const facterPrefix = "FACTER_"

// checkFacts reports facts that an environment cannot hold.
func checkFacts(field string, facts map[string]string) []error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(facts)) {
		if !bake.ValidEnvName(name) {
			errs = append(errs, bake.Invalid(field, "%q is no name of a fact", name))
		}
		if hasNUL(facts[name]) {
			errs = append(errs, bake.Invalid(field, "the value of %s contains a NUL byte", name))
		}
	}
	return errs
}

// withFacts is env and the facts.
func withFacts(env, facts map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, env)
	for name, value := range facts {
		all[facterPrefix+name] = value
	}
	return all
}
