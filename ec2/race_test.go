//go:build race

package ec2_test

// racing is whether the race detector runs, which makes everything slow.
const racing = true
