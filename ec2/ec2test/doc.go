// Package ec2test is an EC2 to run in a test.
package ec2test
