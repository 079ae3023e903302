package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// notAMI is the error of a publisher that was given another platform's artifact.
func notAMI(a bake.Artifact) error {
	return fmt.Errorf("%v is not an AMI of this package", a)
}

// everywhere is the AMI and its copies.
func (a *AMI) everywhere() []AMICopy {
	return append([]AMICopy{{a.Region, a.Account, a.ImageID, a.Snapshots, a.cloud}}, a.Copies...)
}

// publish does something in every place of the AMI, or in those of regions, one
// after the other. A place that fails does not end the others; the error names
// it.
func (a *AMI) publish(regions []string, do func(place AMICopy) error) error {
	var errs []error
	for _, name := range regions {
		if !slices.ContainsFunc(a.everywhere(), func(p AMICopy) bool { return p.Region == name }) {
			errs = append(errs, &CopyError{Region: name, Err: errors.New("the AMI is not there")})
		}
	}
	for _, place := range a.everywhere() {
		if len(regions) > 0 && !slices.Contains(regions, place.Region) {
			continue
		}
		if err := do(place); err != nil {
			errs = append(errs, &CopyError{Region: place.Region, Account: place.Account, Err: err})
		}
	}
	return errors.Join(errs...)
}

// A destination is a place that the AMI gets to.
type destination struct {
	cloud  *Cloud
	region string
}

// destinations are where a publisher finds the AMI: in those of the regions, if
// there are some, or only in the place that its result names.
func (b Builder) destinations(regions []string, first bool) []destination {
	all := b.places()
	if b.Distribute.OnlyCopies {
		all = all[1:]
	}
	if first {
		all = all[:min(1, len(all))]
	}
	return slices.DeleteFunc(all, func(d destination) bool { return len(regions) > 0 && !slices.Contains(regions, d.region) })
}

// places are where the AMI is at some time: where it is baked, and its copies.
func (b Builder) places() []destination {
	all := make([]destination, 1, 1+len(b.Distribute.Copies))
	all[0] = destination{b.Cloud, b.place()}
	for _, c := range b.Distribute.Copies {
		all = append(all, destination{b.cloudOf(c), c.Region})
	}
	return all
}

// validatePublishers reports regions that the AMI does not get to.
func (b Builder) validatePublishers(img *bake.Image) []error {
	var errs []error
	check := func(field string, regions []string) {
		var strays []string
		for _, name := range regions {
			if len(b.destinations([]string{name}, false)) == 0 {
				strays = append(strays, name)
			}
		}
		if len(strays) > 0 {
			errs = append(errs, bake.Invalid(field, "the AMI does not get to %s", strings.Join(strays, ", ")))
		}
	}
	if b.Cloud == nil {
		return nil
	}
	for _, p := range img.Publishers {
		switch p := p.(type) {
		case SSMParameter:
			check("SSMParameter.Regions", p.Regions)
		case LaunchTemplate:
			check("LaunchTemplate.Regions", p.Regions)
		}
	}
	return errs
}

// token makes a client token that is the same whenever the same is asked for.
func token(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:16])
}

// say reports what a publisher did, if it runs in a build.
func say(ctx context.Context, format string, args ...any) {
	bake.RunFromContext(ctx).Say(format, args...)
}
