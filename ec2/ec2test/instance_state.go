package ec2test

import "time"

// state is an instance state, by EC2's code.
type state int

const (
	pending      state = 0
	running      state = 16
	shuttingDown state = 32
	terminated   state = 48
	stopping     state = 64
	stopped      state = 80
)

func (s state) String() string {
	switch s {
	case pending:
		return "pending"
	case running:
		return "running"
	case shuttingDown:
		return "shutting-down"
	case terminated:
		return "terminated"
	case stopping:
		return "stopping"
	}
	return "stopped"
}

type stateXML struct {
	Code int    `xml:"code"`
	Name string `xml:"name"`
}

func (s state) xml() stateXML { return stateXML{int(s), s.String()} }

// phase is a state and its successor, which takes effect at a given time.
type phase struct {
	from, to state
	at       time.Time
}

func (p phase) code(now time.Time) state {
	if now.Before(p.at) {
		return p.from
	}
	return p.to
}

// announced returns the state that the response of a call reports which found
// the instance in the state before. Like EC2 it reports the transition that the
// call began, even if that takes no time.
func (i *instance) announced(before state, now time.Time) state {
	if before == i.phase.to {
		return i.phase.code(now)
	}
	return i.phase.from
}

func reasonText(code string) string {
	switch code {
	case "Client.UserInitiatedShutdown":
		return "User initiated shutdown"
	case "Client.InstanceInitiatedShutdown":
		return "Instance initiated shutdown"
	case "Server.SpotInstanceTermination":
		return "Spot instance termination"
	case "Server.SpotInstanceShutdown":
		return "Spot instance shutdown"
	case "Client.InternalError":
		return "Client error on launch"
	case "Client.InvalidKMSKey.InvalidState":
		return "The KMS key provided is in an incorrect state"
	}
	return "Server initiated"
}
