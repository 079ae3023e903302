package qemu

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"text/template"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/qemu/internal/iso9660"
)

// hostInGuest is the baking host's loopback as QEMU's user networking shows it to guests.
const hostInGuest = "10.0.2.2"

// answers are what templates of an Installer can use.
type answers struct {
	HTTP string // the URL of Installer.Files
}

func exampleAnswers() answers { return answers{HTTP: "http://" + hostInGuest + ":8080/x"} }

// told is an Installer with its templates rendered.
type told struct {
	append string
	keys   []string          // the texts of Installer.Keys
	files  map[string][]byte // rendered, by the name that they are served as
}

const templateSuffix = ".tmpl"

// render renders the templates.
func (i Installer) render(a answers) (told, error) {
	t := told{files: map[string][]byte{}}
	var errs []error
	expand := func(field, text string) string {
		out, err := expandTemplate(text, a)
		if err != nil {
			errs = append(errs, bake.Invalid("Installer."+field, "%w", err))
		}
		return out
	}
	t.append = expand("Append", i.Append)
	for at, k := range i.Keys {
		t.keys = append(t.keys, expand(fmt.Sprintf("Keys[%d].Text", at), k.Text))
	}
	if i.Files == nil {
		return t, errors.Join(errs...)
	}
	err := fs.WalkDir(i.Files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, templateSuffix) {
			return err
		}
		text, err := fs.ReadFile(i.Files, name)
		if err == nil {
			t.files[strings.TrimSuffix(name, templateSuffix)] = []byte(expand("Files: "+name, string(text)))
		}
		return err
	})
	if err != nil {
		errs = append(errs, bake.Invalid("Installer.Files", "%w", err))
	}
	return t, errors.Join(errs...)
}

func expandTemplate(text string, a answers) (string, error) {
	t, err := template.New("template").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = t.Execute(&out, a)
	return out.String(), err
}

// read returns a file as the installer reads it.
func (i Installer) read(t told, name string) ([]byte, error) {
	if content, rendered := t.files[name]; rendered {
		return content, nil
	}
	if i.Files == nil || strings.HasSuffix(name, templateSuffix) {
		return nil, fs.ErrNotExist
	}
	return fs.ReadFile(i.Files, name)
}

// medium returns an ISO 9660 image with the files.
func (i Installer) medium(t told, modified time.Time) ([]byte, error) {
	entries, err := fs.ReadDir(i.Files, ".")
	if err != nil {
		return nil, err
	}
	files := make([]iso9660.File, 0, len(entries))
	for _, e := range entries {
		if e.IsDir() {
			return nil, bake.Invalid("Installer.Files", "%s is a directory, but the medium of Label has none", e.Name())
		}
		name := strings.TrimSuffix(e.Name(), templateSuffix)
		content, err := i.read(t, name)
		if err != nil {
			return nil, err
		}
		files = append(files, iso9660.File{Name: name, Content: content})
	}
	image, err := iso9660.Write(i.Label, modified, files...)
	if err != nil {
		return nil, bake.Invalid("Installer.Files", "%w", err)
	}
	return image, nil
}

// An answerServer serves the files of an Installer on loopback.
type answerServer struct {
	run       *bake.Run
	installer *Installer
	server    *http.Server
	listener  net.Listener
	secret    string // the first part of each path
	told      told
	requests  atomic.Int64
	serving   sync.WaitGroup

	mu   sync.Mutex
	seen map[string]bool // what was reported
}

// serveAnswers starts the server. Its URL in the guest is in the rendered templates. The
// caller must stop it.
func serveAnswers(ctx context.Context, run *bake.Run, i *Installer) (*answerServer, error) {
	s := &answerServer{run: run, installer: i, secret: rand.Text(), seen: map[string]bool{}}
	var err error
	if s.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(s.listener.Addr().String())
	if err == nil {
		s.told, err = i.render(answers{HTTP: "http://" + net.JoinHostPort(hostInGuest, port) + "/" + s.secret})
	}
	if err != nil {
		return nil, errors.Join(err, s.listener.Close())
	}
	const slowest = 30 * time.Second
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: slowest}
	s.serving.Go(func() { _ = s.server.Serve(s.listener) }) // until stop closes it
	return s, nil
}

// stop closes the server and waits for its end.
func (s *answerServer) stop() {
	_ = s.server.Close() // the guest has ended
	s.serving.Wait()
}

// ServeHTTP serves the files to those who know the secret part of the URL.
func (s *answerServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, known := strings.CutPrefix(r.URL.Path, "/"+s.secret+"/")
	if !known {
		http.NotFound(w, r)
		return
	}
	s.requests.Add(1)
	name = path.Clean(name)
	content, err := s.installer.read(s.told, name)
	s.report(name, err)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
}

// report reports each file once.
func (s *answerServer) report(name string, err error) {
	if !s.first(name) {
		return
	}
	if err != nil {
		s.run.Say("the installer asked for %q, which Installer.Files does not have", name)
		return
	}
	s.run.Say("the installer has fetched %s", name)
}

// first reports whether a name has not been asked for before.
func (s *answerServer) first(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	const most = 100 // a guest can ask for any name
	if s.seen[name] || len(s.seen) >= most {
		return false
	}
	s.seen[name] = true
	return true
}
