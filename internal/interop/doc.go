// Package interop holds no code, only a test of the embedded EC2 by programs
// that others wrote: the AWS command-line client plays scenarios on ec2/ec2test
// and on moto, from one life of an image to what is done by hand with images,
// disks, launch templates, spot requests, parameters and roles, mistakes
// included, and the answers are compared value by value. What is known to differ
// stands in a table beside the scenario, with the reason; a difference that is
// not in the table fails the test, and so does an entry of the table that no
// longer differs.
//
// The test is skipped where the client or moto is missing; package testenv says
// how to provide them.
package interop
