package amicleanup

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// PerClass keeps images by the rules of their class, the value of a tag:
//
//	PerClass("env", map[string][]Rule{
//		"dev":  {YoungerThan(1 * Day)},
//		"prod": {YoungerThan(365 * Day), NewestUsable(3)},
//	})
//
// The rules of a class see only its images in a group: NewestUsable(3) keeps the
// newest three of prod. Images of a class without rules, or without the tag,
// stay.
func PerClass(tag string, rules map[string][]Rule) Rule { return perClass{tag, rules} }

type perClass struct {
	tag   string
	rules map[string][]Rule
}

var _ Rule = perClass{}

func (c perClass) String() string {
	parts := make([]string, 0, len(c.rules))
	for _, class := range slices.Sorted(maps.Keys(c.rules)) {
		names := make([]string, 0, len(c.rules[class]))
		for _, r := range c.rules[class] {
			names = append(names, r.String())
		}
		parts = append(parts, class+": "+strings.Join(names, " "))
	}
	return fmt.Sprintf("PerClass(%q, %s)", c.tag, strings.Join(parts, "; "))
}

func (c perClass) Validate() error {
	var errs []error
	for class, rules := range c.rules {
		if len(rules) == 0 {
			errs = append(errs, bake.Invalid("Keep", "PerClass: no rules for %s=%s", c.tag, class))
		}
		for _, r := range rules {
			errs = append(errs, r.Validate())
		}
	}
	return errors.Join(errs...)
}

func (c perClass) Needs() Needs {
	var all Needs
	for _, class := range slices.Sorted(maps.Keys(c.rules)) {
		for _, r := range c.rules[class] {
			n := r.Needs()
			all.Sources = append(all.Sources, n.Sources...)
			all.Shares, all.Parents, all.Locks = all.Shares || n.Shares, max(all.Parents, n.Parents), all.Locks || n.Locks
		}
	}
	return all
}

func (c perClass) Keep(g *Group) []Reason {
	byClass := map[string]map[string]bool{} // the ids of each class
	var kept []Reason
	for i := range g.Images {
		img := g.Images[i]
		class := img.Tags[c.tag]
		if len(c.rules[class]) == 0 {
			kept = append(kept, Reason{ImageID: img.ID, Text: fmt.Sprintf("has no rules for %s=%s", c.tag, class)})
			continue
		}
		if byClass[class] == nil {
			byClass[class] = map[string]bool{}
		}
		byClass[class][img.ID] = true
	}
	for class, ids := range byClass {
		of := *g
		of.Images = slices.DeleteFunc(slices.Clone(g.Images), func(img *Image) bool { return !ids[img.ID] })
		for _, r := range c.rules[class] {
			kept = append(kept, r.Keep(&of)...)
		}
	}
	return kept
}
