package ec2machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// current returns the running QEMU, or nil.
func (g *guest) current() *running {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.run
}

// ServeConn relays a connection to the guest's SSH server.
func (g *guest) ServeConn(ctx context.Context, conn net.Conn) {
	defer conn.Close() //nolint:errcheck // its errors are the client's
	r := g.current()
	if r == nil {
		return
	}
	to, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", r.port))
	if err != nil {
		return
	}
	defer to.Close() //nolint:errcheck // its errors are the guest's
	stop := context.AfterFunc(ctx, func() {
		_ = conn.Close() // ends the relay
		_ = to.Close()
	})
	defer stop()
	var relay sync.WaitGroup
	relay.Go(func() { pipe(to, conn) })
	pipe(conn, to)
	relay.Wait()
}

// pipe copies until the end of from, and passes it on.
func pipe(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
		return
	}
	_ = to.Close()
	_ = from.Close()
}

// Console returns the output of the serial console since the instance was started.
func (g *guest) Console() []byte {
	text, err := os.ReadFile(g.path("console"))
	if err != nil {
		return nil
	}
	return text
}

// Reboot powers the machine down and boots it again.
func (g *guest) Reboot(ctx context.Context) error {
	if r := g.current(); r != nil {
		g.powerOff(ctx, r, g.machines.opts.PowerDown)
	}
	return g.start(ctx)
}

// Attach plugs a disk in.
func (g *guest) Attach(a ec2test.AttachedDisk) error {
	d, ok := a.Disk.(*disk) //lint:concrete a kind's disks are its own
	if !ok {
		return errors.ErrUnsupported
	}
	ctx := context.Background() //nolint:forbidigo // limited by the protocol's timeout
	p := plugged{d, a.VolumeID}
	if err := g.plug(ctx, a.Device, p); err != nil {
		return err
	}
	d.use(g, nodeOf(a.Device))
	g.mu.Lock()
	defer g.mu.Unlock()
	g.attached[a.Device] = p
	return nil
}

// nodeOf returns the name of a disk in QEMU.
func nodeOf(device string) string {
	return "disk-" + strings.ReplaceAll(strings.TrimPrefix(device, "/dev/"), "/", "-")
}

// plug adds a disk to the running QEMU. The guest sees the volume's id as serial
// number.
func (g *guest) plug(ctx context.Context, device string, d plugged) error {
	node := nodeOf(device)
	err := g.do(ctx, "blockdev-add", map[string]any{
		"node-name": node, "driver": "qcow2", "discard": "unmap", "file": map[string]any{"driver": "file", "filename": d.file()},
	})
	if err != nil {
		return err
	}
	err = g.do(ctx, "device_add", map[string]any{"driver": "virtio-blk-pci", "id": node, "drive": node, "serial": strings.ReplaceAll(d.volume, "-", "")})
	if err != nil {
		return errors.Join(err, g.do(ctx, "blockdev-del", map[string]any{"node-name": node}))
	}
	return nil
}

// releaseTimeout is how long a guest may take to release a disk.
const releaseTimeout = 30 * time.Second

// Detach unplugs a disk. It fails if the guest does not let go of it in time.
func (g *guest) Detach(device string) error {
	g.mu.Lock()
	d, ok := g.attached[device]
	g.mu.Unlock()
	if !ok {
		return nil
	}
	node := nodeOf(device)
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout) //nolint:forbidigo // it has no caller's context
	defer cancel()
	if r := g.current(); r != nil {
		if err := g.do(ctx, "device_del", map[string]any{"id": node}); err != nil {
			return err
		}
		// Until the guest lets go of the disk, it is in use.
		err := retry(ctx, r, func() error { return g.do(ctx, "blockdev-del", map[string]any{"node-name": node}) })
		if err != nil && !errors.Is(err, errEnded) {
			return fmt.Errorf("the guest has not released %s within %v: %w", device, releaseTimeout, err)
		}
	}
	g.mu.Lock()
	delete(g.attached, device)
	g.mu.Unlock()
	d.use(nil, "")
	return nil
}

// Close powers the machine down.
func (g *guest) Close() error {
	return g.close(context.Background()) //nolint:forbidigo // it has no caller's context
}

func (g *guest) close(ctx context.Context) error {
	g.mu.Lock()
	closed := g.closed
	g.closed = true
	g.mu.Unlock()
	if closed {
		return nil
	}
	if r := g.current(); r != nil {
		g.powerOff(ctx, r, g.machines.opts.PowerDown)
	}
	return g.machines.removeDir(g.dir)
}
