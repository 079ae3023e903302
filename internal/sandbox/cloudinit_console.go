package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

const outputLog = "/var/log/cloud-init-output.log"

// consoleWriter writes to the console and to cloud-init's output log.
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

// announceHostKeys creates a missing host key and prints its fingerprint on the
// console in cloud-init's format, which clients parse.
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
