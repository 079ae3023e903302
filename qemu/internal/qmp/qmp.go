// Package qmp is a client of the QEMU Machine Protocol, by which a running QEMU is
// asked and told things.
//
// Every command has an id and a time limit. QEMU serves one client of a socket at a
// time, so a [Client] should be closed soon; [Do] connects for a single command.
package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Timeout bounds the wait for the greeting and for the response to each command.
const Timeout = 10 * time.Second

// longestLine limits a message of QEMU's; the longest known, of query-qmp-schema, is
// much shorter.
const longestLine = 8 << 20

// A Client is a connection to one QEMU. It is not safe for concurrent use.
type Client struct {
	conn net.Conn
	in   *bufio.Reader
	last int // the id of the last command
}

// An Error is the response to a command that failed.
type Error struct {
	Command string `json:"-"`
	Class   string `json:"class"`
	Text    string `json:"desc"`
}

// Error returns the command and QEMU's text.
func (e *Error) Error() string { return e.Command + ": " + e.Text }

// Dial connects to the socket at path and negotiates the capabilities.
func Dial(ctx context.Context, path string) (*Client, error) {
	conn, err := dialUnix(ctx, path)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, in: bufio.NewReader(conn)}
	if err := c.greet(ctx); err != nil {
		_ = conn.Close() // err is why
		return nil, err
	}
	return c, nil
}

// greet reads the greeting and accepts it.
func (c *Client) greet(ctx context.Context) error {
	var greeting struct {
		QMP *json.RawMessage `json:"QMP"`
	}
	err := c.within(ctx, func() error {
		line, err := c.line()
		if err != nil {
			return err
		}
		return json.Unmarshal(line, &greeting)
	})
	if err != nil {
		return fmt.Errorf("read QMP greeting: %w", err)
	}
	if greeting.QMP == nil {
		return errors.New("read QMP greeting: the socket does not speak QMP")
	}
	return c.Do(ctx, "qmp_capabilities", nil, nil)
}

// Close closes the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Do runs a command and decodes what it returns into result, which may be nil. Args is
// encoded as a JSON object; nil means no arguments. If the command fails, the error is
// an [*Error]. After any other error the Client is useless.
func (c *Client) Do(ctx context.Context, command string, args, result any) error {
	c.last++
	id := strconv.Itoa(c.last)
	request := struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        string `json:"id"`
	}{command, args, id}
	data, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	var failed *Error
	err = c.within(ctx, func() error {
		if _, err := c.conn.Write(append(data, '\n')); err != nil {
			return err
		}
		failed, err = c.response(id, result)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	if failed != nil {
		failed.Command = command
		return failed
	}
	return nil
}

// response reads until the response to the command with the id. It skips events.
func (c *Client) response(id string, result any) (*Error, error) {
	for {
		line, err := c.line()
		if err != nil {
			return nil, err
		}
		var message struct {
			Event  string          `json:"event"`
			ID     string          `json:"id"`
			Return json.RawMessage `json:"return"`
			Error  *Error          `json:"error"`
		}
		if err := json.Unmarshal(line, &message); err != nil {
			return nil, err
		}
		switch {
		case message.Event != "":
			continue
		case message.Error != nil && (message.ID == id || message.ID == ""):
			return message.Error, nil
		case message.ID != id:
			continue
		case result == nil:
			return nil, nil //nolint:nilnil // the command has succeeded
		}
		return nil, json.Unmarshal(message.Return, result)
	}
}

func (c *Client) line() ([]byte, error) {
	var line []byte
	for {
		part, err := c.in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > longestLine:
			return nil, fmt.Errorf("message of more than %d bytes", longestLine)
		}
	}
}

// within runs f, which uses the connection, until ctx or the time limit ends.
func (c *Client) within(ctx context.Context, f func() error) error {
	if err := c.conn.SetDeadline(time.Now().Add(Timeout)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	err := f()
	stop()
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no response from QEMU within %v", Timeout)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("QEMU closed the connection: %w", err)
	}
	return err
}

// An Event is something that QEMU tells without being asked.
type Event struct {
	Name string          `json:"event"` // "SHUTDOWN"
	Data json.RawMessage `json:"data"`
}

// Watch connects to the socket at path and calls see with each event, until QEMU closes
// the connection, which returns nil, or ctx ends. Ready is called once the connection is
// established; no later event is missed.
func Watch(ctx context.Context, path string, ready func(), see func(Event)) error {
	c, err := Dial(ctx, path)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // only read
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	ready()
	for {
		line, err := c.line()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			return nil
		case err != nil:
			return err
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		if e.Name != "" {
			see(e)
		}
	}
}

// Do connects to the socket at path, runs one command and disconnects.
func Do(ctx context.Context, path, command string, args, result any) error {
	c, err := Dial(ctx, path)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the response has arrived
	return c.Do(ctx, command, args, result)
}

// longestPath is the longest path of a Unix socket that all systems accept.
const longestPath = 100

// dialUnix connects to a Unix socket, whose path may be longer than the system permits
// for an address.
func dialUnix(ctx context.Context, path string) (conn net.Conn, err error) {
	if len(path) > longestPath {
		dir, err := os.MkdirTemp("", "bakestone-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir) //nolint:errcheck // an empty directory remains
		link := filepath.Join(dir, "d")
		if err := os.Symlink(filepath.Dir(path), link); err != nil {
			return nil, err
		}
		path = filepath.Join(link, filepath.Base(path))
	}
	limited, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	return new(net.Dialer).DialContext(limited, "unix", path)
}
