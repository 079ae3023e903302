package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/qemu/internal/qmp"
)

// Keys are typed on the machine's keyboard while an [Installer] runs: after the waits,
// first Text, then Press.
//
//	qemu.Keys{After: 5 * time.Second, Text: "linux inst.ks={{.HTTP}}/ks.cfg", Press: []string{"ret"}}
type Keys struct {
	// WaitFor is a text on the serial console, after what earlier Keys waited for.
	// Empty means not to wait.
	WaitFor string

	// After is a time to wait, after WaitFor.
	After time.Duration

	// Text is typed on a US keyboard: printable ASCII and newlines. It is a template
	// like Installer.Append.
	Text string

	// Press are keys pressed together, by QEMU's names: {"ret"}, {"esc"}, {"down"},
	// {"ctrl", "alt", "f2"}.
	Press []string
}

func (k Keys) validate() error {
	if k.After < 0 {
		return bake.Invalid("After", "must not be negative")
	}
	for _, c := range k.Text {
		if _, known := keysOf(c); !known {
			return bake.Invalid("Text", "%q is not on the keyboard: want printable ASCII and newlines", c)
		}
	}
	for _, name := range k.Press {
		if name == "" || strings.ContainsFunc(name, func(c rune) bool { return c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') }) {
			return bake.Invalid("Press", "invalid key %q: want QEMU's name, such as \"ret\"", name)
		}
	}
	return nil
}

// keysOf returns the keys that type a character on a US keyboard, by QEMU's names.
func keysOf(c rune) (keys []string, known bool) {
	const plain, shifted = "`-=[]\\;',./ \n\t", `~_+{}|:"<>?`
	names := []string{
		"grave_accent", "minus", "equal", "bracket_left", "bracket_right", "backslash", "semicolon", "apostrophe",
		"comma", "dot", "slash", "spc", "ret", "tab",
	}
	const digits = ")!@#$%^&*("
	switch {
	case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
		return []string{string(c)}, true
	case c >= 'A' && c <= 'Z':
		return []string{"shift", strings.ToLower(string(c))}, true
	case strings.ContainsRune(plain, c):
		return []string{names[strings.IndexRune(plain, c)]}, true
	case strings.ContainsRune(shifted, c):
		return []string{"shift", names[strings.IndexRune(shifted, c)]}, true
	case strings.ContainsRune(digits, c):
		return []string{"shift", fmt.Sprint(strings.IndexRune(digits, c))}, true
	}
	return nil, false
}

// typeKeys types the keys of an installer.
func (s *session) typeKeys(ctx context.Context, keys []Keys, texts []string) error {
	from := int64(0) // where on the console to look for a text
	for at, k := range keys {
		if k.WaitFor != "" {
			err := clock.WaitFor(ctx, clock.System(), endPoll, func(context.Context) (found bool, err error) {
				from, found, err = s.findOnConsole(from, k.WaitFor)
				return found, err
			})
			if err != nil {
				return fmt.Errorf("wait for %q on the serial console: %w", k.WaitFor, err)
			}
		}
		if err := clock.System().Sleep(ctx, k.After); err != nil {
			return err
		}
		for _, c := range texts[at] {
			pressed, _ := keysOf(c) // what a template adds is ASCII
			if err := s.press(ctx, pressed); err != nil {
				return err
			}
		}
		if err := s.press(ctx, k.Press); err != nil {
			return err
		}
	}
	if len(keys) > 0 {
		s.run.Say("typed what Installer.Keys say")
	}
	return nil
}

// press presses keys together and releases them.
func (s *session) press(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	type key struct {
		Type string `json:"type"`
		Data string `json:"data"`
	}
	var args struct {
		Keys []key `json:"keys"`
		Hold int   `json:"hold-time"` // in milliseconds
	}
	const hold = 20 * time.Millisecond
	args.Hold = int(hold / time.Millisecond)
	for _, name := range names {
		args.Keys = append(args.Keys, key{"qcode", name})
	}
	if err := bake.CheckLease(ctx); err != nil {
		return err
	}
	if err := qmp.Do(ctx, s.path(socketName), "send-key", args, nil); err != nil {
		return fmt.Errorf("press %s: %w", strings.Join(names, "-"), err)
	}
	// QEMU releases the keys after the hold time, and types the next ones at once.
	return clock.System().Sleep(ctx, 2*hold)
}

// findOnConsole looks for a text from an offset on. It returns the offset behind the text,
// or that from which to go on.
func (s *session) findOnConsole(from int64, text string) (next int64, found bool, err error) {
	f, err := os.Open(s.path(consoleName))
	if errors.Is(err, os.ErrNotExist) {
		return from, false, nil
	}
	if err != nil {
		return from, false, err
	}
	defer f.Close()
	const most = 1 << 20
	data, err := io.ReadAll(io.NewSectionReader(f, from, most))
	if err != nil {
		return from, false, err
	}
	if at := bytes.Index(data, []byte(text)); at >= 0 {
		return from + int64(at+len(text)), true, nil
	}
	return from + int64(max(0, len(data)-len(text))), false, nil
}
