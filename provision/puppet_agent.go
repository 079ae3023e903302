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

// A PuppetAgent runs the Puppet agent of the machine once, as root, against a
// server:
//
//	provision.PuppetAgent{Server: "puppet.internal", CertName: node.Name}
//
// It runs puppet agent --test, whose exit statuses 0 and 2 are success. Any
// other is a *bake.ExitError behind its meaning and Puppet's own messages. The
// agent's service is stopped before the run, which it would be in the way of,
// and is left stopped and disabled: what Puppet does to the machine happens
// once, while the image is baked.
type PuppetAgent struct {
	// Server is the name of the server. Empty is the one of the machine's
	// puppet.conf, or "puppet".
	Server string

	// CertName is the machine's name at the server. Empty is its host name with
	// the domain.
	CertName string

	// Environment is the one to be configured for. Empty is the server's choice.
	Environment string

	// WaitForCert is how often the agent asks for its certificate, as long as
	// the server has not signed it; rounded up to a second. Zero is not to wait
	// at all: then the server has to sign at once.
	WaitForCert time.Duration

	// Tags apply only the resources that have one of them.
	Tags []string

	// Facts are external facts. A fact that is secret is a variable of Secrets,
	// its name behind "FACTER_".
	Facts map[string]string

	// Args are further arguments of puppet agent: "--ca_server=ca.internal".
	Args []string

	// Env and Secrets are added to Puppet's environment; the values of Secrets
	// are masked in what the build reports.
	Env     map[string]string
	Secrets map[string]bake.Secret

	// KeepService does not disable the agent's service: it is stopped, and starts
	// with the machine if it did before.
	KeepService bool

	// ForgetKeys removes the agent's key and certificate after a success, for
	// images whose machines have names of their own.
	ForgetKeys bool

	// Install installs Puppet if the machine has none, and Remove, which runs
	// after a success, removes it again; see PuppetApply.
	Install bake.Provisioner
	Remove  bake.Provisioner

	// Program is the puppet to run. Empty is the one in root's PATH or in
	// /opt/puppetlabs/bin.
	Program string
}

// String is "puppet agent", and the name at the server.
func (p PuppetAgent) String() string { return strings.TrimSpace("puppet agent " + p.CertName) }

func (p PuppetAgent) tool() guestTool {
	return puppetTool("PuppetAgent", p.Program, p.Install, p.Remove)
}

// Validate reports all that keeps the agent from being run.
func (p PuppetAgent) Validate() error {
	errs := append(checkFacts("PuppetAgent.Facts", p.Facts),
		checkEnv("PuppetAgent", p.Env, p.Secrets), p.tool().check())
	for _, f := range []struct{ field, value string }{
		{"PuppetAgent.Server", p.Server}, {"PuppetAgent.CertName", p.CertName}, {"PuppetAgent.Environment", p.Environment},
	} {
		if strings.ContainsAny(f.value, " \t\r\n/\x00") || strings.HasPrefix(f.value, "-") {
			errs = append(errs, bake.Invalid(f.field, "%q is no name", f.value))
		}
	}
	// A certificate of a name with capitals is one that Puppet will not find.
	if p.CertName != strings.ToLower(p.CertName) {
		errs = append(errs, bake.Invalid("PuppetAgent.CertName", "%q has capitals, which Puppet does not allow", p.CertName))
	}
	if p.WaitForCert < 0 {
		errs = append(errs, bake.Invalid("PuppetAgent.WaitForCert", "is negative"))
	}
	if slices.ContainsFunc(p.Args, hasNUL) {
		errs = append(errs, bake.Invalid("PuppetAgent.Args", "contain a NUL byte"))
	}
	return errors.Join(errs...)
}

// DeclareInputs declares every parameter. What the server makes of them nobody
// can tell here.
func (p PuppetAgent) DeclareInputs(in *bake.Inputs) error {
	in.Value("server", p.Server)
	in.Value("certname", p.CertName)
	in.Value("environment", p.Environment)
	in.Value("tags", p.Tags)
	in.Value("facts", p.Facts)
	in.Value("args", p.Args)
	declareEnv(in, p.Env, p.Secrets)
	in.Value("keep service", p.KeepService)
	in.Value("forget keys", p.ForgetKeys)
	return p.tool().declare(in)
}

// Provision runs the agent.
func (p PuppetAgent) Provision(ctx context.Context, m bake.Machine) error {
	if err := p.Validate(); err != nil {
		return err
	}
	return p.tool().use(ctx, m, func(_ *staging, program string) error {
		if err := stopPuppet(ctx, m, "stop"); err != nil {
			return err
		}
		said, err := runTool(ctx, m, &bake.Cmd{
			Args: append([]string{program, "agent"}, p.arguments()...), Env: withFacts(p.Env, p.Facts), Secrets: p.Secrets,
		}, puppetMarks()...)
		err = toolError(accept(err, puppetSucceeded()), puppetMeaning, said, slices.Collect(maps.Values(p.Secrets)))
		if err == nil && !p.KeepService {
			err = stopPuppet(ctx, m, "disable --now")
		}
		if err == nil && p.ForgetKeys {
			err = forgetPuppetKeys(ctx, m, program)
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

// stopPuppet tells systemd about the agent's service, where there are both.
func stopPuppet(ctx context.Context, m bake.Machine, verb string) error {
	const unit = " puppet.service"
	err := m.Run(ctx, &bake.Cmd{Sudo: true, Line: "! command -v systemctl >/dev/null || ! systemctl cat" + unit +
		" >/dev/null 2>&1 || systemctl " + verb + unit})
	if err != nil {
		return fmt.Errorf("stop the service of the agent: %w", err)
	}
	return nil
}

func forgetPuppetKeys(ctx context.Context, m bake.Machine, program string) error {
	dir, err := bake.Output(ctx, m, &bake.Cmd{Args: []string{program, "config", "print", "ssldir", "--section", "agent"}, Sudo: true})
	if err == nil && strings.Count(dir, "/") < 2 {
		err = fmt.Errorf("%q is no directory to remove", dir)
	}
	if err == nil {
		err = m.Run(ctx, &bake.Cmd{Args: []string{"rm", "-rf", dir}, Sudo: true})
	}
	if err != nil {
		return fmt.Errorf("remove the agent's keys: %w", err)
	}
	return nil
}
