package bake

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bakestone-go/bakestone/internal/mask"
)

// Validate reports every problem of the options and images that can be detected
// without I/O, joined. Bake calls it first, and then each [HostValidator]. Each error names the image, the step
// if there is one, and the field.
func Validate(opts *Options, images ...*Image) error {
	errs := opts.validate()
	if len(images) == 0 {
		errs = append(errs, ErrNoImages)
	}
	given := map[*Image]bool{}
	names := map[string]bool{}
	for i, img := range images {
		if img == nil {
			errs = append(errs, fmt.Errorf("image %d of %d is nil", i+1, len(images)))
			continue
		}
		if given[img] || names[img.Name] && img.Name != "" {
			errs = append(errs, &Error{Image: img.Name, Err: Invalid("Image.Name", "duplicate name: each image of one Bake needs its own")})
		}
		given[img], names[img.Name] = true, true
	}
	errs = append(errs, opts.validateResume(names)...)
	for i, img := range images {
		if img != nil {
			errs = append(errs, img.validate(i, given)...)
			errs = append(errs, img.conflicts(images[:i])...)
		}
	}
	if err := findCycle(images); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// validate reports the problems of one image. The number identifies an image
// without a name.
func (img *Image) validate(number int, given map[*Image]bool) []error {
	name := img.Name
	var errs []error
	secrets := &mask.Masker{}
	addSecrets(secrets, img.Secrets...)
	wrong := func(step string, err error) {
		if err != nil {
			errs = append(errs, &Error{Image: name, Step: secrets.Mask(step), Err: err, mask: secrets})
		}
	}
	if strings.TrimSpace(name) == "" {
		name = fmt.Sprintf("number %d", number+1)
		wrong("", Invalid("Image.Name", "is required"))
	}
	if secrets.Mask(name) != name {
		wrong("", Invalid("Image.Name", "contains one of Image.Secrets"))
	}
	wrong("", rejectRedacted("Image.Name", "a name must not contain secrets", name))
	wrong("", rejectRedactedMap("Image.Tags", "tags are visible to others and must not contain secrets", img.Tags))
	if img.From != nil && !given[img.From] {
		wrong("", Invalid("Image.From", "image %q is not among the images to bake", img.From.Name))
	}
	if img.From != nil && img.From.ProvisionOnly {
		wrong("", Invalid("Image.From", "image %q sets ProvisionOnly and has no artifact", img.From.Name))
	}
	if isNil(img.Builder) {
		wrong("", Invalid("Image.Builder", "is required"))
	} else {
		wrong("", img.Builder.Validate(img))
		if _, ok := As[Finder](img.Builder); img.Fingerprint != "" && !ok {
			wrong("", Invalid("Image.Fingerprint", "%w", errNoFinder))
		}
	}
	for i, p := range img.Provisioners {
		wrong(validateItem(p, "provision", i))
	}
	for i, c := range img.Checks {
		wrong(validateItem(c, "check", i))
	}
	for i, p := range img.Publishers {
		wrong(validateItem(p, "publish", i))
	}
	seen := map[string]bool{}
	for i, s := range img.Steps {
		field := fmt.Sprintf("Image.Steps[%d]", i)
		switch {
		case s.Name == "":
			wrong("", Invalid(field+".Name", "is required"))
		case seen[s.Name]:
			wrong(s.Name, Invalid(field+".Name", "duplicate name"))
		}
		if s.Do == nil {
			wrong(s.Name, Invalid(field+".Do", "is required"))
		}
		if s.At < BeforeLaunch || s.At > AfterPromote {
			wrong(s.Name, Invalid(field+".At", "unknown point %d", s.At))
		}
		wrong("", rejectRedacted(field+".Name", "a name must not contain secrets", s.Name))
		seen[s.Name] = true
	}
	return errs
}

// validateHost reports what the image's builder, provisioners, checks and publishers lack
// on the baking host.
func (img *Image) validateHost(secrets *mask.Masker) error {
	var builder error
	if v, ok := As[HostValidator](img.Builder); ok {
		if err := v.ValidateHost(); err != nil {
			builder = &Error{Image: img.Name, Err: err, mask: secrets}
		}
	}
	return errors.Join(
		builder,
		validateHosts(img, secrets, "provision", img.Provisioners),
		validateHosts(img, secrets, "check", img.Checks),
		validateHosts(img, secrets, "publish", img.Publishers),
	)
}

func validateHosts[V any](img *Image, secrets *mask.Masker, verb string, items []V) error {
	var errs []error
	for i, item := range items {
		v, ok := As[HostValidator](item)
		if !ok {
			continue
		}
		if err := v.ValidateHost(); err != nil {
			errs = append(errs, &Error{Image: img.Name, Step: secrets.Mask(stepName(verb, i, item)), Err: err, mask: secrets})
		}
	}
	return errors.Join(errs...)
}

// conflicts reports the images before img that it cannot be baked together with.
func (img *Image) conflicts(before []*Image) []error {
	if isNil(img.Builder) {
		return nil
	}
	c, ok := As[ConflictChecker](img.Builder)
	if !ok {
		return nil
	}
	var errs []error
	for _, other := range before {
		if other == nil || other == img || isNil(other.Builder) {
			continue
		}
		if err := c.Conflicts(img, other); err != nil {
			errs = append(errs, &Error{Image: img.Name, Err: err})
		}
	}
	return errs
}

// validateItem validates a provisioner, check or publisher and returns the name of
// its step.
func validateItem[V any](item V, verb string, i int) (step string, err error) {
	if err := ValidateValue(item); err != nil {
		return fmt.Sprintf("%s %d", verb, i+1), err
	}
	return stepName(verb, i, item), nil
}

// stepName returns the step name of the i-th item: "provision 2: shell".
func stepName[V any](verb string, i int, item V) string {
	name := fmt.Sprintf("%s %d", verb, i+1)
	if what := Describe(item); what != "" {
		name += ": " + what
	}
	return name
}

// findCycle reports images that are made from each other, once per cycle.
func findCycle(images []*Image) error {
	var errs []error
	known := map[*Image]bool{} // leads only to reported cycles
	for _, start := range images {
		var path []*Image
		at := map[*Image]int{}
		img := start
		for img != nil && !known[img] {
			if from, again := at[img]; again {
				cycle := make([]string, 0, len(path)-from+1)
				for _, member := range append(path[from:], img) {
					cycle = append(cycle, member.Name)
				}
				errs = append(errs, &Error{
					Image: img.Name,
					Err:   Invalid("Image.From", "images are made from each other: %s", strings.Join(cycle, " from ")),
				})
				break
			}
			at[img] = len(path)
			path = append(path, img)
			img = img.From
		}
		for _, member := range path {
			known[member] = true
		}
	}
	return errors.Join(errs...)
}
