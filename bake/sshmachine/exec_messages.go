package sshmachine

import "golang.org/x/crypto/ssh"

// The messages of RFC 4254, section 6, which package ssh does not export. Their
// fields are in wire order.

type ptyRequest struct {
	Term          string
	Columns, Rows uint32
	Width, Height uint32 // in pixels
	Modes         string
}

type execRequest struct{ Command string }

type subsystemRequest struct{ Name string }

type signalRequest struct{ Signal string }

type exitStatus struct{ Status uint32 }

type exitSignal struct {
	Signal     string
	CoreDumped bool
	Message    string
	Language   string
}

// ptyModes returns the encoded modes of a terminal that neither echoes nor turns
// "\n" into "\r\n", so its output suits a log.
func ptyModes() string {
	type mode struct {
		Key   byte
		Value uint32
	}
	var modes []byte
	for _, m := range []mode{{ssh.ECHO, 0}, {ssh.ONLCR, 0}, {ssh.TTY_OP_ISPEED, 115200}, {ssh.TTY_OP_OSPEED, 115200}} {
		modes = append(modes, ssh.Marshal(&m)...)
	}
	const end = 0
	return string(append(modes, end))
}

// signalNumber returns the Linux number of a signal named in RFC 4254, or zero.
func signalNumber(name string) int {
	return map[string]int{
		"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "ABRT": 6, "FPE": 8, "KILL": 9,
		"USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15,
	}[name]
}
