// Package report keeps what happened in a run of [bake.Bake], and writes it for people
// and for CI systems:
//
//	recorder := &report.Recorder{}
//	results, err := bake.Bake(ctx, &bake.Options{Observe: recorder.Observe}, images...)
//	run := recorder.Report(results)
//	err = errors.Join(err, run.WriteHTML(file))
//
// A [Report] is plain data. [Report.WriteHTML] writes one page that needs no other file:
// a timeline of all images, the chain of images that determined the duration, and the
// steps, output and errors of each image. [Report.WriteJUnit] writes test results as
// Jenkins and GitLab read them, [Report.WriteMarkdown] a summary for a comment or
// GitHub's step summary, [Report.WriteAnnotations] the failures as GitHub shows them
// beside a change, and [Report.WriteGitHub] both and the ids as outputs of a step. Its
// JSON has a version, see [Version].
//
// Package bake masks secrets. A report escapes the output of machines for its format,
// so that it can neither add markup nor give commands to the CI system.
package report
