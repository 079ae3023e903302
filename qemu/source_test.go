//go:build unix

package qemu_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/qemu"
)

// findOnly returns a definition that ends after the source was found.
func findOnly(name string, host *qemu.Host, source qemu.Source) *bake.Image {
	return &bake.Image{Name: name, Builder: qemu.Builder{Host: host, Source: source, Accelerator: qemu.TCG}, ProvisionOnly: true}
}

// A diskServer serves a disk and can break off.
type diskServer struct {
	*httptest.Server
	content []byte

	mu     sync.Mutex
	cut    int // bytes to send before breaking off; zero for all
	ranges []string
}

func serveDisk(t *testing.T, content []byte) *diskServer {
	t.Helper()
	s := &diskServer{content: content}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.ranges = append(s.ranges, r.Header.Get("Range"))
		cut := s.cut
		s.mu.Unlock()
		if cut == 0 {
			http.ServeContent(w, r, "disk", time.Time{}, bytes.NewReader(s.content))
			return
		}
		w.Header().Set("Content-Length", "1000000")
		_, _ = io.CopyN(w, bytes.NewReader(s.content), int64(cut))
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestURL(t *testing.T) {
	host, source := newHost(t)
	content, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(content)
	server := serveDisk(t, content)
	from := qemu.URL{URL: server.URL, SHA256: strings.ToUpper(hex.EncodeToString(digest[:]))}

	server.cut = 1000
	_, err = bake.Bake(t.Context(), nil, findOnly("web", host, from))
	wantError(t, err, "find source disk: download "+server.URL+": unexpected EOF")
	server.cut = 0
	images := []*bake.Image{findOnly("a", host, from), findOnly("b", host, from), findOnly("c", host, from)}
	if _, err := bake.Bake(t.Context(), nil, images...); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(server.ranges, ","); got != ",bytes=1000-" {
		t.Errorf("requests have the ranges %q, want one of the whole and one of the rest", got)
	}

	from.SHA256 = strings.Repeat("0", 64)
	_, err = bake.Bake(t.Context(), nil, findOnly("web", host, from))
	wantError(t, err, "SHA-256 digest does not match: got "+hex.EncodeToString(digest[:]))
	from.URL = strings.Replace(server.URL, "http://", "http://user:hidden@", 1)
	server.Close()
	_, err = bake.Bake(t.Context(), nil, findOnly("web", host, from))
	if wantError(t, err, "connection refused"); strings.Contains(err.Error(), "hidden") {
		t.Errorf("error contains the password: %v", err)
	}
	if files, err := filepath.Glob(filepath.Join(host.Dir(), "cache", "*")); err != nil || len(files) != 2 {
		t.Errorf("cache has %v, %v, want the disk and one empty part", files, err)
	}
}

func TestDownloadIsCanceled(t *testing.T) {
	host, _ := newHost(t)
	ctx, cancel := context.WithCancel(t.Context())
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		cancel()
		<-stop
	}))
	defer server.Close()
	defer close(stop)
	results, err := bake.Bake(ctx, nil, findOnly("web", host, qemu.URL{URL: server.URL, SHA256: strings.Repeat("0", 64)}))
	if results[0].Status != bake.StatusCanceled {
		t.Errorf("Bake = %s, %v, want it canceled", results[0].Status, err)
	}
}

func TestSourceIsRefused(t *testing.T) {
	host, source := newHost(t)
	layer := filepath.Join(t.TempDir(), "layer.qcow2")
	if err := (&fakeDisk{Backing: source, Size: 1 << 30}).write(layer); err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{
		"":                                     "is not a disk: want qcow2",
		"hello":                                "is not a disk: want qcow2",
		strings.Repeat("\x00", 512):            "is not a disk: want qcow2",
		"# Disk DescriptorFile\n":              "is a VMDK descriptor, which names other files",
		"\xfd7zXZ\x00" + "data":                "is compressed with xz: decompress it first",
		"\x1f\x8b\x08" + "data":                "is compressed with gzip",
		strings.Repeat("\x00", 510) + "U\xaax": "is not a disk: want qcow2",
	} {
		file := filepath.Join(t.TempDir(), "disk.qcow2")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := bake.Bake(t.Context(), nil, findOnly("web", host, qemu.DiskFile(file)))
		wantError(t, err, want)
	}
	_, err := bake.Bake(t.Context(), nil, findOnly("web", host, qemu.DiskFile(layer)))
	wantError(t, err, "has the backing file "+source+": make it standalone")
	_, err = bake.Bake(t.Context(), nil, findOnly("web", host, qemu.DiskFile("missing.qcow2")))
	wantError(t, err, "missing.qcow2: no such file")
	b := qemu.Builder{Host: host, Source: qemu.DiskFile(source), DiskSize: 512}
	_, err = bake.Bake(t.Context(), nil, &bake.Image{Name: "web", Builder: b})
	wantError(t, err, "Builder.DiskSize: is 512 bytes, but the source")
	if left := existing(t, host); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestNewestFile(t *testing.T) {
	host, source := newHost(t)
	content, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{"debian-1.qcow2": 2 * time.Hour, "debian-2.qcow2": time.Hour, "ubuntu.qcow2": 0} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	for pattern, want := range map[string]string{"debian-*": "debian-2.qcow2", "": "ubuntu.qcow2", "debian-1*": "debian-1.qcow2"} {
		var said []string
		_, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) { said = append(said, e.Text) }},
			findOnly("web", host, qemu.NewestFile{Dir: dir, Pattern: pattern}))
		if err != nil || !strings.Contains(strings.Join(said, "\n"), "source: "+filepath.Join(dir, want)) {
			t.Errorf("newest of %q: %v, events %q, want %s", pattern, err, said, want)
		}
	}
	_, err = bake.Bake(t.Context(), nil, findOnly("web", host, qemu.NewestFile{Dir: dir, Pattern: "fedora-*"}))
	wantError(t, err, `matches "fedora-*"`)
}
