package ec2

import (
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A session is one bake on EC2. Its exported fields are the record: what one
// step finds out is what the next one reads, and what an undo works from.
type session struct {
	builder Builder
	image   *bake.Image
	run     *bake.Run
	region  *region
	resumed bool // it is of a record, and has made nothing yet

	Source        SourceImage   `json:"source,omitzero"`
	Network       networkRecord `json:"network,omitzero"`
	Keys          keys          `json:"keys,omitzero"`
	SecurityGroup securityGroup `json:"security_group,omitzero"`
	Profile       tempProfile   `json:"profile,omitzero"`
	Instance      instance      `json:"instance,omitzero"`
	Reclaims      int           `json:"reclaims,omitempty"` // spot instances that EC2 took back
	Failed        []candidate   `json:"failed,omitempty"`   // launches that EC2 began and could not finish
	Taken         taken         `json:"taken,omitzero"`
	Image         amiRecord     `json:"image,omitzero"`
	Places        []place       `json:"places,omitempty"`
	Promotions    int           `json:"promotions,omitempty"` // attempts at it
}

var (
	_ bake.Session       = (*session)(nil)
	_ bake.MachineKeeper = (*session)(nil)
	_ bake.Restarter     = (*session)(nil)
)

// Launch is the life of a bake up to a running instance. A machine that checks
// is launched of an AMI that has been looked at already, as users will launch it.
func (s *session) Launch() []bake.Step {
	steps := []bake.Step{{Name: "find source image", Do: s.findSource}}
	if s.builder.asksOfSource() && !s.run.Checks {
		steps = append(steps, bake.Step{Name: "check source image", Do: s.checkSource})
	}
	if !s.run.Checks && len(s.looks()) > 0 {
		steps = append(steps, bake.Step{Name: "check places", Do: s.checkPlaces})
	}
	steps = append(steps, []bake.Step{
		{Name: "choose network", Do: s.chooseNetwork},
		{Name: "make keys", Do: s.makeKeys},
		{Name: "prepare security group", Do: s.prepareSecurityGroup, Undo: s.deleteSecurityGroup},
	}...)
	if s.builder.InstanceProfilePolicy != "" {
		steps = append(steps, bake.Step{Name: "make instance profile", Do: s.makeProfile, Undo: s.removeProfile})
	}
	steps = append(steps, []bake.Step{
		{Name: "launch instance", Do: s.unlessMade(s.findLaunched, s.launch), Undo: s.terminate},
		{Name: "wait for instance", Do: s.waitRunning, Timeout: s.builder.SSH.connectTimeout()},
	}...)
	if s.builder.SSH.ConsoleHostKey {
		steps = append(steps, bake.Step{Name: "read host key", Do: s.readHostKeys, Timeout: s.builder.SSH.connectTimeout()})
	}
	return steps
}

// Promote makes the AMI one that others may use.
func (s *session) Promote() []bake.Step {
	const finishing = 30 * time.Minute // for what comes after the copies
	d := s.builder.Distribute
	var steps []bake.Step
	if s.builder.ReplaceAMI {
		steps = append(steps, bake.Step{Name: "find image to replace", Do: s.findReplaced})
	}
	return append(steps, bake.Step{Name: "promote image", Do: s.promote, Undo: s.unpromote, Retry: d.retry(), Timeout: d.timeout() + finishing})
}
