// Package interop holds no code, only a test of the embedded EC2 by programs
// that others wrote: the AWS command-line client plays scenarios on ec2/ec2test
// and on moto, from one life of an image to what is done by hand with images,
// disks, launch templates, spot requests, parameters and roles, mistakes
// included, and the answers are compared value by value. What is known to differ
// stands in a table beside the scenario, with the reason; a difference that is
// not in the table fails the test, and so does an entry of the table that no
// longer differs.
//
// AWS's own models of its services, which its client for Python ships, are the
// referee: every name of a parameter that ec2test takes and of a member that it
// answers with must be in them, and so must every value that it answers with in
// the scenarios.
//
// The tests are skipped where the client or moto is missing; package testenv says
// how to provide them.
package interop
