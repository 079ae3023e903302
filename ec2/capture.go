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

// A Capture configures how the AMI is created from the instance, and the AMI's
// attributes. The zero value stops the instance, calls CreateImage, and makes
// IMDSv2 required on instances of the AMI.
type Capture struct {
	// FromSnapshots registers the AMI from snapshots of the volumes instead of
	// calling CreateImage, so the instance can end as soon as the snapshots have
	// begun. The AMI loses billing codes, so sources that have some (Windows,
	// RHEL, SUSE, AWS Marketplace) are refused before anything is created.
	FromSnapshots bool

	// CrashConsistent captures the volumes while the instance runs instead of
	// stopping it. Its file systems are synced and frozen meanwhile, so they are
	// consistent, but data that programs have not written yet is lost, as after a
	// power failure. The guest needs fsfreeze.
	CrashConsistent bool

	// Surrogate makes another volume the AMI's root volume. It needs
	// FromSnapshots. If nil, the root is the volume the instance booted from.
	Surrogate *Surrogate

	// Devices change the AMI's block devices. Other volumes of the instance are
	// in the AMI as they are. Builder.BlockDevices sets the sizes and types of
	// volumes; with FromSnapshots, Devices can change them for the AMI.
	Devices []AMIDevice

	// AllowIMDSv1 leaves the AMI's IMDS setting as in the source. By default
	// instances of the AMI require IMDSv2, unless a launch overrides it.
	AllowIMDSv1 bool

	// ENA and SRIOV mark the AMI as having the drivers for enhanced networking
	// with the Elastic Network Adapter and with the Intel 82599. False leaves the
	// instance's attributes.
	ENA   bool
	SRIOV bool

	// BootMode is "legacy-bios", "uefi" or "uefi-preferred". Empty means the
	// instance's. Without FromSnapshots EC2 accepts only "uefi".
	BootMode string

	// TPM marks the AMI as supporting NitroTPM 2.0. It needs FromSnapshots and
	// BootMode "uefi". False leaves the instance's attribute.
	TPM bool

	// UEFIData sets the UEFI variables, base64-encoded as returned by
	// GetInstanceUefiData. It needs FromSnapshots. Empty sets none.
	UEFIData string
}

func (b Builder) validateCapture() []error {
	var errs []error
	c := b.Capture
	invalid := func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid("Builder.Capture."+field, format, args...))
	}
	b.validateAMIDevices(invalid)
	b.validateSurrogate(invalid)
	switch mode := ec2types.BootModeValues(c.BootMode); {
	case c.BootMode != "" && !slices.Contains(mode.Values(), mode):
		invalid("BootMode", "unknown value %q, want one of %v", c.BootMode, mode.Values())
	case c.BootMode != "" && c.BootMode != "uefi" && !c.FromSnapshots:
		invalid("BootMode", "%s needs FromSnapshots", c.BootMode)
	case c.TPM && c.BootMode != "uefi":
		invalid("TPM", `needs the BootMode "uefi"`)
	}
	if c.TPM && !c.FromSnapshots {
		invalid("TPM", "needs FromSnapshots")
	}
	if c.UEFIData != "" {
		if _, err := base64.StdEncoding.DecodeString(c.UEFIData); err != nil {
			invalid("UEFIData", "is not base64: %w", err)
		}
		if !c.FromSnapshots {
			invalid("UEFIData", "needs FromSnapshots")
		}
	}
	if b.Spot != nil && c.FromSnapshots && !c.CrashConsistent && b.disk() == nil {
		invalid("FromSnapshots", "needs CrashConsistent with Spot: spot instances cannot be stopped")
	}
	if (c.ENA || c.SRIOV) && c.CrashConsistent && !c.FromSnapshots {
		invalid("ENA", "ENA and SRIOV need FromSnapshots with CrashConsistent: they cannot be set on a running instance")
	}
	return errs
}

// Capture returns the steps from the provisioned machine to an AMI.
func (s *session) Capture() []bake.Step {
	if s.restored {
		return s.inAccount(s.undoSteps()...)
	}
	if s.fromDisk() {
		return s.inAccount(s.diskSteps()...)
	}
	return s.inAccount(s.captureSteps()...)
}

func (s *session) captureSteps() []bake.Step {
	c := s.builder.Capture
	var steps []bake.Step
	if s.builder.AMIName != "" && !s.builder.ReplaceAMI {
		steps = append(steps, bake.Step{Name: "check image name", Do: s.checkNameAgain})
	}
	if !c.CrashConsistent {
		if len(s.builder.cleanupItems()) > 0 {
			steps = append(steps, bake.Step{Name: "clean guest", Do: s.unlessFound(s.findStopping, s.cleanGuest)})
		}
		steps = append(steps, bake.Step{Name: "stop instance", Do: s.stop, Timeout: stateTimeout})
	}
	end := s.terminateStep()
	wait := bake.Step{Name: "wait for image", Do: s.waitImage, Timeout: s.builder.imageTimeout()}
	switch {
	case c.FromSnapshots && c.CrashConsistent:
		steps = append(steps, bake.Step{Name: "snapshot volumes", Do: s.unlessFound(s.findSnapshots, s.frozen(s.createSnapshots)), Undo: s.discardSnapshots}, end)
	case c.FromSnapshots:
		steps = append(steps, bake.Step{Name: "snapshot volumes", Do: s.unlessFound(s.findSnapshots, s.createSnapshots), Undo: s.discardSnapshots}, end)
	case c.CrashConsistent:
		return append(steps, bake.Step{Name: "create image", Do: s.unlessFound(s.findImage, s.frozen(s.createFrozenImage)), Undo: s.discardImage}, wait, end)
	default:
		if c.ENA || c.SRIOV {
			steps = append(steps, bake.Step{Name: "set network drivers", Do: s.setDrivers})
		}
		return append(steps, bake.Step{Name: "create image", Do: s.unlessFound(s.findImage, s.createStoppedImage), Undo: s.discardImage}, wait, end)
	}
	return append(steps,
		bake.Step{Name: "wait for snapshots", Do: s.waitSnapshots, Timeout: s.builder.imageTimeout()},
		bake.Step{Name: "register image", Do: s.registerImage, Undo: s.discardImage},
		wait,
	)
}

// EndCheck returns the step that terminates the check instance.
func (s *session) EndCheck() []bake.Step { return s.inAccount(s.terminateStep()) }

// terminateStep returns the step that terminates an instance that is no longer
// needed.
func (s *session) terminateStep() bake.Step {
	return bake.Step{Name: "terminate instance", Do: s.beginTermination}
}

// constrainsSource reports whether the source must be checked, because the AMI is
// not simply the result of CreateImage, or the instance has other volumes.
func (b Builder) constrainsSource() bool {
	return len(b.BlockDevices) > 0 || b.Capture.FromSnapshots || b.ReplaceAMI || len(b.Capture.Devices) > 0
}

// checkSource reports settings that are invalid for the source.
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
	return errors.Join(err, s.checkBlockDevices(), s.checkAMIDevices())
}

// checkBilling reports that the AMI would lose the source's billing codes.
func (s *session) checkBilling(field string) error {
	if !s.Source.Billed {
		return nil
	}
	return bake.Invalid(field, "%s is %s: its billing codes would be lost", s.Source.ID, s.Source.Platform)
}

// setDrivers marks the stopped instance, and thereby the AMI, as having the
// drivers of ENA and SRIOV.
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

// requireIMDSv2 makes instances of the AMI require IMDSv2.
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
