package demo_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/nodes"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
)

// baked returns the error of baking an image with a provisioner.
func baked(ctx context.Context, change func(*bake.Image), err error) error {
	img := &bake.Image{Name: "web", Builder: baketest.NewBuilder(nil), Provisioners: []bake.Provisioner{
		bake.ProvisionFunc{Name: "install", Do: func(context.Context, bake.Machine) error { return err }},
	}}
	if change != nil {
		change(img)
	}
	_, err = bake.Bake(ctx, nil, img)
	return err
}

func parsed(args ...string) error {
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return demo.Parse(flags, args)
}

func TestExitCode(t *testing.T) {
	ctx := t.Context()
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, listErr := nodes.Read[struct{}](strings.NewReader(""), "nodes.yaml")
	_, noneErr := bake.Bake(ctx, nil)
	for name, test := range map[string]struct {
		ctx  context.Context //nolint:containedctx // an argument
		err  error
		want int
	}{
		"success":          {ctx, baked(ctx, nil, nil), demo.Succeeded},
		"help":             {ctx, parsed("-help"), demo.Succeeded},
		"failed command":   {ctx, baked(ctx, nil, &bake.ExitError{Command: "false", Status: 1}), demo.Failed},
		"other error":      {ctx, errors.New("other"), demo.Failed},
		"own cancellation": {ctx, baked(ctx, nil, context.Canceled), demo.Failed},
		"unknown flag":     {ctx, parsed("-unknown"), demo.Invalid},
		"invalid image":    {ctx, baked(ctx, func(i *bake.Image) { i.Name = "" }, nil), demo.Invalid},
		"wrong field":      {ctx, baked(ctx, nil, bake.Invalid("Builder.Source", "not found")), demo.Invalid},
		"empty list":       {ctx, listErr, demo.Invalid},
		"no images":        {ctx, noneErr, demo.Invalid},
		"interrupted":      {canceled, baked(canceled, nil, nil), demo.Canceled},
		"denied call":      {ctx, baked(ctx, nil, &ec2.DeniedError{Err: errors.New("denied")}), demo.Refused},
		"expired token":    {ctx, fmt.Errorf("list: %w", &smithy.GenericAPIError{Code: "ExpiredToken"}), demo.Refused},
		"no credentials":   {ctx, baked(ctx, nil, bake.Invalid("Builder.Cloud", "no usable credentials")), demo.Refused},
		"throttled":        {ctx, &smithy.GenericAPIError{Code: "RequestLimitExceeded"}, demo.Failed},
		"two failures":     {ctx, errors.Join(errors.New("other"), &ec2.DeniedError{Err: errors.New("denied")}), demo.Refused},
	} {
		if got := demo.ExitCode(test.ctx, test.err); got != test.want {
			t.Errorf("%s: ExitCode(%v) = %d, want %d", name, test.err, got, test.want)
		}
	}
}

// childVar makes TestMainChild fail as a program.
const childVar = "BAKESTONE_EXIT_CHILD"

func TestMainChild(t *testing.T) {
	if os.Getenv(childVar) == "" {
		t.Skip("runs as the child of TestMainExits only")
	}
	demo.Main("child", func(_ context.Context, _ []string, out io.Writer) error {
		if os.Getenv(childVar) == "pipe" {
			_, _ = io.ReadAll(os.Stdin)
			_, err := io.WriteString(out, "nobody reads this\n")
			return err
		}
		return parsed("-unknown")
	})
}

// TestMainWithoutReader runs a program whose output nothing reads any more. It must live
// to clean up.
func TestMainWithoutReader(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestMainChild$")
	cmd.Env = append(os.Environ(), childVar+"=pipe")
	cmd.Stdout, cmd.Stderr = w, &stderr
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != demo.Failed || !strings.HasPrefix(stderr.String(), "child: write ") {
		t.Errorf("the program ended with %v and printed %q, want exit status %d and the error of the write", err, stderr.String(), demo.Failed)
	}
}

func TestText(t *testing.T) {
	build := func(name string) error {
		return &bake.Error{Image: name, Step: "install", Err: errors.New("exit status 1\noutput")}
	}
	field := &bake.Error{Image: "d", Err: bake.Invalid("Builder.Source", "not found")}
	for want, err := range map[string]error{
		"plain": errors.New("plain"),
		"image a: install: exit status 1\noutput": build("a"),
		"image a: install: exit status 1\nand 2 more images; see above\n" + field.Error() + "\nreport.html: not writable": errors.Join(
			errors.Join(build("a"), build("b"), field, build("c")), errors.New("report.html: not writable")),
	} {
		if got := demo.Text(err); got != want {
			t.Errorf("Text = %q, want %q", got, want)
		}
	}
}

// TestMainExits runs a program with a wrong command line.
func TestMainExits(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestMainChild$")
	cmd.Env = append(os.Environ(), childVar+"=1")
	out, err := cmd.CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != demo.Invalid || string(out) != "child: flag provided but not defined: -unknown\n" {
		t.Errorf("the program printed %q and ended with %v, want exit status %d", out, err, demo.Invalid)
	}
}
