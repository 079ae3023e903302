package ec2

import (
	"context"
	"net"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
)

// A session is one bake on EC2. Its exported fields are the record: what one
// step finds out is what the next one reads, and what an undo works from.
type session struct {
	builder Builder
	image   *bake.Image
	run     *bake.Run
	region  *region

	Source        SourceImage   `json:"source,omitzero"`
	Network       network       `json:"network,omitzero"`
	Keys          keys          `json:"keys,omitzero"`
	SecurityGroup securityGroup `json:"security_group,omitzero"`
	Instance      instance      `json:"instance,omitzero"`
	Reclaims      int           `json:"reclaims,omitempty"` // spot instances that EC2 took back
	Taken         taken         `json:"taken,omitzero"`
	Image         amiRecord     `json:"image,omitzero"`
	Places        []place       `json:"places,omitempty"`
}

var (
	_ bake.Session   = (*session)(nil)
	_ bake.Keeper    = (*session)(nil)
	_ bake.Restarter = (*session)(nil)
)

// Launch is the life of a bake up to a running instance.
func (s *session) Launch() []bake.Step {
	steps := []bake.Step{{Name: "find source image", Do: s.findSource}}
	if s.builder.registers() {
		steps = append(steps, bake.Step{Name: "check source image", Do: s.checkSource})
	}
	return append(steps, []bake.Step{
		{Name: "choose network", Do: s.chooseNetwork},
		{Name: "make keys", Do: s.makeKeys},
		{Name: "prepare security group", Do: s.prepareSecurityGroup, Undo: s.deleteSecurityGroup},
		{Name: "launch instance", Do: s.launch, Undo: s.terminate},
		{Name: "wait for instance", Do: s.waitRunning, Timeout: s.builder.bootTimeout()},
	}...)
}

// Promote makes the AMI one that others may use.
func (s *session) Promote() []bake.Step {
	d := s.builder.Distribute
	timeout := d.Timeout
	if timeout == 0 {
		timeout = defaultCopying
	}
	var steps []bake.Step
	if s.builder.ReplaceAMI {
		steps = append(steps, bake.Step{Name: "find image to replace", Do: s.findReplaced})
	}
	return append(steps, bake.Step{Name: "promote image", Do: s.promote, Undo: s.unpromote, Retry: d.retry(), Timeout: timeout})
}

// Connect waits until SSH answers under the injected host key.
func (s *session) Connect(ctx context.Context) (bake.Machine, error) {
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s.Keys.HostPublic))
	if err != nil {
		return nil, err
	}
	return sshmachine.Connect(ctx, &sshmachine.Config{
		Addr:           net.JoinHostPort(s.Instance.Address, "22"),
		User:           s.Source.Login,
		Auth:           []sshmachine.Auth{sshmachine.Key([]byte(s.Keys.ClientPrivate), bake.Secret{})},
		HostKey:        sshmachine.FixedKey(hostKey),
		Dial:           s.builder.Cloud.options.Dial,
		SudoPassword:   s.builder.SudoPassword,
		ConnectTimeout: s.builder.bootTimeout(),
		Clock:          s.run.Clock,
		Logger:         s.run.Log,
	})
}

// Kept says how to reach the instance.
func (s *session) Kept() bake.Kept {
	k := bake.Kept{
		Machine: s.Instance.ID,
		Address: s.Instance.Address,
		User:    s.Source.Login,
		Key:     bake.NewSecret(s.Keys.ClientPrivate),
		HostKey: s.Keys.HostPublic,
		Expires: s.run.Expires,
	}
	k.Resources = append(k.Resources, bake.Resource{Kind: "instance", ID: s.Instance.ID})
	if s.SecurityGroup.Temporary {
		k.Resources = append(k.Resources, bake.Resource{Kind: "security group", ID: s.SecurityGroup.IDs[0]})
	}
	return k
}
