package ec2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// A GroupCheck decides whether an Auto Scaling group is good that runs a new AMI:
// [HTTPCheck], [SSMCheck] or [GroupCheckFunc]. It may also be a [bake.Validator] and a
// fmt.Stringer.
type GroupCheck interface {
	CheckGroup(ctx context.Context, g *RunningGroup) error
}

// A RunningGroup is an Auto Scaling group whose instances run a new AMI.
type RunningGroup struct {
	Name      string
	Where     string // the region, with the account if it is not the Builder's
	ImageID   string
	Instances []GroupInstance // those in service that run the AMI

	region *region
}

// Clock tells time and sleeps, for checks that wait.
func (g *RunningGroup) Clock() clock.Clock {
	if g.region == nil {
		return clock.System()
	}
	return g.region.clock
}

// A GroupInstance is an instance of an Auto Scaling group.
type GroupInstance struct {
	ID        string
	ImageID   string
	Type      string
	Zone      string
	PrivateIP string
	PublicIP  string // empty if it has none
	InService bool
}

func groupInstanceOf(i *ec2types.Instance) GroupInstance {
	out := GroupInstance{
		ID: aws.ToString(i.InstanceId), ImageID: aws.ToString(i.ImageId), Type: string(i.InstanceType),
		PrivateIP: aws.ToString(i.PrivateIpAddress), PublicIP: aws.ToString(i.PublicIpAddress),
	}
	if i.Placement != nil {
		out.Zone = aws.ToString(i.Placement.AvailabilityZone)
	}
	return out
}

// A GroupCheckFunc adapts a func to a GroupCheck.
type GroupCheckFunc struct {
	// Name says what must hold: "orders come in". If empty, errors have only the
	// check's number.
	Name string

	// Do returns an error if the group is not as it must be. It is required.
	Do func(ctx context.Context, g *RunningGroup) error
}

// String returns Name.
func (f GroupCheckFunc) String() string { return f.Name }

// Validate reports a missing Do.
func (f GroupCheckFunc) Validate() error {
	if f.Do == nil {
		return bake.Invalid("GroupCheckFunc.Do", "is required")
	}
	return nil
}

// CheckGroup calls Do.
func (f GroupCheckFunc) CheckGroup(ctx context.Context, g *RunningGroup) error { return f.Do(ctx, g) }

// An HTTPCheck is a [GroupCheck] that gets a page from each instance. A status of 200
// to 299 is good.
type HTTPCheck struct {
	Scheme string // empty means "http"
	Port   int    // zero means that of the scheme
	Path   string // "/health"; empty means "/"
	Host   string // for the Host header, if not the address

	// Public gets the page from the public addresses. By default the program that
	// bakes must reach the private ones.
	Public bool

	// For is how long all instances must keep answering. Zero means once.
	For time.Duration

	// Client makes the requests. If nil, a client is used that waits ten seconds
	// for each, and follows no redirections.
	Client *http.Client
}

const (
	checkEvery   = 10 * time.Second
	checkTimeout = 10 * time.Second
)

// String returns the URL without the address: "http 8080 /health".
func (h HTTPCheck) String() string { return strings.TrimSpace(h.url("")) }

