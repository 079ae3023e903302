package provision

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A PuppetAgent runs the machine's Puppet agent once, as root, against a server:
//
//	provision.PuppetAgent{Server: "puppet.internal", CertName: node.Name}
//
// It runs puppet agent --test, whose exit statuses 0 and 2 mean success. Any other
// is a [*bake.ExitError], wrapped with its meaning and Puppet's messages. Before
// the run it stops the agent's service, and afterwards disables it, so Puppet
// changes the machine only while the image is baked.
type PuppetAgent struct {
	// Server is the server's name. If empty, it is taken from the machine's
	// puppet.conf, or "puppet".
	Server string

	// CertName is the machine's name at the server, in lower case. If empty, it is
	// the fully qualified host name.
	CertName string

	// Environment is the Puppet environment. If empty, the server chooses it.
	Environment string

	// WaitForCert is the interval at which the agent polls the server until that
	// has signed its certificate, rounded up to seconds. Zero means no wait: the
	// server must sign immediately.
	WaitForCert time.Duration

	// Tags limits the run to resources with one of these tags.
	Tags []string

	// Facts are external facts. To pass a secret fact, set the variable FACTER_NAME
	// in Secrets.
	Facts map[string]string

	// Args are additional arguments of puppet agent: "--ca_server=ca.internal".
	Args []string

	// Env and Secrets are added to Puppet's environment. The values of Secrets are
	// masked in everything the build reports.
	Env     map[string]string
	Secrets map[string]bake.Secret

	// KeepService does not disable the agent's service, which is only stopped.
	KeepService bool

	// RemoveKeys removes the agent's key and certificate after a successful run,
	// for images whose machines get their own certificates.
	RemoveKeys bool

	// Install installs Puppet if it is missing. Remove removes it after a
	// successful run. Both are optional; see [PuppetApply].
	Install bake.Provisioner
	Remove  bake.Provisioner

	// Program is the path of puppet on the machine. If empty, root's PATH and
	// /opt/puppetlabs/bin are searched.
	Program string
}

var (
	_ bake.Provisioner   = PuppetAgent{}
	_ bake.Validator     = PuppetAgent{}
	_ bake.InputDeclarer = PuppetAgent{}
)

// String returns "puppet agent" and CertName.
func (p PuppetAgent) String() string { return strings.TrimSpace("puppet agent " + p.CertName) }

func (p PuppetAgent) tool() guestTool {
	return puppetTool("PuppetAgent", p.Program, p.Install, p.Remove)
}

// Validate reports invalid fields.
func (p PuppetAgent) Validate() error {
	errs := append(checkFacts("PuppetAgent.Facts", p.Facts),
		checkEnv("PuppetAgent", p.Env, p.Secrets), p.tool().check())
	for _, f := range []struct{ field, value string }{
		{"PuppetAgent.Server", p.Server}, {"PuppetAgent.CertName", p.CertName}, {"PuppetAgent.Environment", p.Environment},
	} {
		if strings.ContainsAny(f.value, " \t\r\n/\x00") || strings.HasPrefix(f.value, "-") {
			errs = append(errs, bake.Invalid(f.field, "invalid name %q", f.value))
		}
	}
	// Puppet does not find certificates whose names contain upper-case letters.
	if p.CertName != strings.ToLower(p.CertName) {
		errs = append(errs, bake.Invalid("PuppetAgent.CertName", "%q contains upper-case letters, which Puppet does not allow", p.CertName))
	}
	if p.WaitForCert < 0 {
		errs = append(errs, bake.Invalid("PuppetAgent.WaitForCert", "is negative"))
	}
	if slices.ContainsFunc(p.Args, hasNUL) {
		errs = append(errs, bake.Invalid("PuppetAgent.Args", "contains a NUL byte"))
	}
	return errors.Join(append(errs, checkRedacted("PuppetAgent", p))...)
}

// DeclareInputs declares the parameters. The server's catalog is unknown before
// the build.
func (p PuppetAgent) DeclareInputs(in *bake.Inputs) error {
	in.Value("server", p.Server)
	in.Value("certname", p.CertName)
	in.Value("environment", p.Environment)
	in.Value("tags", p.Tags)
	in.Value("facts", p.Facts)
	in.Value("args", p.Args)
	declareEnv(in, p.Env, p.Secrets)
	in.Value("keep service", p.KeepService)
	in.Value("remove keys", p.RemoveKeys)
	return p.tool().declare(in)
}

// Provision runs the agent.
func (p PuppetAgent) Provision(ctx context.Context, m bake.Machine) error {
	if err := p.Validate(); err != nil {
		return err
	}
	return p.tool().use(ctx, m, func(_ *stagingDir, program string) error {
		if err := stopPuppet(ctx, m, "stop"); err != nil {
			return err
		}
		messages, err := runTool(ctx, m, &bake.Cmd{
			Args: append([]string{program, "agent"}, p.arguments()...), Env: withFacts(p.Env, p.Facts), Secrets: p.Secrets,
		}, puppetMarks()...)
		err = toolError(accept(err, puppetSucceeded()), puppetMeaning, messages, slices.Collect(maps.Values(p.Secrets)))
		if err == nil && !p.KeepService {
			err = stopPuppet(ctx, m, "disable --now")
		}
		if err == nil && p.RemoveKeys {
			err = removePuppetKeys(ctx, m, program)
		}
		return err
	})
}

func (p PuppetAgent) arguments() []string {
	seconds := int((p.WaitForCert + time.Second - 1) / time.Second)
	args := []string{"--test", "--color=false", "--waitforcert=" + strconv.Itoa(seconds)}
	for _, o := range []struct{ option, value string }{
		{"server", p.Server}, {"certname", p.CertName}, {"environment", p.Environment}, {"tags", strings.Join(p.Tags, ",")},
	} {
		if o.value != "" {
			args = append(args, "--"+o.option+"="+o.value)
		}
	}
	return append(args, p.Args...)
}

// stopPuppet runs systemctl VERB for the agent's service, if both exist.
func stopPuppet(ctx context.Context, m bake.Machine, verb string) error {
	const unit = " puppet.service"
	err := m.Run(ctx, &bake.Cmd{Sudo: true, Line: "! command -v systemctl >/dev/null || ! systemctl cat" + unit +
		" >/dev/null 2>&1 || systemctl " + verb + unit})
	if err != nil {
		return fmt.Errorf("stop the agent's service: %w", err)
	}
	return nil
}

func removePuppetKeys(ctx context.Context, m bake.Machine, program string) error {
	dir, err := bake.Output(ctx, m, &bake.Cmd{Args: []string{program, "config", "print", "ssldir", "--section", "agent"}, Sudo: true, Quiet: true})
	if err == nil && strings.Count(dir, "/") < 2 {
		err = fmt.Errorf("unexpected ssldir %q", dir)
	}
	if err == nil {
		err = m.Run(ctx, &bake.Cmd{Args: []string{"rm", "-rf", dir}, Sudo: true})
	}
	if err != nil {
		return fmt.Errorf("remove the agent's keys: %w", err)
	}
	return nil
}
