package report_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/report"
)

// nightly bakes images and writes a page about it to a file, also if they fail.
func nightly(ctx context.Context, file string, images ...*bake.Image) error {
	recorder := &report.Recorder{}
	results, err := bake.Bake(ctx, &bake.Options{Observe: recorder.Observe}, images...)
	page, createErr := os.Create(file)
	if createErr != nil {
		return errors.Join(err, createErr)
	}
	return errors.Join(err, recorder.Report(results).WriteHTML(page), page.Close())
}

func Example() {
	dir, err := os.MkdirTemp("", "report")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	web := &bake.Image{Name: "web", Builder: baketest.NewBuilder(nil)}
	file := filepath.Join(dir, "nightly.html")
	if err := nightly(context.Background(), file, web); err != nil {
		fmt.Println(err)
	}
	info, err := os.Stat(file)
	fmt.Println(err == nil && info.Size() > 0)
	// Output: true
}
