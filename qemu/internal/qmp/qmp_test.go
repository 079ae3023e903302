package qmp_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/qemu/internal/qmp"
)

const greeting = `{"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": []}}` + "\n"

// serve answers each line of one client with the next of the replies.
func serve(t *testing.T, hello string, replies ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), strings.Repeat("long", 20), "qmp")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(path)) // as QEMU, whose socket has a relative path
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", "qmp")
	if err != nil {
		t.Skip(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = c.Write([]byte(hello))
		in := bufio.NewScanner(c)
		for _, reply := range replies {
			if !in.Scan() {
				return
			}
			_, _ = c.Write([]byte(reply))
		}
		for in.Scan() { // until the client hangs up
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return path
}

const accepted = `{"return": {}, "id": "1"}` + "\n"

func TestDo(t *testing.T) {
	tests := []struct {
		name, reply, want, wantErr string
	}{
		{name: "result", reply: `{"return": {"UUID": "u"}, "id": "2"}`, want: "u"},
		{name: "events first", reply: `{"event": "RESET", "data": {}}` + "\n" + `{"return": {"UUID": "u"}, "id": "2"}`, want: "u"},
		{name: "response to another command", reply: `{"return": {"UUID": "x"}, "id": "1"}` + "\n" + `{"return": {"UUID": "u"}, "id": "2"}`, want: "u"},
		{name: "long line", reply: `{"return": {"UUID": "` + strings.Repeat("u", 10000) + `"}, "id": "2"}`, want: strings.Repeat("u", 10000)},
		{name: "error", reply: `{"error": {"class": "GenericError", "desc": "no such thing"}, "id": "2"}`, wantErr: "query-uuid: no such thing"},
		{name: "error without id", reply: `{"error": {"class": "GenericError", "desc": "bad JSON"}}`, wantErr: "query-uuid: bad JSON"},
		{name: "not JSON", reply: `hello`, wantErr: "query-uuid: invalid character"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := serve(t, greeting, accepted, test.reply+"\n")
			var result struct{ UUID string }
			err := qmp.Do(t.Context(), path, "query-uuid", nil, &result)
			if test.wantErr == "" && (err != nil || result.UUID != test.want) {
				t.Errorf("Do = %q, %v, want %q", result.UUID, err, test.want)
			}
			if test.wantErr != "" && (err == nil || !strings.Contains(err.Error(), test.wantErr)) {
				t.Errorf("Do = %v, want %q", err, test.wantErr)
			}
			if failed, ok := errors.AsType[*qmp.Error](err); ok != strings.HasPrefix(test.name, "error") {
				t.Errorf("Do = %v, which is an Error: %t", failed, ok)
			}
		})
	}
}

func TestDialRefusesOtherServers(t *testing.T) {
	for hello, want := range map[string]string{
		`{"event": "x"}` + "\n": "does not speak QMP",
		"SSH-2.0-OpenSSH\n":     "read QMP greeting: invalid character",
	} {
		if _, err := qmp.Dial(t.Context(), serve(t, hello)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Dial to a server that says %q = %v, want %q", hello, err, want)
		}
	}
}

func TestCancellationEndsWait(t *testing.T) {
	path := serve(t, greeting, accepted) // and no response to the command
	ctx, cancel := context.WithCancelCause(t.Context())
	c, err := qmp.Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	errStop := errors.New("stop")
	go cancel(errStop)
	if err := c.Do(ctx, "query-status", nil, nil); !errors.Is(err, errStop) {
		t.Errorf("Do = %v, want the cause of the cancellation", err)
	}
}

// TestWatch reads events until QEMU hangs up, and until the context ends.
func TestWatch(t *testing.T) {
	path := serve(t, greeting, accepted+`{"event": "RESET", "data": {"guest": true}}`+"\n"+`{"return": {}}`+"\n"+`{"event": "SHUTDOWN", "data": {"reason": "guest-reset"}}`+"\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	errStop := errors.New("stop")
	var seen []string
	ready := false
	err := qmp.Watch(ctx, path, func() { ready = true }, func(e qmp.Event) {
		if seen = append(seen, e.Name+string(e.Data)); e.Name == "SHUTDOWN" {
			cancel(errStop)
		}
	})
	want := `RESET{"guest": true} SHUTDOWN{"reason": "guest-reset"}`
	if got := strings.Join(seen, " "); !errors.Is(err, errStop) || got != want || !ready {
		t.Errorf("Watch = %v with the events %q, ready %t, want the cause and %q", err, got, ready, want)
	}
}
