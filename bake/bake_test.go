package bake_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

var errPlanted = errors.New("planted")

func failing(context.Context, bake.Machine) error { return errPlanted }

func TestBakeValidatesFirst(t *testing.T) {
	b := baketest.NewBuilder(nil)
	absent := &bake.Image{Name: "absent", Builder: b}
	cycle1 := &bake.Image{Name: "cycle1", Builder: b}
	cycle2 := &bake.Image{Name: "cycle2", Builder: b, From: cycle1}
	cycle1.From = cycle2
	self := &bake.Image{Name: "self", Builder: b}
	self.From = self
	_, err := bake.Bake(t.Context(), &bake.Options{Parallel: -1},
		&bake.Image{Name: "good", Builder: b},
		&bake.Image{Name: "good", Builder: b},
		&bake.Image{Builder: b},
		&bake.Image{Name: "bare"},
		nil,
		&bake.Image{Name: "child", Builder: b, From: absent},
		cycle1, cycle2, self,
		&bake.Image{Name: "parts", Builder: b,
			Provisioners: []bake.Provisioner{nil, bake.ProvisionFunc{}, (*bake.ProvisionFunc)(nil)},
			Steps: []bake.Step{
				{Name: "twice", Do: nothing}, {Name: "twice", Do: nothing}, {Do: nothing}, {Name: "idle"},
				{Name: "where", Do: nothing, At: 99},
			},
		},
		&bake.Image{Name: "conflict", Builder: b, Steps: []bake.Step{{Name: "launch machine", Do: nothing}}},
	)
	for _, want := range []string{
		"Options.Parallel: must not be negative",
		"image good: Image.Name: duplicate name",
		"Image.Name: is required",
		"image bare: Image.Builder: is required",
		"image 5 of 11 is nil",
		`image child: Image.From: image "absent" is not among the images to bake`,
		"images are made from each other: cycle1 from cycle2 from cycle1",
		"images are made from each other: self from self",
		"image parts: provision 1: is nil",
		"image parts: provision 2: ProvisionFunc.Do: is required",
		"image parts: provision 3: is nil",
		"image parts: twice: Image.Steps[1].Name: duplicate name",
		"image parts: Image.Steps[2].Name: is required",
		"image parts: idle: Image.Steps[3].Do: is required",
		"image parts: where: Image.Steps[4].At: unknown point 99",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Bake of invalid images: error lacks %q:\n%v", want, err)
		}
	}
	_, err = bake.Bake(t.Context(), nil, &bake.Image{Name: "conflict", Builder: b,
		Steps: []bake.Step{{Name: "launch machine", Do: nothing}}})
	if err == nil || !strings.Contains(err.Error(), "image conflict: launch machine: duplicate step name") {
		t.Errorf("Bake with a duplicate step name = %v, want an error that names it", err)
	}
	if left := b.Existing(); len(left) > 0 {
		t.Errorf("Bake of invalid images created %v", left)
	}
}

func nothing(context.Context) error { return nil }

// TestNoImages bakes an empty list, which must not look like a success.
func TestNoImages(t *testing.T) {
	var none []*bake.Image
	results, err := bake.Bake(t.Context(), nil, none...)
	if !errors.Is(err, bake.ErrNoImages) || err.Error() != "no images to bake" || results != nil {
		t.Errorf("Bake() = %v, %v, want no results and ErrNoImages", results, err)
	}
	if err := bake.Validate(nil); !errors.Is(err, bake.ErrNoImages) {
		t.Errorf("Validate() = %v, want ErrNoImages", err)
	}
}

func TestBakeSkipsDependentsOfFailedImage(t *testing.T) {
	b := baketest.NewBuilder(nil)
	bad := &bake.Image{Name: "bad", Builder: b, Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: failing}}}
	child := &bake.Image{Name: "child", Builder: b, From: bad}
	grandchild := &bake.Image{Name: "grandchild", Builder: b, From: child}
	good := &bake.Image{Name: "good", Builder: b}
	results, err := bake.Bake(t.Context(), nil, grandchild, child, good, bad)
	if !errors.Is(err, errPlanted) || !errors.Is(err, bake.ErrSourceFailed) {
		t.Errorf("Bake = %v, want the planted error and ErrSourceFailed", err)
	}
	got := make([]string, 0, len(results))
	for _, r := range results {
		got = append(got, r.String())
	}
	want := "grandchild: skipped, child: skipped, good: baked " + results[2].Artifact.String() + ", bad: failed"
	if strings.Join(got, ", ") != want {
		t.Errorf("Bake: results %v, want %s", got, want)
	}
	if !errors.Is(results[1].Err, bake.ErrSourceFailed) || !strings.Contains(results[1].Err.Error(), "bad") {
		t.Errorf("child: error %v, want ErrSourceFailed with the name of its source", results[1].Err)
	}
}

func TestParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := baketest.NewBuilder(nil)
		var now, most atomic.Int32
		count := bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error {
			defer now.Add(-1)
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Minute)
			return nil
		}}
		images := make([]*bake.Image, 0, 12)
		for i := range 12 {
			images = append(images, &bake.Image{Name: fmt.Sprint("image", i), Builder: b, Provisioners: []bake.Provisioner{count}})
		}
		start := time.Now()
		if _, err := bake.Bake(t.Context(), &bake.Options{Parallel: 4}, images...); err != nil {
			t.Fatal(err)
		}
		if most.Load() != 4 || time.Since(start) != 3*time.Minute {
			t.Errorf("Parallel 4: %d builds at once, %v in total; want 4 and 3m0s", most.Load(), time.Since(start))
		}
	})
}

func TestStopOnFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := baketest.NewBuilder(nil)
		slow := &bake.Image{Name: "slow", Builder: b, Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: func(ctx context.Context, _ bake.Machine) error {
			<-ctx.Done()
			return ctx.Err()
		}}}}
		bad := &bake.Image{Name: "bad", Builder: b, Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error {
			time.Sleep(time.Second)
			return errPlanted
		}}}}
		late := &bake.Image{Name: "late", Builder: b, From: slow}
		results, err := bake.Bake(t.Context(), &bake.Options{StopOnFailure: true}, slow, bad, late)
		if !errors.Is(err, errPlanted) || !errors.Is(results[0].Err, bake.ErrStopped) {
			t.Errorf("Bake = %v, slow: %v; want the planted error and ErrStopped", err, results[0].Err)
		}
		if results[0].Status != bake.StatusSkipped || results[1].Status != bake.StatusFailed || results[2].Status != bake.StatusSkipped {
			t.Errorf("statuses %s, %s, %s; want skipped, failed, skipped", results[0].Status, results[1].Status, results[2].Status)
		}
		if left := b.Existing(); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

func TestStepRetryAndTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := baketest.NewBuilder(nil)
		tries := 0
		img := &bake.Image{Name: "limits", Builder: b, Steps: []bake.Step{{
			Name: "flaky", At: bake.BeforeCapture, Timeout: time.Minute,
			Retry: bake.Retry{Attempts: 4, Delay: 10 * time.Second, MaxDelay: 15 * time.Second},
			Do: func(ctx context.Context) error {
				tries++
				if tries == 4 {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			},
		}}}
		start := time.Now()
		results, err := bake.Bake(t.Context(), nil, img)
		if err != nil {
			t.Fatal(err)
		}
		want := 3*time.Minute + (10+15+15)*time.Second
		if took := time.Since(start); took != want || tries != 4 {
			t.Errorf("%d attempts in %v, want 4 in %v", tries, took, want)
		}
		for _, s := range results[0].Steps {
			if s.Name == "flaky" && s.Attempts != 4 {
				t.Errorf("StepResult.Attempts = %d, want 4", s.Attempts)
			}
		}

		img.Steps, img.Provisioners = nil, []bake.Provisioner{bake.ProvisionFunc{Do: func(ctx context.Context, _ bake.Machine) error {
			<-ctx.Done()
			return ctx.Err()
		}}}
		_, err = bake.Bake(t.Context(), &bake.Options{StepTimeout: time.Minute}, img)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "after 1m0s") {
			t.Errorf("Bake = %v, want the timeout of the step", err)
		}
	})
}

