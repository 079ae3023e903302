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

// A ChefClient runs Chef on the machine once, as root, against a server.
// Configuration and keys are stored in a directory that only root can enter.
// Afterwards it removes the directory, and the node and client that the run
// created at the server, even if the run fails.
//
//	provision.ChefClient{
//		ServerURL: "https://chef.internal/organizations/house", NodeName: "bake-web",
//		ValidationKey: key, PolicyName: "web", PolicyGroup: "bake", AcceptLicense: true,
//	}
//
// A run that fails is a [*bake.ExitError], wrapped with the meaning of its status
// and Chef's messages.
//
// The tests of this package replace Chef with a fake, since they cannot install
// Chef.
type ChefClient struct {
	// ServerURL is the server's URL, including the organization. It is required.
	ServerURL string

	// NodeName is the node's name at the server. It is required and must be unique,
	// since the node is removed after the run.
	NodeName string

	// ValidationKey is the PEM key of a client that may create clients, and
	// ValidationName is that client's name. If ValidationName is empty, it is
	// "chef-validator".
	ValidationKey  bake.Secret
	ValidationName string

	// ClientKey, instead of ValidationKey, is the PEM key of an existing client
	// with the node's name, which is not removed.
	ClientKey bake.Secret

	// PolicyName and PolicyGroup select the policy to run. Set both or neither.
	PolicyName  string
	PolicyGroup string

	// RunList and Environment are for servers without policies.
	RunList     []string
	Environment string

	// Attributes are the node's attributes: a struct or map that encoding/json
	// marshals to an object. They are optional.
	Attributes any

	// KeepNode and KeepClient do not remove the node and the client at the server.
	KeepNode   bool
	KeepClient bool

	// InsecureSkipVerify disables verification of the server's certificate.
	InsecureSkipVerify bool

	// AcceptLicense accepts Chef's license for this run. Chef does not run without
	// it.
	AcceptLicense bool

	// ExitCodes are the exit statuses that count as success. Chef exits with 35 or
	// 37 to request a restart. If empty, only 0 is success.
	ExitCodes []int

	// Args are additional arguments: "--log_level", "debug".
	Args []string

	// Env and Secrets are added to Chef's environment. The values of Secrets are
	// masked in everything the build reports.
	Env     map[string]string
	Secrets map[string]bake.Secret

	// Install installs Chef if it is missing. Remove removes it after a
	// successful run. Both are optional.
	Install bake.Provisioner
	Remove  bake.Provisioner

	// Program is the path of chef-client on the machine; knife is in the same
	// directory. If empty, root's PATH, /opt/chef/bin and /opt/cinc/bin are searched.
	Program string
}

var (
	_ bake.Provisioner   = ChefClient{}
	_ bake.Validator     = ChefClient{}
	_ bake.InputDeclarer = ChefClient{}
)

// String returns "chef client " and the node's name.
func (c ChefClient) String() string { return "chef client " + c.NodeName }

func (c ChefClient) tool() guestTool { return chefTool("ChefClient", c.Program, c.Install, c.Remove) }

// Validate reports invalid and conflicting fields.
func (c ChefClient) Validate() error {
	errs := append(checkChef("ChefClient", c.Attributes, c.RunList, c.Args, c.Env, c.Secrets),
		c.tool().check(), checkExitCodes("ChefClient.ExitCodes", c.ExitCodes))
	invalid := func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid("ChefClient."+field, format, args...))
	}
	switch server, err := url.Parse(c.ServerURL); {
	case c.ServerURL == "":
		invalid("ServerURL", "is required")
	case err != nil:
		invalid("ServerURL", "%w", err)
	case server.Scheme != "https" && server.Scheme != "http" || server.Host == "":
		invalid("ServerURL", "invalid server URL %q", c.ServerURL)
	}
	switch {
	case c.NodeName == "":
		invalid("NodeName", "is required")
	case strings.ContainsAny(c.NodeName, " \t\r\n/\x00") || strings.HasPrefix(c.NodeName, "-"):
		invalid("NodeName", "invalid node name %q", c.NodeName)
	}
	if !exactlyOne(!c.ValidationKey.IsZero(), !c.ClientKey.IsZero()) {
		errs = append(errs, bake.Invalid("ChefClient", "exactly one of ValidationKey and ClientKey must be set"))
	}
	if (c.PolicyName == "") != (c.PolicyGroup == "") {
		errs = append(errs, bake.Invalid("ChefClient", "PolicyName and PolicyGroup must be set together"))
	}
	if c.PolicyName != "" && (len(c.RunList) > 0 || c.Environment != "") {
		invalid("PolicyName", "conflicts with RunList and Environment")
	}
	return errors.Join(append(errs, checkRedacted("ChefClient", c))...)
}

// DeclareInputs declares the parameters. The server's policies and cookbooks are
// unknown before the build.
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
	return c.tool().use(ctx, m, func(dir *stagingDir, program string) (err error) {
		config, err := c.stage(ctx, dir)
		if err != nil {
			return err
		}
		attributes, err := chefAttributes(ctx, dir, c.Attributes, c.RunList)
		if err != nil {
			return err
		}
		defer func() {
			err = errors.Join(err, c.unregister(ctx, m, program, config, err != nil))
		}()
		args := chefArguments(program, config, attributes, c.AcceptLicense, c.Args)
		messages, err := runTool(ctx, m, &bake.Cmd{Args: args, Env: c.Env, Secrets: c.Secrets}, chefMarks()...)
		return toolError(accept(err, c.ExitCodes), chefMeaning, messages, secretsAnd(c.Secrets, c.ValidationKey, c.ClientKey))
	})
}

// stage uploads the configuration and the key and returns the configuration's path.
func (c ChefClient) stage(ctx context.Context, dir *stagingDir) (config string, err error) {
	var file rubyFile
	clientKey := path.Join(dir.path, "client.pem")
	key, name := c.ValidationKey, "validation.pem"
	if key.IsZero() {
		key, name = c.ClientKey, "client.pem"
	}
	at, err := dir.file(ctx, name, key.Reveal())
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
	file.set("file_cache_path", path.Join(dir.path, "cache"))
	if c.InsecureSkipVerify {
		file.symbol("ssl_verify_mode", "verify_none")
	}
	return dir.file(ctx, "client.rb", file.String())
}

// unregister removes the node and the client at the server, even if ctx has ended.
// They may not exist after a failed run.
func (c ChefClient) unregister(ctx context.Context, m bake.Machine, program, config string, failed bool) error {
	ctx, stop := clock.WithTimeout(context.WithoutCancel(ctx), bake.RunFromContext(ctx).Clock, removeTimeout)
	defer stop()
	remove := func(kind string, keep bool) error {
		if keep {
			return nil
		}
		err := m.Run(ctx, &bake.Cmd{
			Args: []string{siblingProgram(program, knife), kind, "delete", c.NodeName, "--yes", "--config", config}, Env: c.Env, Secrets: c.Secrets, Sudo: true,
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
	// Remove the client last, since its key authorizes both removals.
	return errors.Join(remove("node", c.KeepNode), remove("client", c.KeepClient || !c.ClientKey.IsZero()))
}
