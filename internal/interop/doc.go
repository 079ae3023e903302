// Package interop contains only tests. They compare ec2test, the embedded EC2,
// with independent implementations.
//
// The AWS command-line client runs scenarios on ec2test and on moto, and the
// tests compare the responses value by value. The scenarios cover the lifecycle
// of an image and the use of images, volumes, launch templates, spot requests,
// parameters and roles, including errors. Each has a table of its known
// differences with their reasons. The tests fail for a difference that is not in
// the table and for an entry that no longer differs.
//
// Programs in testdata run boto3: 137 scenarios on both servers, of which a number
// that may only rise must match, and all paginators and waiters of the supported
// calls on ec2test.
//
// Packer bakes whole AMIs on ec2test. The AWS command-line client writes and reads
// the blocks of snapshots.
//
// The responses in the scenarios, and all parameters and response members that
// ec2test implements, are also checked against AWS's models of its services,
// which botocore ships.
//
// The tests are skipped if the client or moto is missing. Package testenv
// describes how to provide them.
package interop
