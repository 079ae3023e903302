package report_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/report"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// screenshotVar names a directory to which TestPageInChromium writes pictures.
const screenshotVar = "BAKESTONE_SCREENSHOTS"

// bakeMany bakes n images, of which most are made from the first one, which is reused.
// One fails with hostile output, one has a long name, one a step that is repeated, and
// a copy of one fails.
func bakeMany(t *testing.T, n int) *report.Report {
	t.Helper()
	var r *report.Report
	synctest.Test(t, func(t *testing.T) {
		builder := baketest.NewBuilder(nil)
		base := &bake.Image{Name: "base", Builder: builder, Fingerprint: "v1"}
		if _, err := bake.Bake(t.Context(), nil, base); err != nil {
			t.Fatal(err)
		}
		images := []*bake.Image{base}
		for i := 1; i < n; i++ {
			images = append(images, pageImage(builder, base, i))
		}
		images[5].From = images[4]
		recorder := &report.Recorder{}
		results, err := bake.Bake(t.Context(), &bake.Options{Observe: recorder.Observe, Parallel: 16}, images...)
		if err == nil {
			t.Error("Bake = nil, want errors")
		}
		r = recorder.Report(results)
	})
	return r
}

func pageImage(builder bake.Builder, base *bake.Image, i int) *bake.Image {
	img := &bake.Image{Name: fmt.Sprintf("node-%02d.prod.example.org", i), Builder: builder, From: base}
	fail := error(nil)
	switch i {
	case 2:
		img.From, fail = nil, errors.New(hostile+strings.Repeat("long", 300))
	case 3:
		img.Name = strings.Repeat("a-very-long-name-without-a-space", 6)
	case 6:
		attempts := 0
		img.Steps = []bake.Step{{Name: "wobble", At: bake.BeforeCapture, Retry: bake.Retry{Attempts: 3, Delay: time.Minute}, Do: func(context.Context) error {
			if attempts++; attempts < 3 {
				return errors.New("RequestLimitExceeded: request limit exceeded")
			}
			return nil
		}}}
	case 7:
		img.Steps = []bake.Step{{Name: "copy image to eu-central-1", At: bake.AfterPromote, Do: func(context.Context) error {
			return &bake.PartialError{Err: errors.New("copy ami-0123456789abcdef0 to eu-central-1: KMSKeyNotAccessibleFault: key arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab is not accessible")}
		}}}
	}
	img.Provisioners = []bake.Provisioner{bake.ProvisionFunc{Name: "install nginx", Do: func(ctx context.Context, _ bake.Machine) error {
		out := bake.RunFromContext(ctx).Lines(bake.Stdout)
		defer func() { _ = out.Close() }()
		for n := range 20 {
			_, _ = fmt.Fprintf(out, "Get:%d http://archive.ubuntu.com/ubuntu noble/main amd64 package-%d [%d kB]\n", n, i, n*17)
			time.Sleep(time.Duration(1+i%7) * time.Second)
		}
		if fail != nil {
			_, _ = io.WriteString(out, hostile+"\n")
		}
		return fail
	}}}
	return img
}

// measure is evaluated in the page. It opens everything first if open is set.
const measure = `(open => {
	const before = [...document.querySelectorAll("details")].map(d => d.open);
	if (open) document.querySelectorAll("details").forEach(d => d.open = true);
	const luminance = c => { const l = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * l[0] + .7152 * l[1] + .0722 * l[2]; };
	const parse = c => c.match(/[\d.]+/g).map(Number);
	const low = new Set();
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const e = texts.currentNode.parentElement;
		if (!texts.currentNode.data.trim() || !e.checkVisibility() || e.tagName === "SCRIPT") continue;
		let box = e, back;
		while (box) { back = parse(getComputedStyle(box).backgroundColor); if (back.length < 4 || back[3] > 0) break; box = box.parentElement; }
		const [a, b] = [luminance(parse(getComputedStyle(e).color)), luminance(back)].sort((x, y) => y - x);
		const contrast = (a + .05) / (b + .05);
		if (contrast < 4.5) low.add(e.className + " on " + (box?.tagName + "." + box?.className) + ": " + contrast.toFixed(2));
	}
	const all = {
		Title: document.title, Dark: matchMedia("(prefers-color-scheme: dark)").matches, Background: getComputedStyle(document.body).backgroundColor,
		Width: document.documentElement.clientWidth, Scroll: document.documentElement.scrollWidth,
		Outside: [...document.querySelectorAll("body *")].filter(e => e.checkVisibility() && !e.closest(".bar, pre") && e.getBoundingClientRect().right > innerWidth + .5).map(e => e.tagName + "." + e.className),
		Names: [...document.querySelectorAll(".image .name")].filter(e => e.checkVisibility()).map(e => e.textContent),
		Small: [...document.querySelectorAll("summary, input")].filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 24).map(e => e.textContent),
		LowContrast: [...low],
	};
	document.querySelectorAll("details").forEach((d, n) => d.open = before[n]);
	return all;
})`

type measured struct {
	Title, Background                  string
	Dark                               bool
	Width, Scroll                      int
	Outside, Names, Small, LowContrast []string
}

