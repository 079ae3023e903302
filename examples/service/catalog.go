package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/provision/check"
)

// A definition is an image that callers can ask for.
type definition struct {
	Name        string
	Description string
	Parameters  []parameter

	image func(values map[string]string) *bake.Image
}

// A parameter is a value that callers choose. It is required unless it has a Default.
type parameter struct {
	Name    string
	Help    string
	Pattern string // of the whole value, as in HTML and Go
	Default string
}

// catalog returns what can be baked: a base image, and the shop on top of it. The base is
// found again as long as its definition and the image of Ubuntu do not change.
func catalog(cloud *ec2.Cloud) []definition {
	base := &bake.Image{
		Name: "base",
		Builder: ec2.Builder{
			Cloud:  cloud,
			Source: ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"},
		},
		Provisioners: []bake.Provisioner{
			provision.Shell("apt-get update", "apt-get install -y nginx", "systemctl enable nginx").AsRoot(),
		},
	}
	if inputs, err := bake.InputsOf(base.Provisioners...); err == nil { // else it is always baked
		base.Fingerprint = inputs.Sum()
	}
	return []definition{
		{Name: "base", Description: "Ubuntu with nginx", image: func(map[string]string) *bake.Image { return base }},
		{
			Name: "shop", Description: "The shop, on top of base",
			Parameters: []parameter{
				{Name: "release", Help: "as in 1.4.2", Pattern: `[0-9]+(\.[0-9]+){0,2}`},
				{Name: "environment", Help: "staging or production", Pattern: `staging|production`, Default: "staging"},
			},
			image: func(values map[string]string) *bake.Image {
				return &bake.Image{
					Name: "shop", From: base, Builder: ec2.Builder{Cloud: cloud}, Tags: maps.Clone(values),
					Provisioners: []bake.Provisioner{
						provision.File{Dest: "/srv/shop/release", Content: values["release"] + "\n", Sudo: true},
						provision.Shell(
							`echo "installing release $(cat /srv/shop/release)"`,
							`for part in code pages database; do echo "migrating the $part"; sleep 1; done`,
						).AsRoot(),
						provision.File{Dest: "/srv/shop/environment", Content: values["environment"] + "\n", Sudo: true},
					},
					Checks: []bake.Check{check.All(check.File{Path: "/srv/shop/release"}, check.Service{Name: "nginx", Enabled: true})},
				}
			},
		},
	}
}

// Labels of records begin with these: the parameters of the definition, and the labels
// that the caller has chosen.
const (
	parameterPrefix = "parameter."
	labelPrefix     = "label."
	requestLabel    = "request"
)

// values returns the values of the parameters, with their defaults. It reports all that
// are wrong.
func (d *definition) values(given map[string]string) (map[string]string, error) {
	var errs []error
	values := map[string]string{}
	for _, p := range d.Parameters {
		value, ok := given[p.Name]
		if !ok {
			value = p.Default
		}
		switch pattern := regexp.MustCompile(`^(?:` + p.Pattern + `)$`); {
		case value == "":
			errs = append(errs, bake.Invalid("parameters."+p.Name, "is required: %s", p.Help))
		case !pattern.MatchString(value) || len(value) > longestValue:
			errs = append(errs, bake.Invalid("parameters."+p.Name, "%.50q is invalid: %s", value, p.Help))
		}
		values[p.Name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, ok := values[name]; !ok {
			errs = append(errs, bake.Invalid("parameters", "image %s has no parameter %.50q", d.Name, name))
		}
	}
	return values, errors.Join(errs...)
}

// labelled returns the entries whose keys begin with prefix, without it.
func labelled(labels map[string]string, prefix string) map[string]string {
	found := map[string]string{}
	for key, value := range labels {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			found[name] = value
		}
	}
	return found
}

// images returns the images for the labels of a record: those for which the labels have
// the parameters, among them the one that was asked for.
func images(catalog []definition, labels map[string]string) []*bake.Image {
	var all []*bake.Image
	given := labelled(labels, parameterPrefix)
	for _, d := range catalog {
		own := maps.Clone(given)
		maps.DeleteFunc(own, func(name, _ string) bool {
			return !slices.ContainsFunc(d.Parameters, func(p parameter) bool { return p.Name == name })
		})
		values, err := d.values(own)
		if err != nil {
			continue
		}
		all = append(all, d.image(values))
	}
	return all
}

const (
	longestValue = 200
	mostLabels   = 20
)

var labelName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,39}$`)

// plain reports whether a text is printable and not too long to be shown.
func plain(text string) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= longestValue &&
		!strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// checkLabels reports labels that a caller may not choose.
func checkLabels(labels map[string]string) error {
	if len(labels) > mostLabels {
		return bake.Invalid("labels", "are more than %d", mostLabels)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if !labelName.MatchString(name) {
			errs = append(errs, bake.Invalid("labels", "invalid name %.50q: want at most 40 lower-case letters, digits, periods, hyphens and underscores", name))
		}
		if !plain(labels[name]) {
			errs = append(errs, bake.Invalid(fmt.Sprintf("labels[%.50q]", name), "want at most %d printable characters", longestValue))
		}
	}
	return errors.Join(errs...)
}
