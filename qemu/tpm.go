package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// The TPM's socket, the directory of its state, and its messages.
const (
	tpmSocketName = "tpm.sock"
	tpmStateName  = "tpm"
	tpmLogName    = "swtpm.log"
)

// startTPM starts swtpm, which QEMU connects to when it starts. It ends when QEMU does.
func (s *session) startTPM(ctx context.Context) error {
	if !s.builder.TPM {
		return nil
	}
	if err := s.endTPM(ctx); err != nil {
		return err
	}
	program, err := s.builder.Host.program("swtpm")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.path(tpmStateName), privateDir); err != nil {
		return err
	}
	if err := os.Remove(s.path(tpmSocketName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	args := []string{
		"socket", "--tpm2", "--terminate", "--tpmstate", "dir=" + tpmStateName,
		"--ctrl", "type=unixio,path=" + tpmSocketName,
	}
	if s.tpm, err = startProcess(program, args, s.dir(), tpmLogName, s.detached(), func() {}); err != nil {
		return err
	}
	limited, stop := clock.WithTimeout(ctx, clock.System(), startTimeout)
	defer stop()
	err = clock.WaitFor(limited, clock.System(), startPoll, func(context.Context) (bool, error) {
		there, err := exists(s.path(tpmSocketName))
		if err == nil && !there && s.tpm.ended() {
			err = fmt.Errorf("swtpm has ended: %w: %q", s.tpm.err, s.tail(tpmLogName))
		}
		return there, err
	})
	if err != nil {
		return errors.Join(err, s.endTPM(context.WithoutCancel(ctx)))
	}
	return nil
}

// endTPM waits for the end of swtpm after that of QEMU, or kills it.
func (s *session) endTPM(ctx context.Context) error {
	if s.tpm == nil {
		return nil
	}
	limited, stop := clock.WithTimeout(ctx, clock.System(), tpmEndTimeout)
	defer stop()
	select {
	case <-s.tpm.done:
	case <-limited.Done():
		if err := s.tpm.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		<-s.tpm.done
	}
	s.tpm = nil
	return nil
}

// tpmArgs returns QEMU's arguments for the TPM.
func (s *session) tpmArgs() []string {
	if !s.builder.TPM {
		return nil
	}
	device := "tpm-crb"
	if s.Machine.Arch == arm64 {
		device = "tpm-tis-device"
	}
	return []string{
		"-chardev", "socket,id=tpm,path=" + tpmSocketName, "-tpmdev", "emulator,id=tpm,chardev=tpm",
		"-device", device + ",tpmdev=tpm",
	}
}
