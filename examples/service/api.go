package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A statusError is an error with the status of a response.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

func fail(status int, format string, args ...any) error {
	return &statusError{status, fmt.Sprintf(format, args...)}
}

// status returns the status and text of a response for err. Errors of the store and the
// like are only logged.
func (s *service) status(r *http.Request, err error) (status int, text string) {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.status, e.text
	}
	_, field := errors.AsType[*bake.FieldError](err)
	tooLong, _ := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLong != nil:
		return http.StatusRequestEntityTooLarge, fmt.Sprintf("the request is longer than %d bytes", tooLong.Limit)
	case field:
		return http.StatusBadRequest, err.Error()
	case errors.Is(err, bake.ErrNoRecord):
		return http.StatusNotFound, "no such bake, or its record was removed"
	case errors.Is(err, bake.ErrRequestChanged):
		return http.StatusConflict, "this request was made before with other parameters or labels"
	}
	s.log.LogAttrs(r.Context(), slog.LevelError, "request failed",
		slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.String("error", err.Error()))
	return http.StatusInternalServerError, "internal error; the log of the service has more"
}

// api returns a handler of the API for callers who have logged in.
func (s *service) api(handle func(w http.ResponseWriter, r *http.Request, caller string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		caller, ok := s.caller(r)
		err := fail(http.StatusUnauthorized, "not logged in: send the header Authorization: Bearer TOKEN")
		if ok {
			err = handle(w, r, caller)
		} else {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		if err != nil {
			status, text := s.status(r, err)
			writeJSON(w, status, map[string]string{"error": text})
		}
	}
}

func writeJSON[V any](w http.ResponseWriter, status int, v V) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}

// readJSON decodes the body, which must be one value without unknown fields.
func readJSON[V any](r *http.Request, v *V) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return fail(http.StatusUnsupportedMediaType, "want Content-Type: application/json")
	}
	from := json.NewDecoder(r.Body)
	from.DisallowUnknownFields()
	err := from.Decode(v)
	if err == nil && from.More() {
		err = errors.New("more than one value")
	}
	if tooLong, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLong
	}
	if err != nil {
		return fail(http.StatusBadRequest, "invalid request: %v", err)
	}
	return nil
}

// audit logs what a caller has asked for.
func (s *service) audit(r *http.Request, action, caller string, more ...slog.Attr) {
	attrs := append([]slog.Attr{slog.String("action", action), slog.String("caller", caller), slog.String("remote", r.RemoteAddr)}, more...)
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "audit", attrs...)
}

// An order asks for a bake.
type order struct {
	Image      string            `json:"image"`
	Parameters map[string]string `json:"parameters"`
	Labels     map[string]string `json:"labels"`
	Request    string            `json:"request"` // repeated, it starts nothing again
}

var requestID = regexp.MustCompile(`^[a-zA-Z0-9._:-]{0,100}$`)

// order starts what a caller has ordered. The audit is in the log and in the record, which
// also names the caller. The requests of a caller are his own.
func (s *service) order(r *http.Request, caller string, o order) ([]*bake.Record, error) {
	var errs []error
	if !requestID.MatchString(o.Request) {
		errs = append(errs, bake.Invalid("request", "want at most 100 letters, digits and ._:-"))
	}
	errs = append(errs, checkLabels(o.Labels))
	labels := map[string]string{}
	if d := s.definition(o.Image); d == nil {
		errs = append(errs, bake.Invalid("image", "there is no image %.50q", o.Image))
	} else {
		values, err := d.values(o.Parameters)
		errs = append(errs, err)
		for name, value := range values {
			labels[parameterPrefix+name] = value
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for name, value := range o.Labels {
		labels[labelPrefix+name] = value
	}
	req := bake.Request{Images: []string{o.Image}, Labels: labels, Caller: caller}
	if o.Request != "" {
		labels[requestLabel] = o.Request
		req.ID = caller + "/" + o.Request
	}
	records, err := s.runner.Start(r.Context(), req)
	if err != nil {
		return nil, err
	}
	for _, rec := range records {
		s.audit(r, "start", caller, slog.String("image", rec.Image), slog.String("build", rec.Build), slog.String("request", o.Request))
	}
	return records, nil
}

func (s *service) definition(name string) *definition {
	for i := range s.catalog {
		if s.catalog[i].Name == name {
			return &s.catalog[i]
		}
	}
	return nil
}

func (s *service) start(w http.ResponseWriter, r *http.Request, caller string) error {
	var o order
	if err := readJSON(r, &o); err != nil {
		return err
	}
	records, err := s.order(r, caller, o)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/api/bakes/"+records[len(records)-1].Build)
	writeJSON(w, http.StatusAccepted, map[string][]*view{"bakes": views(records)})
	return nil
}

func (s *service) bakes(w http.ResponseWriter, r *http.Request, _ string) error {
	const usual, most = 100, 1000
	limit := usual
	if text := r.URL.Query().Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > most {
			return fail(http.StatusBadRequest, "limit: want a number from 1 to %d", most)
		}
	}
	records, err := s.find(r.Context(), r.URL.Query().Get("image"), limit)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string][]*view{"bakes": views(records)})
	return nil
}

