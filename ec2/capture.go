package ec2

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// A Capture is how the AMI is taken of the instance, and what it says of itself.
// The zero value stops the instance, has EC2 make the image, and demands IMDSv2
// of its instances.
type Capture struct {
	// FromSnapshots makes the AMI itself of snapshots of the volumes: the
	// instance can end as soon as they have begun. Billing codes get lost that
	// way, so it is refused, before anything is created, for a source that has
	// some: Windows, RHEL, SUSE, AWS Marketplace.
	FromSnapshots bool

	// CrashConsistent takes the volumes while the instance runs, in place of
	// stopping it first. Its file systems are written out and frozen for that
	// moment, so that they are whole; but what a program had not yet written
	// is not in the AMI, as after a power failure. The guest needs fsfreeze.
	CrashConsistent bool

	// Surrogate makes the AMI's root of another volume than the one that the
	// instance booted from. It needs FromSnapshots. Nil is the instance's own.
	Surrogate *Surrogate

	// Devices change the block devices that instances of the AMI get. Volumes
	// of the instance that are not named are in the AMI as they are. How large
	// they are and of which type, Builder.BlockDevices says; with FromSnapshots
	// it can be other here.
	Devices []AMIDevice

	// AllowIMDSv1 leaves the AMI as its source is. By default it says that its
	// instances are to be reached by IMDSv2 only, which a launch can change.
	AllowIMDSv1 bool

	// ENA and SRIOV say that the AMI has the drivers for enhanced networking by
	// the Elastic Network Adapter and by the Intel 82599. False is what the
	// instance has.
	ENA   bool
	SRIOV bool

	// BootMode is "legacy-bios", "uefi" or "uefi-preferred". Empty is the
	// instance's. Without FromSnapshots EC2 takes "uefi" only.
	BootMode string

	// TPM says that the AMI supports NitroTPM 2.0. It needs FromSnapshots, and
	// "uefi" as the BootMode. False is what the instance has.
	TPM bool

	// UEFIData is the UEFI variables, in base64, as GetInstanceUefiData gives
	// them. It needs FromSnapshots. Empty is none.
	UEFIData string
}

func (b Builder) validateCapture() []error {
	var errs []error
	c := b.Capture
	wrong := func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid("Builder.Capture."+field, format, args...))
	}
	b.validateAMIDevices(wrong)
	b.validateSurrogate(wrong)
	switch mode := ec2types.BootModeValues(c.BootMode); {
	case c.BootMode != "" && !slices.Contains(mode.Values(), mode):
		wrong("BootMode", "%q is none of %v", c.BootMode, mode.Values())
	case c.BootMode != "" && c.BootMode != "uefi" && !c.FromSnapshots:
		wrong("BootMode", "%s needs FromSnapshots", c.BootMode)
	case c.TPM && c.BootMode != "uefi":
		wrong("TPM", `needs the BootMode "uefi"`)
	}
	if c.TPM && !c.FromSnapshots {
		wrong("TPM", "needs FromSnapshots")
	}
	if c.UEFIData != "" {
		if _, err := base64.StdEncoding.DecodeString(c.UEFIData); err != nil {
			wrong("UEFIData", "is not base64: %w", err)
		}
		if !c.FromSnapshots {
			wrong("UEFIData", "needs FromSnapshots")
		}
	}
	if b.Spot != nil && c.FromSnapshots && !c.CrashConsistent {
		wrong("FromSnapshots", "a spot instance cannot be stopped first; set CrashConsistent too")
	}
	if (c.ENA || c.SRIOV) && c.CrashConsistent && !c.FromSnapshots {
		wrong("ENA", "ENA and SRIOV cannot be set on an instance that runs; set FromSnapshots too")
	}
	return errs
}

