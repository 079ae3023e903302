package memconn

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(Addr("a"), Addr("b"))
		// Both ends may speak first.
		for _, end := range []net.Conn{a, b} {
			if n, err := end.Write([]byte("hello")); n != 5 || err != nil {
				t.Fatalf("wrote %d, %v", n, err)
			}
		}
		buf := make([]byte, 3)
		if n, err := a.Read(buf); n != 3 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
		if n, err := a.Read(buf); n != 2 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}

		began := time.Now()
		if err := a.SetReadDeadline(began.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if err := a.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}

		// A writer waits for its reader when the buffer is full.
		wrote := make(chan error, 1)
		go func() {
			_, err := b.Write(make([]byte, 3*bufferSize))
			wrote <- errors.Join(err, b.CloseWrite())
		}()
		n, err := io.Copy(io.Discard, a)
		if n != 3*bufferSize || err != nil {
			t.Errorf("copied %d, %v", n, err)
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Read(buf); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading the closed end: %v", err)
		}
		c, d := Pipe(Addr("c"), Addr("d"))
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Write(buf); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("writing to the closed end: %v", err)
		}
	})
}
