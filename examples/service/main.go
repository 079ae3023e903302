// Command service bakes images on request: people and programs ask for them over HTTP,
// watch them, and cancel them.
//
//	cd examples/service
//	go run .
//
// It prints the address of its page and a token to log in with, and bakes on an EC2
// embedded in its process. With -ec2 aws it bakes on AWS.
//
// Any number of processes can share the store of -store, a directory or a database of
// PostgreSQL: each of them lists, shows and cancels all bakes. A process that is killed
// loses nothing: another one, or itself after a restart, goes on with its bakes. So does
// one that receives SIGTERM, which ends after the running steps; an interrupt cancels the
// bakes. To try it, start an EC2 that outlives the processes, and two of them:
//
//	go run . -only-ec2                                         # prints its URL
//	go run . -tokens tokens.txt -ec2 URL -address 127.0.0.1:8081
//	go run . -tokens tokens.txt -ec2 URL -address 127.0.0.1:8082
//
// The file has a line for each caller, with a name and a token of at least 20 characters.
// The API accepts a token as a bearer:
//
//	POST /api/bakes                  {"image": "shop", "parameters": {"release": "1.2"}, "request": "7f3c"}
//	GET  /api/bakes                  newest first; ?image=shop&limit=10
//	GET  /api/bakes/BUILD
//	GET  /api/bakes/BUILD/events     server-sent events; Last-Event-ID continues
//	POST /api/bakes/BUILD/cancel     {"reason": "wrong release"}
//
// A start is repeated safely with the same request. Events are kept as long as the record
// of their build, by default a week. Put a proxy with TLS in front of it, and name its URL
// with -origin, before anyone else's computer can reach it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/signals"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
)

func main() {
	ctx, stop := signals.Context(context.Background(), &signals.Options{
		Cause: func(s os.Signal) error {
			if s == syscall.SIGTERM {
				return bake.ErrSuspended
			}
			return nil
		},
		Received: func(s os.Signal, _ int) { fmt.Fprintf(os.Stderr, "service: %v: ending; again to hurry\n", s) },
	})
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	code := demo.ExitCode(ctx, err)
	stop()
	if code != demo.Succeeded {
		fmt.Fprintf(os.Stderr, "service: %s\n", demo.Text(err))
		os.Exit(code)
	}
}

// options are the flags.
type options struct {
	address, origin, tokens, store, ec2, region string
	onlyEC2                                     bool
	parallel, machines                          int
	lease, keep                                 time.Duration
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("service", flag.ContinueOnError)
	flags.StringVar(&o.address, "address", "127.0.0.1:8080", "where to listen")
	flags.StringVar(&o.origin, "origin", "", "the `URL` under which browsers reach the service, such as https://bakery.example.org (default the address)")
	flags.StringVar(&o.tokens, "tokens", "", "`file` with a line \"name token\" for each caller (default one new token for operator)")
	flags.StringVar(&o.store, "store", "bakes", "`directory` or URL of a PostgreSQL database (postgres://...) that keeps records and events")
	flags.StringVar(&o.ec2, "ec2", "embedded", "where to bake: embedded, aws, or the `URL` of an embedded EC2 of another process")
	flags.StringVar(&o.region, "region", "", "`name` of the region to bake in (default eu-west-1, except on AWS)")
	flags.BoolVar(&o.onlyEC2, "only-ec2", false, "serve nothing but an embedded EC2, for -ec2 of other processes, and print its URL")
	flags.IntVar(&o.parallel, "parallel", 20, "most bakes that this process works on at once")
	flags.IntVar(&o.machines, "machines", 10, "most machines of this process at once")
	flags.DurationVar(&o.lease, "lease", 15*time.Second, "how long other processes wait before they take over the bakes of one that does not respond")
	flags.DurationVar(&o.keep, "keep", 7*24*time.Hour, "how long ended bakes are shown")
	return o, demo.Parse(flags, args)
}

// run serves until ctx ends and everything has stopped. With the cause bake.ErrSuspended
// that is a success.
func run(ctx context.Context, args []string, out, logs io.Writer) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(logs, nil))
	if o.onlyEC2 {
		return serveEC2(ctx, out)
	}
	who, token, err := readCallers(o.tokens)
	if err != nil {
		return err
	}
	where, err := openCloud(ctx, o.ec2, o.region)
	if err != nil {
		return err
	}
	defer where.Close()
	kept, err := openStore(ctx, o.store)
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	defer func() { err = errors.Join(err, kept.close()) }()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.address) // loopback: by default; the caller says otherwise
	if err != nil {
		return err
	}
	origin := o.origin
	if origin == "" {
		origin = "http://" + listener.Addr().String()
	}
	s := newService(ctx, &config{
		records: kept.records, events: kept.events, catalog: catalog(where.Cloud), builder: builder(where.Cloud),
		callers: who, secure: strings.HasPrefix(origin, "https://"), log: log,
		parallel: o.parallel, machines: o.machines, lease: o.lease, keep: o.keep,
	})
	fmt.Fprintf(out, "Serving %s/\n", strings.TrimSuffix(origin, "/"))
	if token != "" {
		fmt.Fprintf(out, "Log in with the token %s\n", token)
	}
	if err := s.serve(ctx, listener); !errors.Is(err, bake.ErrSuspended) {
		return err
	}
	return nil
}
