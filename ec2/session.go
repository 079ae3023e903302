package ec2

import (
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/guest"
)

// A session is one build on EC2. Its exported fields are the record: each step
// reads what earlier steps stored there, and undoing works from it.
type session struct {
	builder Builder
	image   *bake.Image
	run     *bake.Run
	region  *region
	resumed bool // restored from a record, and has not created anything since

	// restored is set in a session from a record. It has the steps that another
	// definition may have run and that leave something to undo.
	restored bool

	// reopened is set while a step runs that another process may have begun, which
	// may have cleaned the guest.
	reopened bool

	Region        string        `json:"region,omitempty"`
	Account       string        `json:"account,omitempty"` // that EC2 reported with the first resource
	Source        SourceImage   `json:"source,omitzero"`
	Network       networkRecord `json:"network,omitzero"`
	Keys          guest.Keys    `json:"keys,omitzero"`
	SecurityGroup securityGroup `json:"security_group,omitzero"`
	Profile       tempProfile   `json:"profile,omitzero"`
	Instance      instance      `json:"instance,omitzero"`
	Reclaims      int           `json:"reclaims,omitempty"`   // spot instances that EC2 reclaimed
	Relaunches    int           `json:"relaunches,omitempty"` // after a fault of EC2, or a clean-up that another process began
	Failed        []candidate   `json:"failed,omitempty"`     // launches that EC2 accepted but did not complete
	Machine       machineRecord `json:"machine,omitzero"`
	Image         amiRecord     `json:"image,omitzero"`
	Copies        []copyRecord  `json:"copies,omitempty"`
	Promotions    int           `json:"promotions,omitempty"` // attempts to promote

	SourceTags map[string]string `json:"source_tags,omitempty"` // the result of Builder.SourceTags
}

var (
	_ bake.Session       = (*session)(nil)
	_ bake.MachineKeeper = (*session)(nil)
	_ bake.Restarter     = (*session)(nil)
)

func newSession(b Builder, img *bake.Image, run *bake.Run) *session {
	s := &session{builder: b, image: img, run: run, region: b.Cloud.region(b.Region)}
	s.Region = s.region.name
	if !run.Checks {
		s.initCopies()
	}
	return s
}

// Launch returns the steps up to a running instance. A check instance skips the
// checks of source and destinations and launches the AMI with its own settings.
func (s *session) Launch() []bake.Step {
	if s.fromDisk() {
		return s.diskLaunch()
	}
	steps := []bake.Step{{Name: "find source image", Do: s.findSource}}
	if s.builder.constrainsSource() && !s.run.Checks {
		steps = append(steps, bake.Step{Name: "check source image", Do: s.checkSource})
	}
	if !s.run.Checks && len(s.preflightChecks()) > 0 {
		steps = append(steps, bake.Step{Name: "check destinations", Do: s.checkDestinations})
	}
	steps = append(steps, []bake.Step{
		{Name: "choose network", Do: s.chooseNetwork},
		{Name: "create keys", Do: s.makeKeys},
		{Name: "prepare security group", Do: s.prepareSecurityGroup, Undo: s.deleteSecurityGroup},
	}...)
	if s.builder.InstanceProfilePolicy != "" || s.restored {
		steps = append(steps, bake.Step{Name: "create instance profile", Do: s.makeProfile, Undo: s.removeProfile})
	}
	steps = append(steps, []bake.Step{
		{Name: "launch instance", Do: s.unlessFound(s.findLaunched, s.launch), Undo: s.terminate},
		{Name: "wait for instance", Do: s.waitRunning, Timeout: s.builder.SSH.connectTimeout()},
	}...)
	if s.builder.SSH.ConsoleHostKey {
		steps = append(steps, bake.Step{Name: "read host key", Do: s.readHostKeys, Timeout: s.builder.SSH.connectTimeout()})
	}
	return s.inAccount(steps...)
}

// Promote returns the steps that copy and share the AMI.
func (s *session) Promote() []bake.Step {
	const finishing = 30 * time.Minute // for the work after the copies
	d := s.builder.Distribute
	var steps []bake.Step
	if s.builder.ReplaceAMI {
		steps = append(steps, bake.Step{Name: "find image to replace", Do: s.findReplaced})
	}
	steps = append(steps, bake.Step{Name: "promote image", Do: s.promote, Undo: s.unpromote, Retry: d.retry(), Timeout: d.timeout() + finishing})
	return s.inAccount(steps...)
}
