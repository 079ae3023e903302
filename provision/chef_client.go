package provision

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// A ChefClient runs Chef on the machine once, as root, against a server. Its
// configuration and keys are in a directory that only root can enter and that
// is removed afterwards; the node and the client that the run has made at the
// server are removed, too, whatever came.
//
//	provision.ChefClient{
//		ServerURL: "https://chef.internal/organizations/house", NodeName: "bake-web",
//		ValidationKey: key, PolicyName: "web", PolicyGroup: "bake", AcceptLicense: true,
//	}
//
// A run that fails is a *bake.ExitError behind the meaning of its status and
// Chef's own messages.
//
// Chef is in none of the registries that this library's tests can install from:
// they run it against a program in its place.
type ChefClient struct {
	// ServerURL is the server's, with the organization.
	ServerURL string

	// NodeName is the node's name at the server. It must be no other machine's:
	// it is removed after the run.
	NodeName string

	// ValidationKey is the key in PEM of a client that may make others, and
	// ValidationName its name; empty is "chef-validator".
	ValidationKey  bake.Secret
	ValidationName string

	// ClientKey is the key of a client that exists already, by the name of the
	// node, in place of ValidationKey. That client is not removed.
	ClientKey bake.Secret

	// PolicyName and PolicyGroup are the policy to run: both, or none.
	PolicyName  string
	PolicyGroup string

	// RunList and Environment are for servers without policies.
	RunList     []string
	Environment string

	// Attributes are the node's: a struct or a map that encoding/json marshals
	// to an object. Nil is none.
	Attributes any

	// KeepNode and KeepClient leave them at the server.
	KeepNode   bool
	KeepClient bool

	// InsecureSkipVerify does not verify the server's certificate.
	InsecureSkipVerify bool

	// AcceptLicense accepts Chef's license for this run, without which it does
	// nothing.
	AcceptLicense bool

	// ExitCodes are the exit statuses that count as success: 35 and 37 are those
	// of a run that wants a restart. Empty is 0 alone.
	ExitCodes []int

	// Args are further arguments: "--log_level", "debug".
	Args []string

	// Env and Secrets are added to Chef's environment; the values of Secrets are
	// masked in what the build reports.
	Env     map[string]string
	Secrets map[string]bake.Secret

	// Install installs Chef if the machine has none, and Remove, which runs
	// after a success, removes it again.
	Install bake.Provisioner
	Remove  bake.Provisioner

	// Program is the chef-client to run; knife is the one beside it. Empty is
	// the one in root's PATH or in /opt/chef/bin or /opt/cinc/bin.
	Program string
}

// String is "chef client " and the node's name.
func (c ChefClient) String() string { return "chef client " + c.NodeName }

func (c ChefClient) tool() guestTool { return chefTool("ChefClient", c.Program, c.Install, c.Remove) }

// Validate reports all that keeps Chef from being run.
func (c ChefClient) Validate() error {
	errs := append(checkChef("ChefClient", c.Attributes, c.RunList, c.Args, c.Env, c.Secrets),
		c.tool().check(), checkExitCodes("ChefClient.ExitCodes", c.ExitCodes))
	wrong := func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid("ChefClient."+field, format, args...))
	}
	switch server, err := url.Parse(c.ServerURL); {
	case c.ServerURL == "":
		wrong("ServerURL", "is required")
	case err != nil:
		wrong("ServerURL", "%w", err)
	case server.Scheme != "https" && server.Scheme != "http" || server.Host == "":
		wrong("ServerURL", "%q is no URL of a server", c.ServerURL)
	}
	switch {
	case c.NodeName == "":
		wrong("NodeName", "is required")
	case strings.ContainsAny(c.NodeName, " \t\r\n/\x00") || strings.HasPrefix(c.NodeName, "-"):
		wrong("NodeName", "%q is no name of a node", c.NodeName)
	}
	if !exactlyOne(!c.ValidationKey.IsZero(), !c.ClientKey.IsZero()) {
		errs = append(errs, bake.Invalid("ChefClient", "exactly one of ValidationKey and ClientKey must be set"))
	}
	if (c.PolicyName == "") != (c.PolicyGroup == "") {
		errs = append(errs, bake.Invalid("ChefClient", "PolicyName and PolicyGroup go together"))
	}
	if c.PolicyName != "" && (len(c.RunList) > 0 || c.Environment != "") {
		wrong("PolicyName", "is in place of RunList and Environment")
	}
	return errors.Join(errs...)
}

