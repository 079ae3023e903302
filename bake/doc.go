// Package bake bakes machine images from Go values. It defines the vocabulary of
// Bakestone and contains the engine.
//
// An [Image] names a [Builder], which represents a platform, and the
// [Provisioner]s that change its machine. [Bake] takes any number of images and
// returns a [Result] for each:
//
//	results, err := bake.Bake(ctx, nil, web, worker)
//
// A build is a list of [Step]s: the builder launches a [Machine], the provisioners
// change it, and the builder captures an [Artifact]. The [Check]s then run on a
// fresh machine booted from the artifact. If they pass, the artifact is promoted
// and the [Publisher]s run. When a build fails, is canceled or panics, everything
// it created is removed, newest first. Temporary resources are always removed.
//
// An image may be made [Image.From] another one: it waits for that image and is
// skipped if that image fails. Independent images are baked concurrently.
//
// Options.Observe receives every [Event]; package terminal shows them to a person, and
// package report makes reports of them. With a [Store], the engine records every step before and after it runs. After a
// crash another process can continue the build with [Options.Resume] or clean up
// with [Undo].
//
// [Limits] bounds the machines of all calls of Bake in a process. Package signals cancels
// them in order when the program gets a signal.
//
// Package ec2 bakes on Amazon EC2, package provision has the provisioners, and
// package baketest has what tests need: a fake Machine, a Builder in memory, and
// the conformance suite for builders.
//
// # Optional interfaces
//
// Small interfaces describe what only some values can do: a Builder may be a
// [Finder], a [ConflictChecker] and a [Demander], a Session a [MachineKeeper] and a [Restarter],
// a Machine an [SSHReacher], a Provisioner a [Validator], an [InputDeclarer] and
// an [Undoer], a Check or Publisher a [Validator]. The engine finds them with
// [As], so a value may also be passed by its address, embedded in a struct, or
// behind a [Wrapper].
package bake

// Version is the version of this library. Builders write it into tags.
const Version = "0.1.0"
