package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

const outputLog = "/var/log/cloud-init-output.log"

// consoleWriter copies output to the console and to cloud-init's log.
type consoleWriter struct {
	h    *Host
	disk *memfs.FS
}

func (w *consoleWriter) Write(p []byte) (int, error) {
	w.h.mu.Lock()
	w.h.console.Write(p)
	w.h.mu.Unlock()
	if f, err := w.disk.OpenFile(outputLog, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640); err == nil { // a script may have removed /var/log
		_, _ = f.Write(p)
		_ = f.Close()
	}
	return len(p), nil
}

// hostKeys makes the missing host key, and shows the fingerprints in the form
// that readers of console output look for.
func (c *initRun) announceHostKeys() {
	c.check("host key", c.h.makeHostKey())
	data, err := c.disk.ReadFile(hostKeyFile + ".pub")
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.problem("host key: %v", err)
		}
		return
	}
	text, err := fingerprint(data)
	if err != nil {
		c.problem("host key: %v", err)
		return
	}
	c.h.log("-----BEGIN SSH HOST KEY FINGERPRINTS-----\n%s\n-----END SSH HOST KEY FINGERPRINTS-----", text)
	c.h.log("-----BEGIN SSH HOST KEY KEYS-----\n%s\n-----END SSH HOST KEY KEYS-----", strings.TrimSpace(string(data)))
}