// DeclareInputs declares every parameter. What the server makes of them nobody
// can tell here.
func (c ChefClient) DeclareInputs(in *bake.Inputs) error {
	in.Value("server", c.ServerURL)
	in.Value("node name", c.NodeName)
	in.Value("policy", c.PolicyName+" of "+c.PolicyGroup)
	in.Value("environment", c.Environment)
	in.Value("exit codes", c.ExitCodes)
	return errors.Join(c.tool().declare(in), declareChef(in, c.Attributes, c.RunList, c.Args, c.Env, c.Secrets))
}

// Provision runs Chef.
func (c ChefClient) Provision(ctx context.Context, m bake.Machine) error {
	if err := c.Validate(); err != nil {
		return err
	}
	bake.RunFromContext(ctx).Mask(c.ValidationKey, c.ClientKey)
	return c.tool().use(ctx, m, func(s *staging, program string) (err error) {
		config, err := c.stage(ctx, s)
		if err != nil {
			return err
		}
		attributes, err := chefAttributes(ctx, s, c.Attributes, c.RunList)
		if err != nil {
			return err
		}
		defer func() {
			err = errors.Join(err, c.unregister(ctx, m, program, config, err != nil))
		}()
		args := chefArguments(program, config, attributes, c.AcceptLicense, c.Args)
		said, err := runTool(ctx, m, &bake.Cmd{Args: args, Env: c.Env, Secrets: c.Secrets}, chefMarks()...)
		return toolError(accept(err, c.ExitCodes), chefMeaning, said, joined(c.Secrets, c.ValidationKey, c.ClientKey))
	})
}

// stage writes the configuration and the key.
func (c ChefClient) stage(ctx context.Context, s *staging) (config string, err error) {
	var file rubyFile
	clientKey := path.Join(s.path, "client.pem")
	key, name := c.ValidationKey, "validation.pem"
	if key.IsZero() {
		key, name = c.ClientKey, "client.pem"
	}
	at, err := s.file(ctx, name, key.Reveal())
	if err != nil {
		return "", err
	}
	file.set("chef_server_url", c.ServerURL)
	file.set("node_name", c.NodeName)
	file.set("client_key", clientKey)
	if !c.ValidationKey.IsZero() {
		validator := c.ValidationName
		if validator == "" {
			validator = "chef-validator"
		}
		file.set("validation_client_name", validator)
		file.set("validation_key", at)
	}
	file.set("policy_name", c.PolicyName)
	file.set("policy_group", c.PolicyGroup)
	file.set("environment", c.Environment)
	file.set("file_cache_path", path.Join(s.path, "cache"))
	if c.InsecureSkipVerify {
		file.symbol("ssl_verify_mode", "verify_none")
	}
	return s.file(ctx, "client.rb", file.String())
}

// unregister removes the node and the client at the server, also after the end
// of ctx. A run that failed may not have made them.
func (c ChefClient) unregister(ctx context.Context, m bake.Machine, program, config string, failed bool) error {
	ctx, stop := clock.WithTimeout(context.WithoutCancel(ctx), bake.RunFromContext(ctx).Clock, removeLimit)
	defer stop()
	remove := func(kind string, keep bool) error {
		if keep {
			return nil
		}
		err := m.Run(ctx, &bake.Cmd{
			Args: []string{besideChef(program, knife), kind, "delete", c.NodeName, "--yes", "--config", config}, Env: c.Env, Secrets: c.Secrets, Sudo: true,
		})
		var exit *bake.ExitError
		if failed && errors.As(err, &exit) && strings.Contains(strings.Join(exit.Output, "\n"), "could not be found") {
			return nil
		}
		if err != nil {
			return fmt.Errorf("remove the %s %s: %w", kind, c.NodeName, err)
		}
		return nil
	}
	// The client's own key is what both are removed with, so it goes last.
	return errors.Join(remove("node", c.KeepNode), remove("client", c.KeepClient || !c.ClientKey.IsZero()))
}