func TestPermanentErrorIsNotRetried(t *testing.T) {
	tries, refused := 0, errors.New("refused")
	img := &bake.Image{Name: "refused", Builder: baketest.NewBuilder(nil), Steps: []bake.Step{{
		Name: "share", At: bake.BeforeCapture, Retry: bake.Retry{Attempts: 4, Delay: time.Hour},
		Do: func(context.Context) error {
			tries++
			return fmt.Errorf("share: %w", &bake.PermanentError{Err: refused})
		},
	}}}
	_, err := bake.Bake(t.Context(), nil, img)
	if !errors.Is(err, refused) || tries != 1 {
		t.Errorf("Bake = %v after %d attempts, want %v after 1", err, tries, refused)
	}
	if want := "image refused: share: share: refused"; err == nil || err.Error() != want {
		t.Errorf("Bake = %v, want %s", err, want)
	}
}

func TestUndoErrorsAndTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := baketest.NewBuilder(nil)
		var order []string
		undoErr := errors.New("undo failed")
		img := &bake.Image{Name: "undo", Builder: b, Steps: []bake.Step{
			{Name: "first", Do: nothing, Undo: func(context.Context, bake.Outcome) error {
				order = append(order, "first")
				return undoErr
			}},
			{Name: "hangs", Do: nothing, Undo: func(ctx context.Context, _ bake.Outcome) error {
				order = append(order, "hangs")
				<-ctx.Done()
				return ctx.Err()
			}},
			{Name: "panics", Do: nothing, Undo: func(context.Context, bake.Outcome) error {
				order = append(order, "panics")
				panic("in undo")
			}},
			{Name: "fails", Do: func(context.Context) error { return errPlanted }},
		}}
		start := time.Now()
		results, err := bake.Bake(t.Context(), &bake.Options{UndoTimeout: time.Minute}, img)
		var panicked *bake.PanicError
		if !errors.Is(err, errPlanted) || !errors.Is(err, undoErr) || !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &panicked) {
			t.Errorf("Bake = %v, want the errors of the step and of the three undos", err)
		}
		if strings.Join(order, " ") != "panics panics panics hangs first first first" {
			t.Errorf("undo order %v, want three attempts each within the timeout", order)
		}
		if took := time.Since(start); took != time.Minute+2*(1+2)*time.Second {
			t.Errorf("clean-up took %v, want one timeout and the waits of two undos", took)
		}
		if results[0].Status != bake.StatusFailed {
			t.Errorf("status %s, want failed", results[0].Status)
		}
	})
}

func TestPublisherFailureKeepsArtifact(t *testing.T) {
	b := baketest.NewBuilder(nil)
	var published []string
	img := &bake.Image{Name: "published", Builder: b, Publishers: []bake.Publisher{
		bake.PublisherFunc{Do: func(_ context.Context, a bake.Artifact) error {
			published = append(published, a.ID())
			return nil
		}},
		bake.PublisherFunc{Do: func(context.Context, bake.Artifact) error { return errPlanted }},
	}}
	results, err := bake.Bake(t.Context(), nil, img)
	var named *bake.Error
	if !errors.As(err, &named) || named.Step != "publish 2" {
		t.Errorf("Bake = %v, want an error in step \"publish 2\"", err)
	}
	if results[0].Artifact == nil || len(published) != 1 || published[0] != results[0].Artifact.ID() {
		t.Errorf("artifact %v, published %v; want the artifact published once", results[0].Artifact, published)
	}
	if existing := b.Existing(); len(existing) != 1 {
		t.Errorf("existing %v, want only the artifact", existing)
	}
}

func TestStepPoints(t *testing.T) {
	b := baketest.NewBuilder(nil)
	var order []string
	at := func(name string, point bake.Point) bake.Step {
		return bake.Step{Name: name, At: point, Do: func(context.Context) error {
			order = append(order, name)
			return nil
		}}
	}
	img := &bake.Image{
		Name: "points", Builder: b,
		Steps: []bake.Step{
			at("promoted", bake.AfterPromote), at("captured", bake.AfterCapture), at("provisioned", bake.BeforeCapture),
			at("reachable", bake.BeforeProvision), at("start", bake.BeforeLaunch),
		},
		Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error {
			order = append(order, "provisioner")
			return nil
		}}},
		Checks: []bake.Check{bake.CheckFunc{Do: func(context.Context, bake.Machine) error {
			order = append(order, "check")
			return nil
		}}},
	}
	if _, err := bake.Bake(t.Context(), nil, img); err != nil {
		t.Fatal(err)
	}
	want := "start reachable provisioner provisioned captured check promoted"
	if got := strings.Join(order, " "); got != want {
		t.Errorf("steps ran in order %q, want %q", got, want)
	}
}
