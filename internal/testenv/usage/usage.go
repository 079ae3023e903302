// Package usage measures what programs take, for benchmarks beside other programs.
package usage

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A Usage is what a program and its children took.
type Usage struct {
	Clock     time.Duration
	Processor time.Duration // of all
	Own       time.Duration // of the processor, without the children that were left out
	Memory    int64         // resident and not shared, at most at once, in bytes; without those left out
	Output    string        // what it printed
}

// Of runs cmd to its end. Children whose names begin with the prefix are left out; empty
// means none. The memory is sampled; it needs Linux. The error has what cmd printed.
func Of(cmd *exec.Cmd, leaveOut string) (Usage, error) {
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return Usage{}, err
	}
	stop, sampled := make(chan struct{}), make(chan Usage)
	go func() { sampled <- sample(cmd.Process.Pid, leaveOut, stop) }()
	err := cmd.Wait()
	close(stop)
	u := <-sampled
	if err != nil {
		return u, fmt.Errorf("%q: %w\n%s", cmd.Args, err, out.String())
	}
	u.Clock, u.Output = time.Since(began), out.String()
	u.Processor = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if leaveOut == "" {
		u.Own = u.Processor
	}
	return u, nil
}

// sample looks at the processes until stop. It misses what they take after its last look.
func sample(root int, leaveOut string, stop <-chan struct{}) Usage {
	const every, tick = 20 * time.Millisecond, 10 * time.Millisecond // of /proc's clock
	processor := map[int]time.Duration{}
	var u Usage
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		parents, names := map[int]int{}, map[int]string{}
		times, pages := map[int]time.Duration{}, map[int]int64{}
		paths, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, path := range paths {
			text, err := os.ReadFile(path)
			head, rest, found := strings.Cut(string(text), ") ")
			f := strings.Fields(rest)
			if err != nil || !found || len(f) < 22 {
				continue // it has just ended
			}
			number := func(i int) int { n, _ := strconv.Atoi(f[i]); return n }
			pid, _ := strconv.Atoi(strings.Fields(head)[0])
			_, names[pid], _ = strings.Cut(head, "(")
			parents[pid], times[pid], pages[pid] = number(1), time.Duration(number(11)+number(12))*tick, ownPages(filepath.Dir(path))
		}
		sum := int64(0)
		for pid, name := range names {
			below := pid
			for below != root && below > 1 {
				below = parents[below]
			}
			if below == root && (leaveOut == "" || !strings.HasPrefix(name, leaveOut)) {
				processor[pid] = times[pid]
				sum += pages[pid] * int64(os.Getpagesize())
			}
		}
		u.Memory = max(u.Memory, sum)
		select {
		case <-ticks.C:
		case <-stop:
			for _, t := range processor {
				u.Own += t
			}
			return u
		}
	}
}

// ownPages returns how many pages a process has in memory that it does not share.
func ownPages(proc string) int64 {
	text, err := os.ReadFile(filepath.Join(proc, "statm"))
	f := strings.Fields(string(text))
	if err != nil || len(f) < 3 {
		return 0 // it has just ended
	}
	resident, _ := strconv.ParseInt(f[1], 10, 64)
	shared, _ := strconv.ParseInt(f[2], 10, 64)
	return resident - shared
}