func (h HTTPCheck) url(ip string) string {
	scheme, path := h.Scheme, h.Path
	if scheme == "" {
		scheme = "http"
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	if ip == "" {
		ip = "INSTANCE"
	}
	if h.Port != 0 {
		ip = net.JoinHostPort(ip, strconv.Itoa(h.Port))
	} else if strings.Contains(ip, ":") {
		ip = "[" + ip + "]"
	}
	return scheme + "://" + ip + path
}

// Validate reports an unknown Scheme and an invalid Port.
func (h HTTPCheck) Validate() error {
	const lastPort = 1<<16 - 1
	switch {
	case h.Scheme != "" && h.Scheme != "http" && h.Scheme != "https":
		return bake.Invalid("HTTPCheck.Scheme", "unknown value %q: want http or https", h.Scheme)
	case h.Port < 0 || h.Port > lastPort:
		return bake.Invalid("HTTPCheck.Port", "invalid port %d", h.Port)
	case h.For < 0:
		return bake.Invalid("HTTPCheck.For", "must not be negative")
	}
	return nil
}

// CheckGroup gets the page from each instance, until For has passed.
func (h HTTPCheck) CheckGroup(ctx context.Context, g *RunningGroup) error {
	if len(g.Instances) == 0 {
		return fmt.Errorf("no instance of %s in service", g.Name)
	}
	client := h.Client
	if client == nil {
		client = &http.Client{
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}, Timeout: checkTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	until := g.Clock().Now().Add(h.For)
	for {
		for _, i := range g.Instances {
			if err := h.get(ctx, client, i); err != nil {
				return fmt.Errorf("instance %s: %w", i.ID, err)
			}
		}
		left := until.Sub(g.Clock().Now())
		if left <= 0 {
			return nil
		}
		if err := g.Clock().Sleep(ctx, min(left, checkEvery)); err != nil {
			return err
		}
	}
}

func (h HTTPCheck) get(ctx context.Context, client *http.Client, i GroupInstance) error {
	ip := i.PrivateIP
	if h.Public {
		ip = i.PublicIP
	}
	if ip == "" {
		return errors.New("it has no such address")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url(ip), nil)
	if err != nil {
		return err
	}
	if h.Host != "" {
		req.Host = h.Host
	}
	answer, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = answer.Body.Close() // its content does not matter
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("%s answers %s", req.URL, answer.Status)
	}
	return nil
}

// An SSMCheck is a [GroupCheck] that runs a script on each instance by Systems Manager,
// which reaches them without a network path. The instances need the SSM agent and a
// profile that lets it register. Exit status 0 is good.
type SSMCheck struct {
	// Script is for /bin/sh. It is required.
	Script string

	// Timeout limits the script. Zero means five minutes.
	Timeout time.Duration
}

const (
	defaultScriptTimeout = 5 * time.Minute
	shortestSSMTimeout   = 30 * time.Second
)

// String returns "script by SSM".
func (SSMCheck) String() string { return "script by SSM" }

// Validate reports an empty Script.
func (c SSMCheck) Validate() error {
	switch {
	case strings.TrimSpace(c.Script) == "":
		return bake.Invalid("SSMCheck.Script", "is required")
	case c.Timeout != 0 && c.Timeout < shortestSSMTimeout:
		return bake.Invalid("SSMCheck.Timeout", "%v is less than 30 seconds", c.Timeout)
	}
	return nil
}

// CheckGroup runs the script on all instances at the same time.
func (c SSMCheck) CheckGroup(ctx context.Context, g *RunningGroup) error {
	if len(g.Instances) == 0 {
		return fmt.Errorf("no instance of %s in service", g.Name)
	}
	timeout := c.Timeout
	if timeout == 0 {
		timeout = defaultScriptTimeout
	}
	ctx, stop := clock.WithTimeout(ctx, g.Clock(), timeout+time.Minute)
	defer stop()
	return awsapi.ForEach(g.Instances, func(i GroupInstance) error {
		if err := c.run(ctx, g.region, i.ID, timeout); err != nil {
			return fmt.Errorf("instance %s: %w", i.ID, err)
		}
		return nil
	})
}

func (c SSMCheck) run(ctx context.Context, r *region, id string, timeout time.Duration) error {
	sent, err := r.ssm.SendCommand(ctx, &ssm.SendCommandInput{
		DocumentName: aws.String("AWS-RunShellScript"), InstanceIds: []string{id}, Comment: aws.String("bakestone check"),
		Parameters:     map[string][]string{"commands": {c.Script}, "executionTimeout": {strconv.Itoa(int(timeout / time.Second))}},
		TimeoutSeconds: seconds(timeout),
	})
	if err != nil {
		return err
	}
	if sent.Command == nil || aws.ToString(sent.Command.CommandId) == "" {
		return fmt.Errorf("%w: response without the id of the command", errUnknownID)
	}
	var last *ssm.GetCommandInvocationOutput
	err = clock.WaitFor(ctx, r.clock, r.interval, func(ctx context.Context) (bool, error) {
		out, err := r.ssm.GetCommandInvocation(ctx, &ssm.GetCommandInvocationInput{CommandId: sent.Command.CommandId, InstanceId: aws.String(id)})
		if awsapi.Code(err) == "InvocationDoesNotExist" {
			return false, nil // not yet shown
		}
		if err != nil {
			return false, err
		}
		last = out
		switch out.Status {
		case ssmtypes.CommandInvocationStatusPending, ssmtypes.CommandInvocationStatusInProgress, ssmtypes.CommandInvocationStatusDelayed, ssmtypes.CommandInvocationStatusCancelling:
			return false, nil
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	if last.Status != ssmtypes.CommandInvocationStatusSuccess {
		output := strings.TrimSpace(aws.ToString(last.StandardOutputContent) + "\n" + aws.ToString(last.StandardErrorContent))
		return fmt.Errorf("script: %s, exit status %d: %s", last.Status, last.ResponseCode, bake.RunFromContext(ctx).Redact(output))
	}
	return nil
}
