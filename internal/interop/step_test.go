package interop_test

// A step is one command line of the client.
type step struct {
	name string

	// args are the arguments. $name stands for a captured value.
	args []string

	// capture takes values out of the answer, by path, for the steps after it.
	capture map[string]string

	// until repeats the step until the value at a path is this one, since
	// either EC2 may take its time. Only the last answer is compared.
	until map[string]string
}
