// Package check says what must hold on a machine: files, services, ports,
// packages. The same value is a bake.Check, for a fresh machine that has booted
// from the image, and a bake.Provisioner, to fail early on the machine that is
// being changed:
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
// All of them are looked at in a single command, which needs no more than the
// machine's /bin/sh and what every distribution has, BusyBox included. What
// does not hold is reported together, as a *FailedError. What one of them needs
// beyond that is said there.
//
// A machine that has just booted still starts its services: Within looks again
// until all holds. AsRoot looks as root, at files that the login may not read.
package check
