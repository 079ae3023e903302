package ec2test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// A CommandRun is a command that ran on a sandbox machine.
type CommandRun struct {
	Instance string   // the instance's id
	Image    string   // the id of the image that the instance was launched from
	Args     []string // the command line; Args[0] is the name the command was called by
	User     string
	Dir      string // the working directory
	Status   int
	Start    time.Time // by the server's clock
}

// String returns the command as one line: "root: apt-get install -y nginx (exit
// status 100)". It omits the status 0.
func (c CommandRun) String() string {
	text := c.User + ": " + strings.Join(c.Args, " ")
	if c.Status != 0 {
		text += fmt.Sprintf(" (exit status %d)", c.Status)
	}
	return text
}

// commandLog keeps the latest commands of each instance.
type commandLog struct {
	mu  sync.Mutex
	all []CommandRun
}

// maxCommandRuns bounds the memory of a server whose guests never end.
const maxCommandRuns = 100_000

func (l *commandLog) add(spec MachineSpec, run sandbox.CommandRun) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) >= maxCommandRuns {
		l.all = slices.Delete(l.all, 0, maxCommandRuns/2)
	}
	l.all = append(l.all, CommandRun{
		Instance: spec.InstanceID, Image: spec.ImageID, Args: slices.Clone(run.Args), User: run.User, Dir: run.Dir, Status: run.Status, Start: run.Start,
	})
}

// CommandRuns returns the programs that the sandbox machines of an instance ran,
// in the order in which they ended. If id is empty, it returns those of all
// instances. Of a server that has run more than 100,000, it returns the latest.
// Commands of the shell itself, such as cd, are not included.
func (s *Server) CommandRuns(id string) []CommandRun {
	s.commands.mu.Lock()
	defer s.commands.mu.Unlock()
	var runs []CommandRun
	for _, run := range s.commands.all {
		if id == "" || run.Instance == id {
			runs = append(runs, run)
		}
	}
	return runs
}
