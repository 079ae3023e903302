package sshmachine

import (
	"slices"

	"golang.org/x/crypto/ssh"
)

// The messages of RFC 4254, chapter 6, that package ssh keeps to itself. The
// order of the fields is the wire's.

type ptyRequest struct {
	Term          string
	Columns, Rows uint32
	Width, Height uint32 // in pixels
	Modes         string
}

type execRequest struct{ Command string }

type signalRequest struct{ Signal string }

type exitStatus struct{ Status uint32 }

type exitSignal struct {
	Signal     string
	CoreDumped bool
	Message    string
	Language   string
}

// ptyModes is a terminal that does not echo and does not turn "\n" into
// "\r\n": what a program reads in a log.
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

// signalNumber is the number of a signal on Linux, zero for one that RFC 4254
// does not name.
func signalNumber(name string) int {
	numbers := []struct {
		name   string
		number int
	}{
		{"HUP", 1}, {"INT", 2}, {"QUIT", 3}, {"ILL", 4}, {"ABRT", 6}, {"FPE", 8}, {"KILL", 9},
		{"USR1", 10}, {"SEGV", 11}, {"USR2", 12}, {"PIPE", 13}, {"ALRM", 14}, {"TERM", 15},
	}
	i := slices.IndexFunc(numbers, func(s struct {
		name   string
		number int
	}) bool {
		return s.name == name
	})
	if i < 0 {
		return 0
	}
	return numbers[i].number
}

type subsystemRequest struct{ Name string }
