// Package sshmachine is a bake.Machine over SSH.
//
// Connect waits for a machine that is still booting and returns a Machine:
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
// # What the machine must have
//
// A login shell that quotes as POSIX shells do, and /bin/sh with the usual
// small commands. Sudo needs sudo, unless the login is root. Everything else
// is used when it is there: tar, sha256sum, openssl, the SFTP server, scp, find.
//
// # Trust
//
// A host key policy must be given; there is no default. A host key that the
// policy refuses is a *HostKeyError, at once and for good. An agent is only
// asked for signatures; it is never forwarded.
//
// # Commands
//
// A command runs in a session of its own; MaxSessions of them at once, others
// wait. Environment and secrets reach it through its standard input, before
// cmd.Stdin, or through a file of mode 0600 when it has a terminal, which the
// command removes before it begins. The variable BAKESTONE_RUN in the
// environment of every command is a random mark: when the context ends, every
// process that has it, their descendants and the session they lead are killed,
// first with TERM, after a second with KILL.
//
// A command ends when its process ends and its outputs are closed. A process
// left in the background that still holds an output is not waited for: the
// outputs are cut two seconds after the last byte. When a command ends while a
// Read of cmd.Stdin is blocked, Run returns and what that Read returns is lost.
// With a terminal, the end of cmd.Stdin is sent as the end-of-file character.
//
// # Files
//
// Put writes below a temporary name next to the destination, compares the
// digest, sets mode and owner, and renames. A tree arrives in a temporary
// directory; it is renamed as a whole when the destination does not exist yet,
// else each of its files is renamed into place: files appear complete, but not
// all at the same moment. What the destination has and the source has not,
// stays. Symbolic links are copied as links. Directories that exist keep their
// owner and mode.
//
// Trees travel as one tar stream, compressed when the machine is far and the
// tree becomes clearly smaller; without tar by SFTP with many files at once;
// without that a tree is sent by scp, and fetched as one stream that find and
// head write. A big file is cut over several SFTP channels when the round-trip
// time limits a single one. The result is the same whichever way.
//
// The digest is SHA-256, by openssl or sha256sum on the machine, for a tree
// with xargs. A machine that has none compares the size of a file; of a tree it
// only checks that all of it has come. Directories are always made writable for
// their owner.
//
// # Errors
//
// A command that ran and failed is a *bake.ExitError. A lost connection wraps
// bake.ErrDisconnected, and the next call connects again, waiting as Connect
// does. *HostKeyError, *AuthError and ErrSudoPassword tell the other cases
// apart. A context that ends is the error's cause, with the last reason beside
// it.
package sshmachine
