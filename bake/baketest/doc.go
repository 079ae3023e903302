// Package baketest helps to test definitions, provisioners and builders: it has a
// fake [Machine], an in-memory [Builder], and [Conform], the conformance suite for
// builders.
//
// # Testing a provisioner
//
// [NewMachine] returns a bake.Machine that records calls and returns the replies
// prepared by the test:
//
//	m := baketest.NewMachine(nil)
//	m.On("systemctl is-active nginx", baketest.Reply{Stdout: "active\n"})
//	m.OnPrefix("apt-get ", baketest.Reply{})
//
//	if err := installNginx.Provision(ctx, m); err != nil {
//		t.Fatal(err)
//	}
//	conf, err := m.ReadFile("/etc/nginx/nginx.conf")
//
// A command without a prepared reply fails with an error that names it, unless
// MachineOptions.AnyCommand lets it succeed. Files are kept in memory with modes and owners:
// tests can read what a provisioner put on the machine, and a login other than root
// lacks the permissions that it would lack on a real machine.
//
// Scripts are not run. A command that runs a file from the machine is identified by
// the content of that file, for replies and in [Machine.Commands].
//
// The Machine records the values of secrets unmasked, so that tests can compare them.
package baketest