// TestPageInChromium opens the page of a run of 40 images, and of one of 200, in a
// browser.
func TestPageInChromium(t *testing.T) {
	browser := testenv.Chromium(t)
	phone, dark := testenv.Screen{Width: 390, Height: 844, Phone: true}, testenv.Screen{Width: 1440, Height: 900, Dark: true}
	for n, screens := range map[int][]testenv.Screen{
		40:  {phone, dark, {Width: 390, Height: 844, Phone: true, Dark: true}, {Width: 1440, Height: 900}},
		200: {phone, dark},
	} {
		r := bakeMany(t, n)
		file := filepath.Join(t.TempDir(), "run.html")
		var page strings.Builder
		if err := r.WriteHTML(&page); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(page.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, screen := range screens {
			name := fmt.Sprintf("%d images at %dx%d", n, screen.Width, screen.Height)
			if screen.Dark {
				name += " dark"
			}
			t.Run(name, func(t *testing.T) {
				browser.Open(file, screen)
				checkPage(t, browser, r, screen)
				checkSearch(t, browser)
				if dir := os.Getenv(screenshotVar); dir != "" {
					browser.Open(file, screen)
					browser.Screenshot(filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".png"))
					for part, show := range map[string]string{
						"failed": `document.querySelector(".image[open]").scrollIntoView()`,
						"baked":  `document.querySelectorAll(".image .baked")[3].closest("details").open = true, document.querySelectorAll(".image .baked")[3].closest("details").querySelectorAll("details").forEach(d => d.open = true), document.querySelectorAll(".image .baked")[3].scrollIntoView()`,
					} {
						browser.Eval(show, nil)
						browser.Screenshot(filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+"-"+part+".png"))
					}
				}
				if len(browser.Failures) > 0 {
					t.Errorf("the page failed: %s", browser.Failures)
				}
			})
		}
	}
}

// checkPage compares what the page shows, folded and unfolded, to the report.
func checkPage(t *testing.T, browser *testenv.Browser, r *report.Report, screen testenv.Screen) {
	t.Helper()
	for _, open := range []bool{false, true} {
		var got measured
		browser.Eval(fmt.Sprintf("%s(%t)", measure, open), &got)
		if want := fmt.Sprintf("Bake of %d images", len(r.Images)); got.Title != want {
			t.Errorf("title = %q, want %q", got.Title, want)
		}
		if got.Dark != screen.Dark || (got.Background == "rgb(255, 255, 255)") == screen.Dark {
			t.Errorf("background = %s, dark = %t, want dark = %t", got.Background, got.Dark, screen.Dark)
		}
		if got.Width != screen.Width || got.Scroll > got.Width || len(got.Outside) > 0 {
			t.Errorf("open %t: page of %d px is %d px wide, want %d; outside are %q", open, got.Width, got.Scroll, screen.Width, got.Outside)
		}
		if len(got.Names) != len(r.Images) {
			t.Errorf("page shows %d images, want %d", len(got.Names), len(r.Images))
		}
		for n := range got.Names {
			if want := r.Images[n].Name; got.Names[n] != want {
				t.Errorf("image %d = %q, want %q", n, got.Names[n], want)
			}
		}
		if len(got.LowContrast) > 0 {
			t.Errorf("open %t: contrast below 4.5: %q", open, got.LowContrast)
		}
		if screen.Phone && len(got.Small) > 0 {
			t.Errorf("open %t: too small for a finger: %q", open, got.Small)
		}
	}
}

// checkSearch folds an image, and filters the images.
func checkSearch(t *testing.T, browser *testenv.Browser) {
	t.Helper()
	shown := func() (count struct{ Images, Steps, Open int }) {
		browser.Eval(`({
			Images: [...document.querySelectorAll("details.image")].filter(e => e.checkVisibility()).length,
			Steps: [...document.querySelectorAll(".steps .step")].filter(e => e.checkVisibility()).length,
			Open: document.querySelectorAll("details[open]").length})`, &count)
		return count
	}
	before := shown()
	const toggle = `document.querySelectorAll("details.image > summary")[2].click()`
	browser.Eval(toggle, nil)
	if folded := shown(); folded.Steps >= before.Steps || folded.Images != before.Images {
		t.Errorf("shown after folding an image = %+v, before %+v", folded, before)
	}
	browser.Eval(toggle, nil)
	browser.Eval(`document.querySelector("input").focus()`, nil)
	browser.Type("PACKAGE-9 [")
	if found := shown(); found.Images != 1 || found.Steps != 1 {
		t.Errorf("shown after searching the output of one step = %+v, want one image and one step", found)
	}
	clearField := `document.querySelector("input").select()`
	browser.Eval(clearField, nil)
	browser.Type("node-06")
	if found := shown(); found.Images != 1 {
		t.Errorf("shown after searching a name = %+v, want one image", found)
	}
	browser.Eval(clearField, nil)
	browser.Type("in no image")
	var none bool
	browser.Eval(`document.querySelector(".none").checkVisibility()`, &none)
	if found := shown(); found.Images != 0 || !none {
		t.Errorf("shown after searching what is not there = %+v, want no image", found)
	}
	browser.Eval(clearField, nil)
	browser.Type(" ")
	const failed = `document.querySelector("button.failed").click()`
	browser.Eval(failed, nil)
	if found := shown(); found.Images != 2 {
		t.Errorf("shown after a click on the failed ones = %+v, want 2 images", found)
	}
	browser.Eval(failed, nil)
	if again := shown(); again != before {
		t.Errorf("shown after the search = %+v, before %+v", again, before)
	}
}
