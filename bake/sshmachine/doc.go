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
// The machine needs /bin/sh, the usual small commands, and a login shell with POSIX
// quoting. Commands and transfers with Sudo set need sudo, unless the login is root.
// Everything else is used if present: tar, gzip, sha256sum, openssl, xargs, find,
// the SFTP server, scp and /proc. Commands with Raw set need none of these.
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
// The environment of every command contains BAKESTONE_RUN, set to a random value.
// When the context ends, all processes with that value, their descendants and the
// sessions they lead are killed, first with SIGTERM and after a second with
// SIGKILL. This requires /proc; without it only the command itself is signaled.
//
// A command is complete when it has exited and its outputs are closed. If a
// background process still holds an output open, the output is cut off two seconds
// after its last byte. If a command exits while a Read of cmd.Stdin is blocked, Run
// returns and the result of that Read is lost. On a terminal, the end of cmd.Stdin
// is sent as an end-of-file character.
//
// # Files
//
// [Machine.Put] writes a file under a temporary name in the destination's directory,
// verifies its digest, sets mode and owner, and renames it. A tree is written to a
// temporary directory. If the destination does not exist, the directory is renamed
// as a whole; otherwise each file is renamed into place, so files appear complete
// but not all at once. Files that exist only in the destination stay. Symbolic
// links are copied as links. Existing directories keep their owner and mode; new
// ones are always writable by their owner.
//
// Trees are sent as one tar stream, compressed if the round-trip time is long and
// the tree compresses well. Without tar they are sent by SFTP, many files at once;
// without SFTP by scp. Trees are fetched with tar, SFTP or, failing both, find and
// head. If the round-trip time would limit a single session, a big file is split
// over several SFTP channels. The result is the same in all cases.
//
// Digests are SHA-256, computed on the machine by openssl or sha256sum and, for a
// tree, xargs. Without these tools, sizes are compared instead; of a tree that was
// sent, only its completeness is checked.
//
// # Errors
//
// A command that ran and failed returns a [*bake.ExitError]. Errors that wrap
// [bake.ErrDisconnected] report a lost connection; the next call reconnects, waiting
// as Connect does. [*HostKeyError], [*AuthError] and [ErrSudoPassword] identify the
// other cases. If a context ends, the error wraps its cause and, from Connect, the
// last failure.
package sshmachine
