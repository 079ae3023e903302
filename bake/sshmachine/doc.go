// Package sshmachine implements [bake.Machine] over SSH.
//
// [Connect] waits for a machine that may still be booting and returns a [Machine]:
//
//	m, err := sshmachine.Connect(ctx, &sshmachine.Config{
//		Addr:    "192.0.2.7:22",
//		User:    "ubuntu",
//		Auth:    []sshmachine.Auth{sshmachine.Signer(pair.Signer)},
//		HostKey: sshmachine.FixedHostKey(hostKey),
//	})
//	if err != nil {
//		return err
//	}
//	defer m.Close()
//	err = m.Run(ctx, bake.Sh("uptime"))
//
// # Requirements on the machine
//
// The machine needs /bin/sh, the usual small commands, and a login shell that runs
// command lines: bash, dash, zsh, fish, tcsh and BusyBox's ash are tested. A restricted
// shell (rbash) or a forced command that runs something else cannot work. Commands and
// transfers with Sudo set need sudo for any command, unless the login is root. If sudo
// works only on a terminal, the program script provides one.
// Everything else is used if present: tar, gzip, sha256sum, openssl, xargs, find,
// the SFTP server, scp and /proc. Commands with Raw set need none of these; set
// [Config.Raw] for a machine that has no /bin/sh.
//
// Connect runs a first command, which reads the facts and checks that commands begin,
// get their input, keep their two outputs apart and pass on their exit status. If not,
// it returns an [*AuthError] that wraps a [*NotBegunError] with what the machine
// printed, or a [*ShellError].
//
// # Trust
//
// A [HostKeyPolicy] is required; there is no default. If it rejects the server's
// key, the error is a [*HostKeyError] and is not retried. SSH agents are asked for
// signatures but never forwarded.
//
// # Commands
//
// Each command runs in its own session, up to [Config.MaxSessions] at once; further
// commands wait. Environment and secrets are never part of a command line. They
// precede cmd.Stdin on the command's standard input or, if the command has a
// terminal, are in a file of mode 0600 that the command removes when it starts.
//
// Each command prints a random mark when it begins. Output before the mark, from
// start-up files or sudo, is dropped; without the mark, Run fails with a
// [*NotBegunError] whatever the exit status. With sudo on a terminal it also prints one
// when it ends, with its status, since some versions of sudo never end there: three
// seconds later the terminal is closed. If the server refuses a session, it is
// requested again until another one ends.
//
// The environment of every command contains BAKESTONE_RUN, set to a random value that
// begins with [Config.Mark].
// When the context ends, all processes with that value, their descendants and the
// sessions they lead are killed, first with SIGTERM and after a second with
// SIGKILL. This requires /proc; without it only the command itself is signaled. Each
// method returns within two seconds of the end of its context, whatever the machine or
// a blocked writer does; killing then continues in the background. A Read or Write that
// the caller's reader or writer blocks is left behind. A command whose process on the
// baking host dies lives on, as with any sshd; [Config.EndMarked] ends it when the next
// process connects.
//
// A command is complete when it has exited and its outputs are closed. If a
// background process still holds an output open, the output is cut off two seconds
// after its last byte, and at the latest ten seconds or 32 MiB after the exit, not
// counting the time that cmd.Stdout and cmd.Stderr take. If a command exits while a Read of cmd.Stdin is blocked, Run
// returns and the result of that Read is lost. On a terminal, the end of cmd.Stdin
// is sent as an end-of-file character.
//
// # Files
//
// [Machine.Put] writes a file under a temporary name in the destination's directory,
// verifies its digest, sets mode and owner, and renames it. A tree is written to a
// temporary directory. If the destination does not exist, the directory is renamed
// as a whole; otherwise each file is renamed into place, so files appear complete
// but not all at once. Files that are in the destination already, with the same content,
// mode, owner and group, are neither sent nor touched; this needs stat, xargs and a program
// for digests on the machine, and a server that permits a second session. Files that exist
// only in the destination stay, unless Upload.Delete is set. Symbolic
// links are copied as links. Existing directories keep their owner and mode; new
// ones are always writable by their owner. Hard links and sparse files arrive as
// separate, full files. Without Owner and Group, a tree has the login's group and its own
// modes even in a set-gid directory, which passes its group on only to a single file.
//
// The temporary directory is private to the writer. A destination that is a link to a
// file is replaced. Links to directories are followed, below the destination as well,
// if they belong to root or the login, or lead to a file of their own owner; other
// links, which another user may have planted, are refused. This is checked before
// writing, so do not write as root to a directory that an untrusted user can change
// at the same time. A file cannot be written to a destination that ends in a slash or is
// a directory. Only regular files are sent, and a file of a tree that no longer has the
// size it was listed with is an error.
//
// [Machine.Get] writes nothing outside of its destination and follows no link that a
// machine may have sent, now or earlier: below the working directory, the home directory
// and the directory for temporary files, or elsewhere below the entries of the root
// directory, a link in Download.Path is refused, unless the caller resolves it with
// [path/filepath.EvalSymlinks]. A link at the destination of a file is replaced. A tree
// is merged into an existing directory only if no directory meets a link or a file. Files
// that are there already, with the same content and mode, are neither fetched nor touched;
// this needs tar, stat, xargs and a program for digests on the machine.
// Entries below links, outside names, and names that the local file system takes for
// the same are refused; devices, pipes, sockets and set-id bits are left out. A tree has
// at most a million entries, with 64 MiB of names, and [Config.MaxDownload] bytes.
//
// Answers kept in memory, such as facts, digests and names, are limited to 64 KiB, an
// SFTP server's lists to 256 MiB in all.
//
// Trees are sent as tar streams: a big tree, or one over a long round-trip time, in parts
// over several sessions, each of which verifies its part while others arrive. They are
// compressed if the round-trip time is long and the tree compresses well. Without tar
// they are sent by SFTP, many files at once; without SFTP, or if the server permits one
// session only, by scp. Trees are fetched with tar, also in parts, SFTP or, failing both,
// find and head.
// If the round-trip time would limit a single session, a big file is split over several
// SFTP channels. The result is the same in all cases.
//
// Digests are SHA-256, computed on the machine by openssl or sha256sum and, for a
// tree, xargs. Without these tools, sizes are compared instead; of a tree that was
// sent, only its completeness is checked. A fetched tree must contain every file,
// directory and link that find listed before, if the machine has find.
//
// # Errors
//
// A command that ran and failed returns a [*bake.ExitError]. Errors that wrap
// [bake.ErrDisconnected] report a lost connection; the next call reconnects, waiting
// as Connect does. [*HostKeyError], [*AuthError], [*NotBegunError], [*ShellError],
// [ErrSudoPassword] and [ErrSudoTerminal] identify the other cases. If a context ends, the error wraps its cause and, from Connect, the
// last failure.
package sshmachine
