//go:build unix

package qemu_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// fakeConsole is an argument for the fake: what the guest prints last, without finishing its boot.
const fakeConsole = "-fake-console"

// The files of Ignition in a fake guest: that of its result, without which it runs, and one of the
// caller's.
const (
	ignitionResult = "/etc/.ignition-result.json"
	ignitionMade   = "/etc/caller.conf"
)

// fakeIgnition is as much of Ignition as refuses to configure a machine twice. It returns what it
// prints if it fails. A machine that is killed before its first sync was interrupted: it has what
// Ignition made, and not its result.
func fakeIgnition(args []string, disk *memfs.FS, save func() error) (failure string, err error) {
	if !slices.Contains(args, "name=opt/com.coreos/config,file=config.ign") {
		return "", nil
	}
	if _, err := disk.Stat(ignitionResult); !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var c ignitionFile
	text, err := os.ReadFile("config.ign")
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err == nil && len(c.Ignition.Config.Merge) > 0 {
		if _, err := disk.Stat(ignitionMade); err == nil {
			return "\nIgnition failed: A file exists there already and overwrite is false\n", nil
		}
		err = errors.Join(disk.WriteFile(ignitionMade, nil, 0o600), save())
	}
	return "", errors.Join(err, disk.WriteFile(ignitionResult, nil, 0o600))
}
