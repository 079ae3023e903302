// Package bake is the vocabulary and the engine of Bakestone: it bakes machine
// images from Go values.
//
// An [Image] names a [Builder], which knows a platform, and the [Provisioner]s
// that change its machine. [Bake] takes any number of images and returns a
// [Result] for each:
//
//	results, err := bake.Bake(ctx, nil, web, worker)
//
// A build is a list of [Step]s. Those of the builder launch a [Machine], each
// provisioner is one, then the builder captures an [Artifact]; [Check]s are run
// on a fresh machine booted from it, and only what passes is promoted and told
// to the [Publisher]s. Whatever a build created is removed again when it fails,
// is cancelled or panics, newest first; temporary things also when it succeeds.
//
// An image may be made From another: then it waits for that one, and is
// skipped when that one fails. Independent images are baked at the same time.
//
// What happens is told as [Event]s; [Progress] prints them for a person. With a
// [Store] every step is recorded before and after it: another process goes on
// where a killed one was, by [Options.Resume], or cleans up with [Undo].
//
// This package knows no platform. Package ec2 bakes on Amazon EC2, package
// provision has the provisioners, and package baketest what a test needs: a
// fake Machine, a Builder in memory, and the suite that any Builder must pass.
package bake

// Version is the version of this library, as builders write it into tags.
const Version = "0.1.0"
