package ec2test

import (
	"context"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// sentCommand is a command of Systems Manager Run Command on one instance.
type sentCommand struct {
	id, instance, document, comment string
	sent                            time.Time
	done                            bool // the other fields are set
	ended                           time.Time
	status                          int
	stdout, stderr                  string
	failed                          string // the status, if the command did not run
}

// A ScriptRunner is a [Guest] that runs scripts without SSH, as root, for the calls of
// SSM Run Command. The sandbox machines are.
type ScriptRunner interface {
	Guest

	// RunScript runs a script with /bin/sh and returns its exit status. The end of
	// ctx ends the script. Its background jobs may write later.
	RunScript(ctx context.Context, script string, stdout, stderr io.Writer) (status int, err error)
}

type sendCommandInput struct {
	DocumentName   string
	InstanceIDs    []string `json:"InstanceIds"`
	Parameters     map[string][]string
	Comment        string
	TimeoutSeconds *int
}

type sendCommandOutput struct {
	Command commandJSON
}

type commandJSON struct {
	ID        string   `json:"CommandId"`
	Document  string   `json:"DocumentName"`
	Comment   string   `json:"Comment"`
	Instances []string `json:"InstanceIds"`
	Requested float64  `json:"RequestedDateTime"`
	Status    string   `json:"Status"`
}

const shellDocument = "AWS-RunShellScript"

// sendCommand runs a script on instances, which must be running. The script ends even
// if the caller disconnects.
func (c *call) sendCommand(in *sendCommandInput) (*sendCommandOutput, *ec2query.Error) {
	const defaultLimit = 3600
	if in.DocumentName != shellDocument {
		return nil, ec2query.Errorf("InvalidDocument", "ec2test has only the document %s.", shellDocument)
	}
	if len(in.Parameters["commands"]) == 0 {
		return nil, ec2query.Errorf("InvalidParameters", "Parameter \"commands\" requires a value.")
	}
	limit := defaultLimit
	if text := in.Parameters["executionTimeout"]; len(text) == 1 {
		n, err := strconv.Atoi(text[0])
		if err != nil || n < 1 {
			return nil, ec2query.Errorf("InvalidParameters", "Parameter \"executionTimeout\" has an invalid value.")
		}
		limit = n
	}
	var machines []*instance
	for _, id := range in.InstanceIDs {
		i, ok := c.instances.get(id)
		if !ok || !c.owns(&i.base) || i.phase.code(c.now) != running {
			return nil, ec2query.Errorf("InvalidInstanceId", "Instances [[%s]] not in a valid state for account %s", id, c.account)
		}
		machines = append(machines, i)
	}
	seq := c.server.nextSeq()
	id := newID("", seq) + newID("", c.server.nextSeq())
	id = strings.Join([]string{id[:8], id[8:12], id[12:16], id[16:20], id[20:32]}, "-")
	script := strings.Join(in.Parameters["commands"], "\n")
	for _, i := range machines {
		run := &sentCommand{id: id, instance: i.id, document: in.DocumentName, comment: in.Comment, sent: c.now}
		c.commands = append(c.commands, run)
		machine, r := i.machine, c.region
		c.afterwards(func(ctx context.Context) *ec2query.Error {
			r.server.background(func() { r.runCommand(ctx, run, machine, script, time.Duration(limit)*time.Second) })
			return nil
		})
	}
	return &sendCommandOutput{commandJSON{id, in.DocumentName, in.Comment, in.InstanceIDs, float64(c.now.Unix()), "Pending"}}, nil
}

// runCommand runs a script on a machine and records how it ended.
func (r *region) runCommand(ctx context.Context, run *sentCommand, m *machine, script string, limit time.Duration) {
	ctx, stop := clock.WithTimeout(ctx, r.server.opts.Clock, limit) // also ends with the machine
	defer stop()
	var stdout, stderr outputBuffer
	status, failed := -1, "Undeliverable"
	if m.up(r.server.now()) && m.ready(ctx) == nil {
		if runner, ok := m.guest.(ScriptRunner); ok {
			var err error
			status, err = runner.RunScript(ctx, script, &stdout, &stderr)
			switch {
			case ctx.Err() != nil:
				failed = "TimedOut"
			case err == nil && status == 0:
				failed = "Success"
			default:
				failed = "Failed"
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	run.done, run.ended, run.status, run.failed = true, r.server.now(), status, failed
	run.stdout, run.stderr = stdout.String(), stderr.String()
}

// mostOutput is how much of an output Run Command returns.
const mostOutput = 24000

// outputBuffer keeps the beginning of what is written, from any goroutine.
type outputBuffer struct {
	mu   sync.Mutex
	text []byte
}

func (b *outputBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p[:min(len(p), mostOutput-len(b.text))]...)
	return len(p), nil
}

func (b *outputBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

type getCommandInput struct {
	CommandID  string `json:"CommandId"`
	InstanceID string `json:"InstanceId"`
	PluginName string
}

type invocationJSON struct {
	ID       string `json:"CommandId"`
	Instance string `json:"InstanceId"`
	Document string `json:"DocumentName"`
	Comment  string `json:"Comment"`
	Status   string `json:"Status"`
	Details  string `json:"StatusDetails"`
	Code     int    `json:"ResponseCode"`
	Stdout   string `json:"StandardOutputContent"`
	Stderr   string `json:"StandardErrorContent"`
	Started  string `json:"ExecutionStartDateTime"`
	Ended    string `json:"ExecutionEndDateTime"`
}

func (c *call) getCommand(in *getCommandInput) (*invocationJSON, *ec2query.Error) {
	for _, run := range c.commands {
		i, ok := c.instances.get(run.instance)
		if run.id != in.CommandID || run.instance != in.InstanceID || !ok || !c.owns(&i.base) {
			continue
		}
		out := &invocationJSON{
			ID: run.id, Instance: run.instance, Document: run.document, Comment: run.comment, Status: "InProgress", Code: -1,
			Started: ec2query.FormatTime(run.sent),
		}
		if run.done {
			out.Status, out.Code, out.Stdout, out.Stderr, out.Ended = run.failed, run.status, run.stdout, run.stderr, ec2query.FormatTime(run.ended)
		}
		out.Details = out.Status
		return out, nil
	}
	return nil, ec2query.Errorf("InvocationDoesNotExist", "")
}