// Capture is the life of a bake from a machine that is done to an AMI.
func (s *session) Capture() []bake.Step {
	c := s.builder.Capture
	var steps []bake.Step
	if !c.CrashConsistent {
		if len(s.builder.cleanupItems()) > 0 {
			steps = append(steps, bake.Step{Name: "clean guest", Do: s.unlessMade(s.findStopping, s.cleanGuest)})
		}
		steps = append(steps, bake.Step{Name: "stop instance", Do: s.stop, Timeout: stateTimeout})
	}
	end := s.ending()
	wait := bake.Step{Name: "wait for image", Do: s.waitImage, Timeout: s.builder.imageTimeout()}
	switch {
	case c.FromSnapshots && c.CrashConsistent:
		steps = append(steps, bake.Step{Name: "snapshot volumes", Do: s.unlessMade(s.findTaken, s.frozen(s.takeSnapshots)), Undo: s.deleteTaken}, end)
	case c.FromSnapshots:
		steps = append(steps, bake.Step{Name: "snapshot volumes", Do: s.unlessMade(s.findTaken, s.takeSnapshots), Undo: s.deleteTaken}, end)
	case c.CrashConsistent:
		return append(steps, bake.Step{Name: "create image", Do: s.unlessMade(s.findImage, s.frozen(s.createImageNow)), Undo: s.discardImage}, wait, end)
	default:
		if c.ENA || c.SRIOV {
			steps = append(steps, bake.Step{Name: "set network drivers", Do: s.setDrivers})
		}
		return append(steps, bake.Step{Name: "create image", Do: s.unlessMade(s.findImage, s.createRested), Undo: s.discardImage}, wait, end)
	}
	return append(steps,
		bake.Step{Name: "wait for snapshots", Do: s.waitSnapshots, Timeout: s.builder.imageTimeout()},
		bake.Step{Name: "register image", Do: s.registerImage, Undo: s.discardImage},
		wait,
	)
}

// Release ends the instance that was checked.
func (s *session) EndCheck() []bake.Step { return []bake.Step{s.ending()} }

// ending is the step with which an instance has done its part.
func (s *session) ending() bake.Step {
	return bake.Step{Name: "terminate instance", Do: s.beginTermination}
}

// asksOfSource reports whether the AMI is made otherwise than EC2 does it by
// itself: of snapshots, or with other devices. The source has to fit then.
func (b Builder) asksOfSource() bool {
	return b.Capture.FromSnapshots || b.ReplaceAMI || len(b.Capture.Devices) > 0
}

// checkSource reports why the AMI cannot be made of the source as it is wanted.
func (s *session) checkSource(context.Context) error {
	var err error
	switch c := s.builder.Capture; {
	case c.Surrogate != nil:
		err = s.checkSurrogate()
	case c.FromSnapshots:
		err = s.checkBilling("Builder.Capture.FromSnapshots")
	case s.builder.ReplaceAMI:
		err = s.checkBilling("Builder.ReplaceAMI")
	}
	return errors.Join(err, s.checkAMIDevices())
}

// checkBilling refuses a source whose billing codes the AMI would lose.
func (s *session) checkBilling(field string) error {
	if !s.Source.Billed {
		return nil
	}
	return bake.Invalid(field, "%s is %s: its billing codes would be lost", s.Source.ID, s.Source.Platform)
}

// setDrivers marks the stopped instance, and so the AMI, as having them.
func (s *session) setDrivers(ctx context.Context) error {
	set := func(in *awsec2.ModifyInstanceAttributeInput) error {
		in.InstanceId = aws.String(s.Instance.ID)
		_, err := s.region.client.ModifyInstanceAttribute(ctx, in)
		return err
	}
	if s.builder.Capture.ENA {
		if err := set(&awsec2.ModifyInstanceAttributeInput{EnaSupport: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}}); err != nil {
			return err
		}
	}
	if s.builder.Capture.SRIOV {
		return set(&awsec2.ModifyInstanceAttributeInput{SriovNetSupport: &ec2types.AttributeValue{Value: aws.String("simple")}})
	}
	return nil
}

// requireIMDSv2 makes the AMI say that its instances are to use IMDSv2 only.
func (s *session) requireIMDSv2(ctx context.Context) error {
	if s.builder.Capture.AllowIMDSv1 || s.Image.IMDS == string(ec2types.ImdsSupportValuesV20) {
		return nil
	}
	err := s.region.onceVisible(ctx, func(ctx context.Context) error {
		_, err := s.region.client.ModifyImageAttribute(ctx, &awsec2.ModifyImageAttributeInput{
			ImageId: aws.String(s.Image.ID), ImdsSupport: &ec2types.AttributeValue{Value: aws.String(string(ec2types.ImdsSupportValuesV20))},
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("require IMDSv2: %w", err)
	}
	return nil
}
