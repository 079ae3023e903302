package qemu

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// A URL is a disk, or a file of an [Installer], that is downloaded once and kept in the cache of the Host. An
// interrupted download is continued. A disk is recognized by its contents.
type URL struct {
	// URL is an HTTP or HTTPS URL.
	URL string

	// SHA256 is the SHA-256 digest of the file, in hexadecimal digits. It is required:
	// it is what makes the download trustworthy.
	SHA256 string
}

// String returns the URL without a password.
func (u URL) String() string {
	if parsed, err := url.Parse(u.URL); err == nil {
		return parsed.Redacted()
	}
	return "invalid URL"
}

// Validate reports an invalid URL or digest.
func (u URL) Validate() error {
	var errs []error
	parsed, err := url.Parse(u.URL)
	switch {
	case err != nil:
		errs = append(errs, bake.Invalid("URL.URL", "cannot be parsed")) // the error may contain a password
	case parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "":
		errs = append(errs, bake.Invalid("URL.URL", "%q is not an HTTP or HTTPS URL", u.String()))
	}
	const digestSize = 32
	if digest, err := hex.DecodeString(u.SHA256); err != nil || len(digest) != digestSize {
		errs = append(errs, bake.Invalid("URL.SHA256", "invalid digest %q: want 64 hexadecimal digits", u.SHA256))
	}
	return errors.Join(errs...)
}

// download returns the URL unless the cache has the file.
func (u URL) download(h *Host) (string, error) {
	there, err := exists(filepath.Join(h.cacheDir(), strings.ToLower(u.SHA256)))
	if there || err != nil {
		return "", err
	}
	return u.String(), nil
}

func (u URL) find(ctx context.Context, h *Host, run *bake.Run) (SourceDisk, error) {
	return h.disk(ctx, run, u)
}

func (u URL) installer() *Installer { return nil }

func (u URL) locate(ctx context.Context, h *Host, run *bake.Run) (path, digest string, err error) {
	digest = strings.ToLower(u.SHA256)
	path = filepath.Join(h.cacheDir(), digest)
	release, err := h.oneDownload(ctx, digest)
	if err != nil {
		return "", "", err
	}
	defer release()
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := u.fetchFile(ctx, h, run, path, digest); err != nil {
			return "", "", fmt.Errorf("download %v: %w", u, err)
		}
	} else if err != nil {
		return "", "", err
	}
	return path, digest, nil
}

// oneDownload waits until no other bake of this Host downloads the same file.
func (h *Host) oneDownload(ctx context.Context, digest string) (release func(), err error) {
	for {
		h.mu.Lock()
		busy := h.downloads[digest]
		if busy == nil {
			done := make(chan struct{})
			h.downloads[digest] = done
			h.mu.Unlock()
			return func() {
				h.mu.Lock()
				defer h.mu.Unlock()
				delete(h.downloads, digest)
				close(done)
			}, nil
		}
		h.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// errDigest is returned, wrapped, for a file whose digest is not the expected one.
var errDigest = errors.New("SHA-256 digest does not match")

// fetchFile fetches the file to path, by way of a partial file that a later download
// continues.
func (u URL) fetchFile(ctx context.Context, h *Host, run *bake.Run, path, digest string) error {
	if err := os.MkdirAll(h.cacheDir(), privateDir); err != nil {
		return err
	}
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_RDWR, privateFile) //nolint:gosec // below Host's directory
	if err != nil {
		return err
	}
	defer f.Close()
	locked, err := lockFile(f)
	if err != nil {
		return err
	}
	if !locked {
		return fmt.Errorf("another process is downloading it to %s", part)
	}
	if err := u.fetch(ctx, h, run, f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	got, err := fileDigest(ctx, part)
	if err != nil {
		return err
	}
	if got != digest {
		return errors.Join(fmt.Errorf("%w: got %s, want %s", errDigest, got, digest), os.Remove(part))
	}
	return os.Rename(part, path)
}

// fetch appends to f what is missing.
func (u URL) fetch(ctx context.Context, h *Host, run *bake.Run, f *os.File) error {
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.URL, http.NoBody)
	if err != nil {
		return errors.New("invalid URL")
	}
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	resp, err := h.options.HTTPClient.Do(req)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // the URL may contain a password
		}
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusPartialContent:
		if !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have)) {
			return fmt.Errorf("server sent the range %q, want it from byte %d", resp.Header.Get("Content-Range"), have)
		}
		run.Say("continuing the download of %v at byte %d", u, have)
	case http.StatusOK:
		have = 0
		if err := f.Truncate(0); err != nil {
			return err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
	case http.StatusRequestedRangeNotSatisfiable:
		return nil // it is complete, or its digest tells that it is wrong
	default:
		return fmt.Errorf("server responded %q", resp.Status)
	}
	total := int64(0)
	if resp.ContentLength > 0 {
		total = have + resp.ContentLength
	}
	_, err = io.Copy(f, &progressReader{Reader: resp.Body, done: have, total: total, run: run, name: u.String()})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// A progressReader reports what is read from it, at most once for each step.
type progressReader struct {
	io.Reader
	done, total, reported int64
	run                   *bake.Run
	name                  string
}

func (r *progressReader) Read(p []byte) (int, error) {
	const step = 16 << 20
	n, err := r.Reader.Read(p)
	r.done += int64(n)
	if r.done-r.reported >= step || err != nil {
		r.reported = r.done
		r.run.Emit(bake.Event{Kind: bake.BytesMoved, Text: r.name, Done: r.done, Total: r.total})
	}
	return n, err
}
