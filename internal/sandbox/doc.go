// Package sandbox simulates a Linux machine in memory: a file system, a shell
// that runs real scripts on it, common commands, cloud-init and an SSH server.
// Nothing the machine does affects the computer it runs on.
//
// [Boot] starts a [Host] like a cloud starts an instance: it processes user data
// like cloud-init, and [Host.Console] returns the boot log with the host key
// fingerprints. [Host.ServeConn] serves an SSH connection with exec, shell and
// SFTP. [Host.Exec] runs a command without SSH. [Host.Close] powers the machine
// off and waits for its goroutines.
//
// The shell is part of this package; mvdan.cc/sh parses its scripts. A command
// that is not built in fails with status 127, as if it were not installed, unless
// Options.Commands implements it in Go:
//
//	sandbox.Options{Commands: map[string]sandbox.Command{
//		"apt-get": func(ctx context.Context, p *sandbox.Process) int {
//			fmt.Fprintln(p.Stdout, "Reading package lists... Done")
//			return 0
//		},
//	}}
//
// A built-in command fails with status 2 and a message if it does not support a
// flag; it never ignores one. Commands that act only on the system, such as
// ldconfig, succeed without effect. awk is goawk, with the machine's files and
// commands, and jq is gojq. Their programs have at most 16 KiB. jq fails if it allocates more than twice Limits.Memory in all.
//
// The programs of a distribution are files of its packages. Those that the machine
// cannot run end with status 127 and say so.
//
// Where /bin/sh is dash, as on Ubuntu, sh behaves like dash, and bash like bash
// 5.2, without job control and line editing. A script with more than 300 keys of
// arrays that are not arithmetic, such as [some.name], must quote them.
//
// Package managers record packages in the distribution's database, systemctl keeps
// the state of units and runs services whose program is on the machine, and curl and
// wget read Options.URLs. A [Volume] is the contents of a disk: it can be attached,
// formatted, mounted, copied and booted from.
//
// [Limits] bounds the memory, processes, disk, output and time of a machine, so
// that a script cannot exhaust the computer it is simulated on.
//
// The disk is a memfs.FS. Host.FS().Clone() returns an image of it that
// another Host can boot from.
package sandbox
