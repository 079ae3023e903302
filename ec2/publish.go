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

// token makes a client token that is the same whenever the same is asked for.
func token(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:16])
}

// say reports what a publisher did, if it runs in a build.
func say(ctx context.Context, format string, args ...any) { bake.RunOf(ctx).Say(format, args...) }
