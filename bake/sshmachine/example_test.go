package sshmachine_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
)

func ExampleConnect() {
	pair, err := sshmachine.NewKeyPair("example")
	if err != nil {
		fmt.Println(err)
		return
	}
	server, err := startServer(pair) // an SSH server on this host
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	ctx := context.Background()
	m, err := sshmachine.Connect(ctx, &sshmachine.Config{
		Addr:    server.Addr,
		User:    "ubuntu",
		Auth:    []sshmachine.Auth{sshmachine.Signer(pair.Signer)},
		HostKey: sshmachine.FixedHostKey(server.HostKey),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()

	out, err := bake.Output(ctx, m, bake.Sh("echo $(whoami) on $(hostname)"))
	fmt.Println(out, err)
	out, err = bake.Output(ctx, m, &bake.Cmd{Args: []string{"whoami"}, Sudo: true})
	fmt.Println(out, err)
	// Output:
	// ubuntu on web-1 <nil>
	// root <nil>
}

func ExampleMachine_Put() {
	m, stop, err := exampleMachine() // connected as in the example of Connect
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()

	ctx := context.Background()
	err = m.Put(ctx, &bake.Upload{
		FS: fstest.MapFS{
			"index.html":     {Data: []byte("hello")},
			"css/style.css":  {Data: []byte("body {}")},
			"css/style.css~": {Data: []byte("draft")},
		},
		Dest:    "/srv/www",
		Exclude: []string{"*~"},
		Owner:   "www-data",
		Sudo:    true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := bake.Output(ctx, m, bake.Sh("cd /srv/www && find . -type f | sort && stat -c %U index.html"))
	fmt.Println(out, err)
	// Output:
	// ./css/style.css
	// ./index.html
	// www-data <nil>
}

// A machine behind a bastion, whose host keys are in a known_hosts file.
func ExampleConfig() {
	agent := []sshmachine.Auth{sshmachine.AgentSocket("")}
	cfg := &sshmachine.Config{
		Addr:    "10.0.0.7",
		User:    "ubuntu",
		Auth:    agent,
		HostKey: sshmachine.KnownHosts("testdata/known_hosts"),
		Via: []sshmachine.Hop{{
			Addr:    "bastion.example.com:2222",
			User:    "deploy",
			Auth:    agent,
			HostKey: sshmachine.KnownHosts("testdata/known_hosts"),
		}},
	}
	fmt.Println(cfg.Validate())
	cfg.Via[0].User = ""
	fmt.Println(cfg.Validate())
	// Output:
	// <nil>
	// Config.Via[0].User: is required
}
