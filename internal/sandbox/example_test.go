package sandbox_test

import (
	"context"
	"fmt"
	"os"

	"github.com/bakestone-go/bakestone/internal/sandbox"
)

func Example() {
	ctx := context.Background()
	h, err := sandbox.Boot(ctx, sandbox.Options{
		Hostname: "web-1",
		UserData: []byte("#!/bin/sh\necho built by $(whoami) on $(hostname) >/etc/motd\n"),
		Commands: map[string]sandbox.Command{
			"apt-get": func(_ context.Context, p *sandbox.Process) int {
				_, _ = fmt.Fprintln(p.Stdout, "pretending to", p.Args[1], p.Args[2])
				return 0
			},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Close()
	status, err := h.Exec(ctx, sandbox.Exec{Line: "cat /etc/motd && apt-get install nginx && frobnicate", Stdout: os.Stdout})
	fmt.Println(status, err)
	// Output:
	// built by root on web-1
	// pretending to install nginx
	// 127 <nil>
}
