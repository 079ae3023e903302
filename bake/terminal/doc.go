// Package terminal shows a run of [bake.Bake] to a person at a terminal:
//
//	view := terminal.New(os.Stderr, &terminal.Options{Images: len(images)})
//	results, err := bake.Bake(ctx, &bake.Options{Observe: view.Observe}, images...)
//	err = errors.Join(err, view.Close(results))
//
// On a terminal it draws a line for each running image, with the time, its step and a
// bar, and below it the last lines of output if there is room: that of the images whose
// steps take longest. Finished images scroll away as one line each, failed ones with the
// step, the cause and the last lines of output. At the end it prints a table of the
// results. The terminal may be resized meanwhile.
//
// Elsewhere it prints plain lines, one for each step, message and line of output: if the
// writer is not a terminal, or if the environment has CI, or TERM is "dumb". With
// NO_COLOR in the environment it uses no colors. For GitHub Actions, which folds groups
// of lines, [Options.Groups] keeps the output of each image together.
//
// If a write fails, a View writes no more and the bake goes on. But Go ends a program that
// writes to a standard output without a reader, by SIGPIPE, and a bake then cannot clean
// up: after an interrupt of "bake | tee log", tee ends first. A program that uses
// bake/signals lives on.
package terminal