// find returns the newest records of an image, or of all images.
func (s *service) find(ctx context.Context, image string, limit int) ([]*bake.Record, error) {
	records, err := s.list.all(ctx)
	if err != nil {
		return nil, err
	}
	found := make([]*bake.Record, 0, min(len(records), limit))
	for _, rec := range records {
		if len(found) < limit && (image == "" || rec.Image == image) {
			found = append(found, rec)
		}
	}
	return found, nil
}

func (s *service) bake(w http.ResponseWriter, r *http.Request, _ string) error {
	rec, err := s.records.Load(r.Context(), r.PathValue("build"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, newView(rec))
	return nil
}

func (s *service) cancel(w http.ResponseWriter, r *http.Request, caller string) error {
	var body struct {
		Reason string `json:"reason"`
	}
	if err := readJSON(r, &body); err != nil {
		return err
	}
	if err := s.cancelFor(r, caller, body.Reason); err != nil {
		return err
	}
	return s.bake(w, r, caller)
}

// cancelFor asks the process that has the bake, whichever that is, to cancel it.
func (s *service) cancelFor(r *http.Request, caller, reason string) error {
	if !plain(reason) {
		return bake.Invalid("reason", "want at most %d printable characters", longestValue)
	}
	build := r.PathValue("build")
	text := "by " + caller
	if reason = strings.TrimSpace(reason); reason != "" {
		text += ": " + reason
	}
	s.audit(r, "cancel", caller, slog.String("build", build), slog.String("reason", reason))
	return bake.Cancel(r.Context(), s.records, build, text)
}

// A view is what is shown of a record: nothing of its session, which has keys.
type view struct {
	Build      string               `json:"build"`
	Image      string               `json:"image"`
	State      string               `json:"state"` // waiting, running, canceling, cleaning up, suspended or the status
	Caller     string               `json:"caller,omitempty"`
	Request    string               `json:"request,omitempty"`
	Parameters map[string]string    `json:"parameters,omitempty"`
	Labels     map[string]string    `json:"labels,omitempty"`
	From       string               `json:"from,omitempty"` // the build of the source image
	Created    time.Time            `json:"created"`
	Started    time.Time            `json:"started,omitzero"`
	Ended      time.Time            `json:"ended,omitzero"`
	Step       string               `json:"step,omitempty"` // the last one that has begun
	Steps      int                  `json:"steps"`          // that are done
	Planned    int                  `json:"planned,omitempty"`
	Process    string               `json:"process,omitempty"` // that works on it
	Cancel     string               `json:"cancel,omitempty"`
	Artifact   *bake.ArtifactRecord `json:"artifact,omitempty"`
	Error      string               `json:"error,omitempty"`
}

func views(records []*bake.Record) []*view {
	all := make([]*view, 0, len(records))
	for _, rec := range records {
		all = append(all, newView(rec))
	}
	return all
}

func newView(rec *bake.Record) *view {
	v := &view{
		Build: rec.Build, Image: rec.Image, State: state(rec), Caller: rec.Caller, Request: rec.Labels[requestLabel],
		Parameters: labelled(rec.Labels, parameterPrefix), Labels: labelled(rec.Labels, labelPrefix), From: rec.From,
		Created: rec.Created, Started: rec.Started, Planned: rec.Planned, Process: rec.Lease.Owner,
		Cancel: rec.Cancel, Artifact: rec.Artifact, Error: rec.Error,
	}
	for i := range rec.Steps {
		if step := &rec.Steps[i]; step.State == bake.StepDone {
			v.Steps++
		}
		v.Step = rec.Steps[i].Name
	}
	if rec.Status != "" {
		v.Ended, v.Step = rec.Updated, ""
	}
	return v
}

func state(rec *bake.Record) string {
	switch {
	case rec.Status != "":
		return string(rec.Status)
	case rec.Cancel != "":
		return "canceling"
	case rec.Error != "":
		return "cleaning up"
	case rec.Started.IsZero():
		return "waiting"
	case rec.Lease.Owner == "":
		return "suspended"
	default:
		return "running"
	}
}

// Running reports whether the bake goes on, for pages.
func (v *view) Running() bool { return v.Ended.IsZero() }
