// Package baketest is what tests of bakes are made of: a Machine that only
// pretends, a Builder in memory, and the suite that any Builder must pass.
//
// # Testing a provisioner
//
// NewMachine returns a bake.Machine that records what is done to it and gives
// the answers that the test has prepared:
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
// A command without a prepared answer fails with an error that names it, so
// that a test notices; Options.AnyCommand lets every command succeed
// instead. Files are kept in memory, with modes and owners: what a provisioner
// puts on the machine can be read back, and a login that is not root is denied
// what it would be denied on a real machine.
//
// A script runs nowhere. The machine knows it by its text: a command that runs
// a file which was put on the machine is answered, and listed by
// Machine.Commands, by what is in that file.
//
// The Machine hides nothing: the values of secrets are in its records, since a
// test may want to compare them.
package baketest
