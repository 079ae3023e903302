package bake

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/bakestone-go/bakestone/internal/mask"
	"github.com/bakestone-go/bakestone/internal/visible"
)

// A maskHandler masks log records. The engine gives it to builders.
type maskHandler struct {
	slog.Handler

	mask *mask.Masker
}

// Handle passes on r, masked.
func (h maskHandler) Handle(ctx context.Context, r slog.Record) error {
	masked := slog.NewRecord(r.Time, r.Level, h.clean(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		masked.AddAttrs(h.attr(a))
		return true
	})
	return h.Handler.Handle(ctx, masked)
}

// WithAttrs masks the attributes.
func (h maskHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	masked := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		masked[i] = h.attr(a)
	}
	return maskHandler{h.Handler.WithAttrs(masked), h.mask}
}

// WithGroup opens a group in the underlying handler.
func (h maskHandler) WithGroup(name string) slog.Handler {
	return maskHandler{h.Handler.WithGroup(name), h.mask}
}

func (h maskHandler) clean(text string) string { return visible.Text(h.mask.Mask(text)) }

func (h maskHandler) attr(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(h.clean(a.Value.String()))
	case slog.KindGroup:
		group := a.Value.Group()
		masked := make([]slog.Attr, len(group))
		for i, member := range group {
			masked[i] = h.attr(member)
		}
		a.Value = slog.GroupValue(masked...)
	case slog.KindAny:
		text := fmt.Sprint(a.Value.Any())
		if masked := h.clean(text); masked != text {
			a.Value = slog.StringValue(masked)
		}
	}
	return a
}
