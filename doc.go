// Package bakestone is an overview of Bakestone, a library for baking machine
// images from Go code. It contains no code.
//
// Start with package [github.com/bakestone-go/bakestone/bake]: its func Bake
// runs builds, and its types describe images, builders, machines and artifacts.
//
// Package provision contains the provisioners, which change a machine. Package
// ec2 bakes AMIs on Amazon EC2. Both have a file for each provisioner or
// resource; the steps that create and remove a resource are in the same file.
//
// To add a provisioner, implement bake.Provisioner, in any package. Package
// bake/baketest has a fake machine for its tests.
//
// To add a platform, implement bake.Builder in a package of your own, and call
// baketest.Conform in its tests.
//
// To test image definitions, use package ec2/ec2test, an EC2 in the test's
// process, whose machines run scripts.
//
// Package bake/sshmachine connects to machines over SSH, bake/nodes reads lists
// of nodes from YAML, bake/terminal shows a run on a terminal, bake/report writes
// what happened as a page or for a CI system, bake/telemetry traces it,
// bake/clock has real and virtual clocks, ec2/iampolicy has IAM policy
// documents, and amicleanup removes old AMIs. The examples directory has
// complete programs.
package bakestone
