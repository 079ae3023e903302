//go:build unix

package qemu_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// serve serves the control socket and the events.
func (m *fakeMachine) serve(ctx context.Context) error {
	control, err := new(net.ListenConfig).Listen(ctx, "unix", "qmp.sock")
	if err != nil {
		return err
	}
	events, err := new(net.ListenConfig).Listen(ctx, "unix", "events.sock")
	if err != nil {
		return err
	}
	go m.serveEvents(events)
	go func() {
		for { // one client at a time, as QEMU
			c, err := control.Accept()
			if err != nil {
				return
			}
			m.serveQMP(c)
		}
	}()
	return nil
}

// serveEvents negotiates with the client of the events, whom tell tells them.
func (m *fakeMachine) serveEvents(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = fmt.Fprintln(c, `{"QMP": {}}`)
		if in := bufio.NewScanner(c); in.Scan() {
			_, _ = fmt.Fprintln(c, `{"return": {}, "id": "1"}`)
		}
		m.mu.Lock()
		m.watcher = c
		m.mu.Unlock()
		if m.watched != nil {
			m.watched()
		}
	}
}

// tell reports an event of the guest.
func (m *fakeMachine) tell(event, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watcher != nil {
		_, _ = fmt.Fprintf(m.watcher, `{"event": %q, "data": {"guest": true, "reason": %q}}`+"\n", event, reason)
	}
}

// record adds a command to the file qmp.log.
func (m *fakeMachine) record(command string) error {
	f, err := os.OpenFile("qmp.log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, command)
	return errors.Join(err, f.Close())
}

// serveQMP serves one client.
func (m *fakeMachine) serveQMP(c net.Conn) {
	defer c.Close()
	_, _ = fmt.Fprintln(c, `{"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": []}}`)
	for in := bufio.NewScanner(c); in.Scan(); {
		var request struct{ Execute, ID string }
		if err := json.Unmarshal(in.Bytes(), &request); err != nil {
			return
		}
		if err := m.record(request.Execute); err != nil {
			return
		}
		var result any = struct{}{}
		switch request.Execute {
		case "query-uuid":
			result = map[string]string{"UUID": m.uuid}
		case "query-status":
			result = map[string]string{"status": "running"}
		case "human-monitor-command":
			result = fmt.Sprintf("Hub -1 (net):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"+
				"  TCP[HOST_FORWARD]  14       127.0.0.1 %s       10.0.2.15    22     0     0\r\n", m.port)
		case "query-blockstats":
			result = []any{}
		case "send-key":
			m.pressed()
		case "quit":
			defer m.end()
		case "system_powerdown":
			defer m.end()
		}
		_ = json.NewEncoder(c).Encode(map[string]any{"return": result, "id": request.ID})
		if request.Execute == "quit" {
			return
		}
	}
}

// fakeInstall is a QEMU that runs an installer, until it has done what its answers tell.
func fakeInstall(args []string, disk *fakeDisk) error {
	watched, pressed := make(chan struct{}), make(chan struct{})
	m := &fakeMachine{
		uuid: argument(args, "-uuid"), port: "1", exit: make(chan int, 1),
		watched: sync.OnceFunc(func() { close(watched) }),
		pressed: sync.OnceFunc(func() { close(pressed) }),
	}
	if err := errors.Join(m.serve(context.Background()), os.WriteFile("console.log", nil, 0o600)); err != nil {
		return err
	}
	go func() {
		<-watched // a real installer takes longer
		if strings.Contains(argument(args, "-append"), "press-key") {
			<-pressed
		}
		reason, err := "guest-reset", error(nil)
		if _, url, kickstart := strings.Cut(argument(args, "-append"), "inst.ks="); kickstart {
			err = readKickstart(url)
		} else {
			err = fetchAnswers(argument(args, "-append"))
		}
		if err == nil {
			reason = "guest-shutdown"
			disk.Files = map[string]fakeFile{}
			err = errors.Join(disk.dump(sandbox.NewRoot(nil), "/"), disk.write("disk.qcow2"))
		}
		if err != nil {
			_ = os.WriteFile("console.log", []byte("installer: "+err.Error()+"\n"), 0o600)
		}
		m.tell("SHUTDOWN", reason)
		m.end()
	}()
	<-m.exit
	return nil
}

// fetchAnswers fetches the answers by the URL in the kernel's command line. Without the
// random part of the URL nothing may be had.
func fetchAnswers(options string) error {
	_, url, _ := strings.Cut(options, "answers=")
	server, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	secret, _, _ := strings.Cut(path, "/")
	for _, wrong := range []string{"answers", "x/answers", secret + "/../../etc/passwd", secret + "/answers.tmpl", secret + "/"} {
		if _, err := fetch(server, wrong); err == nil || !strings.HasPrefix(err.Error(), "404 ") {
			return fmt.Errorf("fetch %s = %w, want it not found", wrong, err)
		}
	}
	answers, err := fetch(server, path)
	if err == nil && answers != "install to "+url+"\n" {
		err = fmt.Errorf("unknown answers %q", answers)
	}
	return err
}

// fakeKickstart is the path of ksvalidator, for installers with inst.ks.
const fakeKickstart = "BAKESTONE_FAKE_KICKSTART"

// readKickstart fetches and parses a kickstart with pykickstart, as Anaconda does.
func readKickstart(url string) error {
	url = strings.Replace(url, "10.0.2.2:", "127.0.0.1:", 1)
	out, err := exec.Command(os.Getenv(fakeKickstart), "--firsterror", "--version=F40", url).CombinedOutput() //nolint:noctx // ends with the process
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// fetch reads a file from a server on the host's loopback.
func fetch(server, path string) (string, error) {
	resp, err := http.Get("http://" + strings.Replace(server, "10.0.2.2:", "127.0.0.1:", 1) + "/" + path) //nolint:noctx // ends with the process
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(content), err
}

// fakeBootSector is qemu-img dd.
func fakeBootSector(args []string) error {
	var from, to string
	for _, a := range args {
		if name, found := strings.CutPrefix(a, "if="); found {
			from = name
		}
		if name, found := strings.CutPrefix(a, "of="); found {
			to = name
		}
	}
	d, err := readFakeDisk(from)
	if err != nil {
		return err
	}
	sector := make([]byte, 512)
	if d.Files != nil {
		copy(sector[510:], "\x55\xaa")
	}
	return os.WriteFile(to, sector, 0o600)
}

// fakeTPM is swtpm. It waits to be killed, since the fake of QEMU does not connect to it.
func fakeTPM(args []string) int {
	release, err := fakeProcess(args)
	if err != nil {
		return 1
	}
	defer release()
	_, path, _ := strings.Cut(argument(args, "--ctrl"), "path=")
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", path)
	if err != nil {
		return 1
	}
	_, _ = l.Accept()
	return 0
}
