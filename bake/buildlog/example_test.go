package buildlog_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/buildlog"
)

// nightly bakes images with a log for each in dir, and the usual records on standard
// error.
func nightly(ctx context.Context, dir string, images ...*bake.Image) error {
	logs, err := buildlog.Open(dir, &buildlog.Options{
		Next: slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}),
	})
	if err != nil {
		return err
	}
	_, err = bake.Bake(ctx, &bake.Options{Log: slog.New(logs)}, images...)
	return errors.Join(err, logs.Close())
}

func Example() {
	dir, err := os.MkdirTemp("", "logs")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	builder := baketest.NewBuilder(nil)
	if err := nightly(context.Background(), dir, &bake.Image{Name: "web", Builder: builder}, &bake.Image{Name: "db", Builder: builder}); err != nil {
		fmt.Println(err)
	}
	for _, name := range []string{"web", "db"} {
		files, err := filepath.Glob(filepath.Join(dir, name+"-*.log"))
		fmt.Println(name, len(files), err)
	}
	// Output:
	// web 1 <nil>
	// db 1 <nil>
}
