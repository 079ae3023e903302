package qemu

import (
	"encoding/json"
	"path/filepath"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/guest"
)

// A session is one build. Its exported fields are the record: each step reads what
// earlier steps stored there, and undoing works from it.
type session struct {
	builder Builder
	image   *bake.Image
	run     *bake.Run
	process *process // nil if another process started the machine
	tpm     *process // swtpm, if this process started it
	events  *eventLog

	consoleFrom int64 // where the console of this QEMU begins

	booting bool // while it is waited for

	resumed bool // restored from a record, and has not connected since

	installing *installArgs // while the installer runs

	Source     SourceDisk    `json:"source,omitzero"`
	Install    installation  `json:"install,omitzero"`
	Keys       guest.Keys    `json:"keys,omitzero"`
	Machine    machineRecord `json:"machine,omitzero"`
	Image      imageRecord   `json:"image,omitzero"`
	Relaunches int           `json:"relaunches,omitempty"` // after a QEMU that was killed
}

// A machineRecord describes the machine.
type machineRecord struct {
	Mark        string      `json:"mark,omitempty"` // its UUID, which is random
	Port        int         `json:"port,omitempty"` // on loopback, of its SSH server
	Login       string      `json:"login,omitempty"`
	Arch        string      `json:"arch,omitempty"`
	Accelerator Accelerator `json:"accelerator,omitempty"`
	Fresh       bool        `json:"fresh,omitempty"` // has accepted no login since its disks were created

	Firmware firmwareRecord `json:"firmware,omitzero"`
	Disks    []machineDisk  `json:"disks,omitempty"`
}

// An imageRecord describes the image that was captured.
type imageRecord struct {
	Captured bool       `json:"captured,omitempty"`
	Size     int64      `json:"size,omitempty"` // of the disk
	FileSize int64      `json:"file_size,omitempty"`
	SHA256   string     `json:"sha256,omitempty"`
	Data     []DataFile `json:"data,omitempty"`
	Created  time.Time  `json:"created,omitzero"`
}

var (
	_ bake.Session       = (*session)(nil)
	_ bake.MachineKeeper = (*session)(nil)
	_ bake.Restarter     = (*session)(nil)
)

// UnmarshalJSON restores the session from a record.
func (s *session) UnmarshalJSON(record []byte) error {
	type fields session
	err := json.Unmarshal(record, (*fields)(s))
	s.resumed = s.Source.Path != ""
	return err
}

// The files of a machine, in its directory.
const (
	diskName = "disk.qcow2"
	seedName = "seed.iso"

	ignitionName = "config.ign"
	consoleName  = "console.log"
	logName      = "qemu.log"
	pidName      = "qemu.pid"
	socketName   = "qmp.sock"
	eventsName   = "events.sock"
	varsName     = "vars.fd" // UEFI's variable store, here and beside the image
	screenName   = "vnc.sock"
	cleanName    = "cleaned" // exists once the guest was cleaned
	runName      = "run.json"

	answersName    = "answers.iso" // Installer.Files, with a label
	installLogName = "install.log" // the console of the installer
	sectorName     = "sector"      // the first of the disk, after an installation
)

// dir returns the directory of the machine.
func (s *session) dir() string { return filepath.Join(s.builder.Host.buildingDir(), s.run.ID) }

func (s *session) path(name string) string { return filepath.Join(s.dir(), name) }

// Launch returns the steps up to a running machine.
func (s *session) Launch() []bake.Step {
	steps := []bake.Step{
		{Name: "find source disk", Do: s.findSource},
		{Name: "create keys", Do: s.makeKeys},
		{Name: "create disk", Do: s.createDisk, Undo: s.removeDisk},
	}
	if i := s.installer(); i != nil {
		steps = append(steps, bake.Step{Name: "install", Do: s.install, Undo: s.endMachine, Timeout: i.timeout() + time.Minute})
	}
	return append(steps, bake.Step{Name: "start machine", Do: s.startMachine, Undo: s.endMachine})
}

// Capture returns the steps from the provisioned machine to an image.
func (s *session) Capture() []bake.Step {
	return []bake.Step{
		{Name: "clean guest", Do: s.cleanGuest},
		{Name: "wait for power-off", Do: s.waitPowerOff, Timeout: s.builder.powerOffTimeout() + time.Minute},
		{Name: "write image", Do: s.writeImage, Undo: s.discardImage},
	}
}

// EndCheck returns the step that ends the check machine.
func (s *session) EndCheck() []bake.Step {
	return []bake.Step{{Name: "quit machine", Do: s.quitMachine}}
}

// Promote returns the step that makes the image visible.
func (s *session) Promote() []bake.Step {
	return []bake.Step{{Name: "publish image", Do: s.publishImage}}
}
