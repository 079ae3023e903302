// Package bakestone is the map of Bakestone, a library for baking machine
// images from Go code. It holds no code itself.
//
// Where does a build start? With [github.com/bakestone-go/bakestone/bake.Bake]:
// package bake is the vocabulary and the engine, and the place to start
// reading.
//
// Where do its steps live? What happens to the machine is in package provision,
// one file per provisioner. What happens at Amazon EC2 is in package ec2, one
// file per resource, each with its creation beside its removal.
//
// Where do I add a provisioner? Anywhere: it is anything with a method
// Provision(ctx, machine). Package bake/baketest has a fake machine to test it.
//
// Where do I add a platform? Implement bake.Builder in a package of your own
// and let its test call baketest.Conform.
//
// How do I test my images? With package ec2/ec2test, an EC2 in the test's own
// process, on whose machines scripts really run.
//
// Beside these, bake/sshmachine reaches machines over SSH, bake/nodes reads
// lists of nodes from YAML, and amicleanup retires old AMIs. The programs in
// examples show each of them at work.
package bakestone
