//go:build race

package sandbox

// raceDetector reports whether the race detector is on.
const raceDetector = true
