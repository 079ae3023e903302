package provision_test

import (
	"context"
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/provision/check"
)

// Set up and check a web server without scripts.
func Example_system() {
	type site struct {
		Host    string
		Workers int
		Token   bake.Secret
	}
	holds := check.All(
		check.Package{Name: "nginx", Version: "1.24*"},
		check.Service{Name: "nginx", Enabled: true},
		check.HTTP{URL: "http://localhost/", Contains: "Welcome"},
	).Within(time.Minute)
	builder := baketest.NewBuilder(&baketest.BuilderOptions{PrepareMachine: func(m *baketest.Machine) {
		m.OnPrefix("# check: ", baketest.Reply{Stdout: check.Passed})
		m.OnPrefix("# packages: install nginx", baketest.Reply{Stdout: "changed: installed nginx\n"})
	}})
	web := &bake.Image{
		Name:    "web",
		Builder: builder,
		Provisioners: []bake.Provisioner{
			provision.WaitCloudInit{AllowDegraded: true},
			provision.Packages{Install: []string{"nginx=1.24*"}, NoRecommends: true, Clean: true},
			provision.User{Name: "app", System: true, Groups: []string{"www-data"}},
			provision.Template{
				Content: "server_name {{.Host}};\nworker_processes {{.Workers}};\n# {{.Token.Reveal}}\n",
				Data:    site{Host: "example.com", Workers: 4, Token: bake.NewSecret("s3cret")},
				Dest:    "/etc/nginx/conf.d/site.conf", Mode: 0o640, Group: "app", Sudo: true,
			},
			provision.Service{Name: "nginx", Enable: true},
			provision.Sysctl{File: "60-web", Parameters: map[string]string{"net.core.somaxconn": "4096"}},
			provision.OnlyIf{Command: "test -d /opt/aws", Provisioner: provision.Retry{Provisioner: provision.Shell("/opt/aws/install")}},
		},
		Checks: []bake.Check{holds},
	}
	_, err := bake.Bake(context.Background(), &bake.Options{Observe: func(e bake.Event) {
		if e.Kind == bake.Message && e.Step == "provision 2: packages: install nginx=1.24*, clean" {
			fmt.Println(e.Text)
		}
	}}, web)
	fmt.Println(err)
	// Output:
	// packages: install nginx=1.24*, clean: changed installed nginx
	// <nil>
}
