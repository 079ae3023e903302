// Package check verifies the state of a machine: files, services, ports, packages.
// The same value is a [bake.Check], which verifies a machine booted from the image,
// and a [bake.Provisioner], which fails early on the machine being built:
//
//	web := check.All(
//		check.Package{Name: "nginx", Version: "1.24*"},
//		check.File{Path: "/etc/nginx/nginx.conf", Mode: 0o644, Owner: "root"},
//		check.Service{Name: "nginx", Enabled: true},
//		check.Port{Number: 80},
//		check.HTTP{URL: "http://localhost/", Contains: "Welcome"},
//		check.Command{Line: "nginx -t"},
//	).Within(time.Minute)
//
//	img := &bake.Image{
//		Name:         "web",
//		Builder:      ec2.Builder{...},
//		Provisioners: []bake.Provisioner{..., web},
//		Checks:       []bake.Check{web},
//	}
//
// A single command runs all tests. It needs only /bin/sh and the basic tools of any
// distribution, including BusyBox, except where the documentation of a test says
// otherwise. A [*FailedError] reports all failures together.
//
// A machine that has just booted may still be starting its services:
// [Checks.Within] repeats the tests until they pass. [Checks.AsRoot] runs them as
// root, for files that the login cannot read.
package check
