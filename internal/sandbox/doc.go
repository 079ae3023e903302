// Package sandbox is a pretend Linux machine: a file system in memory, a shell
// that really runs scripts on it, the usual small commands, cloud-init, and an
// SSH server. Nothing that happens on it touches the computer it runs on.
//
// Boot starts a Host as a cloud starts an instance: the user data is obeyed as
// cloud-init would, and Host.Console has the boot log with the fingerprints of
// the host keys. Host.ServeConn then serves one SSH connection, with exec,
// shell and SFTP. Host.Reboot and Host.Close do what their names say; Close
// waits until no goroutine of the machine is left.
//
// A script is run by the pure-Go shell mvdan.cc/sh. A command that is not built
// in fails with status 127, as on a machine where it is not installed, until
// Options.Commands answers it with a Go func:
//
//	sandbox.Options{Commands: map[string]sandbox.Command{
//		"apt-get": func(ctx context.Context, p *sandbox.Process) int {
//			fmt.Fprintln(p.Stdout, "Reading package lists... Done")
//			return 0
//		},
//	}}
//
// A flag that a built-in command does not know makes it fail with status 2 and
// say so; no flag is ignored.
//
// Where /bin/sh is dash, as on Ubuntu, what only bash understands is refused in
// sh. The shell has these limits: descriptors above 2, output process
// substitution, coproc and traps of signals do not exist, and a script is
// parsed as a whole before it begins. On Windows the interpreter takes an
// absolute path for a relative one in cd, [[ ]] and patterns.
//
// The disk is a memfs.FS. Host.FS().Clone() is an image of it, and a Host
// booted from that image has what the first one had.
package sandbox
